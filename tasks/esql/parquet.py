"""Parquet files go in, SQL for typed columns comes out; structs are objects, lists are values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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


@dataclass(frozen=True)
class ParquetGroup:
    """Parquet files whose columns of one name have one type: they are scanned together."""

    paths: tuple[str, ...]
    types: Mapping[str, DuckDBPyType]

    @cached_property
    def columns(self) -> Mapping[str, ParquetColumn]:
        """Their fields, by name."""
        return {
            column.name: column
            for name, of_type in self.types.items()
            for column in flattened_column(name, identifier(name), of_type)
        }

    def takes(self, types: Mapping[str, DuckDBPyType]) -> bool:
        """Whether a file with columns of these types belongs to them."""
        return all(self.types.get(name, of_type) == of_type for name, of_type in types.items())

    def counts(self) -> Sql:
        """Ask how many rows they have, and how many of them with a @timestamp."""
        time = self.columns.get(TIME)
        timed = sql("count({})", time.sql) if time else Sql("0")
        return sql("SELECT count(*), {} FROM {}", timed, parquet_relation(self.paths))

    def selected(
        self,
        fields: Sequence[ScannedField],
        made: Callable[[ScannedField, ParquetColumn], Sql],
    ) -> Sql:
        """The columns `f0`, `f1`, ... of fields."""
        selected = []
        for of_field in fields:
            column = self.columns.get(of_field.mapped.path)
            value = made(of_field, column) if column else Sql(f"CAST(NULL AS {of_field.duckdb})")
            selected.append(sql(f"{{}} AS f{of_field.place}", value))
        return sql(
            "SELECT {} FROM {}",
            joined(", ", selected or [Sql("1 AS one")]),
            parquet_relation(self.paths),
        )


@dataclass(frozen=True)
class ParquetFiles:
    """The Parquet files of a data stream.

    Attributes:
        groups: of the files.
        documents: how many rows they have.
        untimed: how many of them have no @timestamp.
    """

    groups: tuple[ParquetGroup, ...] = ()
    documents: int = 0
    untimed: int = 0

    @classmethod
    def described(
        cls, paths: Sequence[str], execute: Callable[[Sql], duckdb.DuckDBPyConnection]
    ) -> ParquetFiles:
        """Read what the files say of themselves; of their columns @timestamp only."""
        groups: list[ParquetGroup] = []
        for path in paths:
            named = (
                execute(sql("SELECT * FROM {} LIMIT 0", parquet_relation([path]))).description or ()
            )
            types = {name: of_type for name, of_type, *_ in named}
            group = next((each for each in groups if each.takes(types)), ParquetGroup((), {}))
            if group in groups:
                groups.remove(group)
            groups.append(ParquetGroup((*group.paths, path), {**group.types, **types}))
        counted = [execute(group.counts()).fetchone() or (0, 0) for group in groups]
        documents = sum(rows for rows, _ in counted)
        return cls(tuple(groups), documents, documents - sum(timed for _, timed in counted))

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the files."""
        return tuple(path for group in self.groups for path in group.paths)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of their fields."""
        return frozenset().union(*(group.columns for group in self.groups))

    def kinds(self, name: str) -> set[str]:
        """The kinds of a field's values."""
        return {group.columns[name].kind for group in self.groups if name in group.columns}

    def scan(self, fields: Sequence[ScannedField]) -> list[Sql]:
        """The columns `f0`, `f1`, ... of fields."""
        return [group.selected(fields, _value) for group in self.groups]

    def wrong(self, fields: Sequence[ScannedField]) -> list[Sql]:
        """The same columns as truth values: whether a value is not of the field's type."""
        return [group.selected(fields, _is_wrong) for group in self.groups]


def parquet_relation(paths: Sequence[str]) -> Sql:
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
        return sql("TRY(date_trunc('millisecond', CAST({} AS TIMESTAMP)))", value)
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
