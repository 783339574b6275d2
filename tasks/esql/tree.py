"""The tree of a query: frozen commands and expressions, with their places in its text."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.esql.errors import Source
from tasks.esql.types import Type

# --- Expressions. Operators are calls too: `a + b` is the call of "+", `a IN (b)` that of "in". ---


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; a tuple when it has several values."""

    value: object
    type: Type
    source: Source


@dataclass(frozen=True, slots=True)
class Timespan:
    """`7 days`: a number of units, the unit in its long singular form."""

    count: int
    unit: str
    source: Source


@dataclass(frozen=True, slots=True)
class Parameter:
    """`?name`, `?1`, or `?`, which is named by its place; the value is in the request."""

    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by its full name without backquotes."""

    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator with its arguments; `COUNT(*)` has none."""

    function: str
    arguments: tuple[Expression, ...]
    source: Source


Expression = Literal | Timespan | Parameter | Column | Call


@dataclass(frozen=True, slots=True)
class Field:
    """A named expression; `where` only in STATS, for one aggregate."""

    name: str
    expression: Expression
    source: Source
    where: Expression | None = None


# --- Commands ---


@dataclass(frozen=True, slots=True)
class From:
    """`FROM a-*,-b METADATA _index`."""

    patterns: tuple[str, ...]
    metadata: tuple[Column, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class Row:
    """`ROW a = 1`: one row without any data."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Where:
    """`WHERE condition`."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Eval:
    """`EVAL a = b + 1, c`."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """`STATS aggregates BY groups`; either may be missing."""

    aggregates: tuple[Field, ...]
    groups: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A column name in KEEP, DROP or RENAME; `parts` are the literal texts between its `*`."""

    parts: tuple[str, ...]
    source: Source

    @property
    def is_exact(self) -> bool:
        """Whether it has no `*`."""
        return len(self.parts) == 1

    @property
    def name(self) -> str:
        """The name, with its `*`."""
        return "*".join(self.parts)

    def matches(self, name: str) -> bool:
        """Whether a name fits; in time that grows with its length only, whatever the pattern."""
        if self.is_exact:
            return name == self.name
        first, *middle, last = self.parts
        at, end = len(first), len(name) - len(last)
        if at > end or not (name.startswith(first) and name.endswith(last)):
            return False
        for part in middle:
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


@dataclass(frozen=True, slots=True)
class Keep:
    """`KEEP a, b.*`."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """`DROP a, b.*`."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Rename:
    """`RENAME a AS b`: pairs of old and new name, one after the other."""

    pairs: tuple[tuple[Column, Column], ...]


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of SORT."""

    expression: Expression
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Sort:
    """`SORT a DESC NULLS LAST, b`."""

    keys: tuple[SortKey, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """`LIMIT 10`."""

    count: Literal | Parameter


@dataclass(frozen=True, slots=True)
class MvExpand:
    """`MV_EXPAND a`: a row for every value."""

    column: Column


Command = From | Row | Where | Eval | Stats | Keep | Drop | Rename | Sort | Limit | MvExpand


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query: its text and its commands, the source first."""

    text: str
    commands: tuple[Command, ...]


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly below one."""
    return expression.arguments if isinstance(expression, Call) else ()


def columns_of(expression: Expression) -> frozenset[str]:
    """The names of the columns that an expression reads."""
    if isinstance(expression, Column):
        return frozenset({expression.name})
    return frozenset().union(*map(columns_of, children(expression)))


def conjuncts(condition: Expression) -> list[Expression]:
    """The conditions that AND joins, in their order."""
    if isinstance(condition, Call) and condition.function == "and":
        return [part for argument in condition.arguments for part in conjuncts(argument)]
    return [condition]
