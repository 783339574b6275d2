"""Answers: from Elasticsearch's JSON to rows, and to what is known to be missing in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import unquote

import pandas as pd
from pydantic import Field, model_validator

from tasks.clusters.bodies import Body
from tasks.text.foreign import presentable

ROWS_AT_MOST = 10_000
"""Elasticsearch silently cuts longer ES|QL answers; an administrator may set a lower limit."""

ROWS_WITHOUT_LIMIT = 1_000
"""Rows for a query without LIMIT, with a warning. No server is known to cut below that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A cluster's answer to one ES|QL question.

    Attributes:
        rows: the answer's columns under their ES|QL names; dates are aware UTC timestamps, several
            values are lists, everything else is as Elasticsearch sent it.
        types: Elasticsearch's types by column.
        is_partial: some shards did not answer.
        is_cut: there may be more rows than the answer holds.
        rows_at_most: the server's limit for one answer.
        skipped: remote clusters behind this one that did not answer, with their reasons.
        warnings: the texts in the answer's Warning headers, and `unreadable`.
        unreadable: our own warnings about values that could not be read and are None.
    """

    rows: pd.DataFrame
    types: Mapping[str, str]
    is_partial: bool = False
    is_cut: bool = False
    rows_at_most: int = ROWS_AT_MOST
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return not (self.is_partial or self.is_cut or self.skipped)

    @property
    def may_go_on(self) -> bool:
        """Whether there may be more rows: only an answer below the server's limits is complete.

        A server with a lowered limit is asked again after any row.
        """
        is_lowered = self.rows_at_most < ROWS_AT_MOST
        return len(self.rows) >= (1 if is_lowered else ROWS_WITHOUT_LIMIT)

    def with_warnings(self, more: Iterable[str]) -> Answer:
        """Add warnings that it does not have yet."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *more))))

    def records(self) -> list[dict[str, Any]]:
        """Give the rows as dicts of column name to value."""
        return [
            dict(zip(self.types, row, strict=True))
            for row in self.rows.itertuples(index=False, name=None)
        ]


def values(cell: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a cell holds what its column does.
    """Give what a cell of an answer holds, in its order: no value, one or several."""
    several = cell if isinstance(cell, list) else [cell]
    return tuple(value for value in several if value is not None)


class _Column(Body):
    name: str
    type: str


class _Remote(Body):
    status: str | None = None
    failures: list[Any] | None = None


class _Clusters(Body):
    details: Mapping[str, _Remote] | None = None


class AnswerBody(Body):
    """The body of an answer; the names are Elasticsearch's."""

    columns: list[_Column]
    values: list[list[Any]]
    is_partial: bool | None = None
    took: int | None = None
    documents_found: int | None = None
    values_loaded: int | None = None
    clusters: _Clusters | None = Field(default=None, alias="_clusters")

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        width = len({column.name for column in self.columns})
        if {len(self.columns), *map(len, self.values)} != {width}:
            raise ValueError("two columns have one name, or a row has another width")
        return self


def read_answer(body: AnswerBody, warning_header: str, rows_at_most: int = ROWS_AT_MOST) -> Answer:
    """Read an answer's body and its Warning header, from a server with this limit."""
    types = {column.name: column.type for column in body.columns}
    rows = pd.DataFrame(body.values, columns=list(types), dtype=object)
    unreadable = tuple(_read_dates(rows, types))
    texts = _warnings(warning_header)
    limited = any("default limit" in text for text in texts) and len(rows) >= ROWS_WITHOUT_LIMIT
    skipped = tuple(_skipped(body.clusters)) if body.clusters else ()
    return Answer(
        rows,
        types,
        # Some servers call an answer partial after skipping a remote cluster: that is no shard.
        is_partial=bool(body.is_partial) and not skipped,
        is_cut=limited or len(rows) >= min(rows_at_most, ROWS_AT_MOST),
        rows_at_most=rows_at_most,
        skipped=skipped,
        warnings=(*texts, *unreadable),
        unreadable=unreadable,
    )


def _read_dates(rows: pd.DataFrame, types: Mapping[str, str]) -> Iterator[str]:
    """Turn the texts of dates into timestamps, in place, and give a warning for lost ones."""
    for name in (name for name, kind in types.items() if kind in {"date", "date_nanos"}):
        cells = list(rows[name])
        read = [[_date(v) for v in c] if isinstance(c, list) else _date(c) for c in cells]
        rows[name] = pd.Series(read, index=rows.index, dtype=object)
        if any(len(values(a)) < len(values(b)) for a, b in zip(read, cells, strict=True)):
            yield (
                f"Some values of `{name}` were left out: a date must be in the years 1 to 9999, "
                "and until 2261 if it has nanoseconds."
            )


def _date(value: object) -> pd.Timestamp | None:
    """Read a date; None for one that cannot be read, since Elasticsearch knows more years."""
    if not (isinstance(value, str) and _DATE.fullmatch(value)):
        return None
    try:
        return pd.Timestamp(value)
    except ValueError:
        return None


_DATE = re.compile(r"(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
"""A date as Elasticsearch writes it, in a year from 1 to 9999; pandas guesses at others."""


def _skipped(clusters: _Clusters) -> list[str]:
    """Name the remote clusters that did not answer in full, with their reasons."""
    return [
        presentable(f"{alias} ({_reason(remote)})")
        for alias, remote in sorted((clusters.details or {}).items())
        if remote.status not in {"successful", "running"}
    ]


def _reason(remote: _Remote) -> str:
    failures = (each for each in remote.failures or () if isinstance(each, Mapping))
    reasons = (failure.get("reason") for failure in failures)
    texts = (str(reason.get("reason")) for reason in reasons if isinstance(reason, Mapping))
    return next(texts, str(remote.status))


def _warnings(header: str) -> tuple[str, ...]:
    r"""Read `299 Elasticsearch-<version> "text"` entries; texts may contain `\"` and commas."""
    texts = []
    rest = header
    while (opening := rest.find('"')) >= 0:
        closing = opening + 1
        while closing < len(rest) and rest[closing] != '"':
            closing += 2 if rest[closing] == "\\" else 1
        text = rest[opening + 1 : closing]
        texts.append(presentable(unquote(text.replace('\\"', '"').replace("\\\\", "\\"))))
        rest = rest[closing + 1 :]
    return tuple(dict.fromkeys(texts))
