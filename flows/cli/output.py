"""The terminal's side of the command line: from rows to a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from tasks.errors import PipelineError
from tasks.preflight.checks import Check, Verdict, verdict_counts
from tasks.text.untrusted import shortened, spreadsheet_safe, visible, visible_lines

COLUMN_AT_MOST = 40
"""Widest column of a table at a terminal, in characters; a longer cell takes several lines."""

COLUMN_WIDTH = 80
"""Longest cell of a table at a terminal, in characters; every other output has the whole cell."""

UNBOUNDED = 1_000_000
"""Width of a pipe or a file, in characters: every row is one line there."""

out = Console(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else UNBOUNDED,
)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Format(StrEnum):
    """How a command writes its rows."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class OutputFormat(StrEnum):
    """How a command writes its result."""

    TEXT = "text"
    JSON = "json"


def show_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], format: Format) -> None:
    """Write rows to standard output.

    Args:
        columns: which keys of the rows, in which order.
        rows: their values; None is an empty cell.
        format: a table for people, JSON (a list of objects) or CSV for scripts.
    """
    match format:
        case Format.TABLE if not rows:
            err.print("Nothing to list.")
        case Format.TABLE if _fits(table := _table(columns, rows)):
            out.print(table)
        case Format.TABLE:
            out.print(_records(columns, rows))
        case Format.JSON:
            kept = [{column: row[column] for column in columns} for row in rows]
            sys.stdout.write(json.dumps(kept, indent=1, default=_plain) + "\n")
        case Format.CSV:
            writer = csv.writer(sys.stdout, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerow(map(_csv_cell, columns))
            writer.writerows([_csv_cell(row[column]) for column in columns] for row in rows)


def _fits(table: Table) -> bool:
    """Whether every column fits without being folded further: a folded id cannot be copied."""
    unbounded = out.options.update(max_width=UNBOUNDED)
    return out.measure(table, options=unbounded).maximum <= out.width


def _records(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Lay rows out one below the other, with one line for every cell that is not empty."""
    records = Table.grid(
        Column(style="bold", max_width=COLUMN_AT_MOST, overflow="fold"),
        Column(overflow="fold"),
        padding=(0, 2),
    )
    for number, row in enumerate(rows):
        if number:
            records.add_row()
        for column in columns:
            if cell := _cell(row[column]):
                records.add_row(Text(visible(column)), Text(visible(cell)))
    return records


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    whole = out.width == UNBOUNDED
    for column in columns:
        figures = [row[column] for row in rows if row[column] is not None]
        numeric = bool(figures) and all(isinstance(figure, int | float) for figure in figures)
        table.add_column(
            Text(visible(column)),
            justify="right" if numeric else "left",
            overflow="fold",
            max_width=None if whole else COLUMN_AT_MOST,
        )
    for row in rows:
        cells = (visible(_cell(row[column])) for column in columns)
        table.add_row(*(Text(cell if whole else shortened(cell, COLUMN_WIDTH)) for cell in cells))
    return table


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return f"{value:%Y-%m-%d %H:%MZ}"
        case list() | tuple():
            return ", ".join(_cell(item) for item in value)
        case _:
            return str(value)


def _csv_cell(value: object) -> object:
    """Give a number as it is, and anything else as text that a spreadsheet can safely open."""
    match value:
        case int() | float() if not isinstance(value, bool):
            return value
        case datetime():
            return value.isoformat()
        case _:
            return spreadsheet_safe(visible(_cell(value)))


def _plain(value: object) -> object:
    """Turn a value that JSON has no type for into text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


_COLOURS = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.FAILED: "bold red",
    Verdict.SKIPPED: "dim",
}


def show_checks(checks: Sequence[Check]) -> None:
    """Write checks as a table, with the remedy below the problem, and their counts.

    Checks that were skipped for the same reason share a row.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("subject", "check", "verdict", "result"):
        table.add_column(column, overflow="fold")
    before = None
    for (subject, verdict, text, remedy), alike in groupby(checks, _alike):
        result = Text(visible_lines(text))
        if remedy:
            result.append(f"\nremedy: {visible_lines(remedy)}", style="bold")
        table.add_row(
            Text("" if subject == before else visible(subject)),
            _first_and_more([each.name for each in alike]),
            Text(verdict, style=_COLOURS[verdict]),
            result,
        )
        before = subject
    out.print(table)
    out.print(f"\n{verdict_counts(checks)}")


def _first_and_more(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _alike(check: Check) -> tuple[str, Verdict, str, str]:
    return check.subject, check.verdict, check.said, check.remedy


def show_facts(facts: Mapping[str, Any]) -> None:
    """Write a command's result as a JSON object."""
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")


def quote(message: str) -> None:
    """Show a Slack message as Slack would, set off by a bar; an empty one is not shown."""
    for line in message.splitlines():
        out.print(Text.assemble(("  │ ", "dim"), line))


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar for work that can be counted."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def complain(error: PipelineError) -> None:
    """Write a problem and its remedy to standard error."""
    err.print(Text.assemble(("error: ", "bold red"), error.problem))
    err.print(Text.assemble(("remedy: ", "bold"), error.remedy))
