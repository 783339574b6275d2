"""A fleet in, each day's lines in order of time out, and then the truth about them."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from operator import itemgetter
from random import Random
from typing import Any

from tasks.fleet.ambient import AMBIENT, AMBIENT_ELSEWHERE
from tasks.fleet.documents import (
    METADATA,
    Computer,
    RunningProcess,
    entity_id,
    from_millis,
    metadata_document,
    milliseconds,
)
from tasks.fleet.hosts import (
    MS_PER_DAY,
    Fleet,
    Span,
    boots,
    cut,
    hosts,
    local_days,
    place,
    workdays,
)
from tasks.fleet.programs import BY_HAND, LAUNCHD, Ambient, Plant
from tasks.fleet.sessions import NUMBER, TEXT, EventRow, Mark, Session, Template
from tasks.fleet.truth import MS_PER_HOUR, Planting, Truth

FOREVER_HOURS = 1_000_000
"""How long a program lives that nothing ends."""

OFFICE: Span = (9 * MS_PER_HOUR, 9 * MS_PER_HOUR + 34_200_000)
"""When a plant of office hours runs: nine and a half hours from nine."""

WORKDAY_MS = 9 * MS_PER_HOUR
"""A Mac's working day, on average."""

RUN_MS = 5 * 60_000
"""How long an ambient program of the habit `run` lives."""

_CLOCK = tuple(
    f"{hour:02}:{minute:02}:{second:02}"
    for hour in range(24)
    for minute in range(60)
    for second in range(60)
)


class FleetPlan:
    """A fleet's hosts and sessions: gives each day's lines, once and in order, then the truth."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.days = range(fleet.span[0] // MS_PER_DAY * MS_PER_DAY, fleet.span[1], MS_PER_DAY)
        self._late: list[EventRow] = []
        self._sequences: Counter[str] = Counter()
        placed = place(fleet)
        self.hosts = hosts(fleet, placed)
        self._planted = [
            (plant, self.hosts[at], list(_planted(fleet, self.hosts[at], plant)))
            for plant, at in placed
        ]
        self._sessions = [
            *(session for host in self.hosts for session in _standing(fleet, host)),
            *(session for host in self.hosts for session in _ambient(fleet, host)),
            *(session for _, _, sessions in self._planted for session in sessions),
        ]

    def lines(self, day: int) -> Iterator[tuple[str, str]]:
        """A UTC day's lines, each with its data stream, in order of time; the day in ms."""
        begin, end = day, min(day + MS_PER_DAY, self.fleet.span[1])
        rows = self._late
        rows += self._metadata(begin, end)
        for session in self._sessions:
            rows += session.rows(begin, end)
        rows.sort(key=itemgetter(0))
        cut = bisect_left(rows, end, key=itemgetter(0))
        rows, self._late = rows[:cut], rows[cut:]
        date = f"{from_millis(day):%Y-%m-%d}T"
        for ms, template, values in rows:
            self._sequences[template.stream] += 1
            sequence = self._sequences[template.stream]
            if template.group is not None:
                template.group.times.append(ms)
                if template.opens:
                    template.group.opened.append(ms)
            second, thousandth = divmod(ms - day, 1_000)
            at = f"{date}{_CLOCK[second]}.{thousandth:03}Z"
            yield template.stream, template.text % (at, sequence, sequence, *values)

    def truth(self) -> Truth:
        """What was planted, as far as its days have been written."""
        return Truth(
            documents=dict(self._sequences),
            hosts=self.hosts,
            plantings=tuple(
                Planting(
                    plant,
                    host,
                    tuple(session.process for session in sessions),
                    tuple(
                        group
                        for session in sessions
                        for group in session.groups.values()
                        if group.times
                    ),
                )
                for plant, host, sessions in self._planted
            ),
        )

    def _metadata(self, begin: int, end: int) -> Iterator[EventRow]:
        for host in self.hosts:
            ms = max(begin, self.fleet.span[0])
            ms += self.fleet.random("metadata", host.id).randrange(MS_PER_HOUR)
            if ms < end:
                yield (
                    ms,
                    Template.of(METADATA, metadata_document(host, at=TEXT, sequence=NUMBER)),
                    (),
                )


def _standing(fleet: Fleet, host: Computer) -> Iterator[Session]:
    """What was there before the agent: `launchd`, a terminal, a shell; they have no events."""
    process = _parent(fleet, host, BY_HAND) if host.family == "macos" else None
    while process is not None:
        mark: Mark = (fleet.span[0] + 1_000, "already_running")
        yield Session(host, process, None, (mark,), fleet.random())
        process = process.parent


def _parent(fleet: Fleet, host: Computer, path: tuple[str, ...]) -> RunningProcess | None:
    """The standing process at the end of a chain of programs, each started by the one before."""
    if not path:
        return None
    program = path[-1]
    started = from_millis(fleet.span[0] - 3 * MS_PER_DAY)
    pid = 1 if program == LAUNCHD else 400 + len(path)
    return RunningProcess(
        name=program.rpartition("/")[2],
        executable=program,
        pid=pid,
        entity_id=entity_id(host.agent_id, pid, started),
        user="root" if program == LAUNCHD else host.user,
        signature="apple",
        parent=_parent(fleet, host, path[:-1]),
    )


