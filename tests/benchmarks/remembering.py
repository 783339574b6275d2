"""Remember: diff a run against a long history and record it, against plain statements of its size.

The past is made inside the database, in the order in which runs would have left it, so that its
tables lie on the disk as theirs would.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, event, func, insert, select, text
from sqlalchemy.orm import Session

from tasks.history import History, Known, prune_history, upgrade_history
from tasks.history.database import connect_database
from tasks.history.models import FIGURES, FINDING, FindingRow, RunRow, SightingRow, UtcColumn
from tasks.model.findings import Finding, Status
from tasks.model.runs import Outcome, Report
from tests import postgresql
from tests.benchmarks.measurement import Measurement, timed
from tests.builders import HUNT, day, finding, report, run

STAY = 30
"""In so many runs, one after the other, a finding is seen."""

CLUSTER = "cluster-0"


@dataclass(frozen=True, slots=True)
class Past:
    """What a history remembers: clusters where programs come, stay for `STAY` runs, and go.

    Attributes:
        clusters: that are hunted in each slot.
        slots: a day apart, the last one a day before `SLOT`.
        arrivals: new findings of each run.
    """

    clusters: int
    slots: int
    arrivals: int

    @property
    def candidates(self) -> int:
        """Findings of the run that is measured."""
        return self.arrivals * STAY

    @property
    def fingerprints(self) -> list[str]:
        """Of that run: the first cluster's, for one more slot."""
        return [
            _fingerprint(((self.slots - age) * self.clusters) * self.arrivals + number)
            for age in range(STAY)
            for number in range(1, self.arrivals + 1)
        ]


_FINDINGS = text("""
    INSERT INTO findings (fingerprint, id, document_slot, document)
    WITH RECURSIVE numbers(number) AS (
        SELECT CAST(:first AS INTEGER)
        UNION ALL
        SELECT number + 1 FROM numbers WHERE number < :last
    ),
    named(fingerprint) AS (SELECT fingerprint_of(number) FROM numbers)
    SELECT
        fingerprint,
        'BH-' || upper(substr(fingerprint, 1, 16)),
        :slot,
        replace(:document, :placeholder, fingerprint)
    FROM named
""").bindparams(bindparam("slot", type_=UtcColumn))

_SIGHTINGS = text("""
    INSERT INTO sightings (
        finding_key, slot, run_key, status, changed_binary, hash_sha256, priority, news, figures
    )
    WITH RECURSIVE numbers(number) AS (
        SELECT 0
        UNION ALL
        SELECT number + 1 FROM numbers WHERE number < :candidates - 1
    )
    SELECT
        (runs.key - 1 - number / :arrivals * :clusters) * :arrivals + number % :arrivals + 1,
        runs.slot,
        runs.key,
        CASE WHEN number < :arrivals THEN 'new' ELSE 'continuing' END,
        false,
        :placeholder,
        'medium',
        CASE WHEN number < :arrivals THEN 'found' END,
        :figures
    FROM runs
    CROSS JOIN numbers
    WHERE runs.slot = :slot
      AND runs.key > number / :arrivals * :clusters
""").bindparams(bindparam("slot", type_=UtcColumn))

_POSTGRESQL_HURRY = """
    CREATE FUNCTION fingerprint_of(number integer) RETURNS text IMMUTABLE
    RETURN encode(sha256(number::text::bytea), 'hex');
    ALTER TABLE sightings DISABLE TRIGGER ALL
"""

_SQLITE_HURRY = """
    PRAGMA foreign_keys = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA journal_mode = OFF;
    PRAGMA cache_size = -500000
"""


def measure_sqlite(past: Past, folder: Path) -> list[Measurement]:
    """In a file, which is removed when all is measured."""
    path = folder / "history.db"
    measured = measure(past, f"sqlite:///{path}")
    path.unlink()
    return measured


def measure_postgresql(past: Past) -> list[Measurement]:
    """In a server of its own; nothing where there is no server to start."""
    programs = postgresql.binaries()
    if programs is None:
        return []
    with postgresql.running(programs) as server:
        return measure(past, server.new_schema())


