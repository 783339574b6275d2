"""Ask a run's questions of a folder of events: against the same by hand in DuckDB, and in pandas.

Costs are CPU seconds from nothing open to the last row. Both sides must come to the same groups.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from tasks.clusters import Answer, Question, ask, connect
from tasks.fleet.documents import NETWORK, PROCESS
from tasks.model.hunts import load_hunt
from tasks.model.runs import Plan
from tasks.model.scrutiny import LOOK_BACK_DAYS
from tasks.questions.candidates import parameters
from tasks.questions.connections import CONNECTIONS, HOST_HOURS
from tasks.questions.coverage import AGENTS, subject_of
from tasks.questions.processes import PROCESSES
from tasks.questions.scrutiny import asked_of_events, hosts_question, streams_question
from tasks.settings import Cluster
from tests.benchmarks import by_pandas, hand_tuned
from tests.benchmarks.event_files import count_events, write_copies, write_parquet
from tests.benchmarks.measurement import Measurement, worked

PEAK_GOAL = "700 MB"

Group = tuple[str, str, str, int]
"""A process, its address, its name and the number of its events."""


@dataclass(frozen=True)
class Run:
    """A run's questions of one folder.

    Attributes:
        folder: an embedded cluster.
        slot: of the run.
    """

    folder: Path
    slot: datetime

    @cached_property
    def plan(self) -> Plan:
        return Plan(
            run_id="bench",
            hunt=load_hunt("macos-unsigned-network"),
            cluster="bench",
            slot=self.slot,
            stale_after_hours=6,
            started_at=datetime.now(UTC),
        )

    @property
    def cluster(self) -> Cluster:
        return Cluster(name="bench", url=self.folder.absolute().as_uri())

    @property
    def hunt(self) -> Question:
        """The hunt's own question."""
        hunt, window = self.plan.hunt, self.plan.window
        return Question("hunt", hunt.query, window.filter, parameters(hunt, window))

    @cached_property
    def found(self) -> dict[str, list[str]]:
        """What the hunt finds, for questions about it: the values of its columns."""
        rows = self.answer(self.hunt).rows
        columns = ("process.entity_id", "destination.address", "host.id")
        return {column: sorted(set(rows[column])) for column in columns}

    def questions(self) -> list[Question]:
        """All questions, in the order in which a run asks them."""
        plan, hunt, window = self.plan, self.plan.hunt, self.plan.window
        start = {"_tstart": window.parameters["_tstart"]}
        before = {"range": {"@timestamp": {"lt": plan.slot.isoformat()}}}

        def about(question: Question, *columns: str) -> Question:
            for column in columns:
                question = question.about(column, self.found[column])
            return question

        return [
            self.hunt,
            streams_question(plan, asked_of_events(hunt)),
            hosts_question(plan, plan.started_at),
            Question("agents", AGENTS.substitute(subject_of(hunt)), window.filter, {}),
            about(
                Question("connections", hunt.everywhere(CONNECTIONS), window.filter, start),
                "destination.address",
                "process.entity_id",
            ),
            about(Question("hours", hunt.everywhere(HOST_HOURS), window.filter, start), "host.id"),
            about(
                Question("processes", hunt.everywhere(PROCESSES), before, {}), "process.entity_id"
            ),
        ]

    def answer(self, *questions: Question) -> Answer:
        """Ask questions on one client; gives the last answer."""
        with connect(self.cluster) as client:
            return [ask(client, question) for question in questions][-1]

    def by_hand(self, name: str) -> list[tuple[Any, ...]]:
        """Execute the statement that is written by hand for a question."""
        window, found = self.plan.window, self.found if name != "hunt" else {}
        days = max(self.plan.hunt.pipeline.window_days, LOOK_BACK_DAYS)
        values = {
            "start": window.start.replace(tzinfo=None),
            "end": window.end.replace(tzinfo=None),
            "look_back": (self.slot - timedelta(days=days)).replace(tzinfo=None),
            "entities": found.get("process.entity_id"),
            "addresses": found.get("destination.address"),
            "hosts": found.get("host.id"),
        }
        streams = {"network": self.folder / NETWORK, "process": self.folder / PROCESS}
        return hand_tuned.answered(name, streams, values)


def measure(fleet: Path, slot: datetime, copies: int, scratch: Path) -> list[Measurement]:
    """A run's questions in both formats, of so many copies of a fleet.

    Args:
        fleet: an embedded cluster.
        slot: of the run.
        copies: of the fleet's events, as those of other computers.
        scratch: an empty folder.
    """
    lines, columns = Run(scratch / "ndjson", slot), Run(scratch / "parquet", slot)
    single = Run(scratch / "single", slot)  # Pandas takes too long for more.
    write_copies(fleet, single.folder, range(1))
    write_copies(fleet, lines.folder, range(copies))
    write_parquet(lines.folder, columns.folder)
    events = count_events(lines.folder / NETWORK)
    return [
        _hunt(lines, events, "NDJSON", "1.3x"),
        _in_pandas(single, count_events(single.folder / NETWORK)),
        _hunt(columns, events, "Parquet", "1.5x"),
        *(
            _question(run, question, events, form)
            for run, form in ((lines, "NDJSON"), (columns, "Parquet"))
            for question in run.questions()[1:]
        ),
        _whole_run(lines, columns, events),
        _peak(lines, events),
    ]


