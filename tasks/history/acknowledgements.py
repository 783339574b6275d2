"""The history's acknowledgements: from an analyst's word to a row, and to what later runs know."""

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
from tasks.model.findings import Finding, Status, last_word
from tasks.model.runs import Run
from tasks.settings import Destination

AcknowledgedFinding = tuple[Acknowledgement, Finding]
"""A word, and the finding that was looked at, described as a run saw it last."""


class Acknowledgements:
    """All that analysts said of findings, in one database."""

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
        """Acknowledge a finding. An earlier word of the same scope on the same binary ends.

        Args:
            named: the finding's id, or how it begins.
            by: who says so.
            why: it is harmless.
            until: the first moment at which it is not acknowledged any more.
            everywhere: the same program and destination on every host, also those seen later.
            now: aware UTC.

        Raises:
            AcknowledgementError: a word that cannot be given; no such finding, or several.
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
            word = _value(added, finding)
            for earlier, _ in all_acknowledgements(session):
                same = (earlier.covers, earlier.hash_sha256) == (word.covers, word.hash_sha256)
                if same and now < earlier.end:
                    _end(session, earlier, word.by, now)
            session.add(added)
            session.flush()
            return replace(word, key=added.key), finding

    def end(self, named: str, *, by: str, now: datetime) -> Withdrawal:
        """End the words that were given on a finding, and give them as they are now.

        Args:
            named: the finding's id, or how it begins.
            by: who ends them.
            now: aware UTC.

        Raises:
            AcknowledgementError: there is none that has not ended; no such finding, or several.
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
            words = tuple(_end(session, each, by.strip(), now) for each in own)
            return Withdrawal(words, tuple(sorted(covering)))

    def all(self) -> tuple[AcknowledgedFinding, ...]:
        """Give every word that was ever given, the newest first."""
        with self._database.reading() as session:
            return all_acknowledgements(session)


def all_acknowledgements(session: Session) -> tuple[AcknowledgedFinding, ...]:
    """Give every word that was ever given, the newest first."""
    rows = session.execute(
        select(AcknowledgementRow, FindingRow)
        .join(FindingRow, FindingRow.key == AcknowledgementRow.finding_key)
        .order_by(AcknowledgementRow.key.desc())
    ).tuples()
    found = ((row, replace(finding.document, id=finding.id)) for row, finding in rows)
    return tuple((_value(row, finding), finding) for row, finding in found)


def acknowledgements_by_identity(session: Session) -> ByIdentity:
    """Give every word that was ever given, by what it covers."""
    return by_identity(word for word, _ in all_acknowledgements(session))


def ended_acknowledgements(
    session: Session,
    whose: int | None,
    destination: Destination,
    slot: datetime,
    since: datetime | None,
    words: ByIdentity,
) -> tuple[Ended, ...]:
    """Find the words that have ended while what they covered goes on, for a digest to tell.

    Args:
        session: one that sees one moment.
        whose: key of the destination's row; None for one that never heard of anything.
        destination: with its scope.
        slot: of the digest.
        since: ends of this moment and before are not told any more; None where nothing was ever
            told, and all since the destination hears are.
        words: every one that was given, by what it covers.
    """
    over = {
        end_of(word): word
        for word in chain.from_iterable(words.values())
        if word.end <= slot and (since is None or since < word.end)
    }
    told = session.scalars(
        select(DeliveryRow.news).where(
            DeliveryRow.destination_key == whose, DeliveryRow.news.in_(over)
        )
    )
    for news in told:
        del over[news]
    still: dict[str, list[Announcement]] = defaultdict(list)
    for cluster, hunt in product(destination.clusters, destination.hunts) if over else ():
        scope = session.get(ScopeRow, (whose, cluster, hunt))
        heard_since = scope.since if scope else slot - DAY
        for finding, run in _going_on(session, cluster, hunt, slot, over.values()):
            word = last_word(finding, words)
            if word and end_of(word) in over and max(finding.first_seen, heard_since) < word.end:
                still[end_of(word)].append(Announcement(finding, run))
    return tuple(
        Ended(word, tuple(sorted(still[news], key=lambda each: by_priority(each.finding))))
        for news, word in sorted(over.items(), key=lambda each: (each[1].end, each[1].key))
        if news in still
    )


def end_of(word: Acknowledgement) -> str:
    """Give what a destination will have heard that is told of a word's end."""
    return f"ended:{word.key}"


def _going_on(
    session: Session,
    cluster: str,
    hunt: str,
    slot: datetime,
    words: Collection[Acknowledgement],
) -> Iterator[tuple[Finding, Run]]:
    """Give what may be covered of all that goes on, each as the newest run has it that saw it.

    What the newest run that searched everything did not see has stopped, unless a later one saw it.
    Of what a run lacks that searched a part nothing is known.
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
    if not any(word.everywhere for word in words):
        seen = seen.where(FindingRow.fingerprint.in_([word.fingerprint for word in words]))
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


def _end(session: Session, word: Acknowledgement, by: str, now: datetime) -> Acknowledgement:
    row = session.get_one(AcknowledgementRow, word.key)
    row.ended_at, row.ended_by = now, by
    return replace(word, ended_at=now, ended_by=by)


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
