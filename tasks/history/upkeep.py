"""Upkeep: from a history's URL to a check of its integrity, or a backup of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from tasks.errors import HistoryError
from tasks.history import schema
from tasks.history.database import RESTORE, connect_database
from tasks.history.models import Base, FindingRow, RunRow


@dataclass(frozen=True, slots=True)
class Inventory:
    """The content of an intact history.

    Attributes:
        place: a path, or a host and a database.
        revision: its schema's revision.
        rows: number of rows by table.
    """

    place: str
    revision: str
    rows: Mapping[str, int]


def take_inventory(url: str) -> Inventory:
    """Check that a history can be read and written, and is intact.

    Raises:
        HistoryError: it is not. Nothing was changed.
    """
    with connect_database(url) as database:
        schema.require_current_schema(database)
        with database.writing():
            pass  # Fails for a user who may not write.
        with database.reading() as session:
            if faults := list(_faults(session)):
                raise HistoryError(
                    f"The history {database.place} is damaged: {faults[0]}"
                    f"{f', and {len(faults) - 1:,} more faults' if faults[1:] else ''}.",
                    RESTORE,
                )
            _read_documents(session)
            return Inventory(
                place=database.place,
                revision=str(schema.revision(session)),
                rows={
                    table.name: session.scalars(select(func.count()).select_from(table)).one()
                    for table in Base.metadata.sorted_tables
                },
            )


def back_up(url: str, copy: Path) -> None:
    """Copy a consistent snapshot of a history, while runs and digests go on.

    Args:
        url: URL of a history in SQLite, of any revision: PostgreSQL has its own tools.
        copy: the file to write; it appears only when it is complete.

    Raises:
        HistoryError: there is no history, or it cannot be copied there.
    """
    with connect_database(url) as database:
        if database.engine.dialect.name != "sqlite":
            raise HistoryError(
                f"The history {database.place} is on PostgreSQL, which has its own backup tools.",
                f"Run `pg_dump --format=custom --file={copy} {database.place}`.",
            )
        schema.schema_revision(database)
        if copy.exists():
            raise HistoryError(f"{copy} exists already.", "Name a file that does not exist yet.")
        try:
            with (
                TemporaryDirectory(prefix=f"{copy.name}.", dir=copy.absolute().parent) as folder,
                closing(sqlite3.connect(Path(folder) / copy.name)) as target,
                closing(database.engine.raw_connection()) as source,
            ):
                cast("sqlite3.Connection", source.driver_connection).backup(target)
                target.close()
                (Path(folder) / copy.name).rename(copy)
        except (OSError, sqlite3.Error) as error:
            raise HistoryError(
                f"The history {database.place} could not be copied to {copy}: {error}.",
                "No partial copy was left. Let this user write to that folder, and make room there "
                "for a copy of the whole history.",
            ) from error


def _faults(session: Session) -> Iterator[str]:
    """List SQLite's integrity faults; PostgreSQL checks its constraints at every write."""
    if session.connection().dialect.name != "sqlite":
        return
    for (fault,) in session.execute(text("PRAGMA integrity_check")).tuples():
        if fault != "ok":
            yield fault
    for child, row, parent, _ in session.execute(text("PRAGMA foreign_key_check")).tuples():
        yield f"row {row} of {child} refers to a missing row of {parent}"


def _read_documents(session: Session) -> None:
    """Read every document; the first unreadable one raises."""
    for document in (RunRow.document, RunRow.counts, RunRow.unreported, FindingRow.document):
        for _ in session.scalars(select(document).execution_options(yield_per=1000)):
            pass
