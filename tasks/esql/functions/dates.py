"""The functions of dates; texts as dates and timespans as intervals, in UTC to the millisecond."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from tasks.esql.errors import refused
from tasks.esql.functions.entries import ScalarFunction
from tasks.esql.sql import Sql, bound, sql
from tasks.esql.tree import Timespan
from tasks.esql.types import STRING, Type
from tasks.esql.values import TypedSqls

_ISO_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?)?)?)?"
    r"(Z|[+-]\d\d(?::?\d\d)?)?"
)


def parse_date(text: str) -> datetime | None:
    """A date as `strict_date_optional_time` reads it, in UTC without a zone; None if invalid."""
    match = _ISO_DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    iso = (
        f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
        f".{(fraction or '0')[:3]:0<3}{zone or 'Z'}"
    )
    try:
        return datetime.fromisoformat(iso).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


_CLOCK_UNITS = {"millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000}
_DAY = 86_400_000
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def interval(span: Timespan) -> Sql:
    """A timespan as DuckDB's interval; days and up are calendar arithmetic."""
    if span.unit in _CLOCK_UNITS:
        return sql("to_milliseconds({})", bound(span.count * _CLOCK_UNITS[span.unit], "BIGINT"))
    if span.unit in _MONTHS:
        return sql("to_months({})", bound(span.count * _MONTHS[span.unit], "INTEGER"))
    days = span.count * (7 if span.unit == "week" else 1)
    return sql("to_days({})", bound(days, "INTEGER"))


def _date_trunc(arguments: TypedSqls) -> Sql:
    """A date cut down to a span: hours from the epoch, weeks from Monday, months from January."""
    span, date = arguments[0].constant, arguments[1].sql
    if not isinstance(span, Timespan):
        raise refused("first argument of [DATE_TRUNC] must be a timespan", arguments[0].source)
    if span.count <= 0:
        raise refused("Zero or negative time interval is not supported", span.source)
    if span.unit in _MONTHS:
        return _months_trunc(span.count * _MONTHS[span.unit], date)
    if (span.unit, span.count) in {("week", 1), ("day", 7)}:
        return sql("CAST(date_trunc('week', {}) AS TIMESTAMP)", date)
    unit_ms = _CLOCK_UNITS.get(span.unit) or _DAY * (7 if span.unit == "week" else 1)
    step = bound(span.count * unit_ms, "BIGINT")
    return sql("make_timestamp_ms(floored(epoch_ms({}), {}))", date, step)


