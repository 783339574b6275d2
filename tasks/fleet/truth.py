"""What was planted in, what hunt 1 must find as of a slot out.

The figures are hunt 1's own, computed from the events that were really written, in plain Python.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from tasks.fleet.documents import (
    Computer,
    RunningProcess,
    code_signature,
    from_millis,
    milliseconds,
)
from tasks.fleet.programs import Plant

MS_PER_HOUR = 3_600_000

NOT_HUNTED = """
    10.0.0.0/8 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 192.0.0.8/32
    192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24
    192.52.193.0/24 192.168.0.0/16 192.88.99.0/24 224.0.0.0/4 100.64.0.0/10 192.175.48.0/24
    198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 ::1 fe80::/10 ff00::/8
"""
"""The destinations that hunt 1 leaves out."""

_NOT_HUNTED = tuple(ip_network(block) for block in NOT_HUNTED.split())


class Found(NamedTuple):
    """What makes a finding of hunt 1 the same from run to run."""

    host_id: str
    program: str
    address: str


@dataclass(slots=True)
class Group:
    """One process towards one address: hunt 1's group. It grows while the events are written.

    Attributes:
        times: `@timestamp` of its events in ms since the epoch, sorted.
        opened: the same of its connections, one each; look-ups open none.
    """

    entity_id: str
    address: str | None
    ip: str | None
    times: "array[int]" = field(default_factory=lambda: array("q"), repr=False)
    opened: "array[int]" = field(default_factory=lambda: array("q"), repr=False)

    @property
    def hunted(self) -> bool:
        """Whether hunt 1 looks at this destination."""
        if self.ip is None:
            return False
        address = ip_address(self.ip)
        return not any(address in block for block in _NOT_HUNTED)

    def passes(self, slot: datetime, days: float, hours: int, rate: float) -> bool:
        """Whether its events in `[slot - days, slot)` reach both thresholds of hunt 1.

        Args:
            slot: the end of the window.
            days: the window's length.
            hours: the least duration, after rounding half up to whole hours.
            rate: the least number of events an hour, over those whole hours.
        """
        begin, end = milliseconds(slot - timedelta(days=days)), milliseconds(slot)
        inside = [ms for ms in self.times if begin <= ms < end]
        if not inside:
            return False
        duration_hours = (max(inside) - min(inside) + MS_PER_HOUR // 2) // MS_PER_HOUR
        return duration_hours >= hours and len(inside) >= rate * duration_hours


@dataclass(frozen=True, slots=True)
class Planting:
    """A plant on a host, with what it really did.

    Attributes:
        processes: its lives, in order of their start; none when it lies outside the fleet's days.
        groups: of these, those with events.
    """

    plant: Plant
    host: Computer
    processes: tuple[RunningProcess, ...]
    groups: tuple[Group, ...]

    @property
    def label(self) -> str:
        """The plant's label."""
        return self.plant.label

    @property
    def entity_ids(self) -> tuple[str, ...]:
        """Its processes, in order of their start."""
        return tuple(process.entity_id for process in self.processes)

    @property
    def addresses(self) -> tuple[str | None, ...]:
        """Its values of `destination.address`, in order of appearance."""
        return tuple(dict.fromkeys(group.address for group in self.groups))

    @property
    def events(self) -> int:
        """Network events written."""
        return sum(len(group.times) for group in self.groups)

    @property
    def connections(self) -> int:
        """Connections with an event, each once; without look-ups."""
        return sum(len(group.opened) for group in self.groups)

    @property
    def first(self) -> datetime | None:
        """Its first network event, or None without any."""
        return from_millis(min(group.times[0] for group in self.groups)) if self.groups else None

    @property
    def last(self) -> datetime | None:
        """Its last network event, or None without any."""
        return from_millis(max(group.times[-1] for group in self.groups)) if self.groups else None

    @property
    def unsigned(self) -> bool:
        """`not exists or not trusted` by ES|QL's null logic: unknown is not true."""
        block = code_signature(self.plant.signature, self.plant.label) or {}
        return block.get("exists") is False or block.get("trusted") is False

    def found(
        self, slot: datetime, days: float = 7, hours: int = 8, rate: float = 120
    ) -> frozenset[Found]:
        """The findings that hunt 1 must report of it as of a slot."""
        if self.host.family != "macos" or not self.unsigned or not self.processes:
            return frozenset()
        process = self.processes[0]
        return frozenset(
            Found(self.host.id, process.executable or process.name or "", group.address)
            for group in self.groups
            if group.address is not None and group.hunted and group.passes(slot, days, hours, rate)
        )


@dataclass(frozen=True, slots=True)
class Truth:
    """All that a test may know about a written fleet.

    Attributes:
        documents: how many, by data stream.
        hosts: every computer, the Macs first.
        plantings: one a plant and host, in the order of the fleet's plants.
    """

    documents: Mapping[str, int]
    hosts: tuple[Computer, ...]
    plantings: tuple[Planting, ...]

    def of(self, label: str) -> tuple[Planting, ...]:
        """The plantings with this label."""
        return tuple(planting for planting in self.plantings if planting.label == label)

    def found(self, slot: datetime) -> frozenset[Found]:
        """Every finding that hunt 1 must report as of a slot; it must report no other."""
        return frozenset(found for planting in self.plantings for found in planting.found(slot))

    def labels(self, slot: datetime) -> frozenset[str]:
        """The labels of the plants that hunt 1 must find as of a slot."""
        return frozenset(planting.label for planting in self.plantings if planting.found(slot))
