"""The aggregates: the rows of a group go in, one value or list comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tasks.esql.errors import refused
from tasks.esql.functions.entries import Aggregate, same_type
from tasks.esql.sql import Sql, bound, sql
from tasks.esql.tree import Literal
from tasks.esql.types import ANY, NUMBER, STRING, WHOLE, Type
from tasks.esql.values import TypedSqls

_ALL_VALUES = "flatten(list({0}))"


# Not DuckDB's max(x, n): it sets aside room for n values in every group, however small.
_TOPS = {"asc": "list_sort", "desc": "list_reverse_sort"}


def _sum_type(arguments: TypedSqls) -> Type:
    return Type.DOUBLE if arguments[0].type is Type.DOUBLE else Type.LONG


def _top_of(listed: bool) -> Callable[[TypedSqls], Sql]:
    def write(arguments: TypedSqls) -> Sql:
        column, count, *given = arguments
        order = given[0].text_constant("order of [TOP]").lower() if given else "asc"
        if order not in _TOPS:
            raise refused(
                f"Invalid order value in [TOP], expected [ASC, DESC] but got [{order}]",
                given[0].source,
            )
        limit = count.constant.value if isinstance(count.constant, Literal) else None
        if not isinstance(limit, int) or limit < 1:
            raise refused(
                f"Limit must be greater than 0 in [TOP], found [{count.source.text}]", count.source
            )
        every = _ALL_VALUES if listed else "list({0}) FILTER (WHERE {0} IS NOT NULL)"
        template = f"filled(list_slice({_TOPS[order]}({every}), 1, {{1}}))"
        return sql(template, column.sql, bound(limit, "BIGINT"))

    return write


AGGREGATES: Mapping[str, Aggregate] = {
    "avg": Aggregate(
        (NUMBER,),
        Type.DOUBLE,
        "sum({0}) / count({0})",
        "sum(list_sum({0})) / sum(len({0}))",
        narrowed=True,
    ),
    "count": Aggregate(
        (ANY,),
        Type.LONG,
        "count({})",
        "CAST(coalesce(sum(len({})), 0) AS BIGINT)",
        required=0,
    ),
    "count_distinct": Aggregate(
        (ANY, WHOLE),
        Type.LONG,
        "count(DISTINCT {})",
        f"CAST(coalesce(len(list_distinct({_ALL_VALUES})), 0) AS BIGINT)",
        required=1,
    ),
    "max": Aggregate((ANY,), same_type, "max({})", "max(list_max({}))"),
    "median": Aggregate(
        (NUMBER,), Type.DOUBLE, "CAST(median({}) AS DOUBLE)", f"list_median({_ALL_VALUES})"
    ),
    "min": Aggregate((ANY,), same_type, "min({})", "min(list_min({}))"),
    "sum": Aggregate((NUMBER,), _sum_type, "sum({})", "sum(list_sum({}))", narrowed=True),
    "top": Aggregate(
        (ANY, WHOLE, STRING), same_type, _top_of(False), _top_of(True), several=True, required=2
    ),
    "values": Aggregate(
        (ANY,),
        same_type,
        "filled(list_sort(list_distinct(list({}))))",
        f"filled(list_sort(list_distinct({_ALL_VALUES})))",
        several=True,
    ),
}
