"""The operators: logic, comparisons, patterns, and arithmetic of numbers, dates and timespans."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tasks.esql.errors import refused
from tasks.esql.functions import patterns
from tasks.esql.functions.entries import OVERFLOW, ScalarFunction, TypeGroup, joined_with, same_type
from tasks.esql.sql import Sql, joined, sql
from tasks.esql.types import ANY, NUMBER, STRING, Type, widest
from tasks.esql.values import TypedSql, TypedSqls

_DIVISION = "java.lang.ArithmeticException: / by zero"
_BOOLEAN = frozenset({Type.BOOLEAN})
_ADDABLE = NUMBER | {Type.DATE, Type.TIMESPAN}
_ORDERED = ANY - {Type.BOOLEAN}


def _arithmetic_type(arguments: TypedSqls) -> Type:
    types = [a.type for a in arguments]
    if Type.DATE in types:
        return Type.DATE
    if Type.UNSIGNED_LONG in types and set(types) != {Type.UNSIGNED_LONG}:
        raise refused(
            "[unsigned_long] can only be operated on together with another [unsigned_long], "
            f"found [{types[0]}] and [{types[1]}]",
            arguments[0].source,
        )
    return widest(types)


def _arithmetic(operator: str) -> Callable[[TypedSqls], Sql]:
    def write(arguments: TypedSqls) -> Sql:
        left, right = arguments
        kinds = [left.type, right.type]
        if Type.TIMESPAN in kinds or Type.DATE in kinds:
            return _shifted(operator, left, right)
        of_type = _arithmetic_type(arguments)
        cast = f"CAST({{}} AS {of_type.duckdb}) {operator} CAST({{}} AS {of_type.duckdb})"
        wrapped = f"finite({cast})" if of_type is Type.DOUBLE else f"TRY({cast})"
        return sql(wrapped, left.sql, right.sql)

    return write


def _shifted(operator: str, left: TypedSql, right: TypedSql) -> Sql:
    """A date plus or minus a timespan."""
    if left.type is Type.TIMESPAN and right.type is Type.DATE and operator == "+":
        left, right = right, left
    if left.type is not Type.DATE or right.type is not Type.TIMESPAN or operator == "*":
        raise refused(
            f"[{operator}] has arguments with incompatible types "
            f"[{left.type.label}] and [{right.type.label}]",
            left.source,
        )
    return sql(f"TRY({{}} {operator} {{}})", left.sql, right.sql)


def _divided(operator: str) -> Callable[[TypedSqls], Sql]:
    def write(arguments: TypedSqls) -> Sql:
        of_type = _arithmetic_type(arguments)
        form = of_type.duckdb
        whole = "//" if operator == "/" else "%"
        template = (
            f"finite(CAST({{}} AS DOUBLE) {operator} CAST({{}} AS DOUBLE))"
            if of_type is Type.DOUBLE
            else f"TRY(CAST({{}} AS {form}) {whole} NULLIF(CAST({{}} AS {form}), 0))"
        )
        return sql(template, arguments[0].sql, arguments[1].sql)

    return write


def _negate(arguments: TypedSqls) -> Sql:
    value = arguments[0]
    if value.type is Type.TIMESPAN:
        return sql("(-{})", value.sql)
    return sql(f"TRY(-CAST({{}} AS {value.type.duckdb}))", value.sql)


def _in(arguments: TypedSqls) -> Sql:
    return sql("({} IN ({}))", arguments[0].sql, joined(", ", [a.sql for a in arguments[1:]]))


def _comparison(operator: str, of: TypeGroup = _ORDERED) -> ScalarFunction:
    return ScalarFunction((of, of), Type.BOOLEAN, f"({{}} {operator} {{}})", alike=True)


OPERATORS: Mapping[str, ScalarFunction] = {
    "and": ScalarFunction(
        (_BOOLEAN, _BOOLEAN), Type.BOOLEAN, joined_with(" AND "), variadic=True, strict=False
    ),
    "or": ScalarFunction(
        (_BOOLEAN, _BOOLEAN), Type.BOOLEAN, joined_with(" OR "), variadic=True, strict=False
    ),
    "not": ScalarFunction((_BOOLEAN,), Type.BOOLEAN, "(NOT {})"),
    "==": _comparison("=", ANY),
    "!=": _comparison("<>", ANY),
    "<": _comparison("<"),
    "<=": _comparison("<="),
    ">": _comparison(">"),
    ">=": _comparison(">="),
    "in": ScalarFunction((ANY, ANY), Type.BOOLEAN, _in, variadic=True, alike=True, strict=False),
    "like": ScalarFunction((STRING, STRING), Type.BOOLEAN, patterns.like, variadic=True),
    "rlike": ScalarFunction((STRING, STRING), Type.BOOLEAN, patterns.rlike, variadic=True),
    "+": ScalarFunction((_ADDABLE, _ADDABLE), _arithmetic_type, _arithmetic("+"), OVERFLOW),
    "-": ScalarFunction((_ADDABLE, _ADDABLE), _arithmetic_type, _arithmetic("-"), OVERFLOW),
    "*": ScalarFunction((NUMBER, NUMBER), _arithmetic_type, _arithmetic("*"), OVERFLOW),
    "/": ScalarFunction((NUMBER, NUMBER), _arithmetic_type, _divided("/"), _DIVISION),
    "%": ScalarFunction((NUMBER, NUMBER), _arithmetic_type, _divided("%"), _DIVISION),
    "negate": ScalarFunction((NUMBER | {Type.TIMESPAN},), same_type, _negate, OVERFLOW),
}