def _ambient(fleet: Fleet, host: Computer) -> Iterator[Session]:
    """The noise of a host: each program's processes, connecting at random while it is awake."""
    table = AMBIENT if host.family == "macos" else AMBIENT_ELSEWHERE[host.family]
    days, starts = workdays(fleet, host), boots(fleet, host)
    parent = _parent(fleet, host, (LAUNCHD,) if host.family == "macos" else ())
    for program in table:
        random = fleet.random("ambient", host.id, program.executable)
        lives = {"boot": starts, "work": [[day] for day in days]}.get(program.habit)
        for awake in lives if lives is not None else _runs(fleet, program, days, random):
            process, marks = _life(
                fleet,
                host,
                (awake[0][0], awake[-1][1]),
                executable=program.executable,
                name=_last(program.executable),
                user="root" if program.root else host.user,
                signature=program.signature,
                parent=parent,
                content=program.executable,
            )
            times = _moments(fleet, program, awake, random)
            own = fleet.random("session", process.entity_id)
            yield Session(host, process, program, marks, own, times)


def _runs(fleet: Fleet, program: Ambient, days: list[Span], random: Random) -> Iterator[list[Span]]:
    """The short lives of a program that is run a few times a working day."""
    for begin, end in days:
        for start in sorted(random.randrange(begin, end) for _ in range(program.runs)):
            run = cut((start, start + RUN_MS), fleet.span)
            if run is not None:
                yield [run]


def _moments(fleet: Fleet, program: Ambient, awake: list[Span], random: Random) -> "array[int]":
    """The times of a process's connections: the program's share of each working day."""
    a_day = program.share * fleet.connections_per_mac_day if program.destinations else 0
    times: array[int] = array("q")
    for begin, end in awake:
        days = 1 / program.runs if program.habit == "run" else (end - begin) / WORKDAY_MS
        count = int(a_day * days + random.random() * bool(a_day))
        times.extend(sorted(random.randrange(begin, end) for _ in range(count)))
    return times


def _planted(fleet: Fleet, host: Computer, plant: Plant) -> Iterator[Session]:
    """The processes of a plant on a host."""
    executable = plant.executable and plant.executable.replace("{user}", host.user)
    for life in _lives(fleet, plant):
        process, marks = _life(
            fleet,
            host,
            life,
            executable=executable,
            name=plant.name or _last(executable or "unknown"),
            user=plant.user or host.user,
            signature=plant.signature,
            args=plant.args,
            parent=_parent(fleet, host, plant.parents),
            content=plant.label,
        )
        random = fleet.random("session", process.entity_id)
        times = _beats(life, plant.per_hour, plant.jitter, random)
        yield Session(host, process, plant, marks, random, times)


def _lives(fleet: Fleet, plant: Plant) -> Iterator[Span]:
    """When each process of a plant begins and ends."""
    since, until = (
        milliseconds(fleet.end - timedelta(hours=hours))
        for hours in (plant.since_hours, plant.until_hours)
    )
    whole = cut((since, until), fleet.span)
    if whole is None:
        return
    if plant.office:
        days = [midnight for weekday, midnight in local_days(fleet) if weekday < 5]
        lives = [(midnight + OFFICE[0], midnight + OFFICE[1]) for midnight in days]
    else:
        length = round((plant.relaunch_hours or FOREVER_HOURS) * MS_PER_HOUR)
        lives = [(begin, begin + length) for begin in range(*whole, length)]
    yield from filter(None, (cut(life, whole) for life in lives))


def _beats(life: Span, per_hour: float, jitter: float | None, random: Random) -> "array[int]":
    """The times of a process's connections: gaps on [(1 - jitter) * S, S], or exponential."""
    mean = MS_PER_HOUR / per_hour
    longest = mean / (1 - jitter / 2) if jitter is not None else 0.0
    times: array[int] = array("q")
    at = float(life[0])
    while True:
        if jitter is None:
            at += random.expovariate(1 / mean)
        else:
            at += longest * (1 - jitter * random.random())
        if at >= life[1]:
            return times
        times.append(int(at))


def _life(
    fleet: Fleet,
    host: Computer,
    life: Span,
    *,
    content: str,
    **traits: Any,  # noqa: ANN401 - fields of a Process.
) -> tuple[RunningProcess, tuple[Mark, ...]]:
    """A process and its process events; one that is older than the fleet is found running."""
    pid = fleet.random("pid", host.id, content, life[0]).randrange(500, 99_999)
    own_id = entity_id(host.agent_id, pid, from_millis(life[0]))
    process = RunningProcess(pid=pid, entity_id=own_id, content=content, **traits)
    begin: Mark = (life[0], "exec")
    if life[0] <= fleet.span[0]:
        begin = (life[0] + 1_000, "already_running")
    return process, (begin, (life[1], "end")) if life[1] < fleet.span[1] else (begin,)


def _last(path: str) -> str:
    """The file's name, of a path of any system."""
    return path.replace("\\", "/").rpartition("/")[2]
