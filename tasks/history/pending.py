"""Pending news: from runs and earlier digests to the content of a destination's next digest."""

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
"""Digests do not report on runs older than this; the archive has them."""

SAME_DAY = timedelta(hours=20)
"""Slots closer together than this belong to one day: less than 24 hours, since clocks change."""

_UNCERTAIN = [DigestStatus.LOST, DigestStatus.SENDING]

News = tuple[str, str]
"""A finding's fingerprint and its news key."""

Warned = tuple[str, str, DayGap]
"""A warning's cluster, hunt and gap."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The news that is not yet delivered to a destination, in one snapshot.

    Attributes:
        number: of the next digest; see `Digest` for this and the last five.
        announcements: new findings and changed binaries, oldest run first, highest priority first;
            with the status in the run that makes them news, and described as last seen.
        baselines: findings from first runs.
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
    """Find the news up to a digest's slot that is not delivered to a destination.

    Args:
        session: one with a consistent snapshot.
        whose: key of the destination's row; None before its first digest.
        destination: with its scope.
        slot: the digest's slot.
    """
    previous = session.scalar(
        select(DigestRow).where(_posted(whose)).order_by(DigestRow.number.desc()).limit(1)
    )
    acknowledgements = acknowledgements_by_identity(session)
    undelivered = _undelivered_news(session, whose, destination, slot, acknowledgements)
    announced = [each for each in undelivered if each.finding.acknowledgement is None]
    since = min(slot - LOOK_BACK, previous.slot) if previous else None
    over = ended_acknowledgements(session, whose, destination, slot, since, acknowledgements)
    clusters = tuple(
        _cluster_day(session, whose, previous, cluster, hunt, slot)
        for cluster, hunt in product(destination.clusters, destination.hunts)
    )
    return Pending(
        number=last_number(session, whose) + 1,
        announcements=tuple(each for each in announced if not _is_baseline(each)),
        baselines=tuple(each for each in announced if _is_baseline(each)),
        ended=over,
        acknowledged=_acknowledged(session, clusters, undelivered),
        clusters=clusters,
        previous=previous.slot if previous else None,
        undelivered=_undelivered(session, whose, previous, slot),
        may_repeat=_may_repeat(
            session,
            whose,
            frozenset((*news_of(announced), *delivery_keys_for_ended(over))),
            frozenset(warnings_of(clusters)),
        ),
    )


def last_number(session: Session, whose: int | None) -> int:
    """Give the number of a destination's newest digest, however it ended; 0 without one."""
    numbers = select(func.max(DigestRow.number)).where(DigestRow.destination_key == whose)
    return session.scalar(numbers) or 0


def news_of(announcements: Iterable[Announcement]) -> list[News]:
    """Give the delivery keys for announcements."""
    findings = (each.finding for each in announcements)
    return [(finding.fingerprint, news) for finding in findings if (news := news_key(finding))]


def delivery_keys_for_ended(over: Iterable[Ended]) -> list[News]:
    """Give the delivery keys for ended acknowledgements, by the finding that was looked at."""
    ended = (each.acknowledgement for each in over)
    return [(each.fingerprint, end_of(each)) for each in ended]


def warnings_of(clusters: Iterable[ClusterDay]) -> list[Warned]:
    """Give the warnings in a digest."""
    return [(day.cluster, day.hunt, gap) for day in clusters for gap in day.gaps]


def _undelivered_news(
    session: Session,
    whose: int | None,
    destination: Destination,
    slot: datetime,
    acknowledgements: ByIdentity,
) -> list[Announcement]:
    """Give the news without a delivery, oldest run first, highest priority first.

    A finding acknowledged after its run is marked so, even if that acknowledgement has ended: then
    the digest announces its end, not the old news. If several runs have the same news, the first
    one without an acknowledgement counts.
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
        finding = restored(row, seen, first_slot, last_slot)
        finding = with_acknowledgement(finding, acknowledgements, run.slot)
        earlier = first.get((row.key, seen.news))
        if earlier is None or (earlier.finding.acknowledgement and not finding.acknowledgement):
            first[row.key, seen.news] = Announcement(finding, run.document)
    return sorted(first.values(), key=lambda each: (each.run.slot, by_priority(each.finding)))


def _acknowledged(
    session: Session, clusters: Iterable[ClusterDay], undelivered: Iterable[Announcement]
) -> int:
    """Count the findings in a day's runs that are not announced because of an acknowledgement."""
    today = [day.run.id for day in clusters if day.run]
    recorded = select(func.sum(RunRow.acknowledged)).where(RunRow.id.in_(today))
    later = [each for each in undelivered if each.finding.acknowledgement and each.run.id in today]
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
    """Sum up a hunt on a cluster for a digest's day, and for the days since the last digest.

    The last digest's own day is included, since runs may have been recorded after it. A run
    without a coverage gap makes up for the gaps of other runs on its day.
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
    delivered = _delivered_gaps(session, whose, cluster, hunt, slot)
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
            if not any(_is_same(gap, other) for other in delivered)
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
    """Match digests whose message is in the channel, with or without all of its thread."""
    receipt = exists().where(
        PartRow.digest_id == DigestRow.id, PartRow.number == 1, PartRow.posted_at.is_not(None)
    )
    return and_(DigestRow.destination_key == whose, receipt)


def _delivered_gaps(
    session: Session, whose: int | None, cluster: str, hunt: str, slot: datetime
) -> frozenset[DayGap]:
    warnings = select(DigestRow.gaps).where(_posted(whose), DigestRow.slot > slot - LOOK_BACK)
    return frozenset(
        gap
        for gaps in session.scalars(warnings)
        for its_cluster, its_hunt, gap in gaps
        if (its_cluster, its_hunt) == (cluster, hunt)
    )


def _undelivered(
    session: Session, whose: int | None, previous: DigestRow | None, slot: datetime
) -> tuple[datetime, ...]:
    """Give the slots of digests that are missing in the channel, at least in part."""
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
    """Give the slot of a digest with some of this news in a part that may be in the channel."""
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
    # Parts are posted in order: only the first one without a receipt can be in the channel.
    # Warnings are in the first part; once that has a receipt, they are no longer pending.
    for digest, part in {digest.id: (digest, part) for digest, part in uncertain}.values():
        if not (news.isdisjoint(part.news) and warnings.isdisjoint(digest.gaps)):
            return digest.slot
    return None
