"""A query goes in, the index patterns and fields that it reads come out; and their usual types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.esql.parsing import parse
from tasks.esql.plans import demand
from tasks.esql.streams import shipped_mapping
from tasks.esql.tree import From
from tasks.esql.types import FIELD_TYPES, STRING, WHOLE, Type


@dataclass(frozen=True, slots=True)
class Reads:
    """What a query reads.

    Attributes:
        patterns: index patterns, in order.
        fields: the names of the fields that it needs.
    """

    patterns: tuple[str, ...]
    fields: frozenset[str]


def reads(query: str) -> Reads:
    """Find what a query reads.

    Raises:
        EsqlError: it is not ES|QL, or uses a part of it that this engine does not have.
    """
    parsed = parse(query)
    source = parsed.commands[0]
    if not isinstance(source, From):
        return Reads((), frozenset())
    return Reads(source.patterns, demand(parsed).names)


def usual_types(pattern: str) -> Mapping[str, Type]:
    """Give the types of an index pattern's fields in Elastic Defend, as far as known.

    Every hunt needs times in milliseconds, whatever it reads.
    """
    known = {name: field.type for name, field in shipped_mapping(pattern).items()}
    return {"@timestamp": Type.DATE} | known


def fits(mapped: str, usual: Type) -> bool:
    """Whether a query for a field of the usual type also works with the mapped type.

    Nanoseconds do not: as a number they are not milliseconds.
    """
    kind = FIELD_TYPES.get(mapped)
    alike = any({kind, usual} <= family for family in (STRING, WHOLE))
    return mapped != "date_nanos" and (kind == usual or alike)
