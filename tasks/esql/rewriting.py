"""A file of any JSON goes in; NDJSON comes out, with one flat document a line, and its counts.

It is the slow and complete way to read a file: every shape, every encoding, every line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tasks.esql.errors import DocumentError
from tasks.esql.files import Compression, DataFile
from tasks.esql.flattening import TIME, Mapped, NotADocument, Values, documents_in, flattened
from tasks.esql.json_text import LINE_BYTES, is_value_a_line, values_by_line, values_over_lines
from tasks.esql.names import fault_of
from tasks.esql.shapes import Leaf, Shape


@dataclass(slots=True)
class Rewritten:
    """A rewritten file.

    Attributes:
        path: of the new file; every line is an object of fields, several values as a list.
        documents: how many it holds.
        shapes: of every field.
        kinds: of every field's values, by DuckDB's names for kinds of JSON.
        bad: how many lines, or values in a list, are no documents.
        first_bad: the first of them.
        too_deep: how many documents nest too deep for a field in Elasticsearch.
        untimed: how many documents have no @timestamp.
        first_untimed: the file and line of the first of them.
    """

    path: str
    documents: int = 0
    shapes: dict[str, Shape] = field(default_factory=dict)
    kinds: dict[str, set[str]] = field(default_factory=dict)
    bad: int = 0
    first_bad: DocumentError | None = None
    too_deep: int = 0
    untimed: int = 0
    first_untimed: str = ""

    def count(self, values: Values, place: str) -> None:
        """Count a document with these values by field."""
        self.documents += 1
        if TIME not in values:
            self.untimed += 1
            self.first_untimed = self.first_untimed or place
        for name, all_of in values.items():
            several = len(all_of) > 1
            if name not in self.shapes or several:
                leaf = Leaf.ANY if several else Leaf.TEXT
                self.shapes[name] = Shape(frozenset({(name,)}), leaf, several)
            self.kinds.setdefault(name, set()).update(map(_kind, all_of))


def rewritten(
    file: DataFile,
    named: str,
    target: Path,
    mapped: Mapped,
    check: Callable[[], None],
    *,
    skip_bad: bool,
) -> Rewritten:
    """Rewrite a file.

    Args:
        file: NDJSON or JSON, not compressed with zstd.
        named: its path in messages.
        target: the file to write.
        mapped: the names of the data stream's mapping.
        check: called for every document, so that the work ends with the question.
        skip_bad: leave out what is no document, and count it.

    Raises:
        DocumentError: something is no document, or the file cannot be read to its end.
    """
    made = Rewritten(str(target))

    def refuse(place: str, reason: str) -> None:
        error = DocumentError(f"[{place}] failed to parse: {reason}")
        if not skip_bad:
            raise error
        made.bad += 1
        made.first_bad = made.first_bad or error

    with target.open("w", encoding="utf-8", newline="\n") as lines:
        for number, value in _values(file, named):
            place = f"{named}:{number}"
            for _, document in documents_in(value):
                check()
                try:
                    values = flattened(document, mapped)
                    line = _line(values)
                except NotADocument as fault:
                    refuse(place, str(fault))
                except UnicodeEncodeError:
                    refuse(place, "it holds half a surrogate, or bytes that are no UTF-8")
                except RecursionError:
                    made.too_deep += 1
                else:
                    lines.write(line)
                    made.count(values, place)
    return made


def _values(file: DataFile, named: str) -> Iterator[tuple[int, object]]:
    """The JSON values of a file with the numbers of their lines."""
    try:
        with _opened(file) as text:
            values = values_by_line if is_value_a_line(text) else values_over_lines
        with _opened(file) as text:
            yield from values(text)
    except TimeoutError:  # It is an OSError too.
        raise
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise DocumentError(f"[{named}] failed to parse: {error}") from error


def _line(values: Values) -> str:
    """A flat document as a line.

    Raises:
        NotADocument: it is too long for DuckDB's reader.
        UnicodeEncodeError: it holds half a surrogate.
    """
    flat = {
        name: all_of if len(all_of) > 1 else all_of[0]
        for name, all_of in values.items()
        if not fault_of(name)
    }
    line = json.dumps(flat, ensure_ascii=False) + "\n"
    if len(line.encode()) > LINE_BYTES:
        raise NotADocument("a document is larger than 16 MB")
    return line


def _kind(value: object) -> str:
    """The kind of a JSON value, as DuckDB calls it."""
    match value:
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT" if -(2**63) <= value < 2**64 else "HUGEINT"
        case float():
            return "DOUBLE"
        case dict():
            return "OBJECT"
        case _:
            return "VARCHAR"


def _opened(file: DataFile) -> TextIO:
    """The file as text; a byte that is no text becomes half a surrogate, which no line may hold."""
    errors = "surrogateescape" if file.encoding.startswith("utf-8") else "strict"
    if file.compression is Compression.GZIP:
        return gzip.open(file.path, "rt", encoding=file.encoding, errors=errors, newline="\n")
    return Path(file.path).open(encoding=file.encoding, errors=errors, newline="\n")
