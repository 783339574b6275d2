from __future__ import annotations

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import bindparam, text

from tasks.errors import HistoryError
from tasks.history import History, schema, upgrade_history
from tasks.history.database import connect_database
from tasks.history.models import FINDING, RUN, Base, UtcColumn
from tasks.model.digests import DigestStatus, Medium
from tasks.model.findings import Status
from tasks.settings import Destination
from tests.builders import CLUSTER, day, finding, report, run

NEXT_MIGRATION = '''
"""What a later release adds."""
import sqlalchemy as sa
from alembic import op
revision = "0006"
down_revision = "0005"
def upgrade():
    op.add_column("runs", sa.Column("later", sa.String()))
'''


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of a later release: ours and one more."""
    migrations = tmp_path / "100% migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    (migrations / "versions" / "0006_later.py").write_text(NEXT_MIGRATION)
    return migrations


def test_a_migration_s_name_begins_with_its_revision() -> None:
    """A run compares revisions by these names, without Alembic."""
    scripts = ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions()
    by_alembic = [(each.revision, Path(each.path).name.partition("_")[0]) for each in scripts]
    assert all(revision == name for revision, name in by_alembic)
    assert sorted(name for _, name in by_alembic)[-1] == by_alembic[0][0]


FIRST_RELEASE = """
INSERT INTO destinations (key, name, medium, since)
VALUES
    (1, 'soc', 'slack', '2026-11-23 07:00:00.000000'),
    (2, 'managers', 'slack', '2026-11-20 07:00:00.000000');

INSERT INTO digests
    (id, destination_key, slot, status, payload_hash, slack_ts, begun_at, settled_at, news)
VALUES
    ('d00000000002', 1, '2026-11-25 07:00:00.000000', 'sending', 'hash', NULL,
     '2025-11-25 07:00:01.000000', NULL, '[["{b}", "found"]]'),
    ('d00000000001', 1, '2026-11-24 07:00:00.000000', 'sent', 'hash', '1763964000.000100',
     '2025-11-24 07:00:01.000000', '2025-11-24 07:00:02.000000', '[["{a}", "found"]]'),
    ('d00000000003', 2, '2026-11-24 07:00:00.000000', 'refused', 'hash', NULL,
     '2025-11-24 07:00:01.000000', '2025-11-24 07:00:02.000000', '[["{a}", "found"]]');

INSERT INTO deliveries (destination_key, finding_key, news, digest_id)
SELECT 1, key, 'found', 'd00000000001' FROM findings WHERE fingerprint = '{a}'
"""
"""What the first release knew of two destinations, one of which was being told something."""


SECOND_RELEASE = """
INSERT INTO destinations (key, name, medium) VALUES (1, 'soc', 'slack');

INSERT INTO scopes (destination_key, cluster, hunt, since)
VALUES (1, 'demo-eu', 'macos-unsigned-network', '2026-11-23 07:00:00.000000');

INSERT INTO digests
    (id, destination_key, number, slot, status, payload_hash, begun_at, lease_until, settled_at,
     gaps)
VALUES
    ('d00000000001', 1, 1, '2026-11-24 07:00:00.000000', 'sent', 'hash',
     '2025-11-24 07:00:01.000000', '2025-11-24 07:10:01.000000', '2025-11-24 07:00:02.000000',
     '[]');

INSERT INTO deliveries (destination_key, finding_key, news, digest_id)
SELECT 1, key, 'found', 'd00000000001' FROM findings WHERE fingerprint = '{a}'
"""
"""What the second release knew of a destination that was told of one finding."""

THIRD_RELEASE = """
INSERT INTO acknowledgements (finding_key, given_by, why, given_at, until)
SELECT
    key, 'ada', 'Ours.', '2026-11-25 07:00:00.000000', '2026-12-25 07:00:00.000000'
FROM findings WHERE fingerprint = '{b}';

UPDATE sightings SET acknowledgement_key = 1, news = NULL WHERE run_key = 2
"""
"""What the third release knew besides: one of two findings is acknowledged."""

RUN_OF_THEN = text("""
    INSERT INTO runs (id, hunt_uuid, hunt, cluster, slot, outcome, document)
    VALUES (:id, :hunt_uuid, :hunt, :cluster, :slot, :outcome, :document)
