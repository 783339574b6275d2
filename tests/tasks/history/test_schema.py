from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tasks.errors import HistoryError
from tasks.history import History, schema, upgrade
from tasks.history.database import connected
from tasks.history.models import Row
from tests.builders import finding, report, run

NEXT_MIGRATION = '''
"""What a later release adds."""
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade():
    op.add_column("runs", sa.Column("later", sa.String()))
'''


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of a later release: ours and one more."""
    migrations = tmp_path / "100% migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    (migrations / "versions" / "0002_later.py").write_text(NEXT_MIGRATION)
    return migrations


def test_the_migrations_make_what_the_models_say(history_url: str) -> None:
    """A history that grew by migrations is the one that the code was written for."""
    with connected(history_url) as database, database.reading() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"version_table": schema.VERSION_TABLE}
        )

        assert compare_metadata(context, Row.metadata) == []


def test_upgrading_again_keeps_what_is_there(history_url: str) -> None:
    """The command is safe to repeat, and says which revision there is."""
    with History.open(history_url) as history:
        history.record(report(run(), finding()))

    assert upgrade(history_url) == "0001"

    with History.open(history_url) as history:
        assert len(history.runs()) == 1


def test_a_history_that_does_not_exist_yet_is_refused(empty_url: str) -> None:
    """An empty database is not a history that knows nothing: the command to make one is named."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()

    with pytest.raises(HistoryError, match=r"no history in .* yet\. .*`beaconhunt db upgrade`"):
        History.open(empty_url).__enter__()


def test_an_older_history_is_refused_and_can_be_upgraded(
    history_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an update of beaconhunt the message has the command that is needed."""
    with History.open(history_url) as history:
        history.record(report(run(), finding()))
    monkeypatch.setattr(schema, "MIGRATIONS", next_release)

    with pytest.raises(HistoryError, match=r"revision 0001\)\. .*`beaconhunt db upgrade`"):
        History.open(history_url).__enter__()
    assert upgrade(history_url) == "0002"

    with History.open(history_url) as history:
        assert len(history.findings()) == 1


def test_a_newer_history_is_refused_and_left_as_it_is(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older beaconhunt neither reads nor changes what a newer one made."""
    with monkeypatch.context() as later:
        later.setattr(schema, "MIGRATIONS", next_release)
        upgrade(empty_url)
    file = Path(empty_url.removeprefix("sqlite:///"))
    before = file.read_bytes() if file.exists() else b""

    with pytest.raises(HistoryError, match=r"newer beaconhunt \(revision 0002\).*left as it is"):
        History.open(empty_url).__enter__()
    with pytest.raises(HistoryError, match="newer beaconhunt"):
        upgrade(empty_url)

    assert (file.read_bytes() if file.exists() else b"") == before


def test_prefect_may_live_in_the_same_database(tmp_path: Path) -> None:
    """Its own record of migrations is not ours, and stays."""
    path = tmp_path / "shared.db"
    with sqlite3.connect(path) as prefect:
        prefect.execute("CREATE TABLE alembic_version (version_num TEXT)")
        prefect.execute("INSERT INTO alembic_version VALUES ('1234567890ab')")
    prefect.close()

    upgrade(f"sqlite:///{path}")

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
        upgrade(f"sqlite:///{path}")

    with sqlite3.connect(path) as other:
        tables = other.execute("SELECT name FROM sqlite_master").fetchall()
    other.close()
    assert tables == [("deliveries",)]
