"""Answers: from Elasticsearch's JSON to rows, and to what is known to be missing in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pandas as pd

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
        skipped: remote clusters behind this one that did not answer, with their reasons.
        warnings: the texts in the answer's Warning headers.
    """

    rows: pd.DataFrame
    types: Mapping[str, str]
    is_partial: bool = False
    is_cut: bool = False
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return not (self.is_partial or self.is_cut or self.skipped)

    @property
    def may_go_on(self) -> bool:
        """Whether there may be more rows: only an answer below the server's limits is complete."""
        return len(self.rows) >= ROWS_WITHOUT_LIMIT

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


def read_answer(body: Mapping[str, Any], warning_header: str) -> Answer:
    """Read an answer's body and its Warning header."""
    types = {column["name"]: column["type"] for column in body["columns"]}
    readers = [_READERS.get(kind, _well_formed) for kind in types.values()]
    values = [list(map(_each, readers, row)) for row in body["values"]]
    rows = pd.DataFrame(values, columns=list(types), dtype=object)
    texts = _warnings(warning_header)
    limited = any("default limit" in text for text in texts) and len(rows) >= ROWS_WITHOUT_LIMIT
    skipped = tuple(_skipped(body.get("_clusters") or {}))
    return Answer(
        rows,
        types,
        # Some servers call an answer partial after skipping a remote cluster: that is no shard.
        is_partial=bool(body.get("is_partial")) and not skipped,
        is_cut=limited or len(rows) >= ROWS_AT_MOST,
        skipped=skipped,
        warnings=texts,
    )


def _skipped(clusters: Mapping[str, Any]) -> list[str]:
    """Name the remote clusters that did not answer in full, with their reasons."""
    return [
        f"{alias} ({_reason(remote)})"
        for alias, remote in sorted((clusters.get("details") or {}).items())
        if remote.get("status") not in {"successful", "running"}
    ]


def _reason(remote: Mapping[str, Any]) -> str:
    reasons = (failure.get("reason") for failure in remote.get("failures") or ())
    texts = (str(reason.get("reason")) for reason in reasons if isinstance(reason, Mapping))
    return next(texts, str(remote.get("status")))


def _each(convert: Callable[[Any], object], value: Any) -> object:  # noqa: ANN401 - any JSON.
    """Convert one value, or every value in a list; None stays None."""
    if isinstance(value, list):
        return [convert(one) for one in value]
    return None if value is None else convert(value)


def _well_formed(value: object) -> object:
    """Replace half a surrogate pair, which is possible in JSON but not in UTF-8."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


_READERS: Mapping[str, Callable[[Any], object]] = {"date": pd.Timestamp}
"""Readers by Elasticsearch's type, for values that JSON has no type for."""


def _warnings(header: str) -> tuple[str, ...]:
    r"""Read `299 Elasticsearch-<version> "text"` entries; texts may contain `\"` and commas."""
    texts = []
    rest = header
    while (opening := rest.find('"')) >= 0:
        closing = opening + 1
        while closing < len(rest) and rest[closing] != '"':
            closing += 2 if rest[closing] == "\\" else 1
        text = rest[opening + 1 : closing]
        texts.append(unquote(text.replace('\\"', '"').replace("\\\\", "\\")))
        rest = rest[closing + 1 :]
    return tuple(dict.fromkeys(texts))