def _hunt(run: Run, events: int, form: str, goal: str) -> Measurement:
    cost, answer = worked(lambda: run.answer(run.hunt), times=2)
    by_hand, groups = worked(lambda: run.by_hand("hunt"), times=2)
    agree(f"The hunt in {form}", _groups(answer), _to_the_outside(groups, run))
    return Measurement(
        f"hunt in {form}", events, "events", cost, "by hand in DuckDB", by_hand, goal=goal
    )


def _groups(answer: Answer) -> set[Group]:
    columns = ["process.entity_id", "destination.address", "process.name", "count_connections"]
    return set(answer.rows[columns].itertuples(index=False, name=None))


def _to_the_outside(groups: Sequence[tuple[Any, ...]], run: Run) -> set[Group]:
    """The groups by hand whose addresses are in no network that the hunt leaves out."""
    left_out = [ip_network(text) for text in re.findall(r'"([^"]+/\d+)"', run.plan.hunt.query)]
    left_out.append(ip_network("::1"))
    return {
        (entity, address, name, count)
        for entity, address, name, _, count, *others in groups
        if not any(ip_address(ip) in network for ip in others[-2] for network in left_out)
    }


def _in_pandas(run: Run, events: int) -> Measurement:
    """The same in pandas, which must come to as many groups before addresses are tested."""
    cost, groups = worked(lambda: by_pandas.hunted(run.folder / NETWORK, run.plan.window))
    by_hand, expected = worked(lambda: run.by_hand("hunt"))
    agree("The hunt in pandas", len(groups), len(expected))
    return Measurement("hunt in pandas", events, "events", cost, "by hand in DuckDB", by_hand)


def _question(run: Run, question: Question, events: int, form: str) -> Measurement:
    cost, answer = worked(lambda: run.answer(question), times=2)
    by_hand, rows = worked(lambda: run.by_hand(question.name), times=2)
    match question.name:
        case "totals":
            columns = ["sent_events", "events", "macs"]
            agree("The totals", tuple(answer.rows[columns].iloc[0]), rows[0][:3])
        case "hosts" | "agents":
            pass  # A statement by hand counts groups that the question counts again.
        case _:
            agree(f"The {question.name}", len(answer.rows), len(rows))
    return Measurement(
        f"{question.name} in {form}",
        events,
        "events",
        cost,
        "by hand in DuckDB",
        by_hand,
        goal="1.1x",
    )


def _whole_run(lines: Run, columns: Run, events: int) -> Measurement:
    cost, _ = worked(lambda: lines.answer(*lines.questions()))
    in_parquet, _ = worked(lambda: columns.answer(*columns.questions()))
    return Measurement(
        "a run's questions in NDJSON", events, "events", cost, "in Parquet", in_parquet
    )


def _peak(run: Run, events: int) -> Measurement:
    (peak, _), (start, _) = _apart(run), _apart(None)
    return Measurement(
        "memory of the hunt in NDJSON",
        events,
        "events",
        peak,
        "a process that asks nothing",
        start,
        of_cost="MB",
        goal=PEAK_GOAL,
    )


def measure_growth(
    fleet: Path, slot: datetime, copies: tuple[int, int], folder: Path
) -> list[Measurement]:
    """What the hunt costs at two sizes, in fresh processes: memory should stay as it is."""
    few, many = copies
    run = Run(folder, slot)
    write_copies(fleet, folder, range(few))
    small, peak, cpu = count_events(folder / NETWORK), *_apart(run)
    write_copies(fleet, folder, range(few, many))
    large, peak_of_many, cpu_of_many = count_events(folder / NETWORK), *_apart(run)
    against = f"of {small:,} events"
    return [
        Measurement(
            *("memory of the hunt in NDJSON", large, "events", peak_of_many, against, peak),
            of_cost="MB",
            goal=PEAK_GOAL,
        ),
        Measurement("CPU of the hunt in NDJSON", large, "events", cpu_of_many, against, cpu),
    ]


def _apart(run: Run | None) -> tuple[float, float]:
    """The peak memory in MB and the CPU seconds of a fresh process that hunts, or does nothing."""
    asked = [] if run is None else [str(run.folder), run.slot.isoformat()]
    process = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.peak", *asked],
        capture_output=True,
        check=True,
        text=True,
    )
    peak, cpu = json.loads(process.stdout)
    return peak, cpu


def agree(what: str, ours: object, others: object) -> None:
    """Refuse to compare costs of different results.

    Raises:
        ValueError: they differ.
    """
    if ours != others:
        raise ValueError(f"{what}: ours gives {ours}, and the other {others}.")
