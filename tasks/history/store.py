"""The history: from a run's report to the data for later runs, reports and commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Select, and_, case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from tasks.errors import RunInProgress, SlotPruned
from tasks.history import schema
from tasks.history.acknowledgements import Acknowledgements, acknowledgements_by_identity
from tasks.history.database import Database, batches, connect_database
from tasks.history.known import Known, read_known
from tasks.history.ledger import Ledger
from tasks.history.models import FindingRow, RunRow, SightingRow
from tasks.history.recorded import SEARCHED, RecordedRun, read_trend, recorded_runs
from tasks.history.sightings import (
    first_seen,
    last_seen,
    restored,
    sighting,
)
from tasks.model.digests import Medium
from tasks.model.findings import RANKS, Finding, Priority, Status, with_acknowledgement
from tasks.model.runs import TREND_RUNS, Outcome, Report, Run, Trend
from tasks.settings import Destination


class History:
    """All recorded runs with their findings, in one database."""

    def __init__(self, database: Database) -> None:
        """Take an open database whose schema has been checked; see `open`."""
        self._database = database

    @classmethod
    @contextmanager
    def open(cls, url: str) -> Iterator[History]:
        """Open the history at a URL, which must exist and have this code's schema.

        Args:
            url: `sqlite:///path`, which may hold `$BEACONHUNT_HOME`, or
                `postgresql://host/database`.

        Raises:
            HistoryError: it cannot be read, does not exist yet, or its schema is older or newer.
                Nothing was changed.
        """
        with connect_database(url) as database:
            schema.require_current_schema(database)
            yield cls(database)

    @property
    def acknowledgements(self) -> Acknowledgements:
        """The acknowledgements of its findings."""
        return Acknowledgements(self._database)

    def ledger(self, destination: Destination, medium: Medium) -> Ledger:
        """Give the ledger of deliveries to one destination through one medium."""
        return Ledger(self._database, destination, medium)

    def known(
        self, hunt_uuid: str, cluster: str, slot: datetime, fingerprints: Collection[str]
    ) -> Known:
        """Read what is known from a hunt's runs on a cluster before a slot.

        Args:
            hunt_uuid: the hunt.
            cluster: the cluster's name.
            slot: the current run's slot. Later runs are ignored, so that slots may run in any
                order; only ids also come from later runs.
            fingerprints: of the current run's findings.

        Raises:
            SlotPruned: some of the needed sightings have been deleted.
        """
        with self._database.reading() as session:
            _refuse_pruned(session, hunt_uuid, cluster, slot)
            return read_known(session, hunt_uuid, cluster, slot, fingerprints)

    def record(self, report: Report) -> bool:
        """Write a run with its findings, in one transaction.

        It replaces an earlier run of the slot, with its sightings. A finding that is no longer seen
        keeps its identity and its last document. The report is kept until `mark_published`, so that
        a later run can archive the report of a run that was killed.

        Returns:
            Whether it was written; if not, the slot's recorded run stands: see `Run.standing`.

        Raises:
            RunInProgress: another run recorded this slot while this one was under way.
            HistoryError: it cannot be written. Nothing was written.
        """
        run = report.run
        with self._database.writing() as session:
            row = session.scalar(
                select(RunRow).where(
                    RunRow.cluster == run.cluster,
                    # A hunt with an unusable file may be recorded under its slug as uuid.
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
        """Give the reports that may be missing in the archive, oldest slot first."""
        runs = _runs_of(hunt_uuid, cluster).where(RunRow.unreported.is_not(None))
        with self._database.reading() as session:
            reports = runs.with_only_columns(RunRow.unreported).order_by(RunRow.slot)
            return tuple(report for report in session.scalars(reports) if report)

    def mark_published(self, run_id: str) -> None:
        """Record that a run's report is in the archive."""
        with self._database.writing() as session:
            session.execute(update(RunRow).where(RunRow.id == run_id).values(unreported=None))

    def hunt_uuid(self, slug: str) -> str | None:
        """Give the uuid of the hunt that last ran under a slug; None before its first run."""
        newest = select(RunRow.hunt_uuid).where(RunRow.hunt == slug)
        with self._database.reading() as session:
            return session.scalar(newest.order_by(RunRow.slot.desc()).limit(1))

    def last_scheduled(self, hunt_uuid: str, cluster: str, before: datetime) -> datetime | None:
        """Give the newest earlier slot with a scheduled run that did not fail."""
        runs = _runs_of(hunt_uuid, cluster).where(
            RunRow.slot < before, RunRow.outcome != Outcome.FAILED
        )
        newest_first = runs.order_by(RunRow.slot.desc()).execution_options(yield_per=10)
        with self._database.reading() as session, session.scalars(newest_first) as rows:
            return next((row.slot for row in rows if row.document.scheduled), None)

    def outcomes(
        self, hunt_uuid: str, cluster: str, after: datetime, before: datetime
    ) -> Mapping[datetime, Outcome]:
        """Give the outcomes by slot between two moments, without the moments."""
        runs = _runs_of(hunt_uuid, cluster).where(RunRow.slot > after, RunRow.slot < before)
        with self._database.reading() as session:
            columns = runs.with_only_columns(RunRow.slot, RunRow.outcome)
            return dict(session.execute(columns).tuples().all())

    def trend(
        self, hunt_uuid: str, cluster: str, slot: datetime, limit: int = TREND_RUNS
    ) -> tuple[Trend, ...]:
        """Give a hunt's newest runs on a cluster up to a slot, oldest first."""
        with self._database.reading() as session:
            return read_trend(session, _runs_of(hunt_uuid, cluster), slot, limit)

    def runs(
        self, cluster: str | None = None, hunt: str | None = None, limit: int = 50
    ) -> tuple[RecordedRun, ...]:
        """Give the newest runs, newest first.

        Args:
            cluster: only runs on this cluster.
            hunt: only runs of the hunt with this slug.
            limit: largest number of runs.
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
        """Give the findings, with quiet ones, as of each hunt's last run that searched a cluster.

        Args:
            status: only findings with this status in that run.
            cluster: only findings on this cluster.
            limit: largest number of findings; those with the highest priority come first.
            now: the time as of which they are acknowledged; by default the slots of their runs.
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
            given = acknowledgements_by_identity(session)
            return tuple(
                with_acknowledgement(restored(finding, seen, first, last), given, now or seen.slot)
                for finding, seen, first, last in session.execute(wanted).tuples()
            )


