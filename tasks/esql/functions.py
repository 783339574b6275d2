"""The functions and operators of ES|QL: one entry each, from a name to types and DuckDB SQL.

Three kinds, by what they make of a field with several values: a `Scalar` answers null, a
`Conversion` converts each value, a `Multivalue` function sees them all. `AGGREGATES` are apart.
To add a function is to add its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tasks.esql import addresses, dates, patterns
from tasks.esql.errors import refused
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.syntax import Literal
from tasks.esql.types import ANY, NUMBER, STRING, WHOLE, Type
from tasks.esql.values import TypedSql, TypedSqls

NOT_FINITE = "java.lang.ArithmeticException: not a finite double number"
DIVISION = "java.lang.ArithmeticException: / by zero"
OVERFLOW = "java.lang.ArithmeticException: {type} overflow"
BAD_NUMBER = "org.elasticsearch.xpack.esql.core.InvalidArgumentException: Cannot parse number"
BAD_DATE = "java.lang.IllegalArgumentException: failed to parse date field"
BAD_ADDRESS = "java.lang.IllegalArgumentException: not an IP string literal"


Builder = str | Callable[[TypedSqls], Sql]
Rule = Type | Callable[[TypedSqls], Type]
TypeGroup = frozenset[Type]


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function of single values.

    Attributes:
        takes: the types that each argument may have; the last counts for all further ones.
        gives: the type of the result.
        sql: a template with a slot for each argument, or a function that writes it.
        fails: the warning when the result is null though no argument is; None if that is right.
        required: how many arguments there must be; all of `takes` if None.
        variadic: whether the last argument may be repeated.
        alike: whether all arguments are brought to one type first.
        strict: whether a null argument makes the result null.
        several: whether the result is a list.
    """

    takes: tuple[TypeGroup, ...]
    gives: Rule
    sql: Builder
    fails: str | None = None
    required: int | None = None
    variadic: bool = False
    alike: bool = False
    strict: bool = True
    several: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """A function that turns each value into one of another type; `sql` is by source type."""

    gives: Type
    sql: Mapping[Type, str]
    fails: str


@dataclass(frozen=True, slots=True)
class Multivalue:
    """A function that sees all values of its first argument, as a list in the first slot.

    `several` says whether the result is a list; on a field with single values `single` is used.
    `all_lists`: every argument comes as a list, and all of one type.
    """

    takes: tuple[TypeGroup, ...]
    gives: Rule
    sql: Builder
    single: Builder | None = None
    several: bool = False
    required: int | None = None
    all_lists: bool = False
    fails: str | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over rows.

    Attributes:
        takes: the types of its arguments; those after the first are constants.
        gives: the type of the result.
        single: SQL over a column with single values.
        listed: SQL over a column of lists.
        narrowed: whether the result is computed wider and may not fit its type: null then.
        several: whether the result is a list.
    """

    takes: tuple[TypeGroup, ...]
    gives: Rule
    single: Builder
    listed: Builder
    narrowed: bool = False
    several: bool = False
    required: int | None = None


def _of(*types: Type) -> TypeGroup:
    return frozenset(types)


def _same(arguments: TypedSqls) -> Type:
    first = arguments[0].type
    return Type.KEYWORD if first is Type.TEXT else first


def _common(arguments: TypedSqls) -> Type:
    """The type of all arguments; the widest, if they are numbers."""
    types = [argument.type for argument in arguments if argument.type is not Type.NULL]
    if not types:
        return Type.NULL
    return widest(types) if types[0] in NUMBER else _same([a for a in arguments if a.type in types])


def widest(types: Sequence[Type]) -> Type:
    """The type in which numbers of several types are computed."""
    for wide in (Type.DOUBLE, Type.UNSIGNED_LONG, Type.LONG):
        if wide in types:
            return wide
    return Type.INTEGER


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
            f"[{left.type.spoken}] and [{right.type.spoken}]",
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


def _joined_with(separator: str) -> Callable[[TypedSqls], Sql]:
    def write(arguments: TypedSqls) -> Sql:
        return sql("({})", joined(separator, [a.sql for a in arguments]))

    return write


def _in(arguments: TypedSqls) -> Sql:
    return sql("({} IN ({}))", arguments[0].sql, joined(", ", [a.sql for a in arguments[1:]]))


def _extreme(function: str) -> Callable[[TypedSqls], Sql]:
    """GREATEST and LEAST are null when any argument is; DuckDB's skip nulls."""

    def write(arguments: TypedSqls) -> Sql:
        all_there = joined(" AND ", [sql("{} IS NOT NULL", a.sql) for a in arguments])
        of_all = joined(", ", [a.sql for a in arguments])
        return sql(f"CASE WHEN {{}} THEN {function}({{}}) END", all_there, of_all)

    return write


