"""Digests: what is reported to a destination once a day, and what was not searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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


MUCH_WORSE = 1.5
"""A fault with so many times the share, or the number of hosts, of the run before is news again."""


class Medium(StrEnum):
    """Where a digest goes. Each medium has its own ledger: a printed digest is not in Slack yet."""

    SLACK = "slack"
    TERMINAL = "terminal"


class DigestStatus(StrEnum):
    """The state of a digest in the ledger.

    Attributes:
        SENDING: written before the post. If its sender is gone, the digest is unsettled.
        SENT: it is in the channel, with the replies for which the ledger has a receipt.
        REFUSED: by Slack. Nothing of it is in the channel.
        DEAD: given up. Nothing of it is in the channel.
        LOST: given up. Whether its last post is in the channel cannot be looked up.
    """

    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    DEAD = "dead"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A finding that is new for this destination, and the run that first saw it."""

    finding: Finding
    run: Run

    @property
    def published(self) -> Announcement:
        """The announcement as pages and messages have it: masked like its run's report."""
        return replace(self, finding=self.finding.masked) if self.run.mask else self


@dataclass(frozen=True, slots=True)
class Ended:
    """An acknowledgement that has ended while its findings are still active.

    Attributes:
        still: these findings, as of the newest run that searched everything.
    """

    acknowledgement: Acknowledgement
    still: tuple[Announcement, ...]

    @property
    def published(self) -> Ended:
        """The same with its findings as pages and messages have them."""
        return replace(self, still=tuple(each.published for each in self.still))


class CoverageGap(StrEnum):
    """Why a hunt on a cluster may have missed findings: a reason of a failed run, or one of these.

    Attributes:
        LATE: no run in the digest's day.
        MISSED: the slot was never run, and is too old to be caught up.
        NO_DATA: the newest event is too old, or there is none.
        PARTIAL: only a part of the answer came.
        BLIND: a fault in telemetry, as are all that follow; see `FAULTS`.
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
    SEVERAL = "several values"
    OUTSIDE = "outside the population"
    STOPPED = "hosts stopped"
    AHEAD = "clock ahead"
    CLONED = "shared host.id"
    TWICE = "ingested twice"
    MERGED = "merged"
    NO_SIGNATURE = "no signature block"

    @property
    def searched(self) -> bool:
        """Whether the cluster was searched all the same."""
        return self is CoverageGap.PARTIAL or self.fault is not None

    @property
    def fault(self) -> Fault | None:
        """The fault in telemetry, where it is one."""
        return Fault(self.value) if self.value in set(Fault) else None

    @classmethod
    def of(cls, run: Run) -> CoverageGap | None:
        """Give the reason why a run did not search everything; None when it did."""
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
    """A gap in the coverage of one hunt, cluster and day; a destination gets each one once.

    Attributes:
        slot: of the newest run of the day; of the digest, where there was no run.
    """

    slot: datetime
    lack: CoverageGap


def day_gaps(slot: datetime, run: Run | None, before: Run | None = None) -> Iterator[DayGap]:
    """Give the gaps of a digest's own day.

    Blind agents are reported every day, the other faults in telemetry on their first day, and when
    they have become much worse since the run before.

    Args:
        slot: of the digest.
        run: the newest one in the digest's day.
        before: the newest earlier run that searched.
    """
    if run is None:
        yield DayGap(slot, CoverageGap.LATE)
        return
    if gap := CoverageGap.of(run):
        yield DayGap(run.slot, gap)
    known = before.coverage.faults if before and before.coverage else {}
    faults = run.coverage.faults if run.coverage else {}
    for fault, extent in faults.items():
        if fault is Fault.BLIND or fault not in known or extent >= MUCH_WORSE * known[fault]:
            yield DayGap(run.slot, CoverageGap(fault))


@dataclass(frozen=True, slots=True)
class ClusterDay:
    """One hunt on one cluster of the destination's scope, on the day of a digest.

    Attributes:
        run: the newest run within the digest's day; None when there was none.
        last_searched: slot of the last run that searched it; None when it was never searched.
        gaps: those of this day and of the days since the previous digest, oldest first, without
            the gaps that were already reported to the destination.
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
        """Why it has not been searched since its last search, unless that is already reported."""
        since = [gap for gap in self.gaps if self._is_ongoing(gap)]
        return since[-1].lack if since else None

    @property
    def today(self) -> tuple[CoverageGap, ...]:
        """The gaps of the run in the digest's day, where there was one."""
        return tuple(gap.lack for gap in self.gaps if self.run and gap.slot == self.run.slot)

    @property
    def over(self) -> tuple[DayGap, ...]:
        """The gaps of earlier days, without the ongoing one."""
        today = self.run.slot if self.run else None
        return tuple(gap for gap in self.gaps if gap.slot != today and not self._is_ongoing(gap))

    def over_words(self, clock: Clock) -> str:
        """Those days with their gaps, for example `Sat 21 Nov, Sun 22 Nov (unreachable)`."""
        return ", ".join(
            f"{times.days(clock.there(day.slot) for day in alike)} ({gap})"
            for gap, alike in groupby(self.over, key=lambda day: day.lack)
        )

    def _is_ongoing(self, gap: DayGap) -> bool:
        return not gap.lack.searched and (
            self.last_searched is None or gap.slot > self.last_searched
        )


@dataclass(frozen=True, slots=True)
class Digest:
    """The content of one daily message and of one daily page.

    Attributes:
        id: 12 hex digits, also in Slack's message metadata.
        number: its place in the destination's ledger. Two digests that are composed at once have
            the same number, and only one of them can be sent.
        slot: the time for which the digest stands; its day is the 24 hours before.
        time_zone: name of the destination's time zone.
        announcements: new findings and changed binaries, oldest run first, highest priority first.
        baselines: findings of the first run on a cluster: counted here, known from then on.
        ended: acknowledgements that have ended, the newest end first; each is reported once.
        acknowledged: how many findings of its day's runs are acknowledged, and so not announced.
        previous: slot of the digest that was sent to the destination before this one.
        undelivered: slots of later digests that were not delivered, or only in part; this digest
            has the rest.
        may_repeat: slot of a digest whose receipt was lost; this digest may repeat parts of it.
        rehearsal: whether it goes elsewhere than configured; it then never counts as delivered.
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
    rehearsal: bool = False
    time_zone: str = "UTC"

    @property
    def nouns(self) -> Nouns:
        """The nouns of its hunts for findings and hosts; the default ones where they differ."""
        nouns = {run.nouns for run in self._runs}
        return nouns.pop() if len(nouns) == 1 else Nouns()

    @property
    def clock(self) -> Clock:
        """The clock of its message, in the destination's time zone."""
        return Clock(self.slot, self.time_zone)

    @property
    def page_clock(self) -> Clock:
        """The clock of its page.

        For a destination in UTC it is in the time zone of the runs, where they agree.
        """
        zones = {run.time_zone for run in self._runs}
        alike = self.time_zone == "UTC" and len(zones) == 1
        return Clock(self.slot, zones.pop() if alike else self.time_zone)

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
