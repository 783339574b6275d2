"""The MV_ functions: all values of a field go in as a list."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.esql.functions.entries import OVERFLOW, Multivalue, same_type
from tasks.esql.sql import Sql, sql
from tasks.esql.types import ANY, NUMBER, STRING, WHOLE, Type
from tasks.esql.values import TypedSqls


def _sorted(arguments: TypedSqls) -> Sql:
    order = "asc"
    if len(arguments) > 1:
        order = arguments[1].text_constant("order of [MV_SORT]").lower()
    function = "list_reverse_sort" if order == "desc" else "list_sort"
    return sql(f"{function}({{}})", arguments[0].sql)


def _sliced(arguments: TypedSqls) -> Sql:
    """From zero and inclusive; DuckDB counts from one, and negative numbers from the end too."""
    place = "CASE WHEN {0} >= 0 THEN {0} + 1 ELSE {0} END"
    start, end = arguments[1].sql, arguments[-1].sql
    return sql(
        "filled(list_slice({}, {}, {}))", arguments[0].sql, sql(place, start), sql(place, end)
    )


def _summed(arguments: TypedSqls) -> Sql:
    values = arguments[0]
    if values.type is Type.DOUBLE:
        return sql("finite(list_sum({}))", values.sql)
    return sql(f"TRY_CAST(list_sum({{}}) AS {values.type.duckdb})", values.sql)


LIST_FUNCTIONS: Mapping[str, Multivalue] = {
    "mv_avg": Multivalue((NUMBER,), Type.DOUBLE, "finite(list_avg({}))", "CAST({} AS DOUBLE)"),
    "mv_concat": Multivalue(
        (STRING, STRING),
        Type.KEYWORD,
        "list_reduce({}, lambda before, item: before || {} || item)",
    ),
    "mv_contains": Multivalue(
        (ANY, ANY), Type.BOOLEAN, "list_has_all(coalesce({}, []), coalesce({}, []))", all_lists=True
    ),
    "mv_count": Multivalue(
        (ANY,),
        Type.INTEGER,
        "CAST(len({}) AS INTEGER)",
        "CASE WHEN {} IS NOT NULL THEN 1 END",
    ),
    "mv_dedupe": Multivalue((ANY,), same_type, "list_sort(list_distinct({}))", "{}", several=True),
    "mv_first": Multivalue((ANY,), same_type, "{}[1]", "{}"),
    "mv_last": Multivalue((ANY,), same_type, "{}[-1]", "{}"),
    "mv_max": Multivalue((ANY,), same_type, "list_max({})", "{}"),
    "mv_min": Multivalue((ANY,), same_type, "list_min({})", "{}"),
    "mv_slice": Multivalue((ANY, WHOLE, WHOLE), same_type, _sliced, several=True, required=2),
    "mv_sort": Multivalue((ANY, STRING), same_type, _sorted, "{}", several=True, required=1),
    "mv_sum": Multivalue((NUMBER,), same_type, _summed, "{}", fails=OVERFLOW),
}
