"""Constants go in, bound SQL comes out; texts become the type that they are compared with."""

from __future__ import annotations

import sys
from dataclasses import replace

from tasks.esql.errors import Source, refused
from tasks.esql.functions.addresses import parse_address
from tasks.esql.functions.dates import parse_date
from tasks.esql.names import abbreviated
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.tree import Literal
from tasks.esql.types import Type, whole_type

CONVERTIBLE = frozenset({Type.DATE, Type.IP, Type.BOOLEAN})


def convert(literal: Literal, to: Type) -> Literal:
    """Read a text (or several) as another type.

    Raises:
        VerificationError: a text is not of that type.
    """
    several = literal.value if isinstance(literal.value, tuple) else (literal.value,)
    converted = tuple(_converted(str(text), to, literal) for text in several)
    return replace(
        literal, value=converted if isinstance(literal.value, tuple) else converted[0], type=to
    )


def _converted(text: str, to: Type, literal: Literal) -> object:
    if to is Type.DATE:
        value: object = parse_date(text)
        problem = f"failed to parse date field [{text}] with format [strict_date_optional_time]"
    elif to is Type.IP:
        value, problem = parse_address(text), f"'{text}' is not an IP string literal."
    else:
        value = {"true": True, "false": False}.get(text.lower())
        problem = f"Failed to parse value [{text}] as only [true] or [false] are allowed."
    if value is None:
        raise refused(
            f"Cannot convert string [{text}] to [{to.label.upper()}], error [{problem}]",
            literal.source,
        )
    return value


def literal_sql(literal: Literal) -> Sql:
    """A constant as bound values; a list if it has several."""
    form = literal.type.duckdb
    if isinstance(literal.value, tuple):
        return sql("[{}]", joined(", ", [bound(value, form) for value in literal.value]))
    return bound(literal.value, form)


def constant(value: object, source: Source) -> Literal | None:
    """A value from a request as a constant; None if it is a list or an object.

    Raises:
        VerificationError: it is a number beyond all types.
    """
    match value:
        case None:
            return Literal(None, Type.NULL, source)
        case bool():
            return Literal(value, Type.BOOLEAN, source)
        case int() if abs(value) > sys.float_info.max:
            raise refused(f"Number [{abbreviated(str(value))}] is too large", source)
        case int():
            return Literal(value, whole_type(value), source)
        case float():
            return Literal(value, Type.DOUBLE, source)
        case str():
            return Literal(value, Type.KEYWORD, source)
        case _:
            return None
