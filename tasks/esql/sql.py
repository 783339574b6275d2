"""Pieces of SQL with bound values go in, a larger one comes out; values never become text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_DRIVER_BITS = 63
_SLOT = re.compile(r"\{(\d*)\}")


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text and the values of its `?`, in their order."""

    text: str
    values: tuple[object, ...] = ()


def sql(template: str, *parts: Sql) -> Sql:
    """Fill `{}` or `{0}` with pieces; a piece that is used twice brings its values twice.

    Braces that do not form a slot stay as they are.
    """
    values: list[object] = []
    unnumbered = iter(parts)

    def filled(match: re.Match[str]) -> str:
        part = parts[int(match.group(1))] if match.group(1) else next(unnumbered)
        values.extend(part.values)
        return part.text

    return Sql(_SLOT.sub(filled, template), tuple(values))


def joined(separator: str, parts: Iterable[Sql]) -> Sql:
    """Pieces with a text between them."""
    listed = list(parts)
    return Sql(
        separator.join(part.text for part in listed),
        tuple(value for part in listed for value in part.values),
    )


def bound(value: object, duckdb_type: str) -> Sql:
    """A value as a typed parameter.

    Numbers of more than 63 bits travel as text: the driver would turn them into doubles.
    """
    wide = (
        isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _DRIVER_BITS
    )
    return Sql(f"CAST(? AS {duckdb_type})", (str(value) if wide else value,))


def identifier(name: str) -> Sql:
    """A quoted name: the only way for a name from outside into SQL."""
    return Sql('"' + name.replace('"', '""') + '"')


def text_constant(value: str) -> Sql:
    """A quoted text, where DuckDB takes no parameter (file names, JSON structures)."""
    return Sql("'" + value.replace("'", "''") + "'")
