"""A destination's ledger: from what runs saw to what it has not heard, and what it was told."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

from sqlalchemy import select
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
from tasks.model.digests import DAY, Digest, DigestStatus, Medium, MessageOutline
from tasks.settings import Destination

LEASE = timedelta(minutes=10)
"""A digest that is being sent belongs to its sender for so long after each of its steps."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A digest that is begun and not settled, in the hands of one sender.

    Attributes:
        sender: who has it: of two that believe so, the one that the ledger names.
        missing: numbers of the parts without a receipt; the first of them may be in the channel.
        thread_ts: Slack's `ts` of the first part, once it has a receipt.
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
    """What one destination has been told through one medium.

    A digest is begun before its post and settled after it, never the other way round: a crash in
    between can repeat a message, and cannot lose one. What a part of it tells is delivered when
    that part has a receipt.
    """

    def __init__(self, database: Database, destination: Destination, medium: Medium) -> None:
        """Take an open database, and whose ledger it is."""
        self._database = database
        self._destination = destination
        self._medium = medium

    def start_scope(self, slot: datetime) -> None:
        """Let what is in scope and was not so far be heard from now on.

        Args:
            slot: of the digest. Of a cluster and hunt that came into scope with it, it hears of one
                day; what was before is not for a destination, or a scope, that was added later.
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
        """Give what the destination has not heard up to a digest's slot.

        A finding is told once, as new or as part of a baseline; a changed binary once for each
        hash. Nothing of that expires: what an earlier digest could not tell is told by the next.
        """
        with self._database.reading() as session:
            return pending(session, self._key(session), self._destination, slot)

    def begin(self, digest: Digest, message: MessageOutline) -> Unsettled:
        """Write that a digest is about to be posted, and what each part of its message reports.

        Raises:
            RunInProgress: another one is begun and not settled, or was since this was composed.
        """
        replies = [tuple(news_of(announcements)) for announcements in message.replies]
        elsewhere = {said for reply in replies for said in reply}
        everything = news_of(digest.announcements + digest.baselines) + delivery_keys_for_ended(
            digest.ended
        )
        first = tuple(said for said in everything if said not in elsewhere)
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
                PartRow(digest_id=digest.id, number=number, news=told)
                for number, told in enumerate((first, *replies), 1)
            )
            session.flush()
            return _unsettled(session, row)

    def take_over(self) -> Unsettled | None:
        """Give the digest that was begun and never settled, whose sender is gone; None without one.

        Whoever gets it has to settle it: until the lease ends nobody else gets it.

        Raises:
            RunInProgress: its sender is not gone.
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
        """Say which parts of a digest have no receipt by now.

        Raises:
            RunInProgress: it took so long that somebody else has it, or has settled it.
        """
        with self._database.reading() as session:
            return _unsettled(session, self._held(session, digest))

    def renew(self, digest: Unsettled) -> None:
        """Keep a digest for another `LEASE`.

        Raises:
            RunInProgress: as above.
        """
        with self._database.writing() as session:
            self._held(session, digest).lease_until = datetime.now(UTC) + LEASE

    def posted(self, digest: Unsettled, receipts: Mapping[int, str | None]) -> None:
        """Write the receipts of parts, and deliver what they tell, in one transaction.

        Whoever has the digest by now: what is in the channel is told.

        Args:
            digest: what the parts are of.
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

    def settle(self, digest: Unsettled, status: DigestStatus) -> None:
        """Write how a digest ended. What no posted part of it tells stays pending.

        Raises:
            RunInProgress: as above.
        """
        with self._database.writing() as session:
            row = self._held(session, digest)
            row.status, row.settled_at = status, datetime.now(UTC)

    def release(self, digest: Unsettled) -> None:
        """Leave a digest that can neither be posted nor settled now to whoever comes next.

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
                "Let that end and run the digest again: it tells what is not delivered.",
            )
        return row

    def _refuse_second(self, session: Session, whose: int, digest: Digest) -> None:
        """Let only one of those be sent that were composed of the same ledger."""
        if other := self._sending(session):
            raise self._in_progress(other)
        if last_number(session, whose) >= digest.number:
            raise RunInProgress(
                f"{self._destination.name}: another process sent a digest while this one was "
                "being composed.",
                "Nothing was posted by this one. Run it again: it tells what is not delivered.",
            )

    def _in_progress(self, other: DigestRow) -> RunInProgress:
        return RunInProgress(
            f"{self._destination.name}: digest {other.id} of {other.slot:%Y-%m-%d %H:%M} UTC is "
            "being sent by another process.",
            f"Nothing was posted by this one. If that process is gone, run again after "
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
    """Write the deliveries of a posted part; what was delivered before stays as it is."""
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
