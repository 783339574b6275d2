"""Parquet files go in, SQL for typed columns comes out; structs are objects, lists are values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from duckdb.sqltypes import DuckDBPyType

from tasks.esql.loading import FROM_DOCUMENT, as_loaded, file_list, null_columns
from tasks.esql.sql import Sql, joined, sql, text_constant
from tasks.esql.streams import MappedField
from tasks.esql.types import Type


@dataclass(frozen=True, slots=True)
class ParquetColumn:
    """A field in Parquet: its SQL, the DuckDB type of a value, whether it holds lists."""

    name: str
    sql: Sql
    kind: str
    several: bool


def flattened(name: str, column: Sql, of_type: DuckDBPyType) -> Iterator[ParquetColumn]:
    """The fields in a column of a Parquet file."""
    if of_type.id == "struct":
        for key, inner in of_type.children:
            below = sql("{}[{}]", column, text_constant(key))
            if isinstance(inner, DuckDBPyType):
                yield from flattened(f"{name}.{key}", below, inner)
    elif of_type.id == "list":
        ((_, element),) = of_type.children
        yield ParquetColumn(name, column, _json_kind(str(element)), several=True)
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


def parquet_relation(paths: Sequence[str]) -> Sql:
    """The files, with the columns of all of them."""
    return sql("read_parquet({}, union_by_name=true, hive_partitioning=false)", file_list(paths))


def from_parquet(
    paths: Sequence[str],
    columns: Mapping[str, ParquetColumn],
    fields: Mapping[str, MappedField],
) -> Sql:
    """The three columns of every field (see `loading`), in the order of the fields."""
    selected = [
        part
        for i, field in enumerate(fields.values())
        for part in _parquet_field(i, field, columns.get(field.path))
    ]
    return sql(
        "SELECT {} FROM {}",
        joined(", ", selected or [Sql("1 AS one")]),
        parquet_relation(paths),
    )


def _parquet_field(i: int, field: MappedField, column: ParquetColumn | None) -> list[Sql]:
    if column is None:
        return null_columns(i, field)
    native = column.kind == "TIMESTAMP" and field.type is Type.DATE
    convert = (
        "date_trunc('millisecond', CAST({} AS TIMESTAMP))" if native else FROM_DOCUMENT[field.type]
    )
    text = "{}" if native else "CAST({} AS VARCHAR)"
    if not column.several:
        value = sql(convert, sql(text, column.sql))
        malformed = sql("CASE WHEN {} IS NOT NULL AND {} IS NULL THEN true END", column.sql, value)
        return [
            sql(f"{{}} AS f{i}", value),
            Sql(f"CAST(NULL AS {field.type.duckdb}[]) AS l{i}"),
            sql(f"{{}} AS m{i}", malformed),
        ]
    each = sql(convert, sql(text, Sql("element")))
    values = as_loaded(field.type, sql("list_transform({}, lambda element: {})", column.sql, each))
    return [
        sql(f"only_value({{}}) AS f{i}", values),
        sql(f"list_filter([{{}}], lambda all_values: len(all_values) > 1)[1] AS l{i}", values),
        sql(
            "CASE WHEN list_contains(list_transform({}, "
            f"lambda element: element IS NOT NULL AND {{}} IS NULL), true) THEN true END AS m{i}",
            column.sql,
            each,
        ),
    ]
