"""A data stream's files go in; groups of them come out that one scan reads, and what is left out.

Files in odd shapes are rewritten: once, into a folder of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

import duckdb

from tasks.esql.files import Compression, DataFile, Kind, looked_at
from tasks.esql.flattening import TIME, Mapped
from tasks.esql.parquet import ParquetFiles
from tasks.esql.rewriting import Rewritten, rewritten
from tasks.esql.scanning import Lines
from tasks.esql.shapes import Shape
from tasks.esql.sql import Sql, sql, text_constant
from tasks.esql.streams import DataStream
from tasks.text.numbers import counted

Execute = Callable[[Sql], "duckdb.DuckDBPyConnection"]
"""Runs a statement within the time of the question.

DuckDB's class stands as text: as an object it would outlive DuckDB, whose binding then complains.
"""


class StreamFiles:
    """The files of a data stream.

    Args:
        stream: the data stream.
        execute: runs a statement.
        new_path: gives the path of a new file in a folder for rewritten ones.
        check: raises once the time of the question is over.
        skip_bad: leave out what is no document, and count it.
        parts: parts of other files that were rewritten for this data stream, by the files' paths.

    Raises:
        DocumentError: a file cannot be read.
    """

    def __init__(
        self,
        stream: DataStream,
        execute: Execute,
        new_path: Callable[[], Path],
        check: Callable[[], None],
        *,
        skip_bad: bool,
        parts: Mapping[str, Rewritten] = MappingProxyType({}),
    ) -> None:
        self.stream = stream
        self._execute = execute
        self._new_path = new_path
        self._check = check
        self._skip_bad = skip_bad
        self._mapped = Mapped.of({field.path for field in stream.mapping.values()})
        self.files = tuple(self._looked_at(Path(path)) for path in stream.files)
        self.parquet = ParquetFiles.described(
            [file.path for file in self.files if file.kind is Kind.PARQUET], execute
        )
        self.rewritten: dict[str, Rewritten] = dict(parts)
        for file in self.files:
            if file.kind is Kind.ODD:
                self.rewrite(file.path)

    def _looked_at(self, path: Path) -> DataFile:
        self._check()
        return looked_at(path, self._mapped)

    @property
    def shapes(self) -> Iterator[Mapping[str, Shape]]:
        """The shapes of fields in the first documents of files, and in those rewritten."""
        yield from (file.shapes for file in self.files)
        yield from (made.shapes for made in self.rewritten.values())

    @property
    def scanned(self) -> tuple[DataFile, ...]:
        """The NDJSON files that a scan reads as they are."""
        return tuple(
            file
            for file in self.files
            if file.kind is Kind.LINES and file.path not in self.rewritten
        )

    @property
    def lines(self) -> list[Lines]:
        """The NDJSON files as they are, in groups of one kind."""

        def alike(file: DataFile) -> tuple[str, tuple[str, ...]]:
            return file.compression, file.wrapper

        return [
            Lines(tuple(file.path for file in files), Compression(compression), wrapper)
            for (compression, wrapper), files in groupby(sorted(self.scanned, key=alike), alike)
        ]

    @property
    def flat_lines(self) -> list[Lines]:
        """The files that were rewritten, if any has a document."""
        paths = tuple(made.path for made in self.rewritten.values() if made.documents)
        return [Lines(paths, is_flat=True)] if paths else []

    def rewrite(self, path: str) -> None:
        """Rewrite a file.

        Raises:
            DocumentError: something in it is no document, or it cannot be read to its end.
        """
        (file,) = (file for file in self.files if file.path == path)
        text = unpacked(file, self._new_path, self._execute)
        self.rewritten[path] = rewritten(
            text, path, self._new_path(), self._mapped, self._check, skip_bad=self._skip_bad
        )

    def left_out(self) -> Iterator[str]:
        """Warnings about files and documents that no question sees, or sees in part."""
        unread = [file for file in self.files if file.fault]
        yield from not_read(unread, self.rewritten.values(), f" of [{self.stream.name}]")
        yield from self._untimed()

    def _untimed(self) -> Iterator[str]:
        """A warning if documents have no time, in a data stream whose documents should have one."""
        made, parquet = self.rewritten.values(), self.parquet
        timed = sum(each.documents - each.untimed for each in made)
        timed += parquet.documents - parquet.untimed
        untimed = sum(each.untimed for each in made) + parquet.untimed
        if untimed and (TIME in self.stream.mapping or timed or self.scanned):
            places = [place for each in made if (place := each.first_untimed)]
            example = next(iter([*places, *parquet.paths]))
            yield (
                f"{counted(untimed, 'document')} of [{self.stream.name}] without @timestamp, which "
                f"every document of a data stream has, for example [{example}]: no hunt sees them. "
                "Export the documents themselves, as a search answers them in `_source`"
            )


def not_read(
    unread: Sequence[DataFile], made: Collection[Rewritten], whose: str = ""
) -> Iterator[str]:
    """Warnings about files, lines and documents that are not read.

    Args:
        unread: files that hold no documents.
        made: the files that were rewritten.
        whose: names the data stream, with a blank before it.
    """
    if unread:
        example = f"[{unread[0].path}]: {unread[0].fault}"
        yield f"{counted(len(unread), 'file')}{whose} not read, for example {example}"
    if bad := [each.first_bad for each in made if each.first_bad]:
        count = counted(sum(each.bad for each in made), "unreadable line")
        yield f"{count} skipped, for example {bad[0].message}"
    if deep := sum(each.too_deep for each in made):
        yield f"{counted(deep, 'document')}{whose} left out: they nest too deep"


def unpacked(file: DataFile, new_path: Callable[[], Path], execute: Execute) -> DataFile:
    """Copy the lines of a file if it is compressed with zstd, which only DuckDB can read.

    Its lines are read as CSV with a separator and quotes that no JSON holds.
    """
    if file.compression is not Compression.ZSTD:
        return file
    target = new_path()
    copied = sql(
        "COPY (SELECT line FROM read_csv({}, columns={'line': 'VARCHAR'}, delim=chr(30), "
        "quote='', escape='', header=false, auto_detect=false, strict_mode=false, "
        "max_line_size=16777216, compression='zstd')) "
        "TO {} (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x1e')",
        text_constant(file.path),
        text_constant(str(target)),
    )
    execute(copied)
    return replace(file, path=str(target), compression=Compression.NONE)
