"""A copied history is the one that the migrations make."""

import sqlite3
from pathlib import Path

import psycopg

from tasks.history import upgrade_history
from tests.histories import new_history
from tests.postgresql import Server


def dumped(path: Path) -> tuple[list[str], list[tuple[int]]]:
    """Give a SQLite history's schema and rows, and the settings that its file keeps."""
    with sqlite3.connect(path) as connection:
        pragmas = ("auto_vacuum", "journal_mode", "user_version", "encoding")
        kept = [connection.execute(f"PRAGMA {name}").fetchone() for name in pragmas]
        lines = list(connection.iterdump())
    connection.close()
    return lines, kept


def test_a_copied_file_equals_a_migrated_one(tmp_path):
    """Also its settings, which no migration sets."""
    for name, make in (("migrated", upgrade_history), ("copied", new_history)):
        make(f"sqlite:///{tmp_path}/{name}.db")
    assert dumped(tmp_path / "copied.db") == dumped(tmp_path / "migrated.db")


DESCRIBED = """
SELECT 'column', table_name, column_name, data_type, column_default, is_nullable
FROM information_schema.columns WHERE table_schema = current_schema()
UNION ALL
SELECT 'index', tablename, indexname, replace(indexdef, current_schema(), ''), '', ''
FROM pg_indexes WHERE schemaname = current_schema()
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
UNION ALL
SELECT 'revision', version_num, '', '', '', '' FROM beaconhunt_version
ORDER BY 1, 2, 3, 4
"""


def test_a_copied_schema_equals_a_migrated_one(postgresql_server: Server):
    """Columns, indexes, constraints and the revision."""
    described = []
    for make in (upgrade_history, new_history):
        make(url := postgresql_server.new_schema())
        with psycopg.connect(url) as connection:
            described.append(connection.execute(DESCRIBED).fetchall())
    migrated, copied = described
    assert copied == migrated
    assert {kind for kind, *_ in copied} == {"column", "index", "constraint", "revision"}


def test_a_history_that_is_there_stays(tmp_path):
    """A worker's folder may be copied with its history."""
    path = tmp_path / "history.db"
    path.write_bytes(b"a history")
    new_history(f"sqlite:///{path}")
    assert path.read_bytes() == b"a history"