def measure(past: Past, url: str) -> list[Measurement]:
    """The diff of a run of the first cluster, its transaction, and pruning a tenth of the past."""
    upgrade_history(url)
    _make(past, url)
    fingerprints = past.fingerprints
    with connect_database(url) as database:
        history, on = History(database), database.engine.dialect.name
        with _statements(database.engine) as asked:
            diff_seconds, known = timed(
                lambda: history.known(HUNT.uuid, CLUSTER, day(0), fingerprints)
            )
        document = _report(fingerprints, known)
        with _statements(database.engine) as written:
            record_seconds, _ = timed(lambda: history.record(document))
        with database.reading() as session:
            plans = [_plans(session.connection(), each) for each in (asked, written)]
            one_by_one_seconds, _ = timed(lambda: _look_up(session, fingerprints))
        with database.writing() as session:
            plain_seconds, _ = timed(lambda: _insert(session, document.findings))
        old = day(-past.slots * 9 // 10)
        with database.reading() as session:
            counting_seconds, count = timed(lambda: _count(session, old))
    pruning_seconds, _ = timed(lambda: prune_history(url, old))
    return [
        Measurement(
            what=f"diff in {on}",
            size=past.candidates,
            unit="candidates",
            cost=diff_seconds,
            against="looking them up one by one",
            against_cost=one_by_one_seconds,
            plans=plans[0],
        ),
        Measurement(
            what=f"record in {on}",
            size=len(document.findings),
            unit="findings",
            cost=record_seconds,
            against="inserting as many documents",
            against_cost=plain_seconds,
            plans=plans[1],
        ),
        Measurement(
            what=f"prune in {on}",
            size=count,
            unit="sightings",
            cost=pruning_seconds,
            against="counting them",
            against_cost=counting_seconds,
        ),
    ]


def _fingerprint(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _make(past: Past, url: str) -> None:
    """Fill the tables, a slot after the other."""
    # Without evidence, which would be most of the space, and which nothing here reads.
    template = finding(evidence=None)
    shared = {
        "arrivals": past.arrivals,
        "candidates": past.candidates,
        "clusters": past.clusters,
        "document": FINDING.process_bind_param(template, None),
        "figures": FIGURES.process_bind_param(template.figures, None),
        "placeholder": template.fingerprint,
    }
    with connect_database(url) as database:
        on_sqlite = database.engine.dialect.name == "sqlite"
        if on_sqlite:
            event.listen(database.engine, "connect", _hurry)
        with database.writing() as session:
            if not on_sqlite:
                session.execute(text(_POSTGRESQL_HURRY))
            for number in range(past.slots):
                slot, arrived = day(number - past.slots), number * past.clusters * past.arrivals
                session.execute(
                    insert(RunRow),
                    [_run(f"cluster-{cluster}", slot) for cluster in range(past.clusters)],
                )
                last = arrived + past.clusters * past.arrivals
                both = {**shared, "slot": slot}
                session.execute(_FINDINGS, {**both, "first": arrived + 1, "last": last})
                session.execute(_SIGHTINGS, both)
            if not on_sqlite:
                session.execute(text("ANALYZE"))
    upgrade_history(url)  # SQLite keeps a journal again, as this sets it.


def _hurry(connection: Any, _: object) -> None:
    connection.create_function("fingerprint_of", 1, _fingerprint, deterministic=True)
    connection.executescript(_SQLITE_HURRY)


def _run(cluster: str, slot: Any) -> Mapping[str, Any]:
    made = run(slot, cluster=cluster)
    return {
        "id": made.id,
        "hunt_uuid": made.hunt_uuid,
        "hunt": made.hunt,
        "cluster": cluster,
        "slot": slot,
        "outcome": Outcome.COMPLETE,
        "document": made,
        "counts": {},
        "acknowledged": 0,
    }


def _report(fingerprints: Sequence[str], known: Known) -> Report:
    """The run's findings as the flow would have them, quiet ones included."""
    present = (
        finding(
            f"mac-{number}",
            cluster=CLUSTER,
            fingerprint=each,
            id=known.ids[each],
            status=Status.CONTINUING if each in known.in_comparable else Status.NEW,
        )
        for number, each in enumerate(fingerprints)
    )
    quiet = (replace(each, status=Status.QUIET) for each in known.absent)
    return report(run(day(0), cluster=CLUSTER), *present, *quiet)


@contextmanager
def _statements(engine: Engine) -> Iterator[dict[str, Any]]:
    """Collect the statements that look for something, each with its first parameters."""
    executed: dict[str, Any] = {}

    def remember(
        _: Connection, __: object, statement: str, parameters: Any, ___: object, many: bool
    ) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            executed.setdefault(statement, parameters[0] if many else parameters)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", remember)


_LIST = re.compile(r"\bIN \(.*?\)(?!s)")
"""Of parameters, as both drivers write them: `(?, ?)` and `(%(name)s, %(name)s)`."""


def _plans(connection: Connection, statements: Mapping[str, Any]) -> dict[str, str]:
    """Ask the database how it executes statements; those of different batches are one."""
    plans = {}
    for statement, parameters in statements.items():
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            lines = [row.detail for row in rows]
        else:
            rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            lines = [
                re.sub(r"'\{.*?\}'", "'{...}'", row[0].partition("  (cost=")[0]) for row in rows
            ]
        plans.setdefault(_LIST.sub("IN (...)", statement), "\n".join(lines))
    return plans


def _look_up(session: Session, fingerprints: Sequence[str]) -> None:
    key = select(FindingRow.key).where(FindingRow.fingerprint == bindparam("fingerprint"))
    for fingerprint in fingerprints:
        session.execute(key, {"fingerprint": fingerprint}).all()


def _count(session: Session, before: datetime) -> int:
    return session.scalars(select(func.count()).where(SightingRow.slot < before)).one()


def _insert(session: Session, findings: Sequence[Finding]) -> None:
    rows = [{"document": FINDING.process_bind_param(each, None)} for each in findings]
    session.execute(text("CREATE TEMPORARY TABLE plain (document TEXT)"))
    session.execute(text("INSERT INTO plain VALUES (:document)"), rows)
