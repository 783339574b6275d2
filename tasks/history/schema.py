"""A history's schema: from its current revision to the one that this code needs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import column, inspect, select, table
from sqlalchemy.orm import Session

from tasks.errors import HistoryError
from tasks.history.database import UPGRADE, Database, connect_database

MIGRATIONS = Path(__file__).parent / "migrations"

VERSION_TABLE = "beaconhunt_version"
"""Not Alembic's default, which Prefect uses: both may share a PostgreSQL database."""


def upgrade_history(url: str) -> str:
    """Create the history at a URL, or bring it up to date.

    Returns:
        Its new revision.

    Raises:
        HistoryError: it cannot be reached or written, or a newer beaconhunt made it.
    """
    # Runs only compare revisions, and importing Alembic takes a tenth of their start-up.
    from alembic import command  # noqa: PLC0415 - only an upgrade needs it.
    from alembic.config import Config  # noqa: PLC0415 - as above.

    with connect_database(url, create=True) as database, database.writing() as session:
        _refuse_newer(database, revision(session))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "head")
        return str(revision(session))


def require_current_schema(database: Database) -> None:
    """Refuse a history with another schema than this code needs.

    Raises:
        HistoryError: there is no history yet, or its schema is older or newer.
    """
    there = schema_revision(database)
    _refuse_newer(database, there)
    if there != _revisions()[-1]:
        raise HistoryError(
            f"The history {database.place} is older than this beaconhunt (revision {there}).",
            f"Upgrade it with `{UPGRADE}`.",
        )


def schema_revision(database: Database) -> str:
    """Give a history's revision.

    Raises:
        HistoryError: there is no history yet.
    """
    with database.reading() as session:
        there = revision(session)
    if there is None:
        raise HistoryError(
            f"There is no history in {database.place} yet.", f"Create it with `{UPGRADE}`."
        )
    return there


def revision(session: Session) -> str | None:
    """Give a history's revision; None if there is no history yet."""
    if not inspect(session.connection()).has_table(VERSION_TABLE):
        return None
    return session.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))


def _refuse_newer(database: Database, found: str | None) -> None:
    if found is not None and found not in _revisions():
        raise HistoryError(
            f"A newer beaconhunt made the history {database.place} (revision {found}).",
            "It was left as it is. Upgrade beaconhunt, or point `history_url` elsewhere.",
        )


def _revisions() -> list[str]:
    """List the known revisions, oldest first: the numbers in the migrations' file names."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("0*.py"))
