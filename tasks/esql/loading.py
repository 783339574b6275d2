"""Values of documents go in, SQL for typed values comes out, the same for every file format."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.esql.sql import Sql, joined, sql, text_constant
from tasks.esql.types import STRING, Type

# From a text in a document to a value of the type; null if it is malformed.
FROM_DOCUMENT = {
    Type.BOOLEAN: "boolean_from_text({})",
    Type.INTEGER: "TRY_CAST(long_from_document({}) AS INTEGER)",
    Type.LONG: "long_from_document({})",
    Type.UNSIGNED_LONG: "TRY_CAST({} AS UBIGINT)",
    Type.DOUBLE: "finite(TRY_CAST({} AS DOUBLE))",
    Type.KEYWORD: "{}",
    Type.TEXT: "{}",
    Type.IP: "ip_from_text({})",
    Type.DATE: "date_from_text({})",
}
_DEDUPLICATED = STRING | {Type.IP}


def as_loaded(of_type: Type, values: Sql) -> Sql:
    """Values in the order of doc values: sorted, texts and addresses without repetitions."""
    there = sql("list_filter({}, lambda made: made IS NOT NULL)", values)
    distinct = sql("list_distinct({})", there) if of_type in _DEDUPLICATED else there
    return sql("list_sort({})", distinct)


JSON_KINDS = (
    *("NULL", "OBJECT", "ARRAY", "VARCHAR", "BOOLEAN"),
    *("UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"),
)
"""The kinds of JSON values, in the order of the bits that `document_kinds` sets."""


def kinds_of(bits: int | None) -> set[str]:
    """The kinds whose bits are set."""
    return {kind for place, kind in enumerate(JSON_KINDS) if (bits or 0) >> place & 1}


_INFERRED = {
    Type.BOOLEAN: {"BOOLEAN"},
    Type.LONG: {"UBIGINT", "BIGINT"},
    Type.DOUBLE: {"UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"},
}


def inferred_type(name: str, kinds: set[str]) -> Type | None:
    """The type for kinds of JSON values, with ECS names as in ECS; None if there are no kinds."""
    kinds = kinds - {"NULL", "OBJECT", "ARRAY", ""}
    if not kinds:
        return None
    if name == "@timestamp" or "TIMESTAMP" in kinds:
        return Type.DATE
    for of_type, all_of in _INFERRED.items():
        if kinds <= all_of:
            return of_type
    return Type.IP if name.rpartition(".")[2] == "ip" else Type.KEYWORD


def file_list(paths: Sequence[str]) -> Sql:
    """Files as DuckDB's readers take them: as patterns, so that `*`, `?` and `[` are escaped."""
    patterns = [re.sub(r"([*?[])", r"[\1]", path) for path in paths]
    return sql("[{}]", joined(", ", map(text_constant, patterns)))
