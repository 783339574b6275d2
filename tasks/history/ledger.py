"""A destination's ledger: from what runs saw to what it has not heard, and what it was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from tasks.digests import Announcement, ClusterDay, Digest, DigestStatus, Medium
from tasks.errors import HistoryError, RunInProgress
from tasks.findings import Status
from tasks.history.database import Database, batches
from tasks.history.models import (
    DeliveryRow,
    DestinationRow,
    DigestRow,
    FindingRow,
    RunRow,
    SightingRow,
)
from tasks.history.sightings import FOUND, by_priority, first_seen, last_seen, news, restored
from tasks.runs import Outcome
from tasks.settings import Destination

DAY = timedelta(hours=24)

_SEARCHED = [outcome for outcome in Outcome if outcome.searched]


@dataclass(frozen=True, slots=True)
class Pending:
    """What a destination has not heard, oldest run first, highest priority first.

    Attributes:
        announcements: new findings and changed binaries; each finding with the status of the run
            that makes it news, and described as it was last seen.
        baselines: findings of first runs.
    """

    announcements: tuple[Announcement, ...]
    baselines: tuple[Announcement, ...]


@dataclass(frozen=True, slots=True)
class UnsettledDigest:
    """A digest that may have been posted or not: its sender ended in between."""

    id: str
    slot: datetime
    payload_hash: str
    begun_at: datetime


class Ledger:
    """What one destination has been told through one medium.

    A digest is begun before its post and settled after it, never the other way round: a crash in
    between can repeat a message, and cannot lose one.
    """

    def __init__(self, database: Database, destination: Destination, medium: Medium) -> None:
        """Take an open database, and whose ledger it is."""
        self._database = database
        self._destination = destination
        self._medium = medium

    def since(self, slot: datetime) -> datetime:
        """Give the slot after which runs are news here; the first call decides it.

        Args:
            slot: of the digest. The first one hears of a day; what was before is not for a
                destination that was added later.
        """
        with self._database.writing() as session:
            return self._registered(session, slot).since

    def pending(self, slot: datetime) -> Pending:
        """Give what the destination has not heard of the runs up to a digest's slot.

        A finding is told once, as new or as part of a baseline; a changed binary once for each
        hash. Nothing expires: what an earlier digest could not tell is told by the next.
        """
        with self._database.reading() as session:
            whose = self._row(session)
            unheard = (
                select(FindingRow, SightingRow, first_seen(), last_seen(), RunRow)
                .join(SightingRow, SightingRow.finding_key == FindingRow.key)
                .join(RunRow, RunRow.key == SightingRow.run_key)
                .where(
                    SightingRow.news.is_not(None),
                    RunRow.slot > (whose.since if whose else slot - DAY),
                    RunRow.slot <= slot,
                    RunRow.cluster.in_(self._destination.clusters),
                    RunRow.hunt.in_(self._destination.hunts),
                )
                .order_by(SightingRow.slot)
            )
            if whose:
                unheard = unheard.where(
                    ~exists().where(
                        DeliveryRow.destination_key == whose.key,
                        DeliveryRow.finding_key == SightingRow.finding_key,
                        DeliveryRow.news == SightingRow.news,
                    )
                )
            first: dict[tuple[int, str | None], Announcement] = {}
            for finding, seen, first_slot, last_slot, run in session.execute(unheard).tuples():
                announcement = Announcement(
                    restored(finding, seen, first_slot, last_slot), run.document
                )
                first.setdefault((finding.key, seen.news), announcement)
        ordered = sorted(
            first.values(), key=lambda each: (each.run.slot, by_priority(each.finding))
        )
        return Pending(
            announcements=tuple(each for each in ordered if not _is_baseline(each)),
            baselines=tuple(each for each in ordered if _is_baseline(each)),
        )

    def cluster_days(self, slot: datetime) -> tuple[ClusterDay, ...]:
        """Say of every hunt on every cluster in scope how the day before a digest's slot went."""
        with self._database.reading() as session:
            return tuple(
                _cluster_day(session, cluster, hunt, slot)
                for cluster, hunt in product(self._destination.clusters, self._destination.hunts)
            )

    def unsettled(self) -> UnsettledDigest | None:
        """Give the digest that was begun and never settled; None when there is none."""
        with self._database.reading() as session:
            row = self._sending(session)
            if row is None:
                return None
            return UnsettledDigest(row.id, row.slot, row.payload_hash, row.begun_at)

    def begin(self, digest: Digest, payload_hash: str) -> None:
        """Write that a digest is about to be posted, and what it tells.

        Raises:
            RunInProgress: another one is begun and not settled.
        """
        told = [each.finding for each in digest.announcements + digest.baselines]
        with self._database.writing() as session:
            whose = self._registered(session, digest.slot)
            if other := self._sending(session):
                raise RunInProgress(
                    f"{self._destination.name}: digest {other.id} of {other.slot:%Y-%m-%d %H:%M} "
                    "UTC is being sent.",
                    "Nothing was posted. Let it end and run again: a digest that never ended is "
                    "settled first.",
                )
            session.add(
                DigestRow(
                    id=digest.id,
                    destination_key=whose.key,
                    slot=digest.slot,
                    status=DigestStatus.SENDING,
                    payload_hash=payload_hash,
                    begun_at=datetime.now(UTC),
                    news=tuple(
                        (finding.fingerprint, said) for finding in told if (said := news(finding))
                    ),
                )
            )

    def settle(self, digest_id: str, status: DigestStatus, slack_ts: str | None = None) -> None:
        """Write how a begun digest ended.

        Args:
            digest_id: the digest's id.
            status: `sent` delivers its findings, in the same transaction; `refused` and `lost`
                deliver none, so that the next digest tells them.
            slack_ts: Slack's `ts` of the message.

        Raises:
            HistoryError: no such digest is being sent.
        """
        with self._database.writing() as session:
            row = session.get(DigestRow, digest_id)
            if row is None or row.status is not DigestStatus.SENDING:
                raise HistoryError(
                    f"{self._destination.name}: digest {digest_id} is not being sent"
                    f"{f': it is {row.status}' if row else ''}.",
                    "Nothing was changed. Run the digest again: it tells what is not delivered.",
                )
            row.status, row.slack_ts, row.settled_at = status, slack_ts, datetime.now(UTC)
            if status is DigestStatus.SENT:
                _deliver(session, row)

    def _row(self, session: Session) -> DestinationRow | None:
        return session.scalar(
            select(DestinationRow).where(
                DestinationRow.name == self._destination.name,
                DestinationRow.medium == self._medium,
            )
        )

    def _registered(self, session: Session, slot: datetime) -> DestinationRow:
        row = self._row(session)
        if row is None:
            row = DestinationRow(name=self._destination.name, medium=self._medium, since=slot - DAY)
            session.add(row)
            session.flush()
        return row

    def _sending(self, session: Session) -> DigestRow | None:
        return session.scalar(
            select(DigestRow)
            .join(DestinationRow)
            .where(
                DestinationRow.name == self._destination.name,
                DestinationRow.medium == self._medium,
                DigestRow.status == DigestStatus.SENDING,
            )
        )


