"""A destination's ledger: pending news from runs, digests in progress, and deliveries."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tasks.errors import RunInProgress
from tasks.history.database import Database, batches
from tasks.history.models import (
    DeliveryRow,
    DestinationRow,
    DigestRow,
    FindingRow,
    PartRow,
    ScopeRow,
)
from tasks.history.pending import (
    Pending,
    delivery_keys_for_ended,
    last_number,
    news_of,
    pending,
    warnings_of,
)
from tasks.model.digests import (
    DAY,
    Announcement,
    Digest,
    DigestStatus,
    Medium,
    MessageOutline,
)
from tasks.settings import Destination

LEASE = timedelta(minutes=10)
"""Time that a digest stays with its sender after every step of sending."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A digest that is begun and not settled, as held by one sender.

    Attributes:
        sender: id of the sender; if the ledger has another id, this one has lost the digest.
        missing: numbers of the parts without a receipt; the first of them may be in the channel.
        thread_ts: Slack's `ts` of the first part; None before its receipt.
    """

    id: str
    slot: datetime
    begun_at: datetime
    sender: str
    missing: tuple[int, ...]
    thread_ts: str | None

    @property
    def in_channel(self) -> bool:
        """Whether its message, the first part, has a receipt."""
        return 1 not in self.missing


class Ledger:
    """The deliveries to one destination through one medium.

    A digest is begun before it is posted and settled afterwards, never the other way round: a
    crash in between can repeat a message, but cannot lose one. A part's news counts as delivered
    when the part has a receipt.
    """

    def __init__(self, database: Database, destination: Destination, medium: Medium) -> None:
        """Take an open database, and the ledger's destination and medium."""
        self._database = database
        self._destination = destination
        self._medium = medium

    def start_scope(self, slot: datetime) -> None:
        """Start delivery for clusters and hunts that are new in the destination's scope.

        Args:
            slot: the digest's slot. For a new cluster and hunt, delivery starts one day before it:
                older news is not for a destination or scope that was added later.
        """
        with self._database.writing() as session:
            whose = self._registered(session)
            for cluster, hunt in product(self._destination.clusters, self._destination.hunts):
                if session.get(ScopeRow, (whose, cluster, hunt)) is None:
                    session.add(
                        ScopeRow(
                            destination_key=whose, cluster=cluster, hunt=hunt, since=slot - DAY
                        )
                    )

    def pending(self, slot: datetime) -> Pending:
        """Give the news up to a digest's slot that is not delivered to the destination.

        A finding is delivered once, as new or as part of a baseline; a changed binary once for
        every hash. Pending news never expires: the next digest contains what an earlier one missed.
        """
        with self._database.reading() as session:
            return pending(session, self._key(session), self._destination, slot)

    def begin(self, digest: Digest, message: MessageOutline) -> Unsettled:
        """Record that a digest is about to be posted, and the news in its parts.

        Raises:
            RunInProgress: another digest is in progress, or was sent since this one was composed.
        """
        replies = [tuple(news_of(announcements)) for announcements in message.replies]
        elsewhere = {news for reply in replies for news in reply}
        everything = news_of(digest.announcements + digest.baselines) + delivery_keys_for_ended(
            digest.ended
        )
        first = tuple(news for news in everything if news not in elsewhere)
        now = datetime.now(UTC)
        with self._database.writing() as session:
            whose = self._registered(session)
            self._refuse_second(session, whose, digest)
            row = DigestRow(
                id=digest.id,
                destination_key=whose,
                number=digest.number,
                slot=digest.slot,
                status=DigestStatus.SENDING,
                payload_hash=message.payload_hash,
                sender=_new_sender(),
                begun_at=now,
                lease_until=now + LEASE,
                gaps=tuple(warnings_of(digest.clusters)),
            )
            session.add(row)
            session.flush()
            session.add_all(
                PartRow(digest_id=digest.id, number=number, news=news)
                for number, news in enumerate((first, *replies), 1)
            )
            session.flush()
            return _unsettled(session, row)

    def take_over(self) -> Unsettled | None:
        """Take over the unsettled digest of a sender that is gone; None if there is no such digest.

        The caller must settle it: no other process gets it until the lease ends.

        Raises:
            RunInProgress: its sender's lease has not ended.
        """
        with self._database.writing() as session:
            row = self._sending(session)
            if row is None:
                return None
            now = datetime.now(UTC)
            if now < row.lease_until:
                raise self._in_progress(row)
            row.sender, row.lease_until = _new_sender(), now + LEASE
            return _unsettled(session, row)

    def unsettled(self, digest: Unsettled) -> Unsettled:
        """Give the digest with the parts that still have no receipt.

        Raises:
            RunInProgress: it took so long that another process has taken it over or settled it.
        """
        with self._database.reading() as session:
            return _unsettled(session, self._held(session, digest))

    def renew(self, digest: Unsettled) -> None:
        """Extend the digest's lease by `LEASE` from now.

        Raises:
            RunInProgress: as above.
        """
        with self._database.writing() as session:
            self._held(session, digest).lease_until = datetime.now(UTC) + LEASE

    def posted(self, digest: Unsettled, receipts: Mapping[int, str | None]) -> None:
        """Record the receipts of parts and the deliveries of their news, in one transaction.

        This also holds if another process has taken the digest over: a message that is in the
        channel is delivered.

        Args:
            digest: the parts' digest.
            receipts: Slack's `ts` by the part's number; None in a terminal.
        """
        with self._database.writing() as session:
            row = session.get_one(DigestRow, digest.id)
            if row.sender == digest.sender:
                row.lease_until = datetime.now(UTC) + LEASE
            for number, slack_ts in receipts.items():
                part = session.get_one(PartRow, (digest.id, number))
                part.posted_at, part.slack_ts = datetime.now(UTC), slack_ts
                _deliver(session, row, part)

    def split(self, digest: Unsettled, number: int, stays: Sequence[Announcement]) -> int:
        """Split a part that cannot be posted as one, and give the number of the new part.

        Args:
            digest: the part's digest.
            number: of the part.
            stays: announcements that stay in it; all its other news is in the new part.

        Raises:
            RunInProgress: as above.
        """
        kept = frozenset(news_of(stays))
        with self._database.writing() as session:
            self._held(session, digest)
            part = session.get_one(PartRow, (digest.id, number))
            numbers = select(func.max(PartRow.number)).where(PartRow.digest_id == digest.id)
            behind = session.scalars(numbers).one() + 1
            moved = tuple(news for news in part.news if news not in kept)
            session.add(PartRow(digest_id=digest.id, number=behind, news=moved))
            part.news = tuple(news for news in part.news if news in kept)
        return behind

    def settle(self, digest: Unsettled, status: DigestStatus) -> None:
        """Record how a digest ended. News in parts that were not posted stays pending.

        Raises:
            RunInProgress: as above.
        """
        with self._database.writing() as session:
            row = self._held(session, digest)
            row.status, row.settled_at = status, datetime.now(UTC)

    def release(self, digest: Unsettled) -> None:
        """End the lease of a digest that cannot be posted or settled now, for the next process.

        Raises:
            RunInProgress: as above.
        """
        with self._database.writing() as session:
            self._held(session, digest).lease_until = datetime.now(UTC)

    def _key(self, session: Session) -> int | None:
        return session.scalar(
            select(DestinationRow.key).where(
                DestinationRow.name == self._destination.name,
                DestinationRow.medium == self._medium,
            )
        )

    def _registered(self, session: Session) -> int:
        key = self._key(session)
        if key is not None:
            return key
        row = DestinationRow(name=self._destination.name, medium=self._medium)
        session.add(row)
        session.flush()
        return row.key

    def _sending(self, session: Session) -> DigestRow | None:
        return session.scalar(
            select(DigestRow).where(
                DigestRow.destination_key == self._key(session),
                DigestRow.status == DigestStatus.SENDING,
            )
        )

    def _held(self, session: Session, digest: Unsettled) -> DigestRow:
        row = session.get_one(DigestRow, digest.id)
        if (row.status, row.sender) != (DigestStatus.SENDING, digest.sender):
            raise RunInProgress(
                f"{self._destination.name}: digest {row.id} took so long that another process "
                f"{'has it now' if row.status is DigestStatus.SENDING else 'settled it'}.",
                "Wait until that process has ended, then run the digest again: it contains what is "
                "still to be delivered.",
            )
        return row

    def _refuse_second(self, session: Session, whose: int, digest: Digest) -> None:
        """Let only one of the digests be sent that were composed from the same ledger."""
        if other := self._sending(session):
            raise self._in_progress(other)
        if last_number(session, whose) >= digest.number:
            raise RunInProgress(
                f"{self._destination.name}: another process sent a digest while this one was "
                "being composed.",
                "This one posted nothing. Run it again: it contains what is still to be delivered.",
            )

    def _in_progress(self, other: DigestRow) -> RunInProgress:
        return RunInProgress(
            f"{self._destination.name}: another process is sending the digest {other.id} for "
            f"{other.slot:%Y-%m-%d %H:%M} UTC.",
            "This one posted nothing. If that process is gone, run again after "
            f"{other.lease_until:%H:%M} UTC: its digest is then settled first.",
        )


def _new_sender() -> str:
    return uuid.uuid4().hex[:12]


def _unsettled(session: Session, row: DigestRow) -> Unsettled:
    parts = session.scalars(
        select(PartRow).where(PartRow.digest_id == row.id).order_by(PartRow.number)
    ).all()
    return Unsettled(
        id=row.id,
        slot=row.slot,
        begun_at=row.begun_at,
        sender=row.sender,
        missing=tuple(part.number for part in parts if part.posted_at is None),
        thread_ts=parts[0].slack_ts,
    )


def _deliver(session: Session, digest: DigestRow, part: PartRow) -> None:
    """Record the deliveries of a posted part; earlier deliveries stay as they are."""
    for batch in batches(part.news):
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
        wanted = {(keys[fingerprint], news) for fingerprint, news in batch}
        session.add_all(
            DeliveryRow(
                destination_key=digest.destination_key,
                finding_key=key,
                news=news,
                digest_id=digest.id,
            )
            for key, news in sorted(wanted.difference((key, news) for key, news in delivered))
        )
