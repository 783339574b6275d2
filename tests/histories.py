"""Histories without runs: migrated once a process, and copied from then on.

Migrations take a tenth of a second, and most tests of a history begin with a new one.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sqlalchemy import Engine, event, make_url

from tasks.history import upgrade_history
from tests.postgresql import Server

_CHANGES = ("ALTER", "CREATE", "DELETE", "DROP", "INSERT", "UPDATE")


def new_history(url: str) -> None:
    """Make a history where there is none yet, with the same result as `upgrade_history`."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        path = Path(str(address.database))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_file())
        return
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('beaconhunt_version')").fetchone() == (None,):
            connection.execute(_statements(Server(str(address.host), int(address.port or 0))))


@cache
def _file() -> bytes:
    """Migrate an empty SQLite file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        upgrade_history(f"sqlite:///{path}")
        return path.read_bytes()


@cache
def _statements(server: Server) -> bytes:
    """Migrate an empty schema, and record the statements that change it."""
    recorded: list[str] = []

    def record(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        if statement.lstrip().upper().startswith(_CHANGES):
            recorded.append(psycopg.ClientCursor(cursor.connection).mogrify(statement, parameters))

    url = server.new_schema()
    event.listen(Engine, "before_cursor_execute", record)
    try:
        upgrade_history(url)
    finally:
        event.remove(Engine, "before_cursor_execute", record)
    return ";".join(recorded).encode()
