"""A Query DSL filter goes in, a condition over the documents' columns comes out.

A field matches when any of its values does; a field that does not exist matches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network

from tasks.esql.errors import EsqlError
from tasks.esql.functions.addresses import block_range, parse_address
from tasks.esql.functions.dates import parse_date
from tasks.esql.names import abbreviated
from tasks.esql.plans import FieldColumn
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.types import WHOLE, Type

_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OCCURRENCES = ("filter", "must", "must_not", "should")
_NOT_COMPARED = {"format", "time_zone", "boost", "relation"}
_DATE_FORMATS = {
    "strict_date_optional_time",
    "epoch_millis",
    "strict_date_optional_time||epoch_millis",
}


class FilterError(EsqlError):
    """The filter is malformed, or uses a part of the Query DSL that this engine does not have."""

    kind = "parsing_exception"


def filter_fields(query: object) -> frozenset[str]:
    """The fields that a filter reads."""
    return frozenset(_fields(query))


def _fields(query: object) -> Iterator[str]:
    kind, body = _clause(query)
    if kind == "bool":
        for occurrence in _OCCURRENCES:
            for inner in _clauses(body.get(occurrence, [])):
                yield from _fields(inner)
    elif kind == "exists":
        yield _field_of(body)
    elif kind in {"term", "terms", "range"}:
        yield from (name for name in body if name != "boost")


def condition(query: object, columns: Sequence[FieldColumn]) -> Sql:
    """A filter as SQL that is never null.

    Raises:
        FilterError: the filter uses a query other than bool, range, term, terms, exists, match_all.
    """
    return _condition(query, {column.name: column for column in columns})


def _clause(query: object) -> tuple[str, Mapping[str, object]]:
    if not isinstance(query, Mapping) or len(query) != 1:
        raise FilterError("[filter] must be an object with one query")
    ((kind, body),) = query.items()
    if kind not in {"bool", "exists", "match_all", "range", "term", "terms"}:
        raise FilterError(f"unknown or unsupported query [{kind}] in [filter]")
    if not isinstance(body, Mapping):
        raise FilterError(f"[{kind}] query malformed, no start_object after query name")
    return str(kind), body


def _field_of(exists: Mapping[str, object]) -> str:
    field = exists.get("field")
    if not isinstance(field, str):
        raise FilterError("[exists] must be provided with a [field]")
    return field


def _clauses(occurrence: object) -> Sequence[object]:
    return occurrence if isinstance(occurrence, list) else [occurrence]


def _condition(query: object, columns: Mapping[str, FieldColumn]) -> Sql:
    kind, body = _clause(query)
    match kind:
        case "match_all":
            return Sql("true")
        case "bool":
            return _bool(body, columns)
        case "exists":
            column = columns.get(_field_of(body))
            return sql("{} IS NOT NULL", Sql(column.column)) if column else Sql("false")
        case "terms":
            tests = [
                _terms(columns.get(str(name)), values)
                for name, values in body.items()
                if name != "boost"
            ]
        case "term":
            tests = [
                _terms(columns.get(name), [v.get("value") if isinstance(v, Mapping) else v])
                for name, v in body.items()
            ]
        case _:
            tests = [_range(columns.get(name), limits) for name, limits in body.items()]
    if not tests:
        raise FilterError(f"[{kind}] query malformed, no field")
    return sql("({})", joined(" AND ", tests))


def _bool(body: Mapping[str, object], columns: Mapping[str, FieldColumn]) -> Sql:
    if unsupported := set(body) - {*_OCCURRENCES, "minimum_should_match", "boost"}:
        raise FilterError(f"[bool] query does not support [{min(unsupported)}]")

    def all_of(occurrence: str) -> list[Sql]:
        return [_condition(inner, columns) for inner in _clauses(body.get(occurrence, []))]

    required = [*all_of("filter"), *all_of("must")]
    required += [sql("NOT {}", inner) for inner in all_of("must_not")]
    optional = all_of("should")
    least = body.get("minimum_should_match", 0 if required else 1)
    if not isinstance(least, int):
        raise FilterError(f"[minimum_should_match] must be a whole number, found [{least}]")
    if optional and least > 0:
        counted = joined(" + ", [sql("CAST({} AS INTEGER)", inner) for inner in optional])
        required.append(sql("({}) >= {}", counted, bound(least, "INTEGER")))
    return sql("({})", joined(" AND ", required or [Sql("true")]))


def _any_value(column: FieldColumn, test: Sql) -> Sql:
    """Whether a test over `item` holds for any value of a column; false where there is none."""
    values = Sql(column.column) if column.several else sql("[{}]", Sql(column.column))
    return sql("coalesce(list_bool_or(list_transform({}, lambda item: {})), false)", values, test)


def _terms(column: FieldColumn | None, values: object) -> Sql:
    if not isinstance(values, list):
        raise FilterError("[terms] query requires a list of values")
    if column is None or column.type is Type.UNSUPPORTED:
        return Sql("false")
    blocks = [v for v in values if column.type is Type.IP and isinstance(v, str) and "/" in v]
    single = [_value(v, column) for v in values if v not in blocks]
    form = column.type.duckdb
    # A table of the values, not a list of comparisons: they may be thousands.
    among = sql("(SELECT unnest({}))", bound(single, f"{form}[]"))
    name = Sql(column.column)
    if column.several:
        found = sql("coalesce(list_has_any({}, {}), false)", name, bound(single, f"{form}[]"))
    else:
        found = sql("coalesce({} IN {}, false)", name, among)
    tests = [found, *(_in_block(column, str(block)) for block in blocks)]
    return sql("({})", joined(" OR ", tests))


def _in_block(column: FieldColumn, block: str) -> Sql:
    try:
        first, last = block_range(ip_network(block, strict=False))
    except ValueError:
        raise FilterError(f"'{block}' is not an IP string literal.") from None
    test = sql("item BETWEEN {} AND {}", bound(first, "UHUGEINT"), bound(last, "UHUGEINT"))
    return _any_value(column, test)


def _range(column: FieldColumn | None, limits: object) -> Sql:
    if not isinstance(limits, Mapping):
        raise FilterError("[range] query malformed, no start_object after field name")
    date_format = str(limits.get("format", "epoch_millis"))
    if date_format not in _DATE_FORMATS or str(limits.get("time_zone", "UTC")) not in {
        "UTC",
        "Z",
        "+00:00",
    }:
        raise FilterError(
            "[range] supports the formats strict_date_optional_time and epoch_millis, in UTC"
        )
    if unsupported := set(limits) - _COMPARISONS.keys() - _NOT_COMPARED:
        raise FilterError(f"[range] query does not support [{min(unsupported)}]")
    if column is None or column.type is Type.UNSUPPORTED:
        return Sql("false")
    tests = [
        sql(f"item {sign} {{}}", bound(_value(limits[name], column), column.type.duckdb))
        for name, sign in _COMPARISONS.items()
        if limits.get(name) is not None
    ]
    if not column.several:
        compared = [
            sql("{} {}", Sql(column.column), Sql(t.text.removeprefix("item "), t.values))
            for t in tests
        ]
        return sql(
            "coalesce({}, false)",
            joined(" AND ", compared or [sql("{} IS NOT NULL", Sql(column.column))]),
        )
    return _any_value(column, joined(" AND ", tests or [Sql("item IS NOT NULL")]))


def _value(value: object, column: FieldColumn) -> object:
    """A JSON value as the column's type holds it."""
    try:
        read = _read(value, column)
    except (ValueError, OverflowError, OSError):  # Too many digits, or too far in time.
        read = None
    if read is None:
        given = abbreviated(str(value))
        raise FilterError(f"failed to parse [{given}] as [{column.type}] for field [{column.name}]")
    return read


def _read(value: object, column: FieldColumn) -> object:
    """The value; None if it is of another type."""
    read: object
    match column.type, value:
        case Type.DATE, int() | float():
            read = datetime.fromtimestamp(float(value) / 1000, UTC).replace(tzinfo=None)
        case Type.DATE, str():
            read = parse_date(value)
        case Type.IP, str():
            address = parse_address(value)
            read = None if address is None else str(address)
        case Type.BOOLEAN, bool():
            read = value
        case Type.BOOLEAN, str():
            read = {"true": True, "false": False}.get(value)
        case Type.KEYWORD | Type.TEXT, str() | int() | float():
            read = str(value).lower() if isinstance(value, bool) else str(value)
        case Type.DOUBLE, int() | float():
            read = float(value)
        case _, int() | float() if column.type in WHOLE:
            read = value if -(2**63) <= value < 2**64 else None
        case _, str() if column.type in WHOLE and value.lstrip("-").isdigit():
            read = int(value)
        case _:
            read = None
    return read
