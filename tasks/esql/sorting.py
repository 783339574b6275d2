"""A file of documents goes in; its place in a data stream comes out, or its parts in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tasks.errors import NotImported
from tasks.esql.engine import NOT_OURS
from tasks.esql.files import DataFile, Kind, looked_at
from tasks.esql.flattening import INDEX, FoundDocument, Mapped
from tasks.esql.lines import file_in, unreadable
from tasks.esql.origins import ORIGIN_FIELDS, Origin, Whereabouts
from tasks.esql.parquet import ParquetColumn, ParquetFiles, parquet_relation
from tasks.esql.rewriting import Rewritten, Sorting, split
from tasks.esql.scanning import Lines, ScannedField
from tasks.esql.shapes import Shape
from tasks.esql.sql import Sql, joined, sql, text_constant
from tasks.esql.stream_files import Execute, not_read, unpacked
from tasks.esql.streams import MappedField
from tasks.esql.types import Type

_MOST_STREAMS = 200
_MOST_ORIGINS = 1_000

_SAYS = (INDEX, *ORIGIN_FIELDS)


@dataclass(slots=True)
class Part:
    """What is imported into one data stream.

    Attributes:
        paths: of files that hold nothing else.
        rewritten: parts of other files, by their paths.
        size: bytes to read.
    """

    paths: list[str] = field(default_factory=list)
    rewritten: dict[str, Rewritten] = field(default_factory=dict)
    size: int = 0


class Sorter:
    """Sorts files into the parts of data streams.

    Attributes:
        parts: by data stream.
        unread: the files that hold no documents.
        faults: what is no document in files that were rewritten.
    """

    def __init__(
        self,
        execute: Execute,
        new_path: Callable[[], Path],
        mapped_of: Callable[[str], Mapped],
        check: Callable[[], None],
        *,
        skip_bad: bool,
    ) -> None:
        self._execute = execute
        self._new_path = new_path
        self._mapped_of = mapped_of
        self._check = check
        self._skip_bad = skip_bad
        self.parts: dict[str, Part] = {}
        self.unread: list[DataFile] = []
        self.faults: list[Rewritten] = []

    def sort(self, where: Whereabouts) -> None:
        """Sort a file.

        Raises:
            NotImported: a document does not say where it belongs.
            DocumentError: something is no document, or the file cannot be read.
        """
        self._check()
        file = looked_at(where.path, Mapped())
        try:
            self._sort(file, where)
        except duckdb.Error as error:
            if file_in(error, [file.path]):
                raise unreadable(error, file.path) from error
            raise

    def _sort(self, file: DataFile, where: Whereabouts) -> None:
        match file.kind:
            case Kind.UNKNOWN:
                self.unread.append(file)
            case Kind.PARQUET:
                self._sort_parquet(file, where)
            case Kind.LINES if stream := self._only_stream(file, where):
                self._add(stream, file.path, where)
            case Kind.LINES | Kind.ODD:
                self._split(file, where)

    def _add(self, stream: str, path: str, where: Whereabouts) -> None:
        part = self._part(stream)
        part.paths.append(path)
        part.size += where.path.stat().st_size

    def _part(self, stream: str) -> Part:
        part = self.parts.setdefault(stream, Part())
        if len(self.parts) > _MOST_STREAMS:
            raise NotImported(
                f"The files have documents of more than {_MOST_STREAMS} data streams.",
                "Import them in several steps, and check that `_index` names data streams.",
            )
        return part

    def left_out(self) -> Iterator[str]:
        """Warnings about files and lines that are in no part."""
        return not_read(self.unread, self.faults)

    # --- NDJSON and JSON ---

    def _only_stream(self, file: DataFile, where: Whereabouts) -> str:
        """The data stream of all documents; empty if they have several, or if a scan ends early."""
        shapes = [file.shapes.get(name, Shape()) for name in ORIGIN_FIELDS]
        if not file.below_lists.isdisjoint(ORIGIN_FIELDS) or any(each.several for each in shapes):
            return ""
        fields = [
            ScannedField(MappedField(Type.KEYWORD, name), shape, (0, place))
            for place, (name, shape) in enumerate(zip(ORIGIN_FIELDS, shapes, strict=True))
        ]
        documents = Lines((file.path,), file.compression, file.wrapper).indexed(fields)
        columns = ["hit_index", *(f"f{field.place}" for field in fields)]
        try:
            found = self._said(map(Sql, columns), documents)
        except NOT_OURS:
            raise
        except duckdb.Error:
            return ""  # It is split, which says what is wrong.
        streams = {where.stream_of(_origin(row)) for row in found}
        return streams.pop() if len(streams) == 1 and len(found) <= _MOST_ORIGINS else ""

    def _said(self, columns: Iterable[Sql], documents: Sql) -> list[Sequence[Any]]:
        """What documents say of their data streams."""
        asked = sql(
            "SELECT {} FROM ({}) GROUP BY ALL LIMIT {}",
            joined(", ", columns),
            documents,
            Sql(str(_MOST_ORIGINS + 1)),
        )
        return [*self._execute(asked).fetchall()]

    def _split(self, file: DataFile, where: Whereabouts) -> None:
        def stream_of(found: FoundDocument) -> str:
            stream = where.stream_of(Origin.of_document(found))
            self._part(stream)
            return stream

        text = unpacked(file, self._new_path, self._execute)
        sorting = Sorting(stream_of, self._mapped_of, self._new_path)
        made = split(text, file.path, sorting, self._check, skip_bad=self._skip_bad)
        self.faults.append(made.pop(""))
        for stream, rewritten in made.items():
            part = self._part(stream)
            part.rewritten[file.path] = rewritten
            part.size += Path(rewritten.path).stat().st_size

    # --- Parquet ---

    def _sort_parquet(self, file: DataFile, where: Whereabouts) -> None:
        (group,) = ParquetFiles.described([file.path], self._execute).groups
        texts = [_as_text(group.columns.get(name)) for name in _SAYS]
        documents = parquet_relation([file.path])
        found = self._said(texts, sql("FROM {}", documents))
        if len(found) > _MOST_ORIGINS:
            raise NotImported(
                f"[{file.path}] has documents of more than {_MOST_ORIGINS} indices.",
                "Import it in several parts, and check that `_index` names data streams.",
            )
        by_stream: dict[str, list[Sequence[Any]]] = {}
        for row in found:
            by_stream.setdefault(where.stream_of(_origin(row)), []).append(row)
        if len(by_stream) == 1:
            self._add(next(iter(by_stream)), file.path, where)
            return
        for stream, rows in by_stream.items():
            path = str(self._new_path())
            chosen = joined(" OR ", [_equal(texts, row) for row in rows])
            self._execute(
                sql(
                    "COPY (FROM {} WHERE {}) TO {} (FORMAT parquet)",
                    documents,
                    chosen,
                    text_constant(path),
                )
            )
            self._add(stream, path, where)


def _origin(row: Sequence[Any]) -> Origin:
    return Origin.of(row[0], row[1:])


def _as_text(column: ParquetColumn | None) -> Sql:
    if column is None:
        return Sql("CAST(NULL AS VARCHAR)")
    return sql("CAST({}{} AS VARCHAR)", column.sql, Sql("[1]" if column.several else ""))


def _equal(texts: Sequence[Sql], row: Sequence[Any]) -> Sql:
    """A condition: these texts are the values of a row."""
    values = [Sql("NULL") if value is None else text_constant(value) for value in row]
    alike = [
        sql("{} IS NOT DISTINCT FROM {}", text, value)
        for text, value in zip(texts, values, strict=True)
    ]
    return sql("({})", joined(" AND ", alike))
