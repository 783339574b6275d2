"""Conditions: from ES|QL to the parts of its WHEREs, each with what it asks of an event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tasks.esql.parsing import parse
from tasks.esql.tree import (
    Call,
    Column,
    Eval,
    Expression,
    Literal,
    MvExpand,
    Rename,
    Stats,
    Where,
    children,
    columns_of,
)

_SEES_ALL_VALUES = ("mv_", "is_null", "is_not_null")
"""Functions that take every value of a field, by the beginnings of their names."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A part of a WHERE, between its ANDs.

    Attributes:
        text: ES|QL, which may end in a comment: put a new line behind it.
        singles: the fields that it reads as a single value. Its result is null for an event with
            several values in one of them.
        field: the field of a condition like `field == "value"`; else empty.
        literal: its value, as ES|QL has it.
        is_about_events: it reads fields only, no column that the query makes.
    """

    text: str
    singles: frozenset[str]
    field: str = ""
    literal: str = ""
    is_about_events: bool = True


def parts_of(condition: str) -> tuple[Condition, ...]:
    """Split a condition at its ANDs.

    Raises:
        EsqlError: it is not ES|QL, or uses a part of it that this engine does not have.
    """
    return tuple(filter_conditions(f"FROM events | WHERE {condition}"))


def filter_conditions(query: str) -> Iterator[Condition]:
    """Give the parts of the WHEREs that choose a query's events: those before its first STATS.

    Raises:
        EsqlError: as above.
    """
    made: dict[str, frozenset[str]] = {}
    for command in parse(query).commands:
        match command:
            case Where(condition):
                yield from (_described(part, made) for part in _parts(condition))
            case Eval(fields):
                for item in fields:
                    made[item.name] = _singles(item.expression, made)
            case Rename(pairs):
                for old, new in pairs:
                    made[new.name] = _singles(old, made)
            case MvExpand(column):
                made[column.name] = frozenset()  # A row for every value.
            case Stats():
                return


def _parts(condition: Expression) -> Iterator[Expression]:
    if isinstance(condition, Call) and condition.function == "and":
        for part in condition.arguments:
            yield from _parts(part)
    else:
        yield condition


def _described(part: Expression, made: Mapping[str, frozenset[str]]) -> Condition:
    field, literal = _equality(part)
    return Condition(
        text=part.source.text,
        singles=_singles(part, made),
        field="" if field in made else field,
        literal=literal,
        is_about_events=made.keys().isdisjoint(columns_of(part)),
    )


def _equality(part: Expression) -> tuple[str, str]:
    """Give field and literal of a comparison, whichever stands first."""
    match part:
        case Call("==", (Column(field), Literal(source=literal))) | Call(
            "==", (Literal(source=literal), Column(field))
        ):
            return field, literal.text
        case _:
            return "", ""


def _singles(expression: Expression, made: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if isinstance(expression, Column):
        return made.get(expression.name, frozenset({expression.name}))
    if isinstance(expression, Call) and expression.function.startswith(_SEES_ALL_VALUES):
        return frozenset()
    return frozenset().union(*(_singles(child, made) for child in children(expression)))
