"""What a cluster could have seen: from answers about its events to a verdict on its telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

BLIND_SINGLE_SHARE = 0.95
"""At and above this share of single-event groups an agent version counts as de-duplicated."""

BLIND_MIN_GROUPS = 1000
"""Below this many groups the share says nothing."""

MERGED_SHARE = 0.5
"""From this share of merged documents on, counting events and counting connections differ."""

UNSIGNED_UNKNOWN_SHARE = 0.05
"""From this share of documents without a signature block on, a hunt for signatures misses some."""

DEDUPLICATES_SINCE = (8, 15)
"""The first Elastic Agent version that drops repeated network events."""


class Fault(StrEnum):
    """What is wrong with telemetry, so that a hunt sees less than there is; the gravest first."""

    BLIND = "blind"
    MERGED = "merged"
    NO_SIGNATURE = "no signature block"


@dataclass(frozen=True, slots=True)
class AgentCoverage:
    """What the agents of one version sent in the window.

    Attributes:
        version: Elastic Agent's version; None where events do not say.
        events: macOS network events.
        groups: distinct (process, destination ip, destination port).
        single_event_groups: groups with exactly one event.
        merged_events: documents that hold attempt and disconnect in one.
        unsigned_unknown_events: documents with no code signature block at all.
    """

    version: str | None
    events: int
    groups: int
    single_event_groups: int
    merged_events: int
    unsigned_unknown_events: int

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong with what these agents send."""
        merged = self.merged_events >= MERGED_SHARE * self.events > 0
        unknown = self.unsigned_unknown_events >= UNSIGNED_UNKNOWN_SHARE * self.events > 0
        found = {
            Fault.BLIND: self.deduplicated,
            Fault.MERGED: merged,
            Fault.NO_SIGNATURE: unknown,
        }
        return tuple(fault for fault, there in found.items() if there)

    @property
    def deduplicated(self) -> bool:
        """Whether repeated events are being dropped, so that counting hunts see nothing."""
        return (
            self.groups >= BLIND_MIN_GROUPS
            and self.single_event_groups >= BLIND_SINGLE_SHARE * self.groups
            and _release(self.version) >= DEDUPLICATES_SINCE
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one run could have seen, as of its slot.

    Attributes:
        events: macOS network events in the window.
        macs: distinct Macs that sent them.
        newest_event: aware UTC; None without events.
        agents: one entry per agent version, most events first.
        is_partial: some shards were not counted.
    """

    events: int
    macs: int
    newest_event: datetime | None
    agents: tuple[AgentCoverage, ...] = ()
    is_partial: bool = False

    @property
    def faulty(self) -> dict[Fault, tuple[str, ...]]:
        """Agent versions by what is wrong with what they send, the gravest first."""
        return {
            fault: versions
            for fault in Fault
            if (
                versions := tuple(
                    agent.version or "unknown" for agent in self.agents if fault in agent.faults
                )
            )
        }

    def is_stale(self, slot: datetime, stale_after_hours: float) -> bool:
        """Whether the newest event is too old for a run as of `slot` to mean anything."""
        if self.newest_event is None:
            return True
        return slot - self.newest_event > timedelta(hours=stale_after_hours)


def _release(version: str | None) -> tuple[int, int]:
    """Read major and minor; an unknown version is older than every known one."""
    major, _, rest = (version or "").partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