def _runs_of(hunt_uuid: str, cluster: str) -> Select[tuple[RunRow]]:
    return select(RunRow).where(RunRow.cluster == cluster, RunRow.hunt_uuid == hunt_uuid)


def _refuse_pruned(session: Session, hunt_uuid: str, cluster: str, slot: datetime) -> None:
    """Refuse to compare with pruned sightings: known findings would appear as new or returned."""
    later = _runs_of(hunt_uuid, cluster).where(RunRow.slot >= slot, RunRow.pruned)
    if newest := session.scalar(later.with_only_columns(func.max(RunRow.slot))):
        raise SlotPruned(
            f"{cluster}: a run for the slot {slot:%Y-%m-%d %H:%M} UTC can no longer be compared: "
            f"the history is pruned up to {newest:%Y-%m-%d %H:%M} UTC.",
            "Choose a later slot. The archive has the old reports.",
        )


def _replaces(run: Run, recorded: Run) -> bool:
    """Whether a run replaces the recorded run of its slot.

    Raises:
        RunInProgress: a run of equal rank was recorded while this one was under way.
    """
    equal = run.outcome.rank == recorded.outcome.rank
    if equal and recorded.id != run.id and recorded.finished_at > run.started_at:
        raise RunInProgress(
            f"{run.cluster}: run {recorded.id} recorded the slot {run.slot:%Y-%m-%d %H:%M} UTC "
            f"while run {run.id} was still searching.",
            "Nothing is lost: use the report of that run, or run the slot again.",
        )
    return run.standing >= recorded.standing


def _remember(session: Session, findings: Sequence[Finding], slot: datetime) -> Mapping[str, int]:
    """Insert new identities, and update documents that are not newer.

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
    """Read row key and document slot of known findings, by fingerprint."""
    return {
        fingerprint: (key, document_slot)
        for batch in batches({finding.fingerprint for finding in findings})
        for fingerprint, key, document_slot in session.execute(
            select(FindingRow.fingerprint, FindingRow.key, FindingRow.document_slot).where(
                FindingRow.fingerprint.in_(batch)
            )
        ).tuples()
    }
