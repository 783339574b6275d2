"""A file of any JSON goes in; NDJSON comes out, with one flat document a line, and its counts.

It is the slow and complete way to read a file: every shape, every encoding, every line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from tasks.esql.errors import DocumentError
from tasks.esql.files import Compression, DataFile
from tasks.esql.flattening import (
    TIME,
    FoundDocument,
    Mapped,
    NotADocument,
    Values,
    documents_in,
    flattened,
    index_in_action,
)
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


@dataclass(frozen=True, slots=True)
class Sorting:
    """Where the documents of a file go.

    Attributes:
        stream_of: gives the data stream of a document; its errors end the rewriting.
        mapped_of: gives the names of a data stream's mapping.
        new_path: gives the path of a new file.
    """

    stream_of: Callable[[FoundDocument], str]
    mapped_of: Callable[[str], Mapped]
    new_path: Callable[[], Path]


def rewritten(
    file: DataFile,
    named: str,
    target: Path,
    mapped: Mapped,
    check: Callable[[], None],
    *,
    skip_bad: bool,
) -> Rewritten:
    """Rewrite a file of one data stream, whose mapping has these names.

    Args, errors: as for `split`; `target` is the file to write.
    """
    sorting = Sorting(lambda _: "", lambda _: mapped, lambda: target)
    return split(file, named, sorting, check, skip_bad=skip_bad)[""]


def split(
    file: DataFile, named: str, sorting: Sorting, check: Callable[[], None], *, skip_bad: bool
) -> dict[str, Rewritten]:
    """Rewrite a file of several data streams into one for each of them.

    Args:
        file: NDJSON or JSON, not compressed with zstd.
        named: its path in messages.
        sorting: where documents go.
        check: called for every document, so that the work ends with the question.
        skip_bad: leave out what is no document, and count it.

    Returns:
        The rewritten files by data stream; what is no document counts for the stream "".

    Raises:
        DocumentError: something is no document, or the file cannot be read to its end.
    """
    with ExitStack() as opened:
        made = _Split(named, sorting, opened, skip_bad=skip_bad)
        announced = ""  # By the action before a document.
        for number, value in _values(file, named):
            action = index_in_action(value)
            for found in documents_in(value):
                check()
                made.add(replace(found, index=announced) if announced else found, number)
            announced = action
        return made.parts


class _Split:
    """The files that a file is rewritten into."""

    def __init__(self, named: str, sorting: Sorting, opened: ExitStack, *, skip_bad: bool) -> None:
        self._named = named
        self._sorting = sorting
        self._opened = opened
        self._skip_bad = skip_bad
        self._mapped: dict[str, Mapped] = {}
        self._lines: dict[str, TextIO] = {}
        self.parts = {"": Rewritten(str(sorting.new_path()))}

    def add(self, found: FoundDocument, number: int) -> None:
        """Add a document, or count why it is none."""
        place = f"{self._named}:{number}"
        is_object = isinstance(found.document, dict)
        stream = self._sorting.stream_of(found) if is_object else ""
        if stream not in self._mapped:
            self._mapped[stream] = self._sorting.mapped_of(stream)
        try:
            values = flattened(found.document, self._mapped[stream])
            line = _line(values)
        except NotADocument as fault:
            self._refuse(place, str(fault))
        except UnicodeEncodeError:
            self._refuse(place, "it holds half a surrogate, or bytes that are no UTF-8")
        except RecursionError:
            self.parts[""].too_deep += 1
        else:
            self._write(stream, line)
            self.parts[stream].count(values, place)

    def _write(self, stream: str, line: str) -> None:
        if stream not in self._lines:
            if stream not in self.parts:
                self.parts[stream] = Rewritten(str(self._sorting.new_path()))
            path = Path(self.parts[stream].path)
            self._lines[stream] = self._opened.enter_context(
                path.open("w", encoding="utf-8", newline="\n")
            )
        self._lines[stream].write(line)

    def _refuse(self, place: str, reason: str) -> None:
        error = DocumentError(f"[{place}] failed to parse: {reason}")
        if not self._skip_bad:
            raise error
        without = self.parts[""]
        without.bad += 1
        without.first_bad = without.first_bad or error


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
