"""A history's schema: from whatever revision it has to the one that this code needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session

from tasks.errors import HistoryError
from tasks.history.database import UPGRADE, Database, connect_database

MIGRATIONS = Path(__file__).parent / "migrations"

VERSION_TABLE = "beaconhunt_version"
"""Not Alembic's default, which Prefect's own database uses: both may share a PostgreSQL."""


def upgrade_history(url: str) -> str:
    """Create the history at a URL, or bring it up to date.

    Returns:
        The revision that it now has.

    Raises:
        HistoryError: it cannot be reached or written, or a newer beaconhunt made it.
    """
    with connect_database(url, create=True) as database, database.writing() as session:
        _refuse_newer(database, revision(session))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "head")
        return str(revision(session))


def require_current_schema(database: Database) -> None:
    """Refuse a history whose schema is not the one that this code needs.

    Raises:
        HistoryError: there is none yet, or it is older or newer.
    """
    there = schema_revision(database)
    _refuse_newer(database, there)
    if there != _scripts(MIGRATIONS).get_current_head():
        raise HistoryError(
            f"The history {database.place} is older than this beaconhunt (revision {there}).",
            f"Bring it up to date: `{UPGRADE}`.",
        )


def schema_revision(database: Database) -> str:
    """Give the revision of a history, whichever it is.

    Raises:
        HistoryError: there is none yet.
    """
    with database.reading() as session:
        there = revision(session)
    if there is None:
        raise HistoryError(
            f"There is no history in {database.place} yet.", f"Create it: `{UPGRADE}`."
        )
    return there


def revision(session: Session) -> str | None:
    """Give the revision that a history has; None when there is none yet."""
    return MigrationContext.configure(
        session.connection(), opts={"version_table": VERSION_TABLE}
    ).get_current_revision()


def _refuse_newer(database: Database, found: str | None) -> None:
    known = {script.revision for script in _scripts(MIGRATIONS).walk_revisions()}
    if found is not None and found not in known:
        raise HistoryError(
            f"The history {database.place} was made by a newer beaconhunt (revision {found}).",
            "It was left as it is. Upgrade beaconhunt, or point `history_url` elsewhere.",
        )


@cache  # Each is a file that is read and run.
def _scripts(migrations: Path) -> ScriptDirectory:
    return ScriptDirectory(str(migrations))
