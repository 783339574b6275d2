"""NDJSON files go in; the names of all fields in them come out, with the kinds of their values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.esql.names import Keys
from tasks.esql.sql import Sql, bound, sql

_DEEPEST = 100
"""Levels of objects and arrays that a survey looks into; DuckDB fails at 128."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What all documents of some files hold, without their values.

    Attributes:
        ways: the keys under which a field stands, by field.
        kinds: the kinds of its values; `[VARCHAR]` for lists, and `JSON` for several kinds.
        below_lists: fields in lists of objects.
        too_deep: how many documents were left out, because they nest too deep.
    """

    ways: Mapping[str, frozenset[Keys]] = field(default_factory=dict)
    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    below_lists: frozenset[str] = frozenset()
    too_deep: int = 0


def survey_query(objects: Sql) -> Sql:
    """Ask for the structure of all documents, and for the number of those that nest too deep.

    Args:
        objects: a relation with the documents in its column `json`.
    """
    return sql(
        "SELECT json_group_structure(CASE WHEN shallow THEN json END), "
        "count(*) FILTER (NOT shallow) FROM (SELECT json, is_shallow(json, {}) AS shallow FROM {})",
        bound(_DEEPEST, "INTEGER"),
        objects,
    )


def surveyed(row: Sequence[Any], wrapper: Keys) -> Survey:
    """Read the answer to `survey_query`, of documents below the keys of a wrapper."""
    structure, too_deep = row
    below: object = json.loads(structure) if structure else {}
    for key in wrapper:
        below = below.get(key) if isinstance(below, dict) else {}
    ways: dict[str, set[Keys]] = {}
    kinds: dict[str, set[str]] = {}
    below_lists: set[str] = set()
    for keys, kind, is_below in _leaves(below, (), is_below=False):
        name = ".".join(keys)
        if is_below:
            below_lists.add(name)
        ways.setdefault(name, set()).add(keys)
        kinds.setdefault(name, set()).add(kind)
    return Survey(
        {name: frozenset(found) for name, found in ways.items()},
        {name: frozenset(found) for name, found in kinds.items()},
        frozenset(below_lists),
        too_deep,
    )


def _leaves(structure: object, above: Keys, *, is_below: bool) -> Iterator[tuple[Keys, str, bool]]:
    """The fields in a structure as json_group_structure gives it: keys, kind, inside of a list."""
    match structure:
        case dict():
            for key, below in structure.items():
                yield from _leaves(below, (*above, key), is_below=is_below)
        case [dict() as inner]:
            yield from _leaves(inner, above, is_below=True)
        case [list() as inner]:
            yield from _leaves(inner, above, is_below=True)
        case list() if above:
            yield above, f"[{structure[0] if structure else 'JSON'}]", is_below
        case _ if above:
            yield above, str(structure), is_below
