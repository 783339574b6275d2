"""The functions of numbers, and the greatest and the least of several values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tasks.esql.functions.entries import NOT_FINITE, OVERFLOW, ScalarFunction, same_type
from tasks.esql.sql import Sql, joined, sql
from tasks.esql.types import ANY, NUMBER, WHOLE, Type, widest
from tasks.esql.values import TypedSqls


def _to_whole(function: str) -> Callable[[TypedSqls], Sql]:
    """CEIL and FLOOR leave whole numbers as they are."""

    def write(arguments: TypedSqls) -> Sql:
        (value,) = arguments
        return sql(f"{function}({{}})" if value.type is Type.DOUBLE else "{}", value.sql)

    return write


def _round(arguments: TypedSqls) -> Sql:
    value = arguments[0]
    if len(arguments) == 1:
        return sql("round({})" if value.type is Type.DOUBLE else "{}", value.sql)
    # Beyond these no double has digits to round.
    places = sql("CAST(least(greatest({}, -400), 400) AS INTEGER)", arguments[1].sql)
    if value.type is Type.DOUBLE:
        return sql("finite(round({}, {}))", value.sql, places)
    return sql(f"TRY_CAST(round({{}}, {{}}) AS {value.type.duckdb})", value.sql, places)


def _absolute(arguments: TypedSqls) -> Sql:
    return sql(f"TRY(abs(CAST({{}} AS {arguments[0].type.duckdb})))", arguments[0].sql)


def _common_type(arguments: TypedSqls) -> Type:
    """The type of all arguments; the widest, if they are numbers."""
    present = [argument for argument in arguments if argument.type is not Type.NULL]
    if not present:
        return Type.NULL
    if present[0].type in NUMBER:
        return widest([argument.type for argument in present])
    return same_type(present)


def _extreme(function: str) -> Callable[[TypedSqls], Sql]:
    """GREATEST and LEAST are null when any argument is; DuckDB's skip nulls."""

    def write(arguments: TypedSqls) -> Sql:
        all_there = joined(" AND ", [sql("{} IS NOT NULL", a.sql) for a in arguments])
        of_all = joined(", ", [a.sql for a in arguments])
        return sql(f"CASE WHEN {{}} THEN {function}({{}}) END", all_there, of_all)

    return write


NUMBER_FUNCTIONS: Mapping[str, ScalarFunction] = {
    "abs": ScalarFunction((NUMBER,), same_type, _absolute, OVERFLOW),
    "ceil": ScalarFunction((NUMBER,), same_type, _to_whole("ceil")),
    "floor": ScalarFunction((NUMBER,), same_type, _to_whole("floor")),
    "greatest": ScalarFunction(
        (ANY,), _common_type, _extreme("greatest"), variadic=True, alike=True, strict=False
    ),
    "least": ScalarFunction(
        (ANY,), _common_type, _extreme("least"), variadic=True, alike=True, strict=False
    ),
    "log10": ScalarFunction(
        (NUMBER,),
        Type.DOUBLE,
        "finite(log10(CAST({} AS DOUBLE)))",
        "java.lang.ArithmeticException: Log of non-positive number",
    ),
    "pow": ScalarFunction(
        (NUMBER, NUMBER),
        Type.DOUBLE,
        "finite(pow(CAST({} AS DOUBLE), CAST({} AS DOUBLE)))",
        NOT_FINITE,
    ),
    "round": ScalarFunction((NUMBER, WHOLE), same_type, _round, OVERFLOW, required=1),
    "sqrt": ScalarFunction(
        (NUMBER,),
        Type.DOUBLE,
        "finite(sqrt(CAST({} AS DOUBLE)))",
        "java.lang.ArithmeticException: Square root of negative",
    ),
}
