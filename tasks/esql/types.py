"""Elasticsearch's field types, and DuckDB's types for them.

A column with several values is a list in DuckDB. A list is never empty: no value is null.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Type(StrEnum):
    """A type, by its name in the `columns` of an answer."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LONG = "long"
    UNSIGNED_LONG = "unsigned_long"
    DOUBLE = "double"
    KEYWORD = "keyword"
    TEXT = "text"
    IP = "ip"
    DATE = "date"
    NULL = "null"
    TIMESPAN = "timespan"
    UNSUPPORTED = "unsupported"

    @property
    def label(self) -> str:
        """The name in messages, which differs for dates and timespans."""
        return {Type.DATE: "datetime", Type.TIMESPAN: "date_period or time_duration"}.get(
            self, self
        )

    @property
    def duckdb(self) -> str:
        """The DuckDB type of one value.

        An address is its 16 bytes as a number (IPv4 as ::ffff:a.b.c.d), so that order, equality
        and blocks are comparisons of numbers. A date is a timestamp in UTC, cut to milliseconds.
        """
        return _DUCKDB[self]


_DUCKDB = {
    Type.BOOLEAN: "BOOLEAN",
    Type.INTEGER: "INTEGER",
    Type.LONG: "BIGINT",
    Type.UNSIGNED_LONG: "UBIGINT",
    Type.DOUBLE: "DOUBLE",
    Type.KEYWORD: "VARCHAR",
    Type.TEXT: "VARCHAR",
    Type.IP: "UHUGEINT",
    Type.DATE: "TIMESTAMP",
    Type.NULL: "VARCHAR",
    Type.TIMESPAN: "INTERVAL",
    Type.UNSUPPORTED: "VARCHAR",
}

WHOLE = frozenset({Type.INTEGER, Type.LONG, Type.UNSIGNED_LONG})
NUMBER = WHOLE | {Type.DOUBLE}
STRING = frozenset({Type.KEYWORD, Type.TEXT})
ANY = frozenset(Type) - {Type.TIMESPAN, Type.UNSUPPORTED}

# The types above by their names in a mapping. Fields of other types cannot be used.
FIELD_TYPES = {
    "boolean": Type.BOOLEAN,
    "byte": Type.INTEGER,
    "short": Type.INTEGER,
    "integer": Type.INTEGER,
    "long": Type.LONG,
    "unsigned_long": Type.UNSIGNED_LONG,
    "double": Type.DOUBLE,
    "float": Type.DOUBLE,
    "half_float": Type.DOUBLE,
    "scaled_float": Type.DOUBLE,
    "keyword": Type.KEYWORD,
    "constant_keyword": Type.KEYWORD,
    "wildcard": Type.KEYWORD,
    "text": Type.TEXT,
    "match_only_text": Type.TEXT,
    "ip": Type.IP,
    "date": Type.DATE,
    "date_nanos": Type.DATE,
}


def whole_type(value: int) -> Type:
    """The type of a whole number as a literal: the first that holds it."""
    if -(2**31) <= value < 2**31:
        return Type.INTEGER
    if -(2**63) <= value < 2**63:
        return Type.LONG
    return Type.UNSIGNED_LONG if 0 <= value < 2**64 else Type.DOUBLE


def widest(types: Collection[Type]) -> Type:
    """The type in which numbers of several types are computed."""
    for wide in (Type.DOUBLE, Type.UNSIGNED_LONG, Type.LONG):
        if wide in types:
            return wide
    return Type.INTEGER