# --- Text ---


def _substring(arguments: TypedSqls) -> Sql:
    text, start, *length = (argument.sql for argument in arguments)
    rest = sql(", greatest({}, 0)", *length) if length else Sql("")
    return sql("substring({0}, substring_start({0}, {1}){2})", text, start, rest)


_BLANKS = r"' \t\n\r\f\v'"


# --- Numbers ---


def _number(double: str, whole: str = "{}") -> Callable[[TypedSqls], Sql]:
    def write(arguments: TypedSqls) -> Sql:
        return sql(double if arguments[0].type is Type.DOUBLE else whole, arguments[0].sql)

    return write


def _round(arguments: TypedSqls) -> Sql:
    value = arguments[0]
    if len(arguments) == 1:
        return sql("round({})" if value.type is Type.DOUBLE else "{}", value.sql)
    places = sql("CAST({} AS INTEGER)", arguments[1].sql)
    if value.type is Type.DOUBLE:
        return sql("finite(round({}, {}))", value.sql, places)
    return sql(f"TRY_CAST(round({{}}, {{}}) AS {value.type.duckdb})", value.sql, places)


def _absolute(arguments: TypedSqls) -> Sql:
    return sql(f"TRY(abs(CAST({{}} AS {arguments[0].type.duckdb})))", arguments[0].sql)


def _negate(arguments: TypedSqls) -> Sql:
    value = arguments[0]
    if value.type is Type.TIMESPAN:
        return sql("(-{})", value.sql)
    return sql(f"TRY(-CAST({{}} AS {value.type.duckdb}))", value.sql)


_BOOLEAN = _of(Type.BOOLEAN)
_DATE = _of(Type.DATE)
_ADDABLE = NUMBER | {Type.DATE, Type.TIMESPAN}


_ORDERED = ANY - {Type.BOOLEAN}


def _comparison(operator: str, of: TypeGroup = _ORDERED) -> ScalarFunction:
    return ScalarFunction((of, of), Type.BOOLEAN, f"({{}} {operator} {{}})", alike=True)


