"""FROM goes in, its documents come out as SQL: only the fields that a question needs, typed.

    FOLDER/<data stream>/mapping.json                       optional, an Elasticsearch mapping
    FOLDER/<data stream>/**/*.ndjson[.gz|.zst], *.parquet   the documents

A data stream is read once into one DuckDB table, which grows when a later question needs more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from tasks.esql.deadline import Deadline
from tasks.esql.errors import DocumentError, refused
from tasks.esql.lines import bad_line
from tasks.esql.loading import JSON_KINDS, inferred_type, kinds_of, nothing
from tasks.esql.names import PARTS_IN_ALL_WAYS, abbreviated, fault_of, parents, refuse_twins
from tasks.esql.ndjson import (
    JsonFiles,
    LenientJson,
    StrictJson,
    Survey,
    from_ndjson,
    skipped_query,
    survey_query,
    surveyed,
)
from tasks.esql.parquet import ParquetColumn, flattened, from_parquet, parquet_relation
from tasks.esql.plans import Demand, FieldColumn, Relation
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.streams import DataStream, MappedField, data_streams
from tasks.esql.tree import Column, From, Pattern
from tasks.esql.types import Type

_CERTAIN = {
    "VARCHAR": Type.KEYWORD,
    "BOOLEAN": Type.BOOLEAN,
    "UBIGINT": Type.LONG,
    "BIGINT": Type.LONG,
    "DOUBLE": Type.DOUBLE,
}
"""Kinds in a survey that are those of all values, and the types for them."""

_MOST_FIELDS = 1_000
_MOST_IN_ANY_SHAPE = 300


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data stream's table.

    Attributes:
        table: its name.
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
        self._surveys: dict[str, Survey] = {}
        self._deadline = Deadline()

    def open(
        self, source: From, demand: Demand, deadline: Deadline
    ) -> tuple[Relation, int, tuple[str, ...]]:
        """The documents of the data streams that FROM names.

        Returns:
            The relation with the fields in demand, the number of documents, and warnings.

        Raises:
            VerificationError: a pattern matches no data stream.
            DocumentError: a line is not a document, and `skip_bad_lines` is off.
            TimeoutError: the deadline passed.
        """
        self._deadline = deadline
        streams = self._matching(source)
        loaded = {stream.name: self._load(stream, demand) for stream in streams}
        fields = [_shown_fields(loaded[stream.name], demand) for stream in streams]
        names = sorted(frozenset().union(*fields), key=lambda name: name.split("."))
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
        if demand.patterns:
            warnings += [text for stream in streams for text in self._left_out(stream)]
        documents = sum(table.documents for table in loaded.values())
        others = frozenset().union(*(stream.mapping.keys() for stream in streams)) - set(names)
        return Relation(relation, tuple(columns), others), documents, tuple(warnings)

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

    def _load(self, stream: DataStream, demand: Demand) -> Loaded:
        """The data stream's table with the fields in demand; read again if some are missing."""
        wanted = {name for name in demand.names if not fault_of(name)}
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
            self._loaded[stream.name] = self._read_all(stream, frozenset(wanted | also))
        return self._loaded[stream.name]

    def _read_all(self, stream: DataStream, wanted: frozenset[str]) -> Loaded:
        """Read a data stream's files, without their bad lines if that is allowed."""
        if any(name.count(".") >= PARTS_IN_ALL_WAYS for name in wanted):
            self._survey(stream)  # It shows the spellings that occur.
        survey = self._surveys.get(stream.name, Survey())
        try:
            return self._read(stream, wanted, StrictJson(stream.ndjson, survey))
        except DocumentError as bad:
            if not (self._skip_bad_lines and stream.ndjson):
                raise
            loaded = self._read(stream, wanted, LenientJson(stream.ndjson, survey))
            return replace(loaded, skipped=self._skipped(stream, bad))

    def _read(self, stream: DataStream, wanted: frozenset[str], json_files: JsonFiles) -> Loaded:
        columns_in_parquet = self._parquet_columns(stream)
        mapped = {name: stream.mapping[name] for name in wanted if name in stream.mapping}
        unmapped = _possible_fields(set(wanted) - mapped.keys(), stream.mapping)
        refuse_twins([*mapped, *unmapped])
        mapped |= self._inferred(stream, json_files, columns_in_parquet, unmapped)
        fields = {name: field for name, field in mapped.items() if not field.unusable}
        _refuse_too_many(fields, stream.name)
        branches = []
        if stream.ndjson:
            branches.append(from_ndjson(json_files, fields))
        if stream.parquet:
            branches.append(from_parquet(stream.parquet, columns_in_parquet, fields))
        # Its place, not its name: DuckDB takes names that differ only in case for the same.
        table = f"stream{self._streams.index(stream)}"
        documents = joined(" UNION ALL ", branches or [nothing(fields)])
        self._execute(sql("CREATE OR REPLACE TABLE {} AS {}", Sql(table), documents), stream)
        return self._counted(stream, table, mapped, frozenset(wanted) - mapped.keys())

    def _counted(
        self,
        stream: DataStream,
        table: str,
        mapped: Mapping[str, MappedField],
        absent: frozenset[str],
    ) -> Loaded:
        """Find the fields with several values somewhere, and those with values of a wrong type."""
        usable = [name for name, field in mapped.items() if not field.unusable]
        counts = "".join(f", count(l{i}), count(m{i})" for i in range(len(usable)))
        row = self._row(sql("SELECT count(*){} FROM {}", Sql(counts), Sql(table)), stream)
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
                    f"Field [{abbreviated(name)}] of [{stream.name}]: {malformed} documents with a "
                    f"value that is no [{mapped[name].type}], treated as null"
                )
        return Loaded(table, columns, absent, row[0], warnings)

    def _inferred(
        self,
        stream: DataStream,
        json_files: JsonFiles,
        in_parquet: Mapping[str, ParquetColumn],
        names: Sequence[str],
    ) -> dict[str, MappedField]:
        """Fields that no mapping knows, by the kinds of values that the files have."""
        certain = {name: json_files.survey.only_kind(name) for name in names}
        uncertain = [name for name in names if certain[name].strip("[]") not in _CERTAIN]
        kinds = {name: {certain[name].strip("[]")} for name in names if name not in uncertain}
        if json_files.paths and uncertain:
            known = sql("[{}]", joined(", ", map(text_constant, JSON_KINDS)))
            raw = [sql(f"{{}} AS r{i}", json_files.raw(name)) for i, name in enumerate(uncertain)]
            bits = [sql(f"bit_or(document_kinds(r{i}, {{}}))", known) for i in range(len(raw))]
            query = sql(
                "SELECT {} FROM (SELECT {} FROM {})",
                joined(", ", bits),
                joined(", ", raw),
                json_files.relation(uncertain),
            )
            found = self._row(query, stream)
            kinds |= {name: kinds_of(bits) for name, bits in zip(uncertain, found, strict=True)}
        inferred = {}
        for name in names:
            in_both = kinds.get(name, set()) | (
                {in_parquet[name].kind} if name in in_parquet else set()
            )
            of_type = inferred_type(name, in_both)
            if of_type is not None:
                is_plain = _CERTAIN.get(certain[name]) is of_type
                inferred[name] = MappedField(of_type, name, is_plain=is_plain)
        return inferred

    def _names_in_files(self, stream: DataStream) -> frozenset[str]:
        """All field names in the files of a data stream; reads every file, once."""
        return frozenset(
            name
            for name in (*self._parquet_columns(stream), *self._survey(stream).kinds)
            if not fault_of(name)
        )

    def _survey(self, stream: DataStream) -> Survey:
        """What the NDJSON files hold; reads all of them, once."""
        if stream.name not in self._surveys:
            found = self._row(survey_query(stream.ndjson), stream) if stream.ndjson else (None, 0)
            self._surveys[stream.name] = surveyed(*found)
        return self._surveys[stream.name]

    def _left_out(self, stream: DataStream) -> Iterator[str]:
        """Warnings about fields that only a question for all fields would show."""
        survey = self._survey(stream)
        faults = {
            name: fault
            for name in (*self._parquet_columns(stream), *survey.kinds)
            if (fault := fault_of(name))
        }
        if faults:
            name, fault = min(faults.items())
            example = f"[{abbreviated(name)}]: {fault}"
            yield f"{len(faults)} fields of [{stream.name}] left out, for example {example}"
        if survey.too_deep:
            yield (
                f"{survey.too_deep} documents of [{stream.name}] nest too deep: fields that only "
                "they have are left out"
            )

    def _parquet_columns(self, stream: DataStream) -> dict[str, ParquetColumn]:
        if not stream.parquet:
            return {}
        query = sql("SELECT * FROM {} LIMIT 0", parquet_relation(stream.parquet))
        return {
            column.name: column
            for name, of_type, *_ in self._execute(query, stream).description or ()
            for column in flattened(name, identifier(name), of_type)
        }

    def _row(self, query: Sql, stream: DataStream) -> tuple[Any, ...]:
        """The single row of an aggregate."""
        return self._execute(query, stream).fetchone() or ()

    def _execute(self, query: Sql, stream: DataStream) -> duckdb.DuckDBPyConnection:
        self._deadline.check()
        try:
            return self._connection.execute(query.text, query.values)
        except (duckdb.InvalidInputException, duckdb.IOException) as error:
            paths = (*stream.ndjson, *stream.parquet)
            raise bad_line(error, paths, self._deadline.check) from error

    def _skipped(self, stream: DataStream, first: DocumentError) -> str:
        (count,) = self._row(skipped_query(stream.ndjson), stream)
        return f"{count} unreadable lines skipped, for example {first.message}"


def _possible_fields(names: set[str], mapping: Mapping[str, MappedField]) -> list[str]:
    """The names that can be fields: not those of objects, nor those below another field."""
    objects = {parent for name in (*names, *mapping) for parent in parents(name)}
    return sorted(
        name for name in names - objects if not any(parent in mapping for parent in parents(name))
    )


def _refuse_too_many(fields: Mapping[str, MappedField], stream: str) -> None:
    """Refuse what DuckDB could not prepare in time; plain fields cost it little."""
    for most, count in (
        (_MOST_FIELDS, len(fields)),
        (_MOST_IN_ANY_SHAPE, sum(not field.is_plain for field in fields.values())),
    ):
        if count > most:
            raise DocumentError(
                f"the question reads {count} fields of [{stream}], more than [{most}] at once: "
                "name those that you need, for example with KEEP"
            )


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
