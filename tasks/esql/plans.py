"""The fields that a query reads, and the query as SQL: a chain of CTEs and a last SELECT."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.esql.errors import Source
from tasks.esql.sql import Sql, joined, sql
from tasks.esql.tree import (
    Column,
    Command,
    Drop,
    Eval,
    Expression,
    From,
    Keep,
    MvExpand,
    Pattern,
    Query,
    Rename,
    Sort,
    Stats,
    Where,
    columns_of,
)
from tasks.esql.types import Type


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """A column of the data: its name, its type, its SQL column; `several`: as lists."""

    name: str
    type: Type
    column: str
    several: bool = False
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """Documents as SQL, the columns that it gives, and the names of fields left out."""

    sql: Sql
    columns: tuple[FieldColumn, ...]
    other_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Demand:
    """The fields that a query reads: by name, and by pattern if it shows all that match."""

    names: frozenset[str]
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One CTE."""

    name: str
    sql: Sql


@dataclass(frozen=True, slots=True)
class Failure:
    """An evaluation that may fail: its place, and its warning.

    The statement that answers the query counts failures in sequences of DuckDB.
    """

    source: Source
    message: str

    @staticmethod
    def sequence(place: int) -> str:
        """The name of the sequence for the failure at a place in the plan."""
        return f"failure{place}"


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """A translated query.

    Attributes:
        stages: the CTEs, in order.
        columns: the answer's columns: name and type.
        select: the last SELECT, with values as answers show them.
        failures: what may fail in it.
        warnings: those that are known before the query runs.
    """

    stages: tuple[Stage, ...]
    columns: tuple[tuple[str, Type], ...]
    select: Sql
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]

    @property
    def answer(self) -> Sql:
        """The statement that answers the query."""
        return sql("{} {}", self._with, self.select)

    @property
    def forced(self) -> Sql:
        """A statement that computes every column for every row, and shows little of it."""
        last = Sql(self.stages[-1].name)
        return sql("{} SELECT count(COLUMNS(*)) FROM {}", self._with, last)

    @property
    def _with(self) -> Sql:
        named = [
            sql(f"{stage.name} AS NOT MATERIALIZED ({{}})", stage.sql) for stage in self.stages
        ]
        return sql("WITH {}", joined(",\n", named))


EVERYTHING = Pattern(("", ""), Source("*", 1, 1))


def demand(query: Query) -> Demand:
    """The fields of the data that a query reads, without METADATA and the columns that it makes."""
    names: set[str] = set()
    source = query.commands[0]
    made = {column.name for column in source.metadata} if isinstance(source, From) else set()
    for command in query.commands:
        for expression, name in _steps(command):
            names |= columns_of(expression) - made
            made |= {name} if name else set()
        if isinstance(command, Stats):
            return Demand(frozenset(names), ())
        if isinstance(command, Keep):
            return Demand(frozenset(names), tuple(p for p in command.patterns if not p.is_exact))
    return Demand(frozenset(names), (EVERYTHING,))


def _steps(  # noqa: PLR0911 - one for every command that reads.
    command: Command,
) -> list[tuple[Expression, str | None]]:
    """The expressions that a command reads, in order, with the names of the columns it makes."""
    match command:
        case Where(condition):
            return [(condition, None)]
        case Eval(fields):
            return [(item.expression, item.name) for item in fields]
        case Stats(aggregates, groups):
            read = [part for item in aggregates for part in (item.expression, item.where) if part]
            return [(part, None) for part in (*(item.expression for item in groups), *read)]
        case Keep(patterns) | Drop(patterns):
            return [(Column(p.name, p.source), None) for p in patterns if p.is_exact]
        case Rename(pairs):
            return [(old, new.name) for old, new in pairs]
        case Sort(keys):
            return [(key.expression, None) for key in keys]
        case MvExpand(column):
            return [(column, None)]
        case _:
            return []