SCALARS: dict[str, ScalarFunction] = {
    "and": ScalarFunction(
        (_BOOLEAN, _BOOLEAN), Type.BOOLEAN, _joined_with(" AND "), variadic=True, strict=False
    ),
    "or": ScalarFunction(
        (_BOOLEAN, _BOOLEAN), Type.BOOLEAN, _joined_with(" OR "), variadic=True, strict=False
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
    "/": ScalarFunction((NUMBER, NUMBER), _arithmetic_type, _divided("/"), DIVISION),
    "%": ScalarFunction((NUMBER, NUMBER), _arithmetic_type, _divided("%"), DIVISION),
    "negate": ScalarFunction((NUMBER | {Type.TIMESPAN},), _same, _negate, OVERFLOW),
    "abs": ScalarFunction((NUMBER,), _same, _absolute, OVERFLOW),
    "ceil": ScalarFunction((NUMBER,), _same, _number("ceil({})")),
    "cidr_match": ScalarFunction(
        (_of(Type.IP), STRING), Type.BOOLEAN, addresses.cidr_match, variadic=True
    ),
    "concat": ScalarFunction((STRING, STRING), Type.KEYWORD, _joined_with(" || "), variadic=True),
    "contains": ScalarFunction((STRING, STRING), Type.BOOLEAN, "contains({}, {})"),
    "date_diff": ScalarFunction(
        (STRING, _DATE, _DATE),
        Type.INTEGER,
        dates.date_diff,
        "org.elasticsearch.xpack.esql.core.InvalidArgumentException: out of [integer] range",
    ),
    "date_extract": ScalarFunction((STRING, _DATE), Type.LONG, dates.date_extract),
    "date_format": ScalarFunction(
        (STRING | _DATE, _DATE), Type.KEYWORD, dates.date_format, required=1
    ),
    "date_trunc": ScalarFunction((_of(Type.TIMESPAN), _DATE), Type.DATE, dates.date_trunc),
    "ends_with": ScalarFunction((STRING, STRING), Type.BOOLEAN, "ends_with({}, {})"),
    "floor": ScalarFunction((NUMBER,), _same, _number("floor({})")),
    "greatest": ScalarFunction(
        (ANY,), _common, _extreme("greatest"), variadic=True, alike=True, strict=False
    ),
    "least": ScalarFunction(
        (ANY,), _common, _extreme("least"), variadic=True, alike=True, strict=False
    ),
    "left": ScalarFunction((STRING, WHOLE), Type.KEYWORD, "left({}, greatest({}, 0))"),
    "length": ScalarFunction((STRING,), Type.INTEGER, "CAST(length({}) AS INTEGER)"),
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
    "replace": ScalarFunction((STRING, STRING, STRING), Type.KEYWORD, patterns.replace),
    "right": ScalarFunction((STRING, WHOLE), Type.KEYWORD, "right({}, greatest({}, 0))"),
    "round": ScalarFunction((NUMBER, WHOLE), _same, _round, OVERFLOW, required=1),
    "split": ScalarFunction((STRING, STRING), Type.KEYWORD, "string_split({}, {})", several=True),
    "sqrt": ScalarFunction(
        (NUMBER,),
        Type.DOUBLE,
        "finite(sqrt(CAST({} AS DOUBLE)))",
        "java.lang.ArithmeticException: Square root of negative",
    ),
    "starts_with": ScalarFunction((STRING, STRING), Type.BOOLEAN, "starts_with({}, {})"),
    "substring": ScalarFunction((STRING, WHOLE, WHOLE), Type.KEYWORD, _substring, required=2),
    "to_lower": ScalarFunction((STRING,), Type.KEYWORD, "lower({})"),
    "to_upper": ScalarFunction((STRING,), Type.KEYWORD, "upper({})"),
    "trim": ScalarFunction((STRING,), Type.KEYWORD, f"trim({{}}, E{_BLANKS})"),
}


def _from_text(template: str) -> dict[Type, str]:
    return dict.fromkeys(STRING, template)


def _to_whole(form: str) -> dict[Type, str]:
    return {
        Type.BOOLEAN: f"CAST({{}} AS {form})",
        **dict.fromkeys(WHOLE, f"TRY_CAST({{}} AS {form})"),
        Type.DOUBLE: f"TRY_CAST(half_up({{}}) AS {form})",
        Type.DATE: f"TRY_CAST(epoch_ms({{}}) AS {form})",
        **_from_text(f"TRY_CAST(long_from_text({{}}) AS {form})"),
    }


CONVERSIONS: dict[str, Conversion] = {
    "to_boolean": Conversion(
        Type.BOOLEAN,
        {
            Type.BOOLEAN: "{}",
            **dict.fromkeys(NUMBER, "({} <> 0)"),
            **_from_text("coalesce(boolean_from_text({}), false)"),
        },
        BAD_NUMBER,
    ),
    "to_datetime": Conversion(
        Type.DATE,
        {
            Type.DATE: "{}",
            **dict.fromkeys(WHOLE, "make_timestamp_ms(CAST({} AS BIGINT))"),
            Type.DOUBLE: "make_timestamp_ms(TRY_CAST(half_up({}) AS BIGINT))",
            **_from_text("date_from_text({})"),
        },
        BAD_DATE,
    ),
    "to_double": Conversion(
        Type.DOUBLE,
        {
            Type.BOOLEAN: "CAST(CAST({} AS INTEGER) AS DOUBLE)",
            **dict.fromkeys(NUMBER, "CAST({} AS DOUBLE)"),
            Type.DATE: "CAST(epoch_ms({}) AS DOUBLE)",
            **_from_text("finite(TRY_CAST({} AS DOUBLE))"),
        },
        BAD_NUMBER,
    ),
    "to_integer": Conversion(Type.INTEGER, _to_whole("INTEGER"), BAD_NUMBER),
    "to_ip": Conversion(Type.IP, {Type.IP: "{}", **_from_text("ip_from_text({})")}, BAD_ADDRESS),
    "to_long": Conversion(Type.LONG, _to_whole("BIGINT"), BAD_NUMBER),
    "to_string": Conversion(
        Type.KEYWORD,
        {
            **dict.fromkeys(WHOLE | _BOOLEAN, "CAST({} AS VARCHAR)"),
            Type.DOUBLE: "double_to_text({})",
            Type.DATE: "date_to_text({})",
            Type.IP: "ip_to_text({})",
            **_from_text("{}"),
        },
        "",
    ),
}


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


MULTIVALUES: dict[str, Multivalue] = {
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
    "mv_dedupe": Multivalue((ANY,), _same, "list_sort(list_distinct({}))", "{}", several=True),
    "mv_first": Multivalue((ANY,), _same, "{}[1]", "{}"),
    "mv_last": Multivalue((ANY,), _same, "{}[-1]", "{}"),
    "mv_max": Multivalue((ANY,), _same, "list_max({})", "{}"),
    "mv_min": Multivalue((ANY,), _same, "list_min({})", "{}"),
    "mv_slice": Multivalue((ANY, WHOLE, WHOLE), _same, _sliced, several=True, required=2),
    "mv_sort": Multivalue((ANY, STRING), _same, _sorted, "{}", several=True, required=1),
    "mv_sum": Multivalue((NUMBER,), _same, _summed, "{}", fails=OVERFLOW),
}


def _sum_type(arguments: TypedSqls) -> Type:
    return Type.DOUBLE if arguments[0].type is Type.DOUBLE else Type.LONG


_ALL_VALUES = "flatten(list({0}))"


# Not DuckDB's max(x, n): it sets aside room for n values in every group, however small.
_TOPS = {"asc": "list_sort", "desc": "list_reverse_sort"}


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


AGGREGATES: dict[str, Aggregate] = {
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
    "max": Aggregate((ANY,), _same, "max({})", "max(list_max({}))"),
    "median": Aggregate(
        (NUMBER,), Type.DOUBLE, "CAST(median({}) AS DOUBLE)", f"list_median({_ALL_VALUES})"
    ),
    "min": Aggregate((ANY,), _same, "min({})", "min(list_min({}))"),
    "sum": Aggregate((NUMBER,), _sum_type, "sum({})", "sum(list_sum({}))", narrowed=True),
    "top": Aggregate(
        (ANY, WHOLE, STRING), _same, _top_of(False), _top_of(True), several=True, required=2
    ),
    "values": Aggregate(
        (ANY,),
        _same,
        "map_keys(histogram({}))",
        f"filled(list_sort(list_distinct({_ALL_VALUES})))",
        several=True,
    ),
}

ALIASES = {
    "to_int": "to_integer",
    "to_str": "to_string",
    "to_dbl": "to_double",
    "to_bool": "to_boolean",
    "to_dt": "to_datetime",
}
