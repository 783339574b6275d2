"""What a destination has not heard: from runs and earlier digests to what the next may tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

from sqlalchemy import ColumnElement, and_, exists, func, literal, select
from sqlalchemy.orm import Session

from tasks.history.acknowledgements import (
    acknowledgements_by_identity,
    end_of,
    ended_acknowledgements,
)
from tasks.history.models import (
    DeliveryRow,
    DigestRow,
    FindingRow,
    PartRow,
    RunRow,
    ScopeRow,
    SightingRow,
    UtcColumn,
)
from tasks.history.recorded import SEARCHED, read_trend
from tasks.history.sightings import FOUND, by_priority, first_seen, last_seen, news_key, restored
from tasks.model.acknowledgements import ByIdentity
from tasks.model.digests import (
    DAY,
    Announcement,
    ClusterDay,
    CoverageGap,
    DayGap,
    DigestStatus,
    Ended,
    day_gaps,
)
from tasks.model.findings import Status, with_acknowledgement
from tasks.settings import Destination

LOOK_BACK = timedelta(days=14)
"""How days went that are longer ago no digest says; the archive does."""

SAME_DAY = timedelta(hours=20)
"""Two moments so close together belong to one day: less than 24 hours, since clocks change."""

_UNCERTAIN = [DigestStatus.LOST, DigestStatus.SENDING]

News = tuple[str, str]
"""A finding's fingerprint, and what of it is news."""

Warned = tuple[str, str, DayGap]
"""A warning's cluster, hunt and gap."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What a destination has not heard, as of one moment.

    Attributes:
        number: of the digest that may tell it; see `Digest` for this and the last five.
        announcements: new findings and changed binaries, oldest run first, highest priority first;
            each finding with the status of the run that makes it news, and described as it was
            last seen.
        baselines: findings of first runs.
        clusters: every hunt on every cluster in scope.
    """

    number: int
    announcements: tuple[Announcement, ...]
    baselines: tuple[Announcement, ...]
    ended: tuple[Ended, ...]
    acknowledged: int
    clusters: tuple[ClusterDay, ...]
    previous: datetime | None
    undelivered: tuple[datetime, ...]
    may_repeat: datetime | None


def pending(
    session: Session, whose: int | None, destination: Destination, slot: datetime
) -> Pending:
    """Find what a destination has not heard up to a digest's slot.

    Args:
        session: one that sees one moment.
        whose: key of the destination's row; None for one that never heard of anything.
        destination: with its scope.
        slot: of the digest.
    """
    previous = session.scalar(
        select(DigestRow).where(_posted(whose)).order_by(DigestRow.number.desc()).limit(1)
    )
    words = acknowledgements_by_identity(session)
    unheard = _unheard(session, whose, destination, slot, words)
    told = [each for each in unheard if each.finding.acknowledgement is None]
    since = min(slot - LOOK_BACK, previous.slot) if previous else None
    over = ended_acknowledgements(session, whose, destination, slot, since, words)
    clusters = tuple(
        _cluster_day(session, whose, previous, cluster, hunt, slot)
        for cluster, hunt in product(destination.clusters, destination.hunts)
    )
    return Pending(
        number=last_number(session, whose) + 1,
        announcements=tuple(each for each in told if not _is_baseline(each)),
        baselines=tuple(each for each in told if _is_baseline(each)),
        ended=over,
        acknowledged=_acknowledged(session, clusters, unheard),
        clusters=clusters,
        previous=previous.slot if previous else None,
        undelivered=_undelivered(session, whose, previous, slot),
        may_repeat=_may_repeat(
            session,
            whose,
            frozenset((*news_of(told), *delivery_keys_for_ended(over))),
            frozenset(warnings_of(clusters)),
        ),
    )


def last_number(session: Session, whose: int | None) -> int:
    """Give the number of a destination's newest digest, however it ended; 0 without one."""
    numbers = select(func.max(DigestRow.number)).where(DigestRow.destination_key == whose)
    return session.scalar(numbers) or 0


