"""The history's acknowledgements: from an analyst's decision to a row, and to later runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, product

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from tasks.history.database import Database
from tasks.history.models import (
    AcknowledgementRow,
    DeliveryRow,
    FindingRow,
    RunRow,
    ScopeRow,
    SightingRow,
)
from tasks.history.recorded import COMPARABLE
from tasks.history.sightings import by_priority, first_seen, last_hash, last_seen, restored
from tasks.model.acknowledgements import (
    NAMED_IDS,
    Acknowledgement,
    ByIdentity,
    Withdrawal,
    by_identity,
    id_prefix,
    not_acknowledged,
    nothing_in_common,
    resolve_id,
    validate_acknowledgement,
    validate_author,
)
from tasks.model.digests import DAY, Announcement, Ended
from tasks.model.findings import Finding, Status, last_acknowledgement
from tasks.model.runs import Run
from tasks.settings import Destination

AcknowledgedFinding = tuple[Acknowledgement, Finding]
"""An acknowledgement, and the finding that was looked at, as described by its last run."""


class Acknowledgements:
    """All acknowledgements in one database."""

    def __init__(self, database: Database) -> None:
        """Take an open database."""
        self._database = database

    def give(
        self,
        named: str,
        *,
        by: str,
        why: str,
        until: datetime,
        everywhere: bool = False,
        now: datetime,
    ) -> AcknowledgedFinding:
        """Acknowledge a finding, and end an earlier acknowledgement of the same scope and binary.

        Args:
            named: the finding's id, or its beginning.
            by: the author.
            why: the reason why it is harmless.
            until: end of the acknowledgement; this moment is no longer acknowledged.
            everywhere: cover the same program and destination on every host, also on later ones.
            now: aware UTC.

        Raises:
            AcknowledgementError: an argument is invalid; no finding has the id, or several do.
        """
        validate_acknowledgement(by=by, why=why, until=until, now=now)
        with self._database.writing() as session:
            row, finding = _found(session, named)
            anywhere = finding.anywhere if everywhere else None
            if everywhere and anywhere is None:
                raise nothing_in_common(finding.id)
            added = AcknowledgementRow(
                finding_key=row.key,
                anywhere=anywhere,
                hash_sha256=session.scalar(select(last_hash()).where(FindingRow.key == row.key)),
                given_by=by.strip(),
                why=why.strip(),
                given_at=now,
                until=until,
            )
            given = _value(added, finding)
            for earlier, _ in all_acknowledgements(session):
                same = (earlier.covers, earlier.hash_sha256) == (given.covers, given.hash_sha256)
                if same and now < earlier.end:
                    _end(session, earlier, given.by, now)
            session.add(added)
            session.flush()
            return replace(given, key=added.key), finding

    def end(self, named: str, *, by: str, now: datetime) -> Withdrawal:
        """End a finding's active acknowledgements, and return them.

        Args:
            named: the finding's id, or its beginning.
            by: the author of this withdrawal.
            now: aware UTC.

        Raises:
            AcknowledgementError: the finding has no active acknowledgement; no finding has the id,
                or several do.
        """
        validate_author(by)
        with self._database.writing() as session:
            row, finding = _found(session, named)
            active = [each for each, _ in all_acknowledgements(session) if now < each.end]
            own = [each for each in active if each.fingerprint == row.fingerprint]
            binary = finding.process.hash_sha256
            covering = {
                each.finding
                for each in active
                if each not in own
                and each.covers == finding.anywhere
                and each.is_of(binary, changed=False)
            }
            if not own:
                raise not_acknowledged(finding.id, covering)
            ended = tuple(_end(session, each, by.strip(), now) for each in own)
            return Withdrawal(ended, tuple(sorted(covering)))

    def all(self) -> tuple[AcknowledgedFinding, ...]:
        """Give all acknowledgements, active and ended, newest first."""
        with self._database.reading() as session:
            return all_acknowledgements(session)


def all_acknowledgements(session: Session) -> tuple[AcknowledgedFinding, ...]:
    """Give all acknowledgements, active and ended, newest first."""
    rows = session.execute(
        select(AcknowledgementRow, FindingRow)
        .join(FindingRow, FindingRow.key == AcknowledgementRow.finding_key)
        .order_by(AcknowledgementRow.key.desc())
    ).tuples()
    found = ((row, replace(finding.document, id=finding.id)) for row, finding in rows)
    return tuple((_value(row, finding), finding) for row, finding in found)


def acknowledgements_by_identity(session: Session) -> ByIdentity:
    """Give all acknowledgements, by the identity that they cover."""
    return by_identity(acknowledgement for acknowledgement, _ in all_acknowledgements(session))


def ended_acknowledgements(
    session: Session,
    whose: int | None,
    destination: Destination,
    slot: datetime,
    since: datetime | None,
    acknowledgements: ByIdentity,
) -> tuple[Ended, ...]:
    """Find ended acknowledgements whose findings are still active, for a digest to announce.

    Args:
        session: one with a consistent snapshot.
        whose: key of the destination's row; None before its first digest.
        destination: with its scope.
        slot: the digest's slot.
        since: leave out acknowledgements that ended at or before this moment; None before the
            first digest: then only the start of the destination's scope counts.
        acknowledgements: all of them, by the identity that they cover.
    """
    over = {
        end_of(each): each
        for each in chain.from_iterable(acknowledgements.values())
        if each.end <= slot and (since is None or since < each.end)
    }
    delivered = session.scalars(
        select(DeliveryRow.news).where(
            DeliveryRow.destination_key == whose, DeliveryRow.news.in_(over)
        )
    )
    for news in delivered:
        del over[news]
    still: dict[str, list[Announcement]] = defaultdict(list)
    for cluster, hunt in product(destination.clusters, destination.hunts) if over else ():
        scope = session.get(ScopeRow, (whose, cluster, hunt))
        in_scope_since = scope.since if scope else slot - DAY
        for finding, run in _still_active(session, cluster, hunt, slot, over.values()):
            last = last_acknowledgement(finding, acknowledgements)
            if last and end_of(last) in over and max(finding.first_seen, in_scope_since) < last.end:
                still[end_of(last)].append(Announcement(finding, run))
    return tuple(
        Ended(ended, tuple(sorted(still[news], key=lambda each: by_priority(each.finding))))
        for news, ended in sorted(over.items(), key=lambda each: (each[1].end, each[1].key))
        if news in still
    )


def end_of(acknowledgement: Acknowledgement) -> str:
    """Give the news key for the end of an acknowledgement."""
    return f"ended:{acknowledgement.key}"


def _still_active(
    session: Session,
    cluster: str,
    hunt: str,
    slot: datetime,
    acknowledgements: Collection[Acknowledgement],
) -> Iterator[tuple[Finding, Run]]:
    """Give active findings that acknowledgements may cover, as of the last run that saw them.

    A finding has stopped if the newest comparable run did not see it, and no later run did. A
    partial run proves nothing about the findings that it did not see.
    """
    of_both = and_(RunRow.cluster == cluster, RunRow.hunt == hunt, RunRow.slot <= slot)
    whole = select(func.max(RunRow.slot)).where(of_both, RunRow.outcome.in_(COMPARABLE))
    seen = (
        select(FindingRow, SightingRow, first_seen(), last_seen(), RunRow)
        .join(SightingRow, SightingRow.finding_key == FindingRow.key)
        .join(RunRow, RunRow.key == SightingRow.run_key)
        .where(
            of_both,
            RunRow.slot >= func.coalesce(session.scalar(whole), RunRow.slot),
            SightingRow.status != Status.QUIET,
            SightingRow.slot == last_seen(slot + timedelta.resolution),  # The slot counts too.
        )
    )
    if not any(each.everywhere for each in acknowledgements):
        fingerprints = [each.fingerprint for each in acknowledgements]
        seen = seen.where(FindingRow.fingerprint.in_(fingerprints))
    for row, sighting, first_slot, last_slot, run in session.execute(seen).tuples():
        yield restored(row, sighting, first_slot, last_slot), run.document


def _found(session: Session, named: str) -> tuple[FindingRow, Finding]:
    begins = FindingRow.id.startswith(id_prefix(named), autoescape=True)
    ids = session.scalars(
        select(FindingRow.id).where(begins).order_by(FindingRow.id).limit(NAMED_IDS + 1)
    )
    row = session.scalars(
        select(FindingRow).where(FindingRow.id == resolve_id(named, ids.all()))
    ).one()
    return row, replace(row.document, id=row.id)


def _end(session: Session, active: Acknowledgement, by: str, now: datetime) -> Acknowledgement:
    row = session.get_one(AcknowledgementRow, active.key)
    row.ended_at, row.ended_by = now, by
    return replace(active, ended_at=now, ended_by=by)


def _value(row: AcknowledgementRow, finding: Finding) -> Acknowledgement:
    return Acknowledgement(
        key=row.key,
        finding=finding.id,
        fingerprint=finding.fingerprint,
        anywhere=row.anywhere,
        hash_sha256=row.hash_sha256,
        by=row.given_by,
        why=row.why,
        given_at=row.given_at,
        until=row.until,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
    )
