"""Coverage: what a cluster's agents sent, and the faults in it that hide things from a hunt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

BLIND_MIN_GROUPS = 1000
"""Fewer groups are too few to judge whether agents drop repeated events."""

DEDUPLICATES_SINCE = (8, 15)
"""The first Elastic Agent version that drops repeated network events."""


class Fault(StrEnum):
    """A fault in telemetry, because of which a hunt sees less than there is; the gravest first."""

    BLIND = "blind"
    MERGED = "merged"
    NO_SIGNATURE = "no signature block"


@dataclass(frozen=True, slots=True)
class FaultDescription:
    """What a fault means and what helps, for a run's warnings, the digest and the check.

    Attributes:
        symptom: what the agents do; it follows their name.
        effect: what this does to a hunt; it follows "so".
        remedy: a sentence.
        share: agents have the fault from this share of affected groups or events on.
    """

    symptom: str
    effect: str
    remedy: str
    share: float

    def sentence(self, agents: str, extent: str = "") -> str:
        """Give for example `agents 9.1.2 drop repeated network events, so a hunt ...`.

        Args:
            agents: which agents, as the subject of the sentence.
            extent: how much of what they send is affected, in parentheses.
        """
        return " ".join(filter(None, (agents, self.symptom, extent))) + f", so {self.effect}."


FAULTS: Mapping[Fault, FaultDescription] = {
    Fault.BLIND: FaultDescription(
        symptom="drop repeated network events",
        effect="a hunt that counts events may see a single one from a beacon",
        remedy="Set `mac.advanced.events.deduplicate_network_events` to false in their Elastic "
        "Defend policy.",
        share=0.95,  # Of the groups: those with a single event.
    ),
    Fault.MERGED: FaultDescription(
        symptom="send an attempt and its disconnect as one event",
        effect="a threshold for events an hour asks for twice as many connections there",
        remedy="Lower that threshold in the deployment.",
        share=0.5,
    ),
    Fault.NO_SIGNATURE: FaultDescription(
        symptom="send events without any code signature",
        effect="a hunt for unsigned programs leaves them out",
        remedy="Check the policy and the version of those agents: they may need an upgrade.",
        share=0.05,
    ),
}

CHECK_SHARE = 0.01
"""A check warns when more than this share of all events is merged or without a signature.

That is far less than a run's warning needs: a check is read once, by the person who chooses the
thresholds, while a run's warning comes back every day.
"""


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
        return tuple(
            fault
            for fault, description in FAULTS.items()
            if self.share(fault) >= description.share
            and (fault is not Fault.BLIND or self._may_be_blind)
        )

    def share(self, fault: Fault) -> float:
        """Give the share of groups or events that a fault affects; 0 without any."""
        total = self.groups if fault is Fault.BLIND else self.events
        return self.affected(fault) / total if total else 0.0

    def affected(self, fault: Fault) -> int:
        """Count the groups (for `BLIND`) or events that a fault affects."""
        match fault:
            case Fault.BLIND:
                return self.single_event_groups
            case Fault.MERGED:
                return self.merged_events
            case Fault.NO_SIGNATURE:
                return self.unsigned_unknown_events

    @property
    def _may_be_blind(self) -> bool:
        return self.groups >= BLIND_MIN_GROUPS and _release(self.version) >= DEDUPLICATES_SINCE


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
