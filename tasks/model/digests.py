"""Digests: what is reported to a destination once a day, and what was not searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from tasks.model.acknowledgements import Acknowledgement
from tasks.model.coverage import Fault
from tasks.model.findings import Finding
from tasks.model.hunts import Nouns
from tasks.model.runs import Outcome, Run, Trend
from tasks.text import times
from tasks.text.times import Clock

DAY = timedelta(hours=24)
"""A digest's day: so long before its slot."""


class Medium(StrEnum):
    """Where a digest goes. Each keeps its own ledger: what was printed is not yet in Slack."""

    SLACK = "slack"
    TERMINAL = "terminal"


class DigestStatus(StrEnum):
    """Where a digest stands in the ledger.

    Attributes:
        SENDING: written before the post; what still says so when its sender is gone is unsettled.
        SENT: it is in the channel; of its thread at least what the ledger has a receipt for.
        REFUSED: Slack said no. Nothing of it is in the channel.
        DEAD: given up. Nothing of it is in the channel.
        LOST: given up, and whether its last post is in the channel cannot be found out.
    """

    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    DEAD = "dead"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A finding that this destination has not heard of, and the run that first saw it."""

    finding: Finding
    run: Run


@dataclass(frozen=True, slots=True)
class Ended:
    """An acknowledgement that has ended while what it covered goes on.

    Attributes:
        still: what goes on, each as the newest run has it that searched everything.
    """

    acknowledgement: Acknowledgement
    still: tuple[Announcement, ...]


class CoverageGap(StrEnum):
    """Why silence about a hunt on a cluster means little, in a word.

    Attributes:
        LATE: no run in the digest's day.
        BLIND: agents there drop repeated network events.
    """

    LATE = "late"
    MISSED = "missed"
    UNREACHABLE = "unreachable"
    UNAUTHORISED = "unauthorised"
    QUERY = "query"
    SETTINGS = "settings"
    DEADLINE = "deadline"
    INTERNAL = "internal"
    NO_DATA = "no data"
    PARTIAL = "partial"
    BLIND = "blind"
    MERGED = "merged"
    NO_SIGNATURE = "no signature block"

    @property
    def searched(self) -> bool:
        """Whether something was searched all the same."""
        return self is CoverageGap.PARTIAL or self.fault is not None

    @property
    def fault(self) -> Fault | None:
        """The fault in telemetry, where it is one."""
        return Fault(self.value) if self.value in set(Fault) else None

    @classmethod
    def of(cls, run: Run) -> CoverageGap | None:
        """Say what kept a run from searching everything; None when nothing did."""
        match run.outcome:
            case Outcome.FAILED:
                return cls(run.reason) if run.reason in set(cls) else cls.INTERNAL
            case Outcome.MISSED:
                return cls.MISSED
            case Outcome.NO_DATA:
                return cls.NO_DATA
            case Outcome.PARTIAL:
                return cls.PARTIAL
            case _:
                return None


@dataclass(frozen=True, slots=True)
class DayGap:
    """A day that one hunt did not see whole on one cluster: a destination is told of it once.

    Attributes:
        slot: of the day's newest run; of the digest, where there was no run.
    """

    slot: datetime
    lack: CoverageGap


def day_gaps(slot: datetime, run: Run | None, before: Run | None = None) -> Iterator[DayGap]:
    """Give what a digest's own day lacks.

    A blind cluster is said every day; of telemetry that is only judged wrong, what is new.

    Args:
        slot: of the digest.
        run: the newest one in the digest's day.
        before: the newest earlier run that searched.
    """
    if run is None:
        yield DayGap(slot, CoverageGap.LATE)
        return
    if lack := CoverageGap.of(run):
        yield DayGap(run.slot, lack)
    known = before.coverage.faulty if before and before.coverage else {}
    for fault in run.coverage.faulty if run.coverage else {}:
        if fault is Fault.BLIND or fault not in known:
            yield DayGap(run.slot, CoverageGap(fault))


@dataclass(frozen=True, slots=True)
class ClusterDay:
    """One hunt on one cluster of the destination's scope, as a digest finds it.

    Attributes:
        run: the newest run within the digest's day; None when there was none.
        last_searched: slot of the newest run ever that searched it; None when never.
        gaps: what this digest has to tell of this day and of those since the digest before, oldest
            first; nothing that the destination was told already.
        trend: the newest runs up to the digest's slot, at most 30, oldest first.
    """

    cluster: str
    hunt: str
    run: Run | None
    last_searched: datetime | None
    gaps: tuple[DayGap, ...] = ()
    trend: tuple[Trend, ...] = ()

    @property
    def searched(self) -> bool:
        """Whether it was searched in the digest's day."""
        return self.run is not None and self.run.outcome.searched

    @property
    def ongoing(self) -> CoverageGap | None:
        """What has kept it from being searched since it last was, if that is to be told."""
        since = [gap for gap in self.gaps if self._is_ongoing(gap)]
        return since[-1].lack if since else None

    @property
    def today(self) -> tuple[CoverageGap, ...]:
        """What the run of the digest's day lacks, where there was one."""
        return tuple(gap.lack for gap in self.gaps if self.run and gap.slot == self.run.slot)

    @property
    def over(self) -> tuple[DayGap, ...]:
        """The gaps of earlier days that are not going on."""
        today = self.run.slot if self.run else None
        return tuple(gap for gap in self.gaps if gap.slot != today and not self._is_ongoing(gap))

    @property
    def over_words(self) -> str:
        """Those days with their lacks, for example `Sat 21 Nov, Sun 22 Nov (unreachable)`."""
        return ", ".join(
            f"{times.days(gap.slot for gap in alike)} ({lack})"
            for lack, alike in groupby(self.over, key=lambda gap: gap.lack)
        )

    def _is_ongoing(self, gap: DayGap) -> bool:
        return not gap.lack.searched and (
            self.last_searched is None or gap.slot > self.last_searched
        )


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything that one daily message and one daily page say.

    Attributes:
        id: 12 hex digits, also in Slack's message metadata.
        number: its place in the destination's ledger: of two that are composed at once both have
            the same, and only one can be sent.
        slot: the moment that the digest stands for; its day is the 24 hours before.
        announcements: new findings and changed binaries, oldest run first, highest priority first.
        baselines: findings of clusters' first runs: told as a count, then known.
        ended: acknowledgements that do not hold any more, each told once, the newest end first.
        acknowledged: how many findings of its day's runs are not told for an analyst's word.
        previous: slot of the digest that the destination was sent before this one.
        undelivered: slots of digests since then that Slack does not have, or not whole; what they
            had to tell is told by this one.
        may_repeat: slot of a digest whose receipt was lost: this one tells some of it again.
    """

    id: str
    number: int
    destination: str
    medium: Medium
    slot: datetime
    clusters: tuple[ClusterDay, ...]
    announcements: tuple[Announcement, ...] = ()
    baselines: tuple[Announcement, ...] = ()
    ended: tuple[Ended, ...] = ()
    acknowledged: int = 0
    previous: datetime | None = None
    undelivered: tuple[datetime, ...] = ()
    may_repeat: datetime | None = None

    @property
    def nouns(self) -> Nouns:
        """What its hunts call findings and hosts, where they agree; else the plain words."""
        nouns = {run.nouns for run in self._runs}
        return nouns.pop() if len(nouns) == 1 else Nouns()

    @property
    def clock(self) -> Clock:
        """How its page tells times: in the zone of its runs, where they agree."""
        zones = {run.time_zone for run in self._runs}
        return Clock(self.slot, zones.pop() if len(zones) == 1 else "UTC")

    @property
    def _runs(self) -> Iterator[Run]:
        yield from (each.run for each in (*self.announcements, *self.baselines))
        yield from (day.run for day in self.clusters if day.run)


@dataclass(frozen=True, slots=True)
class MessageOutline:
    """What the ledger records about a digest's message: no text, but which part reports what.

    Attributes:
        payload_hash: SHA-256 in hex of the message's content.
        replies: the announcements in each reply. The message itself reports the rest of the digest.
    """

    payload_hash: str
    replies: tuple[tuple[Announcement, ...], ...] = ()
