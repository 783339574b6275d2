"""A query that DuckDB cannot compute goes in, the expression that it fails at comes out in words.

DuckDB's own words hold SQL, with names that nobody wrote: they are for the cause only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import duckdb

from tasks.esql.errors import EsqlError, Source
from tasks.esql.lines import first_line
from tasks.esql.tree import (
    Command,
    Drop,
    Eval,
    From,
    Keep,
    Limit,
    MvExpand,
    Query,
    Rename,
    Row,
    Sort,
    Stats,
    Where,
)


def incomputable(error: duckdb.Error, sources: Sequence[Source]) -> EsqlError:
    """Put DuckDB's error in our words, with the pieces of the query that it is about.

    Its first line is given only where it speaks of values, for example of a regular expression
    that RE2 does not take.
    """
    about_values = isinstance(error, duckdb.InvalidInputException | duckdb.OutOfRangeException)
    reason = first_line(error) if about_values else "this engine cannot do that with these values"
    text = ", ".join(source.text for source in sources)
    return EsqlError(f"cannot compute [{text}]: {reason}", sources[0].line, sources[0].column)


def beginnings(query: Query) -> Iterator[tuple[Query, Sequence[Source]]]:
    """Give a query's beginnings, shortest first, with the pieces that come last in them."""
    for count, command in enumerate(query.commands):
        for part in _parts(command):
            yield replace(query, commands=(*query.commands[:count], part)), pieces(part)[-1:]


def _parts(command: Command) -> Iterator[Command]:
    """A command with one more field each time; those of other commands belong together."""
    match command:
        case Row(fields) | Eval(fields):
            for count in range(1, len(fields) + 1):
                yield replace(command, fields=fields[:count])
        case Stats(aggregates, groups):
            for count in range(1, len(aggregates) + 1):
                yield Stats(aggregates[:count], groups)
            if not aggregates:
                yield command
        case _:
            yield command


def pieces(command: Command) -> tuple[Source, ...]:  # noqa: PLR0911 - one for every command.
    """The pieces of a query's text that a command computes."""
    match command:
        case From():
            return (command.source,)
        case Where(condition):
            return (condition.source,)
        case Row(fields) | Eval(fields):
            return tuple(item.source for item in fields)
        case Stats(aggregates, groups):
            return tuple(item.source for item in (*groups, *aggregates))
        case Keep(patterns) | Drop(patterns):
            return tuple(pattern.source for pattern in patterns)
        case Rename(pairs):
            return tuple(old.source for old, _ in pairs)
        case Sort(keys):
            return tuple(key.expression.source for key in keys)
        case Limit(count):
            return (count.source,)
        case MvExpand(column):
            return (column.source,)
