"""Exports of any shape go in; a folder of data streams comes out: typed Parquet, with mappings.

Files are read as a question reads them. First every file is sorted: one that holds one data stream
is read where it lies, one of several is rewritten into a part for each. Then one scan writes every
data stream. The folder changes at the end only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import duckdb

from tasks.errors import NotImported
from tasks.esql.deadline import Deadline, run_apart
from tasks.esql.engine import NOT_OURS, open_duckdb
from tasks.esql.errors import EsqlError
from tasks.esql.flattening import Mapped
from tasks.esql.imported import ImportedFolder
from tasks.esql.lines import first_line
from tasks.esql.names import abbreviated, fault_of, parents
from tasks.esql.origins import Whereabouts
from tasks.esql.reading import MappedFields, StreamReader
from tasks.esql.sorting import Part, Sorter
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.stream_files import StreamFiles
from tasks.esql.streams import MAPPING, DataStream, MappedField, files_below, refuse_stranger
from tasks.esql.types import WHOLE, Type
from tasks.text.numbers import counted

_SAME = "Correct the file or leave it out; --skip-bad-lines leaves out what is no document."


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported: the number of documents by data stream, and warnings."""

    documents: Mapping[str, int]
    warnings: tuple[str, ...]


def import_events(
    paths: Sequence[Path],
    folder: Path,
    *,
    stream: str = "",
    skip_bad_lines: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,  # noqa: ARG005 - shows nothing.
) -> Imported:
    """Import files of events into a folder of data streams.

    Args:
        paths: files, and folders of files.
        folder: it is made if it does not exist; what it holds stays as it is.
        stream: the data stream for documents that do not say theirs.
        skip_bad_lines: leave out what is no document, and count it.
        progress: called with how much is done, of how much.

    Raises:
        NotImported: the files cannot be imported; the folder is as before.
        SettingsError: a file's name cannot be used, or a mapping cannot be read.
    """
    folder = Path(os.path.realpath(folder.expanduser()))
    files, mappings = _sources(paths, folder, stream)
    with _in_words(folder), _stage(folder) as stage:
        target = ImportedFolder(folder, stage, mappings)
        readable = [Path(os.path.realpath(path.expanduser())) for path in paths]
        connection = open_duckdb(readable, stage)
        deadline = Deadline()
        work = _Import(connection, stage, target, deadline, skip_bad=skip_bad_lines)
        try:
            done = run_apart(
                partial(work.run, files),
                deadline,
                connection.interrupt,
                partial(work.show, progress),
            )
        finally:
            connection.close()
        target.publish()
    return done


