"""NDJSON files go in; the names of all fields in them come out, with the kinds of their values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.esql.names import Keys, parents
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
    """Ask for the different structures of documents, with the number of documents of each.

    Not for one that fits all, with json_group_structure: its memory grows with every document.

    Args:
        objects: a relation with the documents in its column `json`.
    """
    return sql(
        "SELECT structure, count(*) FROM (SELECT CASE WHEN is_shallow(json, {}) "
        "THEN json_structure(json) END AS structure FROM {}) GROUP BY ALL",
        bound(_DEEPEST, "INTEGER"),
        objects,
    )


def surveyed(rows: Iterable[Sequence[Any]], wrapper: Keys) -> Survey:
    """Read the answer to `survey_query`, of documents below the keys of a wrapper."""
    ways: dict[str, set[Keys]] = {}
    kinds: dict[str, set[str]] = {}
    below_lists: set[str] = set()
    too_deep = 0
    for structure, documents in rows:
        if structure is None:
            too_deep += documents
            continue
        below: object = json.loads(structure)
        for key in wrapper:
            below = below.get(key) if isinstance(below, dict) else {}
        for keys, kind, is_below in _leaves(below, (), is_below=False):
            name = ".".join(keys)
            if is_below:
                below_lists.add(name)
            ways.setdefault(name, set()).add(keys)
            kinds.setdefault(name, set()).add(kind)
    objects = {above for name in kinds for above in parents(name)}
    for both in objects & kinds.keys():
        if kinds[both] == {"NULL"}:  # It is only an object.
            del kinds[both], ways[both]
        else:
            kinds[both].add("JSON")
    return Survey(
        {name: frozenset(found) for name, found in ways.items()},
        {name: frozenset(found) for name, found in kinds.items()},
        frozenset(below_lists),
        too_deep,
    )


def _leaves(structure: object, above: Keys, *, is_below: bool) -> Iterator[tuple[Keys, str, bool]]:
    """The fields in a structure as json_structure gives it: keys, kind, inside of a list."""
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