def _months_trunc(months: int, date: Sql) -> Sql:
    """Several months count from January, several years from year 1."""
    if months % 12 == 0:
        return sql(
            "make_timestamp(CAST(floored(year({}) - 1, {}) + 1 AS BIGINT), 1, 1, 0, 0, 0)",
            date,
            bound(months // 12, "BIGINT"),
        )
    return sql(
        "make_timestamp(CAST(year({0}) AS BIGINT), "
        "CAST(floored(month({0}) - 1, {1}) + 1 AS BIGINT), 1, 0, 0, 0)",
        date,
        bound(months, "BIGINT"),
    )


_DIFF_UNITS = {
    "year": ("year", "years", "yyyy", "yy"),
    "quarter": ("quarter", "quarters", "qq", "q"),
    "month": ("month", "months", "mm", "m"),
    "week": ("week", "weeks", "wk", "ww"),
    "day": ("dayofyear", "dy", "y", "day", "days", "dd", "d", "weekday", "weekdays", "dw"),
    "hour": ("hour", "hours", "hh"),
    "minute": ("minute", "minutes", "mi", "n"),
    "second": ("second", "seconds", "ss", "s"),
    "millisecond": ("millisecond", "milliseconds", "ms"),
    "microsecond": ("microsecond", "microseconds", "mcs"),
    "nanosecond": ("nanosecond", "nanoseconds", "ns"),
}
_DIFF_UNIT_NAMES = {name: unit for unit, names in _DIFF_UNITS.items() for name in names}


def _date_diff(arguments: TypedSqls) -> Sql:
    """The number of whole units between two dates."""
    name = arguments[0].text_constant("unit of [DATE_DIFF]")
    unit = _DIFF_UNIT_NAMES.get(name.lower())
    if unit is None:
        raise refused(f"Received value [{name}] is not a valid date part", arguments[0].source)
    start, end = arguments[1].sql, arguments[2].sql
    if unit == "nanosecond":
        count = sql("CAST(datesub('microsecond', {}, {}) AS HUGEINT) * 1000", start, end)
    else:
        count = sql(f"datesub('{unit}', {{}}, {{}})", start, end)
    return sql("TRY_CAST({} AS INTEGER)", count)


_DATE_PARTS = {
    "year": "year({})",
    "month_of_year": "month({})",
    "day_of_month": "day({})",
    "day_of_year": "dayofyear({})",
    "day_of_week": "isodow({})",
    "hour_of_day": "hour({})",
    "minute_of_hour": "minute({})",
    "second_of_minute": "second({})",
    "milli_of_second": "epoch_ms({}) % 1000",
    "minute_of_day": "hour({0}) * 60 + minute({0})",
    "second_of_day": "hour({0}) * 3600 + minute({0}) * 60 + second({0})",
    "epoch_day": "CAST(floor(epoch_ms({}) / 86400000) AS BIGINT)",
    "aligned_week_of_year": "(dayofyear({}) - 1) // 7 + 1",
}


def _date_extract(arguments: TypedSqls) -> Sql:
    """A part of a date, by the name of Java's ChronoField."""
    name = arguments[0].text_constant("part of [DATE_EXTRACT]")
    part = _DATE_PARTS.get(name.lower())
    if part is None:
        raise refused(f"the date part [{name}] is not supported", arguments[0].source)
    return sql(f"CAST({part} AS BIGINT)", arguments[1].sql)


# Java's pattern letters as strftime's.
_JAVA_DATE = {
    "yyyy": "%Y",
    "uuuu": "%Y",
    "yy": "%y",
    "MM": "%m",
    "M": "%-m",
    "MMM": "%b",
    "MMMM": "%B",
    "dd": "%d",
    "d": "%-d",
    "DDD": "%j",
    "HH": "%H",
    "H": "%-H",
    "hh": "%I",
    "h": "%-I",
    "a": "%p",
    "mm": "%M",
    "m": "%-M",
    "ss": "%S",
    "s": "%-S",
    "SSS": "%g",
    "E": "%a",
    "EEE": "%a",
    "EEEE": "%A",
    "X": "Z",
    "XXX": "Z",
    "z": "Z",
    "VV": "Z",
}
_JAVA_PIECE = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")


def _date_format(arguments: TypedSqls) -> Sql:
    """A date as text, by a pattern of Java's letters."""
    if arguments[-1].type is not Type.DATE:
        raise refused(
            f"last argument of [DATE_FORMAT] must be [datetime], found "
            f"[{arguments[-1].source.text}]",
            arguments[-1].source,
        )
    if len(arguments) == 1:
        return sql("date_to_text({})", arguments[0].sql)
    pattern = arguments[0].text_constant("pattern of [DATE_FORMAT]")
    pieces = []
    for match in _JAVA_PIECE.finditer(pattern):
        piece = match.group()
        if match.group(2) and piece not in _JAVA_DATE:
            raise refused(f"the date pattern [{piece}] is not supported", arguments[0].source)
        literal = piece if match.group(1) is None else match.group(1).replace("''", "'") or "'"
        pieces.append(_JAVA_DATE[piece] if match.group(2) else literal.replace("%", "%%"))
    return sql("strftime({}, {})", arguments[1].sql, bound("".join(pieces), "VARCHAR"))


_DATE = frozenset({Type.DATE})
DATE_FUNCTIONS: Mapping[str, ScalarFunction] = {
    "date_diff": ScalarFunction(
        (STRING, _DATE, _DATE),
        Type.INTEGER,
        _date_diff,
        "org.elasticsearch.xpack.esql.core.InvalidArgumentException: out of [integer] range",
    ),
    "date_extract": ScalarFunction((STRING, _DATE), Type.LONG, _date_extract),
    "date_format": ScalarFunction((STRING | _DATE, _DATE), Type.KEYWORD, _date_format, required=1),
    "date_trunc": ScalarFunction((frozenset({Type.TIMESPAN}), _DATE), Type.DATE, _date_trunc),
}
