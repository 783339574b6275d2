"""FROM goes in, its documents come out as SQL: only the fields that a question needs, typed.

    FOLDER/<data stream>/mapping.json                       optional, an Elasticsearch mapping
    FOLDER/<data stream>/**/*.ndjson[.gz|.zst], *.parquet   the documents

A data stream is read once into one DuckDB table, which grows when a later question needs more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import duckdb

from tasks.esql.errors import DocumentError, refused
from tasks.esql.loading import file_list, inferred_type, nothing
from tasks.esql.ndjson import (
    JsonFiles,
    LenientJson,
    StrictJson,
    bad_line,
    from_ndjson,
    leaves,
    raw_json,
)
from tasks.esql.parquet import ParquetColumn, flattened, from_parquet, parquet_relation
from tasks.esql.plans import Demand, FieldColumn, Relation
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.streams import DataStream, MappedField, data_streams
from tasks.esql.tree import Column, From
from tasks.esql.types import Type


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data stream's table.

    Attributes:
        table: its quoted name.
        columns: its columns by field.
        absent: the fields that were looked for and do not exist.
        documents: how many documents it holds.
        malformed: a warning for each field that had values of a wrong type.
        skipped: a warning if lines were left out.
    """

    table: str
    columns: Mapping[str, FieldColumn]
    absent: frozenset[str]
    documents: int
    malformed: Mapping[str, str]
    skipped: str = ""


class Documents:
    """The documents of a folder, loaded into a DuckDB connection when a question asks for them."""

    def __init__(
        self, folder: Path, connection: duckdb.DuckDBPyConnection, *, skip_bad_lines: bool
    ) -> None:
        self._streams = data_streams(folder)
        self._connection = connection
        self._skip_bad_lines = skip_bad_lines
        self._loaded: dict[str, Loaded] = {}
        self._names: dict[str, frozenset[str]] = {}

    def open(self, source: From, demand: Demand) -> tuple[Relation, int, tuple[str, ...]]:
        """The documents of the data streams that FROM names.

        Returns:
            The relation with the fields in demand, the number of documents, and warnings.

        Raises:
            VerificationError: a pattern matches no data stream.
            DocumentError: a line is not a document, and `skip_bad_lines` is off.
        """
        streams = self._matching(source)
        loaded = {stream.name: self._load(stream, demand) for stream in streams}
        shown = [_shown_fields(loaded[stream.name], demand) for stream in streams]
        names = sorted(frozenset().union(*shown), key=lambda name: name.split("."))
        columns = [
            _united(name, f"f{place}", [table.columns.get(name) for table in loaded.values()])
            for place, name in enumerate(names)
        ]
        relation = joined(
            " UNION ALL ",
            [_selected(table, columns, name) for name, table in loaded.items()],
        )
        columns += [_metadata_column(column) for column in source.metadata]
        warnings = [
            warning
            for table in loaded.values()
            for warning in (table.skipped, *(table.malformed.get(name) for name in names))
            if warning
        ]
        documents = sum(table.documents for table in loaded.values())
        others = frozenset().union(*(stream.mapping.keys() for stream in streams)) - set(names)
        return Relation(relation, tuple(columns), others), documents, tuple(warnings)

    def _matching(self, source: From) -> list[DataStream]:
        """The data streams that patterns name, in order; `-pattern` takes some out again."""
        chosen: dict[str, DataStream] = {}
        for pattern in source.patterns:
            if pattern.startswith("-"):
                chosen = {n: s for n, s in chosen.items() if not fnmatchcase(n, pattern[1:])}
                continue
            matching = {s.name: s for s in self._streams if fnmatchcase(s.name, pattern)}
            if not matching and "*" not in pattern:
                raise refused(f"Unknown index [{pattern}]", source.source)
            chosen |= matching
        if not chosen:
            raise refused(f"Unknown index [{','.join(source.patterns)}]", source.source)
        return list(chosen.values())

    def _load(self, stream: DataStream, demand: Demand) -> Loaded:
        """The data stream's table with the fields in demand; read again if some are missing."""
        wanted = set(demand.names)
        if demand.patterns:
            wanted |= {
                name
                for name in (*stream.mapping, *self._names_in_files(stream))
                if any(pattern.matches(name) for pattern in demand.patterns)
            }
        wanted |= stream.usual
        before = self._loaded.get(stream.name)
        if before is None or not wanted <= before.columns.keys() | before.absent:
            also = before.columns.keys() if before else set()
            self._loaded[stream.name] = self._read_all(stream, wanted | also)
        return self._loaded[stream.name]

    def _read_all(self, stream: DataStream, wanted: Iterable[str]) -> Loaded:
        """Read a data stream's files, without their bad lines if that is allowed."""
        try:
            return self._read(stream, wanted, StrictJson(stream.ndjson))
        except DocumentError as bad:
            if not self._skip_bad_lines:
                raise
            loaded = self._read(stream, wanted, LenientJson(stream.ndjson))
            return replace(loaded, skipped=self._skipped(stream, bad))

    def _read(self, stream: DataStream, wanted: Iterable[str], json_files: JsonFiles) -> Loaded:
        columns_in_parquet = self._parquet_columns(stream)
        mapped = {name: stream.mapping[name] for name in wanted if name in stream.mapping}
        unmapped = _possible_fields(set(wanted) - mapped.keys(), stream.mapping)
        _refuse_twins([*mapped, *unmapped])
        mapped |= self._inferred(json_files, columns_in_parquet, unmapped)
        fields = {name: field for name, field in mapped.items() if not field.unusable}
        branches = []
        if stream.ndjson:
            branches.append(from_ndjson(json_files, fields))
        if stream.parquet:
            branches.append(from_parquet(stream.parquet, columns_in_parquet, fields))
        table = identifier(f"stream {stream.name}").text
        documents = joined(" UNION ALL ", branches or [nothing(fields)])
        self._execute(sql("CREATE OR REPLACE TABLE {} AS {}", Sql(table), documents))
        return self._surveyed(stream, table, mapped, frozenset(wanted) - mapped.keys())

    def _surveyed(
        self,
        stream: DataStream,
        table: str,
        mapped: Mapping[str, MappedField],
        absent: frozenset[str],
    ) -> Loaded:
        """Find the fields with several values somewhere, and those with values of a wrong type."""
        usable = [name for name, field in mapped.items() if not field.unusable]
        counts = "".join(f", count(l{i}), count(m{i})" for i in range(len(usable)))
        row = self._row(sql("SELECT count(*){} FROM {}", Sql(counts), Sql(table)))
        columns = {
            name: FieldColumn(name, field.type, "", unusable=field.unusable)
            for name, field in mapped.items()
        }
        warnings = {}
        for i, name in enumerate(usable):
            several, malformed = row[1 + 2 * i] > 0, row[2 + 2 * i]
            column = f"coalesce(l{i}, listed(f{i}))" if several else f"f{i}"
            columns[name] = FieldColumn(name, mapped[name].type, column, several)
            if malformed:
                warnings[name] = (
                    f"Field [{name}] of [{stream.name}]: {malformed} documents with a value that "
                    f"is no [{mapped[name].type}], treated as null"
                )
        return Loaded(table, columns, absent, row[0], warnings)

    def _inferred(
        self, json_files: JsonFiles, in_parquet: Mapping[str, ParquetColumn], names: Sequence[str]
    ) -> dict[str, MappedField]:
        """Fields that no mapping knows, by the kinds of values that the files have."""
        kinds: dict[str, set[str]] = {
            name: {in_parquet[name].kind} for name in names if name in in_parquet
        }
        if json_files.paths and names:
            raw = [sql("map_keys(histogram(document_kinds({})))", raw_json(name)) for name in names]
            query = sql("SELECT {} FROM {}", joined(", ", raw), json_files.relation(names))
            for name, found in zip(names, self._row(query), strict=True):
                kinds.setdefault(name, set()).update(
                    kind for joined_kinds in found or () for kind in joined_kinds.split(",")
                )
        types = {name: inferred_type(name, kinds.get(name, set())) for name in names}
        return {name: MappedField(of, name) for name, of in types.items() if of is not None}

    def _names_in_files(self, stream: DataStream) -> frozenset[str]:
        """All field names in the files of a data stream; reads every file, once."""
        if stream.name in self._names:
            return self._names[stream.name]
        names = set(self._parquet_columns(stream))
        if stream.ndjson:
            (structure,) = self._row(
                sql(
                    "SELECT json_group_structure(json) "
                    "FROM read_ndjson_objects({}, ignore_errors=true)",
                    file_list(stream.ndjson),
                )
            )
            names.update(leaves(json.loads(structure), "") if structure else ())
        self._names[stream.name] = frozenset(names)
        return self._names[stream.name]

    def _parquet_columns(self, stream: DataStream) -> dict[str, ParquetColumn]:
        if not stream.parquet:
            return {}
        query = sql("SELECT * FROM {} LIMIT 0", parquet_relation(stream.parquet))
        return {
            column.name: column
            for name, of_type, *_ in self._execute(query).description or ()
            for column in flattened(name, identifier(name), of_type)
        }

    def _row(self, query: Sql) -> tuple[Any, ...]:
        """The single row of an aggregate."""
        return self._execute(query).fetchone() or ()

    def _execute(self, query: Sql) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(query.text, query.values)
        except (duckdb.InvalidInputException, duckdb.IOException) as error:
            raise bad_line(error) from error

    def _skipped(self, stream: DataStream, first: DocumentError) -> str:
        query = sql(
            "SELECT count(*) FROM read_ndjson_objects({}, ignore_errors=true) "
            "WHERE json IS NULL OR json_type(json) <> 'OBJECT'",
            file_list(stream.ndjson),
        )
        (count,) = self._row(query)
        return f"{count} unreadable lines skipped, for example {first.message}"