def _is_baseline(announcement: Announcement) -> bool:
    finding = announcement.finding
    return finding.status is Status.BASELINE and news(finding) == FOUND


def _cluster_day(session: Session, cluster: str, hunt: str, slot: datetime) -> ClusterDay:
    newest = (
        select(RunRow)
        .where(RunRow.cluster == cluster, RunRow.hunt == hunt, RunRow.slot <= slot)
        .order_by(RunRow.slot.desc())
        .limit(1)
    )
    run = session.scalar(newest.where(RunRow.slot > slot - DAY))
    searched = session.scalar(newest.where(RunRow.outcome.in_(_SEARCHED)))
    return ClusterDay(
        cluster=cluster,
        hunt=hunt,
        run=run.document if run else None,
        last_searched=searched.slot if searched else None,
    )


def _deliver(session: Session, digest: DigestRow) -> None:
    """Write the deliveries of a sent digest; what was delivered before stays as it is."""
    for batch in batches(digest.news):
        keys = dict(
            session.execute(
                select(FindingRow.fingerprint, FindingRow.key).where(
                    FindingRow.fingerprint.in_([fingerprint for fingerprint, _ in batch])
                )
            )
            .tuples()
            .all()
        )
        delivered = session.execute(
            select(DeliveryRow.finding_key, DeliveryRow.news).where(
                DeliveryRow.destination_key == digest.destination_key,
                DeliveryRow.finding_key.in_(keys.values()),
            )
        ).tuples()
        wanted = {(keys[fingerprint], said) for fingerprint, said in batch}
        session.add_all(
            DeliveryRow(
                destination_key=digest.destination_key,
                finding_key=key,
                news=said,
                digest_id=digest.id,
            )
            for key, said in sorted(wanted.difference((key, said) for key, said in delivered))
        )
