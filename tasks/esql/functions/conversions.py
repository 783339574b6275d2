"""The conversions: a field of one type goes in, the same values of another type come out."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.esql.functions.entries import Conversion
from tasks.esql.types import NUMBER, STRING, WHOLE, Type

_BAD_NUMBER = "org.elasticsearch.xpack.esql.core.InvalidArgumentException: Cannot parse number"
_BAD_DATE = "java.lang.IllegalArgumentException: failed to parse date field"
_BAD_ADDRESS = "java.lang.IllegalArgumentException: not an IP string literal"


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


_CONVERSIONS = {
    "to_boolean": Conversion(
        Type.BOOLEAN,
        {
            Type.BOOLEAN: "{}",
            **dict.fromkeys(NUMBER, "({} <> 0)"),
            **_from_text("coalesce(boolean_from_text({}), false)"),
        },
        _BAD_NUMBER,
    ),
    "to_datetime": Conversion(
        Type.DATE,
        {
            Type.DATE: "{}",
            **dict.fromkeys(WHOLE, "make_timestamp_ms(CAST({} AS BIGINT))"),
            Type.DOUBLE: "make_timestamp_ms(TRY_CAST(half_up({}) AS BIGINT))",
            **_from_text("date_from_text({})"),
        },
        _BAD_DATE,
    ),
    "to_double": Conversion(
        Type.DOUBLE,
        {
            Type.BOOLEAN: "CAST(CAST({} AS INTEGER) AS DOUBLE)",
            **dict.fromkeys(NUMBER, "CAST({} AS DOUBLE)"),
            Type.DATE: "CAST(epoch_ms({}) AS DOUBLE)",
            **_from_text("finite(TRY_CAST({} AS DOUBLE))"),
        },
        _BAD_NUMBER,
    ),
    "to_integer": Conversion(Type.INTEGER, _to_whole("INTEGER"), _BAD_NUMBER),
    "to_ip": Conversion(Type.IP, {Type.IP: "{}", **_from_text("ip_from_text({})")}, _BAD_ADDRESS),
    "to_long": Conversion(Type.LONG, _to_whole("BIGINT"), _BAD_NUMBER),
    "to_string": Conversion(
        Type.KEYWORD,
        {
            **dict.fromkeys(WHOLE | {Type.BOOLEAN}, "CAST({} AS VARCHAR)"),
            Type.DOUBLE: "double_to_text({})",
            Type.DATE: "date_to_text({})",
            Type.IP: "ip_to_text({})",
            **_from_text("{}"),
        },
        "",
    ),
}

_ALIASES = {
    "to_int": "to_integer",
    "to_str": "to_string",
    "to_dbl": "to_double",
    "to_bool": "to_boolean",
    "to_dt": "to_datetime",
}
CONVERSIONS: Mapping[str, Conversion] = {
    **_CONVERSIONS,
    **{alias: _CONVERSIONS[name] for alias, name in _ALIASES.items()},
}
