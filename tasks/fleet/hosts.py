"""A fleet in, its hosts out: who they are, which plants they have, when they are awake."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Literal
from uuid import UUID

from tasks.fleet.documents import Computer, Encoding, from_millis, milliseconds
from tasks.fleet.plants import HOSTILE, PLANTS
from tasks.fleet.programs import Plant
from tasks.fleet.truth import MS_PER_HOUR

MS_PER_DAY = 24 * MS_PER_HOUR

Span = tuple[int, int]
"""From, to: milliseconds since the epoch, the end excluded."""

Placed = tuple[Plant, int]
"""A plant and the position of its host among the fleet's."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is generated.

    Attributes:
        macs: number of Macs.
        others: number of Windows and Linux hosts, in turns.
        days: length in days up to `end`.
        end: the first moment without events.
        encoding: of every host, or `mixed`: each host has its own.
        connections_per_mac_day: ambient ones, of a Mac on a working day.
        plants: the programs whose finding, or not, is known.
        hostile: whether the plants with hostile names come on top.
        utc_offset_hours: the office's clock.
        silent_hours: for how long before `end` nothing has arrived.
    """

    macs: int = 60
    others: int = 6
    days: int = 9
    seed: int = 1
    end: datetime = datetime(2026, 11, 24, 6, tzinfo=UTC)
    encoding: Literal["mixed", "paired", "merged", "deduplicated"] = "mixed"
    connections_per_mac_day: int = 250
    plants: tuple[Plant, ...] = PLANTS
    hostile: bool = False
    utc_offset_hours: int = 0
    silent_hours: float = 0

    def __post_init__(self) -> None:
        if self.end.tzinfo is None:
            raise ValueError("The fleet's end needs a time zone: 2026-11-24T06:00Z.")
        if self.macs < 1 or self.days < 1 or self.others < 0 or self.connections_per_mac_day < 0:
            raise ValueError("A fleet has at least one Mac and one day, and nothing below zero.")
        if not 0 <= self.silent_hours < 24 * self.days:
            raise ValueError("A fleet is silent for less than its days, or it has no events.")

    @property
    def span(self) -> Span:
        """The time with events."""
        end = milliseconds(self.end)
        return end - self.days * MS_PER_DAY, end - round(self.silent_hours * MS_PER_HOUR)

    def random(self, *name: object) -> Random:
        """The generator of random numbers that belongs to this name, and to nothing else."""
        return Random(f"{self.seed}/{'/'.join(map(str, name))}")


_DEPARTMENTS = ("FIN", "ENG", "HR", "OPS", "SAL", "DES", "LEG")
_USERS = (
    "ada", "bo", "carla", "deniz", "elif", "femi", "goran", "hana", "ines", "jun",
    "kim", "lea", "mara", "nils", "omar", "pia", "quinn", "rosa", "sven", "tariq",
)  # fmt: skip
_MACOS = ("13.6.9", "14.6.1", "14.7", "15.1", "15.1.1", "26.0.1")
_AGENTS: dict[Encoding, tuple[str, ...]] = {
    # An upgraded policy keeps its encoding under any agent; merging and dropping came later.
    "paired": ("8.12.2", "8.14.3", "8.17.4", "8.18.3", "9.1.2"),
    "merged": ("8.18.3", "9.1.2"),
    "deduplicated": ("8.17.4", "8.18.3", "9.1.2"),
}


def place(fleet: Fleet) -> list[Placed]:
    """Give each plant its hosts, in turns: while there are any, hosts of the encoding it needs.

    Half of the Macs have plants, so that the policies of the others are drawn.
    """
    macs = list(range(fleet.macs))
    fleet.random("places").shuffle(macs)
    del macs[max(3, fleet.macs // 2) :]
    others = {
        family: list(range(fleet.macs + turn, fleet.macs + fleet.others, 2))
        for turn, family in enumerate(("windows", "linux"))
    }
    placed: list[Placed] = []
    needs: dict[int, tuple[Encoding, bool]] = {}
    for plant in fleet.plants + (HOSTILE if fleet.hostile else ()):
        hosts = macs if plant.family == "macos" else others[plant.family]
        need = (plant.encoding, plant.always_on)
        for _ in range(min(plant.macs, len(hosts))):
            turn = next((n for n, at in enumerate(hosts) if needs.get(at, need) == need), 0)
            host = hosts.pop(turn)
            hosts.append(host)
            needs[host] = need
            placed.append((plant, host))
    return placed


def hosts(fleet: Fleet, placed: list[Placed]) -> tuple[Computer, ...]:
    """The Macs, then the others; in a mixed fleet a plant decides its Mac's policy."""
    by_place = {place: plant for plant, place in reversed(placed)}
    return tuple(
        _host(fleet, place, by_place.get(place)) for place in range(fleet.macs + fleet.others)
    )


