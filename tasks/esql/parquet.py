"""Parquet files go in, SQL for typed columns comes out; structs are objects, lists are values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
from duckdb.sqltypes import DuckDBPyType

from tasks.esql.flattening import TIME
from tasks.esql.loading import FROM_DOCUMENT, as_loaded, file_list
from tasks.esql.scanning import ScannedField
from tasks.esql.shapes import Surprise
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.types import STRING, Type


@dataclass(frozen=True, slots=True)
class ParquetColumn:
    """A field in Parquet: its SQL, the DuckDB type of a value, whether it holds lists."""

    name: str
    sql: Sql
    kind: str
    several: bool


def flattened_column(name: str, column: Sql, of_type: DuckDBPyType) -> Iterator[ParquetColumn]:
    """The fields in a column of a Parquet file; those in a list of objects are lists."""
    if of_type.id == "struct":
        for key, inner in of_type.children:
            if isinstance(inner, DuckDBPyType):
                below = sql("{}[{}]", column, text_constant(key))
                yield from flattened_column(f"{name}.{key}", below, inner)
    elif of_type.id == "list":
        ((_, element),) = of_type.children
        inner = element if isinstance(element, DuckDBPyType) else DuckDBPyType("VARCHAR")
        for inside in flattened_column(name, Sql("element"), inner):
            values = sql("list_transform({}, lambda element: {})", column, inside.sql)
            yield ParquetColumn(
                inside.name,
                sql("flatten({})", values) if inside.several else values,
                inside.kind,
                several=True,
            )
    else:
        yield ParquetColumn(name, column, _json_kind(str(of_type)), several=False)


def _json_kind(duckdb_type: str) -> str:
    """The kind of JSON value that a Parquet type counts as when types are inferred."""
    if duckdb_type.startswith("TIMESTAMP") or duckdb_type == "DATE":
        return "TIMESTAMP"
    if duckdb_type.endswith("INT") or duckdb_type == "INTEGER":
        return "BIGINT"
    if duckdb_type in {"FLOAT", "DOUBLE"} or duckdb_type.startswith("DECIMAL"):
        return "DOUBLE"
    return duckdb_type


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """The Parquet files of a data stream.

    Attributes:
        paths: of the files.
        columns: their fields, by name.
        documents: how many rows they have.
        untimed: how many of them have no @timestamp.
    """

    paths: tuple[str, ...] = ()
    columns: Mapping[str, ParquetColumn] = field(default_factory=dict)
    documents: int = 0
    untimed: int = 0

    @classmethod
    def described(
        cls, paths: Sequence[str], execute: Callable[[Sql], duckdb.DuckDBPyConnection]
    ) -> ParquetFiles:
        """Read what the files say of themselves; of their columns @timestamp only."""
        if not paths:
            return cls()
        relation = _relation(paths)
        described = execute(sql("SELECT * FROM {} LIMIT 0", relation)).description or ()
        columns = {
            column.name: column
            for name, of_type, *_ in described
            for column in flattened_column(name, identifier(name), of_type)
        }
        timed = sql("count({})", columns[TIME].sql) if TIME in columns else Sql("0")
        counted = execute(sql("SELECT count(*), {} FROM {}", timed, relation)).fetchone()
        documents, with_time = counted or (0, 0)
        return cls(tuple(paths), columns, documents, documents - with_time)

    def scan(self, fields: Sequence[ScannedField]) -> Sql:
        """The columns `f0`, `f1`, ... of fields."""
        return self._selected(fields, _value)

    def wrong(self, fields: Sequence[ScannedField]) -> Sql:
        """The same columns as truth values: whether a value is not of the field's type."""
        return self._selected(fields, _is_wrong)

    def _selected(
        self,
        fields: Sequence[ScannedField],
        made: Callable[[ScannedField, ParquetColumn], Sql],
    ) -> Sql:
        selected = []
        for of_field in fields:
            column = self.columns.get(of_field.mapped.path)
            value = made(of_field, column) if column else Sql(f"CAST(NULL AS {of_field.duckdb})")
            selected.append(sql(f"{{}} AS f{of_field.place}", value))
        return sql(
            "SELECT {} FROM {}",
            joined(", ", selected or [Sql("1 AS one")]),
            _relation(self.paths),
        )


def _relation(paths: Sequence[str]) -> Sql:
    """The files, with the columns of all of them."""
    return sql("read_parquet({}, union_by_name=true, hive_partitioning=false)", file_list(paths))


def _value(scanned: ScannedField, column: ParquetColumn) -> Sql:
    """The column of a field."""
    if not column.several:
        value = _certain(scanned, column, column.sql)
        return sql("listed({})", value) if scanned.shape.several else value
    if scanned.shape.several:
        return _listed(scanned, column)
    return sql(
        "CASE WHEN len({0}) > 1 THEN {1} ELSE {2} END",
        column.sql,
        scanned.signal(Surprise.SEVERAL),
        _certain(scanned, column, sql("{}[1]", column.sql)),
    )


def _certain(scanned: ScannedField, column: ParquetColumn, value: Sql) -> Sql:
    """A single value of the field's type; one of a wrong type is null."""
    converted = _converted(scanned, column, value)
    if converted == value or scanned.shape.has_wrong:
        return converted
    wrong = scanned.signal(Surprise.WRONG)
    return sql("coalesce({}, CASE WHEN {} IS NOT NULL THEN {} END)", converted, value, wrong)


def _listed(scanned: ScannedField, column: ParquetColumn) -> Sql:
    converted = _converted(scanned, column, Sql("element"))
    values = sql("list_transform({}, lambda element: {})", column.sql, converted)
    loaded = sql("filled({})", as_loaded(scanned.mapped.type, values))
    if scanned.shape.has_wrong:
        return loaded
    return sql(
        "CASE WHEN {} THEN {} ELSE {} END",
        _is_wrong(scanned, column),
        scanned.signal(Surprise.WRONG),
        loaded,
    )


def _converted(scanned: ScannedField, column: ParquetColumn, value: Sql) -> Sql:
    of_type = scanned.mapped.type
    if of_type is Type.DATE and column.kind == "TIMESTAMP":
        return sql("date_trunc('millisecond', CAST({} AS TIMESTAMP))", value)
    if of_type in STRING and column.kind == "VARCHAR":
        return value
    if of_type is Type.BOOLEAN and column.kind == "BOOLEAN":
        return value
    if of_type is Type.LONG and column.kind == "BIGINT":
        return sql("TRY_CAST({} AS BIGINT)", value)
    return sql(FROM_DOCUMENT[of_type], sql("CAST({} AS VARCHAR)", value))


def _is_wrong(scanned: ScannedField, column: ParquetColumn) -> Sql:
    if not column.several:
        converted = _converted(scanned, column, column.sql)
        return sql("{} IS NOT NULL AND {} IS NULL", column.sql, converted)
    return sql(
        "list_contains(list_transform({}, "
        "lambda element: element IS NOT NULL AND {} IS NULL), true)",
        column.sql,
        _converted(scanned, column, Sql("element")),
    )
