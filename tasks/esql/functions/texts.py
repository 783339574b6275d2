"""The functions of texts."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.esql.functions import patterns
from tasks.esql.functions.entries import ScalarFunction, joined_with
from tasks.esql.sql import Sql, sql
from tasks.esql.types import STRING, WHOLE, Type
from tasks.esql.values import TypedSqls

_BLANKS = r"' \t\n\r\f\v'"


def _substring(arguments: TypedSqls) -> Sql:
    text, start, *length = (argument.sql for argument in arguments)
    rest = sql(", greatest({}, 0)", *length) if length else Sql("")
    return sql("substring({0}, substring_start({0}, {1}){2})", text, start, rest)


TEXT_FUNCTIONS: Mapping[str, ScalarFunction] = {
    "concat": ScalarFunction((STRING, STRING), Type.KEYWORD, joined_with(" || "), variadic=True),
    "contains": ScalarFunction((STRING, STRING), Type.BOOLEAN, "contains({}, {})"),
    "ends_with": ScalarFunction((STRING, STRING), Type.BOOLEAN, "ends_with({}, {})"),
    "left": ScalarFunction((STRING, WHOLE), Type.KEYWORD, "left({}, greatest({}, 0))"),
    "length": ScalarFunction((STRING,), Type.INTEGER, "CAST(length({}) AS INTEGER)"),
    "replace": ScalarFunction((STRING, STRING, STRING), Type.KEYWORD, patterns.replace),
    "right": ScalarFunction((STRING, WHOLE), Type.KEYWORD, "right({}, greatest({}, 0))"),
    "split": ScalarFunction((STRING, STRING), Type.KEYWORD, "string_split({}, {})", several=True),
    "starts_with": ScalarFunction((STRING, STRING), Type.BOOLEAN, "starts_with({}, {})"),
    "substring": ScalarFunction((STRING, WHOLE, WHOLE), Type.KEYWORD, _substring, required=2),
    "to_lower": ScalarFunction((STRING,), Type.KEYWORD, "lower({})"),
    "to_upper": ScalarFunction((STRING,), Type.KEYWORD, "upper({})"),
    "trim": ScalarFunction((STRING,), Type.KEYWORD, f"trim({{}}, E{_BLANKS})"),
}