def _host(fleet: Fleet, place: int, plant: Plant | None) -> Computer:
    random = fleet.random("host", place)
    hardware = UUID(int=random.getrandbits(128), version=4)
    agent = UUID(int=random.getrandbits(128), version=4)
    always_on = plant.always_on if plant is not None else random.random() < 1 / 8
    model = "MINI" if always_on else random.choice(("MBP", "MBP", "MBA"))
    number = random.randrange(1_000, 9_999)
    name = f"{model}-{random.choice(_DEPARTMENTS)}-{number}"
    user = f"{random.choice(_USERS)}{place:02}"
    os_version = random.choice(_MACOS)
    drawn: Encoding = random.choices(("paired", "merged", "deduplicated"), weights=(5, 4, 1))[0]
    encoding: Encoding = drawn if plant is None else plant.encoding
    family: Literal["macos", "windows", "linux"] = "macos"
    if place >= fleet.macs:
        family = "linux" if (place - fleet.macs) % 2 else "windows"
        name = f"{'SRV' if family == 'linux' else 'PC'}-{number}"
        os_version = "24.04" if family == "linux" else "11"
    if fleet.encoding != "mixed":
        encoding = fleet.encoding
    version = random.choice(_AGENTS[encoding])
    return Computer(
        id=str(hardware).upper(),
        name=name,
        agent_id=str(agent),
        agent_version=version,
        family=family,
        os_version=os_version,
        ip=f"10.20.{place // 250}.{place % 250 + 1}",
        mac=f"02-00-00-00-{place // 256:02X}-{place % 256:02X}",
        user=user,
        encoding=encoding,
        # The new policies that merge also leave out most of host.*.
        minimal=encoding != "paired" and version >= "8.18",
        always_on=always_on or family == "linux",
    )


def workdays(fleet: Fleet, host: Computer) -> list[Span]:
    """A host's working days: about nine hours from about nine, some at weekends."""
    random = fleet.random("workdays", host.id)
    spans = []
    for weekday, midnight in local_days(fleet):
        begins = midnight + int((8.5 + random.random()) * MS_PER_HOUR)
        ends = begins + int((8 + 2 * random.random()) * MS_PER_HOUR)
        works = random.random() < (0.95 if weekday < 5 else 0.1)
        span = cut((begins, ends), fleet.span)
        if works and span is not None:
            spans.append(span)
    return spans


def local_days(fleet: Fleet) -> Iterator[tuple[int, int]]:
    """Each day of the office's clock: its weekday (Monday is 0) and its midnight in ms."""
    offset = fleet.utc_offset_hours * MS_PER_HOUR
    begin, end = fleet.span
    for midnight in range((begin + offset) // MS_PER_DAY * MS_PER_DAY, end + offset, MS_PER_DAY):
        yield from_millis(midnight).weekday(), midnight - offset


def cut(span: Span, limits: Span) -> Span | None:
    """The part of a span that lies within limits, or None."""
    begin, end = max(span[0], limits[0]), min(span[1], limits[1])
    return (begin, end) if begin < end else None


def boots(fleet: Fleet, host: Computer) -> list[list[Span]]:
    """The times awake between two starts of the host: up to four working days, or all of it."""
    if host.always_on:
        return [[fleet.span]]
    random = fleet.random("boots", host.id)
    lives: list[list[Span]] = []
    left = workdays(fleet, host)
    while left:
        days = random.randint(1, 4)
        lives.append(left[:days])
        left = left[days:]
    return lives
