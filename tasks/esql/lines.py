"""DuckDB's error about a file goes in, ours comes out, with the line where a reader finds it."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from tasks.esql.errors import DocumentError

_WHERE = re.compile(r"\bin line (\d+): (.*)")
_TOO_LARGE = '"maximum_object_size"'


def bad_line(error: duckdb.Error, paths: Sequence[str], check: Callable[[], None]) -> DocumentError:
    """Name the file and the line of an error.

    Args:
        error: DuckDB's.
        paths: the files that it read.
        check: called for every line, so that the search ends with the question.
    """
    text = str(error)
    path = max((path for path in paths if path in text), key=len, default=None)
    if path is None:
        return DocumentError(f"failed to parse: {first_line(error)}")
    if _TOO_LARGE in text:
        return DocumentError(f"[{path}] failed to parse: a document is larger than 16 MB")
    found = _WHERE.search(text, text.index(path) + len(path))
    line, reason = (found[1], found[2]) if found else ("?", first_line(error))
    number, reason = _first_bad_line(Path(path), check) or (line, reason)
    return DocumentError(f"[{path}:{number}] failed to parse: {reason}")


def first_line(error: duckdb.Error) -> str:
    """DuckDB's words, without their kind and without the SQL that follows them."""
    return str(error).partition("\n")[0].partition("Error: ")[2]


def _first_bad_line(path: Path, check: Callable[[], None]) -> tuple[int, str] | None:
    """The first line that is not a JSON object. DuckDB's line numbers are off by one at times.

    None if there is none, or if Python cannot read the file.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    if path.suffix == ".zst":
        return None
    try:
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                check()
                if line.strip() and (fault := _fault(line)):
                    return number, fault
    except TimeoutError:  # It is an OSError too.
        raise
    except (OSError, EOFError, zlib.error):  # A truncated archive: DuckDB's error names it.
        return None
    return None


def _fault(line: bytes) -> str:
    """What is wrong with a document; empty for nothing that Python would find."""
    try:
        document = json.loads(line)
        json.dumps(document, ensure_ascii=False).encode()  # Half a surrogate is no text.
        return "" if isinstance(document, dict) else "a document must be a JSON object"
    except ValueError as error:
        return str(error)
    except RecursionError:  # Too deep for Python is not too deep for DuckDB.
        return ""