""").bindparams(bindparam("slot", type_=UtcColumn), bindparam("document", type_=RUN))

FINDING_OF_THEN = text("""
    INSERT INTO findings (fingerprint, id, document_slot, document)
    VALUES (:fingerprint, :id, :slot, :document)
""").bindparams(bindparam("slot", type_=UtcColumn), bindparam("document", type_=FINDING))

SIGHTING_OF_THEN = text("""
    INSERT INTO sightings
        (finding_key, slot, run_key, status, changed_binary, hash_sha256, priority, news, figures)
    SELECT findings.key, runs.slot, runs.key, 'new', false, :binary, 'medium', 'found', '{}'
    FROM findings CROSS JOIN runs
    WHERE findings.fingerprint = :fingerprint AND runs.id = :id
""")

A, B = finding("mac-a"), finding("mac-b", slot=day(1))
SOC = Destination(name="soc", channel="C1", clusters=(CLUSTER,))


def of_release(
    url: str, revision: str, statements: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Make a history of an earlier release, with two findings and what it knew of destinations."""
    migrations = folder / "earlier migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    for path in migrations.glob("versions/*.py"):
        if path.name[:4] > revision:
            path.unlink()
    with monkeypatch.context() as then:
        then.setattr(schema, "MIGRATIONS", migrations)
        assert upgrade_history(url) == revision
    with connect_database(url) as database, database.writing() as session:
        for seen, of in ((A, run(day(0))), (B, run(day(1)))):
            names = ("id", "hunt_uuid", "hunt", "cluster", "slot", "outcome")
            session.execute(
                RUN_OF_THEN, {name: getattr(of, name) for name in names} | {"document": of}
            )
            described = {"fingerprint": seen.fingerprint, "id": seen.id, "slot": of.slot}
            session.execute(FINDING_OF_THEN, described | {"document": seen})
            binary = seen.process.hash_sha256
            session.execute(
                SIGHTING_OF_THEN, {"fingerprint": seen.fingerprint, "id": of.id, "binary": binary}
            )
        for statement in statements.format(a=A.fingerprint, b=B.fingerprint).split(";"):
            session.execute(text(statement))
    return url


@pytest.fixture
def first_release(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A history of the first release, with two findings, of which one was told."""
    return of_release(empty_url, "0001", FIRST_RELEASE, tmp_path, monkeypatch)


@pytest.fixture
def second_release(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same of the second release."""
    return of_release(empty_url, "0002", SECOND_RELEASE, tmp_path, monkeypatch)


@pytest.fixture(params=["0003", "0004"])
def third_release(
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> str:
    """The same of the third release and of the one after, with a word on what was not told."""
    known = f"{SECOND_RELEASE};{THIRD_RELEASE}"
    return of_release(empty_url, request.param, known, tmp_path, monkeypatch)


def test_a_history_of_the_first_release_is_upgraded_with_all_that_it_knows(
    first_release: str,
) -> None:
    """Nothing that was told is told again, nothing that was not is lost."""
    assert upgrade_history(first_release) == "0005"

    morning = day(2) + timedelta(hours=1)
    with History.open(first_release) as history:
        soc = history.ledger(SOC, Medium.SLACK)
        pending = soc.pending(morning)
        assert [each.finding.host.id for each in pending.announcements] == ["mac-b"]
        assert (pending.number, pending.previous) == (3, day(0) + timedelta(hours=1))

        lost = soc.take_over()
        assert (lost.id, lost.missing) == ("d00000000002", (1,))
        soc.posted(lost, {1: "1764050400.000100"})
        soc.settle(lost, DigestStatus.SENT)
        assert soc.pending(morning).announcements == ()

        managers = history.ledger(
            Destination(name="managers", channel="C2", clusters=(CLUSTER,)), Medium.SLACK
        )
        pending = managers.pending(morning)
        assert [each.finding.host.id for each in pending.announcements] == ["mac-a", "mac-b"]
        assert pending.undelivered == (day(0) + timedelta(hours=1),)


def test_a_history_of_the_second_release_is_upgraded_and_its_findings_can_be_acknowledged(
    second_release: str,
) -> None:
    """What was told stays told; nothing was acknowledged yet, and everything can be."""
    assert upgrade_history(second_release) == "0005"

    now, morning = day(1) + timedelta(minutes=30), day(1) + timedelta(hours=1)
    with History.open(second_release) as history:
        soc = history.ledger(SOC, Medium.SLACK)
        assert [recorded.acknowledged for recorded in history.runs()] == [0, 0]
        assert [each.finding.id for each in soc.pending(morning).announcements] == [B.id]

        history.acknowledgements.give(B.id, by="ada", why="Ours.", until=day(9), now=now)
        assert soc.pending(morning).announcements == ()


def test_a_history_with_acknowledgements_is_upgraded_and_its_runs_know_what_they_saw(
    third_release: str,
) -> None:
    """Runs are counted as before, whatever becomes of their sightings; words still hold."""
    assert upgrade_history(third_release) == "0005"

    with History.open(third_release) as history:
        b, a = history.runs()
        assert (a.counts, a.acknowledged) == ({Status.NEW: 1}, 0)
        assert (b.counts, b.acknowledged) == ({}, 1)

        pending = history.ledger(SOC, Medium.SLACK).pending(day(1) + timedelta(hours=1))
        assert (pending.announcements, pending.acknowledged) == ((), 1)


def test_the_migrations_make_what_the_models_say(empty_url: str) -> None:
    """A history that grew by migrations is the one that the code was written for."""
    upgrade_history(empty_url)
    with connect_database(empty_url) as database, database.reading() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"version_table": schema.VERSION_TABLE}
        )

        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_again_keeps_what_is_there(history_url: str) -> None:
    """The command is safe to repeat, and says which revision there is."""
    with History.open(history_url) as history:
        history.record(report(run(), finding()))

    assert upgrade_history(history_url) == "0005"

    with History.open(history_url) as history:
        assert len(history.runs()) == 1


def test_a_history_that_does_not_exist_yet_is_refused(empty_url: str) -> None:
    """An empty database is not a history that knows nothing: the command to make one is named."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()

    with pytest.raises(
        HistoryError, match=r"no history in .* yet\. .*`beaconhunt history upgrade`"
    ):
        History.open(empty_url).__enter__()


def test_an_older_history_is_refused_and_can_be_upgraded(
    history_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update of beaconhunt the message has the command that is needed."""
    with History.open(history_url) as history:
        history.record(report(run(), finding()))
    monkeypatch.setattr(schema, "MIGRATIONS", next_release)

    with pytest.raises(HistoryError, match=r"revision 0005\)\. .*`beaconhunt history upgrade`"):
        History.open(history_url).__enter__()
    assert upgrade_history(history_url) == "0006"

    with History.open(history_url) as history:
        assert len(history.findings()) == 1


def test_a_newer_history_is_refused_and_left_as_it_is(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older beaconhunt neither reads nor changes what a newer one made."""
    with monkeypatch.context() as later:
        later.setattr(schema, "MIGRATIONS", next_release)
        upgrade_history(empty_url)
    file = Path(empty_url.removeprefix("sqlite:///"))
    before = file.read_bytes() if file.exists() else b""

    with pytest.raises(HistoryError, match=r"newer beaconhunt made .* \(revision 0006\).*left"):
        History.open(empty_url).__enter__()
    with pytest.raises(HistoryError, match="newer beaconhunt"):
        upgrade_history(empty_url)

    assert (file.read_bytes() if file.exists() else b"") == before


def test_prefect_may_live_in_the_same_database(tmp_path: Path) -> None:
    """Its own record of migrations is not ours, and stays."""
    path = tmp_path / "shared.db"
    with sqlite3.connect(path) as prefect:
        prefect.execute("CREATE TABLE alembic_version (version_num TEXT)")
        prefect.execute("INSERT INTO alembic_version VALUES ('1234567890ab')")
    prefect.close()

    upgrade_history(f"sqlite:///{path}")

    with sqlite3.connect(path) as prefect:
        versions = prefect.execute("SELECT version_num FROM alembic_version").fetchall()
    prefect.close()
    assert versions == [("1234567890ab",)]


def test_a_failed_upgrade_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file that already has a table of ours by name is somebody else's, and stays so."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE deliveries (pizza TEXT)")
    other.close()

    with pytest.raises(HistoryError, match="table deliveries already exists"):
        upgrade_history(f"sqlite:///{path}")

    with sqlite3.connect(path) as other:
        tables = other.execute("SELECT name FROM sqlite_master").fetchall()
    other.close()
    assert tables == [("deliveries",)]
