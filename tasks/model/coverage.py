"""Coverage: what a cluster's agents sent, and the faults in it that hide things from a hunt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tasks.model.scrutiny import Scrutiny

BLIND_MIN_GROUPS = 1000
"""Fewer groups are too few to judge whether agents drop repeated events."""

DEDUPLICATES_SINCE = (8, 15)
"""The first Elastic Agent version that drops repeated network events."""


class Fault(StrEnum):
    """A fault in telemetry, because of which a hunt sees less than there is; the gravest first."""

    BLIND = "blind"
    SEVERAL = "several values"
    OUTSIDE = "outside the population"
    STOPPED = "hosts stopped"
    AHEAD = "clock ahead"
    CLONED = "shared host.id"
    TWICE = "ingested twice"
    MERGED = "merged"
    NO_SIGNATURE = "no signature block"

    @property
    def kind(self) -> Fault:
        """The fault under which readers know it: a hunt is blind to events with several values."""
        return Fault.BLIND if self is Fault.SEVERAL else self


@dataclass(frozen=True, slots=True)
class FaultDescription:
    """What a fault means and what helps, for a run's warnings, the digest and the check.

    Attributes:
        symptom: what the agents, events or hosts do; it follows their name.
        effect: what this does to a hunt; it follows "so".
        remedy: a sentence.
        share: the fault is there from this share of affected groups, events or hosts on; for clocks
            and clones from this number of hosts on.
    """

    symptom: str
    effect: str
    remedy: str
    share: float

    def sentence(self, subject: str, extent: str = "") -> str:
        """Give for example `agents 9.1.2 drop repeated network events, so a hunt ...`.

        Args:
            subject: which agents, events or hosts.
            extent: how much of what they send is affected, in parentheses.
        """
        return " ".join(filter(None, (subject, self.symptom, extent))) + f", so {self.effect}."


FAULTS: Mapping[Fault, FaultDescription] = {
    Fault.BLIND: FaultDescription(
        symptom="drop repeated network events",
        effect="a hunt that counts events may see a single one from a beacon",
        remedy="Set `mac.advanced.events.deduplicate_network_events` to false in their Elastic "
        "Defend policy.",
        share=0.95,  # Of the groups: those with a single event.
    ),
    Fault.SEVERAL: FaultDescription(
        symptom="have several values in a field that the hunt compares with one",
        effect="ES|QL leaves them out, and the hunt cannot find what they show",
        remedy="Look for the agent or ingest pipeline that adds the values. A hunt of your own can "
        "compare all of them, with MV_MIN and MV_MAX or with MV_CONCAT and LIKE.",
        share=0.0,  # Any: a beacon may be all of them.
    ),
    Fault.OUTSIDE: FaultDescription(
        symptom="miss the hunt's population only by a missing value, or by upper and lower case",
        effect="the hunt did not search them",
        remedy="Correct `population` and the query in the hunt, or the ingest pipeline that writes "
        "these values.",
        share=0.01,
    ),
    Fault.STOPPED: FaultDescription(
        symptom="sent events before, and then stopped",
        effect="it is not known what happened there since",
        remedy="Check their agents in Fleet, and what these hosts have in common: a policy, a "
        "network, an output.",
        share=0.5,
    ),
    Fault.AHEAD: FaultDescription(
        symptom="came with a time that is still in the future",
        effect="they were not searched",
        remedy="Correct the clock there, and let network time set it.",
        share=1,
    ),
    Fault.CLONED: FaultDescription(
        symptom="had several agents at the same time, as clones of one disk do",
        effect="several hosts count as one, and a finding may be on any of them",
        remedy="Give every clone an identity of its own: remove the agent from the image, and "
        "enroll each host anew.",
        share=1,
    ),
    Fault.TWICE: FaultDescription(
        symptom="came again with an `event.id` that was there before",
        effect="this hunt's counts and rates of events are raised by them",
        remedy="Look for a second way into the data stream: two outputs, a reindex, or an import "
        "that ran twice.",
        share=0.02,  # Ten times the error of the count: see `EVENTS_BY_STREAM`.
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

OF_AGENTS = (Fault.BLIND, Fault.MERGED, Fault.NO_SIGNATURE)
"""The faults of agents, by version; the others are those of events and hosts."""

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
            for fault in OF_AGENTS
            if self.share(fault) >= FAULTS[fault].share
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
            case _:
                return 0

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
        scrutiny: None in documents of earlier versions, and if it was not possible; then left out
            of documents, so that older ones keep their bytes.
    """

    events: int
    macs: int
    newest_event: datetime | None
    agents: tuple[AgentCoverage, ...] = ()
    is_partial: bool = False
    scrutiny: Annotated[Scrutiny | None, Field(exclude_if=lambda given: given is None)] = None

    @property
    def faults(self) -> Mapping[Fault, float]:
        """What is wrong, the gravest first, with its extent: a share, or a number of hosts."""
        extents = dict.fromkeys(self.faulty, 1.0)
        if seen := self.scrutiny:
            extents[Fault.SEVERAL] = seen.unjudged_share
            extents[Fault.OUTSIDE] = seen.stray_share
            extents[Fault.TWICE] = seen.repeated_share
        if seen and (hosts := seen.hosts):
            extents[Fault.STOPPED] = hosts.stopped_share
            extents[Fault.AHEAD] = hosts.ahead.count
            extents[Fault.CLONED] = hosts.cloned.count
        return {
            fault: extent
            for fault in Fault
            if (extent := extents.get(fault, 0.0)) and extent >= FAULTS[fault].share
        }

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

    @property
    def is_unmatched(self) -> bool:
        """Whether events came, and no event is in the hunt's population."""
        return self.newest_event is None and self.scrutiny is not None and self.scrutiny.sent > 0

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