class _Import:
    """One import, until everything is written beside its place."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        stage: Path,
        target: ImportedFolder,
        deadline: Deadline,
        *,
        skip_bad: bool,
    ) -> None:
        self._connection = connection
        self._stage = stage
        self._target = target
        self._deadline = deadline
        self._skip_bad = skip_bad
        self._warnings: list[str] = []
        self._made: list[Path] = []
        self._bytes, self._bytes_done, self._bytes_now, self._bytes_before = 1, 0, 0, 0

    # --- Progress ---

    def show(self, progress: Callable[[int, int], None]) -> None:
        """Report the progress, in percent; bytes count when sorted, and when written."""
        by_statement = max(self._connection.query_progress(), 0) / 100 * self._bytes_now
        rewritten = self._bytes_written() - self._bytes_before  # Nearly as large as what was read.
        now = min(max(by_statement, rewritten), self._bytes_now)
        progress(round(100 * (self._bytes_done + now) / self._bytes), 100)

    def _bytes_written(self) -> int:
        return sum(path.stat().st_size for path in tuple(self._made) if path.exists())

    @contextmanager
    def _working_on(self, size: int) -> Iterator[None]:
        self._bytes_now, self._bytes_before = size, self._bytes_written()
        yield
        self._bytes_now = 0
        self._bytes_done += size

    # --- Work ---

    def run(self, files: Sequence[Whereabouts]) -> Imported:
        """Sort the files, and write the data streams."""
        sizes = [where.path.stat().st_size for where in files]
        self._bytes = max(2 * sum(sizes), 1)
        sorter = Sorter(
            self._execute,
            self._new_path,
            lambda stream: _mapped(self._target.fields_of(stream) if stream else {}),
            self._deadline.check,
            skip_bad=self._skip_bad,
        )
        for where, size in zip(files, sizes, strict=True):
            with self._working_on(size):
                sorter.sort(where)
        self._warnings += sorter.left_out()
        documents = {}
        for place, (stream, part) in enumerate(sorted(sorter.parts.items())):
            with self._working_on(part.size):
                documents[stream] = self._write(place, stream, part)
        if not any(documents.values()):
            raise NotImported(
                "The files hold no document." + "".join(f" {text}." for text in self._warnings),
                "Name files of NDJSON, JSON or Parquet, or a folder of them.",
            )
        return Imported(documents, tuple(self._warnings))

    def _write(self, place: int, stream: str, part: Part) -> int:
        """Write a data stream, and give the number of its documents."""
        mapping = self._target.fields_of(stream)
        files = StreamFiles(
            DataStream(stream, tuple(part.paths), mapping),
            self._execute,
            self._new_path,
            self._deadline.check,
            skip_bad=self._skip_bad,
            parts=part.rewritten,
        )
        reader = StreamReader(place, files, self._execute)
        while True:
            try:
                return self._written(reader)
            except NOT_OURS:
                raise
            except duckdb.Error as error:
                # A scan may end early: it met a shape that is known from now on.
                if not reader.learn_from(error):
                    raise

    def _written(self, reader: StreamReader) -> int:
        stream, mapping = reader.stream.name, reader.stream.mapping
        there = reader.names_in_files()
        fields = reader.fields(there)
        stored = {
            name: _as_stored(field)
            for name, field in fields.items()
            if field.path == name and not field.unusable
        }
        self._refuse_conflicts(reader, stored)
        columns = [
            _column(name, field, place, several=reader.is_several(field))
            for place, (name, field) in enumerate(stored.items())
        ]
        copied = self._execute(
            sql(
                "COPY (SELECT {} FROM ({})) TO {} (FORMAT parquet, COMPRESSION zstd)",
                joined(", ", columns),
                reader.scan(stored),
                text_constant(str(self._target.file_of(stream))),
            )
        ).fetchone()
        self._refuse_conflicts(reader, stored)
        warnings = [*reader.wrong_values(stored), *reader.files.left_out()]
        self._warnings += [*warnings, *reader.faulty_names(), *_lost(stream, there, fields)]
        inferred = {name: fields[name].type for name in stored if name not in mapping}
        self._target.describe(stream, inferred)
        return int(copied[0]) if copied else 0

    def _refuse_conflicts(self, reader: StreamReader, stored: MappedFields) -> None:
        """Refuse values that do not fit the type that the folder has already for their field."""
        stream = reader.stream.name
        own = [name for name in stored if name in self._target.own_fields_of(stream)]
        for name in own:
            if reader.has_wrong(stored[name]):
                raise self._target.conflict(stream, name, "the files have values of another type")
        whole = [name for name in own if stored[name].type in WHOLE]
        kinds = reader.kinds(whole) if whole else {}
        for name in whole:
            if "DOUBLE" in kinds[name]:
                raise self._target.conflict(stream, name, "the files have fractions")

    def _execute(self, statement: Sql) -> duckdb.DuckDBPyConnection:
        self._deadline.check()
        return self._connection.execute(statement.text, statement.values)

    def _new_path(self) -> Path:
        self._made.append(self._stage / str(uuid4()))
        return self._made[-1]


def _mapped(fields: MappedFields) -> Mapped:
    return Mapped.of({field.path for field in fields.values()})


def _as_stored(field: MappedField) -> MappedField:
    """A field as it is stored: an address as the text that it is in the files."""
    return MappedField(Type.KEYWORD, field.path) if field.type is Type.IP else field


def _column(name: str, field: MappedField, place: int, *, several: bool) -> Sql:
    """A column of the Parquet file."""
    of_type = "TIMESTAMP_MS" if field.type is Type.DATE else field.type.duckdb
    return sql(
        "CAST({} AS {}) AS {}",
        Sql(f"f{place}"),
        Sql(of_type + ("[]" if several else "")),
        identifier(name),
    )


def _lost(stream: str, there: frozenset[str], fields: MappedFields) -> Iterator[str]:
    """Warnings about values that no field of the Parquet file holds."""
    unusable = {name: field.unusable for name, field in fields.items() if field.unusable}
    objects = {parent for name in there if not fault_of(name) for parent in parents(name)}
    reasons = unusable | dict.fromkeys(
        sorted(objects & there), "it is an object in other documents"
    )
    if reasons:
        name, reason = min(reasons.items())
        example = f"[{abbreviated(name)}]: {reason}"
        yield f"{counted(len(reasons), 'field')} of [{stream}] left out, for example {example}"


# --- Files ---


def _sources(
    paths: Sequence[Path], folder: Path, chosen: str
) -> tuple[list[Whereabouts], dict[str, Path]]:
    """The files to import, and the mappings beside them by the names of their folders."""
    files: dict[Path, Whereabouts] = {}
    mappings: dict[str, Path] = {}
    for given in paths:
        path = Path(os.path.realpath(given.expanduser()))
        if not path.exists():
            raise NotImported(f"There is no file or folder {given}.", "Correct the path.")
        if path.is_dir():
            _refuse_nested(path, folder)
        else:
            refuse_stranger(path, path.parent)
        top = path if path.is_dir() else path.parent
        for file in _below(path) if path.is_dir() else [path]:
            above = [each.name for each in (*file.parents,) if each.is_relative_to(top)]
            if file.name == MAPPING:
                mappings[file.parent.name] = file
            else:
                real = Path(os.path.realpath(file))
                files.setdefault(real, Whereabouts(real, tuple(above), chosen))
    return list(files.values()), mappings


def _below(path: Path) -> list[Path]:
    try:
        return files_below(path, path)
    except OSError as error:
        raise NotImported(
            f"{error.filename} cannot be read: {error.strerror}.",
            "Let this user read it, or leave it out.",
        ) from error


def _refuse_nested(path: Path, folder: Path) -> None:
    if path.is_relative_to(folder) or folder.is_relative_to(path):
        raise NotImported(
            f"{path} and {folder} lie in each other: the next import would read its own result.",
            "Choose a folder elsewhere with --into.",
        )


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """A hidden folder on the disk of the folder; removed at the end."""
    if folder.exists() and not folder.is_dir():
        raise NotImported(f"{folder} is a file.", "Choose a folder with --into.")
    beside = folder if folder.exists() else folder.parent
    if not beside.is_dir():
        raise NotImported(f"There is no folder {beside}.", "Make it, or correct --into.")
    stage = Path(tempfile.mkdtemp(prefix=".import-", dir=beside))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    """Translate errors of files and of DuckDB."""
    unchanged = f"{folder} is as it was."
    try:
        yield
    except EsqlError as error:
        raise NotImported(f"{error.reason}. {unchanged}", _SAME) from error
    except duckdb.OutOfMemoryException as error:
        raise NotImported(
            f"The import needs more memory than there is: {first_line(error)}. {unchanged}",
            "Import fewer files at once.",
        ) from error
    except (OSError, duckdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise NotImported(
            f"The documents cannot be written into {folder}: {reason}. {unchanged}",
            "Check that its disk has room, and that you may write there.",
        ) from error
