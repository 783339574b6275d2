"""SQLite for tests: to a file that outlives a killed process, though not a machine without power.

The PostgreSQL server of the tests waits for no disk either.
"""

import sqlite3

from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry


@event.listens_for(Engine, "connect")
def _forgetful(connection: object, _: ConnectionPoolEntry) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