def news_of(announcements: Iterable[Announcement]) -> list[News]:
    """Give what a destination will have heard that is told these."""
    findings = (each.finding for each in announcements)
    return [(finding.fingerprint, said) for finding in findings if (said := news_key(finding))]


def delivery_keys_for_ended(over: Iterable[Ended]) -> list[News]:
    """Give what a destination will have heard that is told these, each on what was looked at."""
    words = (each.acknowledgement for each in over)
    return [(word.fingerprint, end_of(word)) for word in words]


def warnings_of(clusters: Iterable[ClusterDay]) -> list[Warned]:
    """Give the warnings that a digest tells."""
    return [(day.cluster, day.hunt, gap) for day in clusters for gap in day.gaps]


def _unheard(
    session: Session,
    whose: int | None,
    destination: Destination,
    slot: datetime,
    words: ByIdentity,
) -> list[Announcement]:
    """Give what has no delivery, oldest run first, highest priority first.

    What was acknowledged only after its run is marked so, also when that has ended by now: then
    the end is told, and not the past. Of the same news from several runs the first counts that is
    not acknowledged.
    """
    in_scope = and_(
        ScopeRow.destination_key == whose,
        ScopeRow.cluster == RunRow.cluster,
        ScopeRow.hunt == RunRow.hunt,
    )
    delivered = exists().where(
        DeliveryRow.destination_key == whose,
        DeliveryRow.finding_key == SightingRow.finding_key,
        DeliveryRow.news == SightingRow.news,
    )
    rows = session.execute(
        select(FindingRow, SightingRow, first_seen(), last_seen(), RunRow)
        .join(SightingRow, SightingRow.finding_key == FindingRow.key)
        .join(RunRow, RunRow.key == SightingRow.run_key)
        .outerjoin(ScopeRow, in_scope)
        .where(
            SightingRow.news.is_not(None),
            RunRow.slot > func.coalesce(ScopeRow.since, literal(slot - DAY, UtcColumn)),
            RunRow.slot <= slot,
            RunRow.cluster.in_(destination.clusters),
            RunRow.hunt.in_(destination.hunts),
            ~delivered,
        )
        .order_by(SightingRow.slot)
    ).tuples()
    first: dict[tuple[int, str | None], Announcement] = {}
    for row, seen, first_slot, last_slot, run in rows:
        finding = with_acknowledgement(restored(row, seen, first_slot, last_slot), words, run.slot)
        earlier = first.get((row.key, seen.news))
        if earlier is None or (earlier.finding.acknowledgement and not finding.acknowledgement):
            first[row.key, seen.news] = Announcement(finding, run.document)
    return sorted(first.values(), key=lambda each: (each.run.slot, by_priority(each.finding)))


def _acknowledged(
    session: Session, clusters: Iterable[ClusterDay], unheard: Iterable[Announcement]
) -> int:
    """Count what a day's runs saw and an analyst's word keeps from being told."""
    today = [day.run.id for day in clusters if day.run]
    recorded = select(func.sum(RunRow.acknowledged)).where(RunRow.id.in_(today))
    later = [each for each in unheard if each.finding.acknowledgement and each.run.id in today]
    return len(later) + (session.scalar(recorded) or 0)


def _is_baseline(announcement: Announcement) -> bool:
    finding = announcement.finding
    return finding.status is Status.BASELINE and news_key(finding) == FOUND


