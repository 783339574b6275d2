"""The history: from a run's report to what later runs, reports and commands know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Select, and_, case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from tasks.errors import RunInProgress, SlotPruned
from tasks.history import schema
from tasks.history.acknowledgements import Acknowledgements, acknowledgements_by_identity
from tasks.history.database import Database, batches, connect_database
from tasks.history.ledger import Ledger
from tasks.history.models import FindingRow, RunRow, SightingRow
from tasks.history.recorded import COMPARABLE, SEARCHED, RecordedRun, read_trend, recorded_runs
from tasks.history.sightings import (
    by_priority,
    first_seen,
    last_hash,
    last_seen,
    restored,
    sighting,
    without_figures,
)
from tasks.model.acknowledgements import ByIdentity
from tasks.model.digests import Medium
from tasks.model.findings import RANKS, Finding, Priority, Status, short_id, with_acknowledgement
from tasks.model.runs import TREND_RUNS, Outcome, Report, Run, Trend
from tasks.settings import Destination


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier runs know of one finding.

    Attributes:
        id: what people know it by.
        first_seen: slot of the earliest run that saw it.
        last_seen: slot of the newest earlier run that saw it.
        hash_sha256: of its binary, from the newest earlier run that knew it.
    """

    id: str
    first_seen: datetime
    last_seen: datetime
    hash_sha256: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the runs before a slot know, for the run of that slot.

    Attributes:
        comparable: slot of the newest earlier complete or baseline run; None without one.
        in_comparable: fingerprints of the findings that it saw.
        absent: those of them that the run did not see, highest priority first, as a complete run
            lists them: quiet, described as they were last seen.
        memories: by fingerprint, of the run's findings that any earlier run saw.
        ids: by fingerprint, the id of each of the run's findings: the one it has always had, or a
            free one.
        acknowledgements: every one that was given, by what it covers.
    """

    comparable: datetime | None
    in_comparable: frozenset[str]
    absent: tuple[Finding, ...]
    memories: Mapping[str, Memory]
    ids: Mapping[str, str]
    acknowledgements: ByIdentity = field(default_factory=dict)


class History:
    """All that earlier runs left, in one database."""

    def __init__(self, database: Database) -> None:
        """Take an open database whose schema has been checked; see `open`."""
        self._database = database

    @classmethod
    @contextmanager
    def open(cls, url: str) -> Iterator[History]:
        """Open the history at a URL, which must exist and fit this code.

        Args:
            url: `sqlite:///path`, which may hold `$BEACONHUNT_HOME`, or
                `postgresql://host/database`.

        Raises:
            HistoryError: it cannot be read, does not exist yet, or is older or newer than this
                code. Nothing was changed.
        """
        with connect_database(url) as database:
            schema.require_current_schema(database)
            yield cls(database)

    @property
    def acknowledgements(self) -> Acknowledgements:
        """What analysts said of its findings."""
        return Acknowledgements(self._database)

    def ledger(self, destination: Destination, medium: Medium) -> Ledger:
        """Give the ledger of what one destination has heard through one medium."""
        return Ledger(self._database, destination, medium)

    def known(
        self, hunt_uuid: str, cluster: str, slot: datetime, fingerprints: Collection[str]
    ) -> Known:
        """Say what the runs of a hunt on a cluster before a slot know.

        Args:
            hunt_uuid: the hunt.
            cluster: the cluster's name.
            slot: the slot of the asking run; later runs have no say, so that the order in which
                slots are run does not matter. Only ids are remembered from later runs too.
            fingerprints: of the findings of the asking run.

        Raises:
            SlotPruned: some of what they know is gone.
        """
        with self._database.reading() as session:
            _refuse_pruned(session, hunt_uuid, cluster, slot)
            comparable = session.execute(
                select(RunRow.key, RunRow.slot)
                .where(
                    RunRow.cluster == cluster,
                    RunRow.hunt_uuid == hunt_uuid,
                    RunRow.slot < slot,
                    RunRow.outcome.in_(COMPARABLE),
                )
                .order_by(RunRow.slot.desc())
                .limit(1)
            ).one_or_none()
            sighted = frozenset(
                session.scalars(
                    select(FindingRow.fingerprint)
                    .join(SightingRow)
                    .where(
                        SightingRow.run_key == comparable.key, SightingRow.status != Status.QUIET
                    )
                )
                if comparable
                else ()
            )
            return Known(
                comparable=comparable.slot if comparable else None,
                in_comparable=sighted,
                absent=_absent(session, sighted.difference(fingerprints), slot),
                memories=_memories(session, fingerprints, slot),
                ids=_ids(session, fingerprints),
                acknowledgements=acknowledgements_by_identity(session),
            )

    def record(self, report: Report) -> bool:
        """Write a run with all that it saw, in one transaction.

        A slot that was recorded before is replaced, sightings included. A finding that no run sees
        any more keeps its identity, and the last document that was written of it. The report stays
        until it is `reported`: whoever is killed before owes it to the archive.

        Returns:
            Whether it was written, or the slot has a run that stands: see `Run.standing`.

        Raises:
            RunInProgress: another run recorded this slot while this one was under way.
            HistoryError: it cannot be written. Nothing was.
        """
        run = report.run
        with self._database.writing() as session:
            row = session.scalar(
                select(RunRow).where(
                    RunRow.cluster == run.cluster,
                    # Its slug stands for the uuid of a hunt whose file could not be used.
                    RunRow.hunt_uuid.in_([run.hunt_uuid, run.hunt]),
                    RunRow.slot == run.slot,
                )
            )
            if row is None:
                row = RunRow(cluster=run.cluster, slot=run.slot)
                session.add(row)
            elif not _replaces(run, row.document):
                return False
            row.id, row.outcome, row.document = run.id, run.outcome, run
            row.hunt_uuid, row.hunt = run.hunt_uuid, run.hunt
            row.unreported = report
            announceable = (each for each in report.findings if not each.acknowledgement)
            row.counts = Counter(finding.status for finding in announceable)
            row.acknowledged = len(report.acknowledged)
            session.flush()
            session.execute(delete(SightingRow).where(SightingRow.run_key == row.key))
            keys = _remember(session, report.findings, run.slot)
            sightings = [
                {
                    "finding_key": keys[finding.fingerprint],
                    "slot": run.slot,
                    "run_key": row.key,
                    **sighting(finding),
                }
                for finding in report.findings
            ]
            if sightings:
                session.execute(insert(SightingRow), sightings)
        return True

    def unpublished(self, hunt_uuid: str, cluster: str) -> tuple[Report, ...]:
        """Give the reports of recorded runs that the archive may lack, oldest slot first."""
        runs = _runs_of(hunt_uuid, cluster).where(RunRow.unreported.is_not(None))
        with self._database.reading() as session:
            owed = runs.with_only_columns(RunRow.unreported).order_by(RunRow.slot)
            return tuple(report for report in session.scalars(owed) if report)

    def mark_published(self, run_id: str) -> None:
        """Note that a run has left its report."""
        with self._database.writing() as session:
            session.execute(update(RunRow).where(RunRow.id == run_id).values(unreported=None))

    def hunt_uuid(self, slug: str) -> str | None:
        """Give the uuid of the hunt that ran last under a slug; None when none has."""
        newest = select(RunRow.hunt_uuid).where(RunRow.hunt == slug)
        with self._database.reading() as session:
            return session.scalar(newest.order_by(RunRow.slot.desc()).limit(1))

    def last_scheduled(self, hunt_uuid: str, cluster: str, before: datetime) -> datetime | None:
        """Give the newest slot before one whose run a schedule asked for and that did not fail."""
        runs = _runs_of(hunt_uuid, cluster).where(
            RunRow.slot < before, RunRow.outcome != Outcome.FAILED
        )
        newest_first = runs.order_by(RunRow.slot.desc()).execution_options(yield_per=10)
        with self._database.reading() as session, session.scalars(newest_first) as rows:
            return next((row.slot for row in rows if row.document.scheduled), None)

    def outcomes(
        self, hunt_uuid: str, cluster: str, after: datetime, before: datetime
    ) -> Mapping[datetime, Outcome]:
        """Give the outcomes of the slots between two moments, neither of which counts."""
        runs = _runs_of(hunt_uuid, cluster).where(RunRow.slot > after, RunRow.slot < before)
        with self._database.reading() as session:
            columns = runs.with_only_columns(RunRow.slot, RunRow.outcome)
            return dict(session.execute(columns).tuples().all())

    def trend(
        self, hunt_uuid: str, cluster: str, slot: datetime, limit: int = TREND_RUNS
    ) -> tuple[Trend, ...]:
        """Give the newest runs of a hunt on a cluster up to a slot, oldest first."""
        with self._database.reading() as session:
            return read_trend(session, _runs_of(hunt_uuid, cluster), slot, limit)

    def runs(
        self, cluster: str | None = None, hunt: str | None = None, limit: int = 50
    ) -> tuple[RecordedRun, ...]:
        """Give the newest runs, newest first.

        Args:
            cluster: only of this one.
            hunt: only of this one, by its slug.
            limit: how many at most.
        """
        newest = select(RunRow).order_by(RunRow.slot.desc(), RunRow.cluster).limit(limit)
        if cluster is not None:
            newest = newest.where(RunRow.cluster == cluster)
        if hunt is not None:
            newest = newest.where(RunRow.hunt == hunt)
        with self._database.reading() as session:
            return recorded_runs(session, newest)

    def findings(
        self,
        status: Status | None = None,
        cluster: str | None = None,
        limit: int = 100,
        now: datetime | None = None,
    ) -> tuple[Finding, ...]:
        """Give what the newest searched run of every hunt and cluster says, quiet ones included.

        Args:
            status: only findings that have this status there.
            cluster: only of this one.
            limit: how many at most, those of the highest priority.
            now: they are acknowledged as of this moment; by default as of their runs' slots.
        """
        newest = (
            select(RunRow.cluster, RunRow.hunt_uuid, func.max(RunRow.slot).label("slot"))
            .where(RunRow.outcome.in_(SEARCHED))
            .group_by(RunRow.cluster, RunRow.hunt_uuid)
            .subquery()
        )
        wanted = (
            select(FindingRow, SightingRow, first_seen(), last_seen())
            .join(SightingRow, SightingRow.finding_key == FindingRow.key)
            .join(RunRow, RunRow.key == SightingRow.run_key)
            .join(
                newest,
                and_(
                    newest.c.cluster == RunRow.cluster,
                    newest.c.hunt_uuid == RunRow.hunt_uuid,
                    newest.c.slot == RunRow.slot,
                ),
            )
            .order_by(
                case(
                    {priority: RANKS[priority] for priority in Priority},
                    value=SightingRow.priority,
                    else_=RANKS[None],
                ),
                FindingRow.id,
            )
            .limit(limit)
        )
        if status is not None:
            wanted = wanted.where(SightingRow.status == status)
        if cluster is not None:
            wanted = wanted.where(RunRow.cluster == cluster)
        with self._database.reading() as session:
            words = acknowledgements_by_identity(session)
            return tuple(
                with_acknowledgement(restored(finding, seen, first, last), words, now or seen.slot)
                for finding, seen, first, last in session.execute(wanted).tuples()
            )


def _runs_of(hunt_uuid: str, cluster: str) -> Select[tuple[RunRow]]:
    return select(RunRow).where(RunRow.cluster == cluster, RunRow.hunt_uuid == hunt_uuid)


def _refuse_pruned(session: Session, hunt_uuid: str, cluster: str, slot: datetime) -> None:
    """Compare nothing with what is only there in part: it would seem to be back, or new."""
    later = _runs_of(hunt_uuid, cluster).where(RunRow.slot >= slot, RunRow.pruned)
    if newest := session.scalar(later.with_only_columns(func.max(RunRow.slot))):
        raise SlotPruned(
            f"{cluster}: a run of the slot {slot:%Y-%m-%d %H:%M} UTC cannot be compared any more: "
            f"the history is pruned up to {newest:%Y-%m-%d %H:%M} UTC.",
            "Choose a later slot. What was found then stands in the archive.",
        )


def _replaces(run: Run, recorded: Run) -> bool:
    """Whether a run takes the place of the one that its slot has.

    Raises:
        RunInProgress: one that says as much was recorded while this one was under way.
    """
    equal = run.outcome.rank == recorded.outcome.rank
    if equal and recorded.id != run.id and recorded.finished_at > run.started_at:
        raise RunInProgress(
            f"{run.cluster}: run {recorded.id} recorded the slot {run.slot:%Y-%m-%d %H:%M} UTC "
            f"while run {run.id} was still searching for it.",
            "Nothing is lost: use the report of that run, or run the slot again.",
        )
    return run.standing >= recorded.standing


def _remember(session: Session, findings: Sequence[Finding], slot: datetime) -> Mapping[str, int]:
    """Write identities that are new, and documents that are newer than what is there.

    Returns:
        The keys of the findings' rows, by fingerprint.
    """
    rows = _rows(session, findings)
    added = [
        {
            "fingerprint": finding.fingerprint,
            "id": finding.id,
            "document_slot": slot,
            "document": finding,
        }
        for finding in findings
        if finding.fingerprint not in rows
    ]
    described = [
        {"key": rows[finding.fingerprint][0], "document_slot": slot, "document": finding}
        for finding in findings
        if finding.status is not Status.QUIET
        and finding.fingerprint in rows
        and rows[finding.fingerprint][1] <= slot
    ]
    if added:
        session.execute(insert(FindingRow), added)
        rows = _rows(session, findings)
    if described:
        session.execute(update(FindingRow), described)
    return {fingerprint: key for fingerprint, (key, _) in rows.items()}


def _rows(session: Session, findings: Sequence[Finding]) -> Mapping[str, tuple[int, datetime]]:
    """Give key and slot of the document, by fingerprint, of those that the history knows."""
    return {
        fingerprint: (key, document_slot)
        for batch in batches({finding.fingerprint for finding in findings})
        for fingerprint, key, document_slot in session.execute(
            select(FindingRow.fingerprint, FindingRow.key, FindingRow.document_slot).where(
                FindingRow.fingerprint.in_(batch)
            )
        ).tuples()
    }


def _memories(
    session: Session, fingerprints: Collection[str], slot: datetime
) -> Mapping[str, Memory]:
    return {
        fingerprint: Memory(id, first, last, hash_sha256)
        for batch in batches(fingerprints)
        for fingerprint, id, first, last, hash_sha256 in session.execute(
            select(
                FindingRow.fingerprint,
                FindingRow.id,
                first_seen(slot),
                last_seen(slot),
                last_hash(slot),
            ).where(FindingRow.fingerprint.in_(batch))
        ).tuples()
        if first is not None
    }


def _absent(session: Session, fingerprints: Collection[str], slot: datetime) -> tuple[Finding, ...]:
    found = [
        without_figures(replace(document, id=id, first_seen=first, last_seen=last))
        for batch in batches(fingerprints)
        for document, id, first, last in session.execute(
            select(FindingRow.document, FindingRow.id, first_seen(slot), last_seen(slot)).where(
                FindingRow.fingerprint.in_(batch)
            )
        ).tuples()
    ]
    return tuple(sorted(found, key=by_priority))


def _ids(session: Session, fingerprints: Collection[str]) -> Mapping[str, str]:
    """Give each fingerprint the id it has, or the shortest of its own that nothing else has."""
    ids = {
        fingerprint: id
        for batch in batches(fingerprints)
        for fingerprint, id in session.execute(
            select(FindingRow.fingerprint, FindingRow.id).where(FindingRow.fingerprint.in_(batch))
        ).tuples()
    }
    digits = 8
    while nameless := sorted(set(fingerprints).difference(ids)):
        wanted = {fingerprint: short_id(fingerprint, digits) for fingerprint in nameless}
        taken = {
            id
            for batch in batches(wanted.values())
            for id in session.scalars(select(FindingRow.id).where(FindingRow.id.in_(batch)))
        }
        for fingerprint, id in wanted.items():
            if id not in taken:
                ids[fingerprint] = id
                taken.add(id)
        digits += 4
    return ids