def _possible_fields(names: set[str], mapping: Mapping[str, MappedField]) -> list[str]:
    """The names that can be fields: not those of objects, nor those below another field."""
    objects = {parent for name in (*names, *mapping) for parent in _parents(name)}
    return sorted(
        name for name in names - objects if not any(parent in mapping for parent in _parents(name))
    )


def _refuse_twins(names: Iterable[str]) -> None:
    """Refuse names that differ only in case: DuckDB takes them for the same."""
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.lower(), name)
        if twin != name:
            raise DocumentError(
                f"the fields [{twin}] and [{name}] differ only in case, which is not supported: "
                "keep or use one of them"
            )


def _parents(name: str) -> Iterator[str]:
    """The objects above a field: a and a.b for a.b.c."""
    for dot, character in enumerate(name):
        if character == ".":
            yield name[:dot]


# --- Several data streams as one relation ---


def _shown_fields(loaded: Loaded, demand: Demand) -> frozenset[str]:
    return frozenset(
        name
        for name in loaded.columns
        if name in demand.names or any(pattern.matches(name) for pattern in demand.patterns)
    )


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


def _selected(loaded: Loaded, columns: Sequence[FieldColumn], stream: str) -> Sql:
    selected = [
        sql(
            "{} AS {}",
            _selected_column(loaded.columns.get(column.name), column),
            Sql(column.column),
        )
        for column in columns
    ]
    index = sql("{} AS stream_name", text_constant(stream))
    return sql("SELECT {} FROM {}", joined(", ", [*selected, index]), Sql(loaded.table))


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