def _cluster_day(
    session: Session,
    whose: int | None,
    previous: DigestRow | None,
    cluster: str,
    hunt: str,
    slot: datetime,
) -> ClusterDay:
    """Say how a hunt on a cluster went in a digest's day, and in those since the digest before.

    The digest before may not have known all of its own day: what was recorded later is told too.
    A run that searched everything makes up for what runs of its day could not.
    """
    since = session.scalar(
        select(ScopeRow.since).where(
            ScopeRow.destination_key == whose, ScopeRow.cluster == cluster, ScopeRow.hunt == hunt
        )
    )
    earliest = max(since or slot - DAY, slot - LOOK_BACK)
    if previous:
        earliest = max(earliest, min(slot, previous.slot) - DAY)
    of_both = and_(RunRow.cluster == cluster, RunRow.hunt == hunt, RunRow.slot <= slot)
    runs = session.scalars(
        select(RunRow.document)
        .where(of_both, RunRow.slot > min(earliest, slot - DAY))
        .order_by(RunRow.slot)
    ).all()
    today = runs[-1] if runs and runs[-1].slot > slot - DAY else None
    whole = [run.slot for run in runs if not CoverageGap.of(run)]
    lacking = [
        DayGap(run.slot, lack)
        for run in runs
        if run is not today
        and run.slot > earliest
        and (lack := CoverageGap.of(run))
        and not any(run.slot < made_up < run.slot + SAME_DAY for made_up in whole)
    ]
    told = _told(session, whose, cluster, hunt, slot)
    searched = session.scalars(
        select(RunRow.document)
        .where(of_both, RunRow.outcome.in_(SEARCHED))
        .order_by(RunRow.slot.desc())
        .limit(2)
    ).all()
    before = next((run for run in searched if today is None or run.slot < today.slot), None)
    return ClusterDay(
        cluster=cluster,
        hunt=hunt,
        run=today,
        last_searched=searched[0].slot if searched else None,
        gaps=tuple(
            gap
            for gap in (*lacking, *day_gaps(slot, today, before))
            if not any(_is_same(gap, other) for other in told)
        ),
        trend=read_trend(
            session, select(RunRow).where(RunRow.cluster == cluster, RunRow.hunt == hunt), slot
        ),
    )


def _is_same(gap: DayGap, other: DayGap) -> bool:
    if gap.lack is other.lack is CoverageGap.LATE:
        return abs(gap.slot - other.slot) < SAME_DAY
    return gap == other


def _posted(whose: int | None) -> ColumnElement[bool]:
    """Take the digests whose message is in the channel, whatever became of its thread."""
    receipt = exists().where(
        PartRow.digest_id == DigestRow.id, PartRow.number == 1, PartRow.posted_at.is_not(None)
    )
    return and_(DigestRow.destination_key == whose, receipt)


def _told(
    session: Session, whose: int | None, cluster: str, hunt: str, slot: datetime
) -> frozenset[DayGap]:
    warnings = select(DigestRow.gaps).where(_posted(whose), DigestRow.slot > slot - LOOK_BACK)
    return frozenset(
        gap
        for told in session.scalars(warnings)
        for its_cluster, its_hunt, gap in told
        if (its_cluster, its_hunt) == (cluster, hunt)
    )


def _undelivered(
    session: Session, whose: int | None, previous: DigestRow | None, slot: datetime
) -> tuple[datetime, ...]:
    """Give the slots of digests that are not in the channel, or not with all of their thread."""
    slots = select(DigestRow.slot).where(
        DigestRow.destination_key == whose,
        DigestRow.number >= (previous.number if previous else 0),
        DigestRow.slot != slot,
        DigestRow.status.not_in(_UNCERTAIN),
        exists().where(PartRow.digest_id == DigestRow.id, PartRow.posted_at.is_(None)),
    )
    return tuple(session.scalars(slots.distinct().order_by(DigestRow.slot)))


def _may_repeat(
    session: Session, whose: int | None, news: frozenset[News], warnings: frozenset[Warned]
) -> datetime | None:
    """Give the slot of a digest of which a part may be in the channel that told some of this."""
    uncertain = session.execute(
        select(DigestRow, PartRow)
        .join(PartRow, PartRow.digest_id == DigestRow.id)
        .where(
            DigestRow.destination_key == whose,
            DigestRow.status.in_(_UNCERTAIN),
            PartRow.posted_at.is_(None),
        )
        .order_by(DigestRow.number, PartRow.number.desc())
    ).tuples()
    # Parts are posted in their order: only the first without a receipt can be there. Warnings
    # stand in the first part; once that has a receipt, they are no longer pending.
    for digest, part in {digest.id: (digest, part) for digest, part in uncertain}.values():
        if not (news.isdisjoint(part.news) and warnings.isdisjoint(digest.gaps)):
            return digest.slot
    return None
