"""A history's database: from a URL to sessions, and from its errors to ours with a remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import ValidationError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from tasks.errors import HistoryError, RunInProgress
from tasks.settings import located

Sortable = TypeVar("Sortable", str, tuple[str, str])

UPGRADE = "beaconhunt history upgrade"
"""The command that creates a history or brings it up to date."""

WAIT_SECONDS = 30
"""Time that a writer waits for another one: a run's transaction takes a second or two."""

BATCH = 1000
"""Values in one query: both databases limit the number of parameters."""

_BEGIN = {
    # Taking the lock at once keeps two writers from waiting for each other.
    ("sqlite", "write"): "BEGIN IMMEDIATE",
    ("sqlite", "read"): "BEGIN",
    # One writer at a time as on SQLite, so that both databases behave the same.
    ("postgresql", "write"): (
        f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'; "
        "SELECT pg_advisory_xact_lock(hashtextextended('beaconhunt history', 0))"
    ),
    ("postgresql", "read"): "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}

RESTORE = (
    "It was left as it is. Restore it from a backup, or move it away and run "
    f"`{UPGRADE}`: every cluster then starts with a baseline."
)
_LOCKED = (
    "is locked by another process",
    "Nothing was written. Wait until the other process has ended, and run again.",
)
_FULL = ("cannot grow: the disk is full", "Nothing was written. Make room.")
_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_NOTADB: ("is not a database", RESTORE),
    sqlite3.SQLITE_CORRUPT: ("is corrupt", RESTORE),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        f"If there is none yet, create it with `{UPGRADE}`. If there is, let the worker's user "
        "read and write the file and its folder.",
    ),
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        "Nothing was written. Let the worker's user write the file and its folder.",
    ),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: disk I/O error",
        "Nothing was written. Check whether the worker's disk is full or failing, then run "
        "`beaconhunt history check`.",
    ),
}
_CONNECT = (
    "Check that the server runs, that the database exists and that this user may use it. Put a "
    "password into PGPASSWORD or ~/.pgpass on the worker."
)
_POSTGRESQL = {
    "55P03": _LOCKED,
    "53100": _FULL,
    "25006": (
        "cannot be written: its server is read-only",
        "Nothing was written. Point `history_url` to the server that accepts writes.",
    ),
    "42501": (
        "refuses this user's access",
        "Make the user of `history_url` the owner of its tables.",
    ),
}


@dataclass(frozen=True, slots=True)
class Database:
    """An open history, with its place for errors: a path, or a host and a database."""

    engine: Engine
    place: str

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session whose queries share one consistent snapshot."""
        with _translated(self.place), _begun(self.engine, "read") as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that writes all or nothing, one writer at a time."""
        with _translated(self.place), _begun(self.engine, "write") as session:
            yield session


@contextmanager
def connect_database(url: str, *, create: bool = False) -> Iterator[Database]:
    """Connect to the history at a URL.

    Args:
        url: `sqlite:///path`, which may hold `$BEACONHUNT_HOME`, or `postgresql://host/database`.
        create: whether to create a missing SQLite file. Only a person's command does so: otherwise
            a typing error in the URL would look like an empty history.

    Raises:
        HistoryError: the URL is of another kind, or its driver is not installed.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        path = Path(address.database or "").expanduser().absolute()
        engine, place = _sqlite(address, path, create=create), str(path)
    else:
        engine = _postgresql(address)
        place = URL.create(
            "postgresql", host=address.host, port=address.port, database=address.database
        ).render_as_string()
    event.listen(engine, "begin", _begin)
    try:
        yield Database(engine, place)
    finally:
        engine.dispose()


def batches(values: Collection[Sortable]) -> Iterator[list[Sortable]]:
    """Split values into sorted lists that fit into one query."""
    ordered = sorted(values)
    for start in range(0, len(ordered), BATCH):
        yield ordered[start : start + BATCH]


def _address(url: str) -> URL:
    """Parse the URL; an error does not repeat it, because it may contain a password."""
    try:
        address = make_url(located(url))
    except (ArgumentError, ValueError):  # A port that is no number is a ValueError.
        raise HistoryError("`history_url` is not a URL.", _SUPPORTED) from None
    if address.drivername in {"postgresql", "postgresql+psycopg"}:
        return address.set(drivername="postgresql+psycopg")
    if address.drivername == "sqlite" and address.database not in {None, "", ":memory:"}:
        return address
    raise HistoryError(f"A history cannot be kept in {address.drivername}.", _SUPPORTED)


_SUPPORTED = "Write `sqlite:///` and a path, or `postgresql://host/database`."


def _sqlite(address: URL, path: Path, *, create: bool) -> Engine:
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HistoryError(
                f"The folder {path.parent} cannot be created: {error.strerror}.",
                "Create it, writable for the worker's user, or choose another `history_url`.",
            ) from error
    query = {"timeout": str(WAIT_SECONDS), **address.query}
    query |= {"uri": "true", "mode": "rwc" if create else "rw"}
    engine = create_engine(
        address.set(database=f"file:{quote(str(path))}", query=query), hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # We send BEGIN ourselves: see `_BEGIN`.
        connection.execute("PRAGMA foreign_keys = ON")
        if create:  # These settings are stored in the file.
            if connection.execute("PRAGMA page_count").fetchone() == (0,):
                connection.execute("PRAGMA auto_vacuum = FULL")  # Pruning shrinks the file.
            connection.execute("PRAGMA journal_mode = WAL")

    return engine


def _postgresql(address: URL) -> Engine:
    try:
        return create_engine(
            address.update_query_dict({"connect_timeout": "10", **address.query}),
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise HistoryError(
            "The driver for PostgreSQL is not installed.",
            'Install it: pip install "beaconhunt[postgresql]".',
        ) from error


@contextmanager
def _begun(engine: Engine, access: str) -> Iterator[Session]:
    with Session(engine.execution_options(access=access)) as session, session.begin():
        yield session


def _begin(connection: Connection) -> None:
    access = connection.get_execution_options()["access"]
    connection.exec_driver_sql(_BEGIN[connection.dialect.name, access])


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Translate a database's errors; no other place does."""
    try:
        yield
    except IntegrityError as error:
        raise RunInProgress(
            f"The history {place} was changed by another process at the same moment.",
            "Nothing was written. Run again.",
        ) from error
    except DBAPIError as error:
        raise _problem(place, error.orig) from error
    except sqlite3.Error as error:  # From preparing a connection: SQLAlchemy does not wrap it.
        raise _problem(place, error) from error
    except ValidationError:
        # Its text repeats the document, which may hold a whole event.
        raise HistoryError(
            f"The history {place} holds a document that this beaconhunt cannot read.", RESTORE
        ) from None


def _problem(place: str, error: BaseException | None) -> HistoryError:
    reason = str(error).strip().partition("\n")[0]
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        problem, remedy = _SQLITE.get(code, (f"failed: {reason}", RESTORE))
    else:
        state = getattr(error, "sqlstate", None)
        problem, remedy = _POSTGRESQL.get(state or "", (f"failed: {reason}", _CONNECT))
    return HistoryError(f"The history {place} {problem}.", remedy)
