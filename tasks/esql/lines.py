"""DuckDB's error about a file goes in, ours comes out."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from tasks.esql.errors import DocumentError


def file_in(error: duckdb.Error, paths: Collection[str]) -> str | None:
    """The path that an error names; the longest, since one may begin with another."""
    text = str(error)
    return max((path for path in paths if path in text), key=len, default=None)


def unreadable(error: duckdb.Error, path: str) -> DocumentError:
    """An error about a file in our words."""
    return DocumentError(f"[{path}] failed to parse: {first_line(error)}")


def first_line(error: duckdb.Error) -> str:
    """DuckDB's words, without their kind and without the SQL that follows them."""
    return str(error).partition("\n")[0].partition("Error: ")[2]
