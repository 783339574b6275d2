"""FROM goes in, its documents come out as SQL: only the fields that a question needs, typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from uuid import uuid4

import duckdb

from tasks.esql.deadline import Deadline
from tasks.esql.errors import refused
from tasks.esql.plans import Demand, FieldColumn, Relation
from tasks.esql.reading import MappedFields, StreamReader
from tasks.esql.sql import Sql, joined, sql, text_constant
from tasks.esql.stream_files import StreamFiles
from tasks.esql.streams import DataStream, data_streams
from tasks.esql.tree import Column, From, Pattern
from tasks.esql.types import Type


class Documents:
    """The documents of a folder.

    Args:
        folder: with a folder for every data stream.
        connection: to DuckDB.
        scratch: a folder for rewritten files.
        skip_bad_lines: leave out what is no document, and count it.

    Raises:
        SettingsError: the folder cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,
        *,
        skip_bad_lines: bool,
    ) -> None:
        self._streams = data_streams(folder)
        self._connection = connection
        self._scratch = scratch
        self._skip_bad_lines = skip_bad_lines
        self._readers: dict[str, StreamReader] = {}
        self._deadline = Deadline()

    def open(
        self, source: From, demand: Demand, deadline: Deadline
    ) -> tuple[Relation, tuple[str, ...]]:
        """The documents of the data streams that FROM names.

        Nothing is read but what the fields of the question demand to know: the documents are read
        by the statement that answers it.

        Returns:
            The relation with the fields in demand, and warnings.

        Raises:
            VerificationError: a pattern matches no data stream.
            DocumentError: a file holds something that is no document.
            TimeoutError: the deadline passed.
            duckdb.Error: a scan ended early; `learn_from` it, and try again.
        """
        self._deadline = deadline
        readers = [self._reader(stream) for stream in self._matching(source)]
        if any(all(r.is_typing_error(name) for r in readers) for name in demand.names):
            # The question is refused: what its patterns match need not be known.
            demand = Demand(demand.names, ())
        fields = {reader: reader.fields(_wanted(reader, demand)) for reader in readers}
        names = sorted(frozenset().union(*fields.values()), key=lambda name: name.split("."))
        parts = {reader: _columns(reader, own) for reader, own in fields.items()}
        columns = [
            _united(name, f"f{place}", [own.get(name) for own in parts.values()])
            for place, name in enumerate(names)
        ]
        warnings = [text for reader, own in fields.items() for text in reader.wrong_values(own)]
        for reader in readers:
            warnings += reader.files.left_out()
            warnings += reader.faulty_names() if demand.patterns else ()
        relation = joined(
            " UNION ALL ", [_selected(r, fields[r], own, columns) for r, own in parts.items()]
        )
        columns += [_metadata_column(column) for column in source.metadata]
        others = frozenset().union(*(reader.stream.mapping for reader in readers)) - set(names)
        return Relation(relation, tuple(columns), others), tuple(warnings)

    def learn_from(self, error: duckdb.Error) -> bool:
        """Learn what a scan met that it was not made for, so that another one can be made.

        Returns:
            False if the error is about something else.

        Raises:
            DocumentError: it is about something that is no document.
        """
        return any(reader.learn_from(error) for reader in self._readers.values())

    def close(self) -> None:
        """Let go of everything that was learned: it refers back to this object."""
        self._readers.clear()

    def _matching(self, source: From) -> list[DataStream]:
        """The data streams that patterns name, in order; `-pattern` takes some out again."""
        chosen: dict[str, DataStream] = {}
        for pattern in source.patterns:
            wanted = Pattern(tuple(pattern.removeprefix("-").split("*")), source.source)
            if pattern.startswith("-"):
                chosen = {n: s for n, s in chosen.items() if not wanted.matches(n)}
                continue
            matching = {s.name: s for s in self._streams if wanted.matches(s.name)}
            if not matching and "*" not in pattern:
                raise refused(f"Unknown index [{pattern}]", source.source)
            chosen |= matching
        if not chosen:
            raise refused(f"Unknown index [{','.join(source.patterns)}]", source.source)
        return list(chosen.values())

    def _reader(self, stream: DataStream) -> StreamReader:
        if stream.name not in self._readers:
            files = StreamFiles(
                stream,
                self._execute,
                self._new_path,
                self._check,
                skip_bad=self._skip_bad_lines,
            )
            place = self._streams.index(stream)
            self._readers[stream.name] = StreamReader(place, files, self._execute)
        return self._readers[stream.name]

    def _execute(self, statement: Sql) -> duckdb.DuckDBPyConnection:
        self._deadline.check()
        return self._connection.execute(statement.text, statement.values)

    def _check(self) -> None:
        self._deadline.check()

    def _new_path(self) -> Path:
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        return self._scratch / f"{uuid4()}.ndjson"


def _wanted(reader: StreamReader, demand: Demand) -> frozenset[str]:
    """The names in demand, for patterns those in the data stream that match."""
    if not demand.patterns:
        return demand.names
    return demand.names | {
        name for name in reader.names() if any(pattern.matches(name) for pattern in demand.patterns)
    }


# --- Several data streams as one relation ---


def _columns(reader: StreamReader, fields: MappedFields) -> dict[str, FieldColumn]:
    """The fields of a data stream as the columns of its scan, by name."""
    places = count()
    return {
        name: FieldColumn(
            name,
            field.type,
            "" if field.unusable else f"f{next(places)}",
            reader.is_several(field),
            field.unusable,
        )
        for name, field in fields.items()
    }


def _united(name: str, column: str, parts: Sequence[FieldColumn | None]) -> FieldColumn:
    """A field over several data streams: of one type, or unusable."""
    present = [part for part in parts if part is not None]
    types = {part.type for part in present}
    unusable = next((part.unusable for part in present if part.unusable), "")
    if len(types) > 1:
        listed = ", ".join(f"[{of_type}]" for of_type in sorted(types))
        unusable = f"due to ambiguities being mapped as [{len(types)}] incompatible types: {listed}"
    of_type = Type.UNSUPPORTED if unusable else present[0].type
    several = not unusable and any(part.several for part in present)
    return FieldColumn(name, of_type, column, several, unusable)


def _selected(
    reader: StreamReader,
    fields: MappedFields,
    own: Mapping[str, FieldColumn],
    columns: Sequence[FieldColumn],
) -> Sql:
    """The documents of one data stream, with the columns of all."""
    usable = {name: field for name, field in fields.items() if not field.unusable}
    selected = [
        sql("{} AS {}", _selected_column(own.get(whole.name), whole), Sql(whole.column))
        for whole in columns
    ]
    index = sql("{} AS stream_name", text_constant(reader.stream.name))
    return sql("SELECT {} FROM ({})", joined(", ", [*selected, index]), reader.scan(usable))


def _selected_column(part: FieldColumn | None, whole: FieldColumn) -> Sql:
    form = whole.type.duckdb + ("[]" if whole.several else "")
    if part is None or whole.unusable:
        return Sql(f"CAST(NULL AS {form})")
    if whole.several and not part.several:
        return Sql(f"listed({part.column})")
    return Sql(part.column)


def _metadata_column(column: Column) -> FieldColumn:
    if column.name != "_index":
        raise refused(f"metadata field [{column.name}] is not supported", column.source)
    return FieldColumn("_index", Type.KEYWORD, "stream_name")
