"""Field names go in; the keys under which a document may hold them come out, or their fault.

A name is quoted wherever it gets into SQL, so that any character is safe. What quoting cannot do:
DuckDB has no empty names, and takes names that differ only in case for the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import combinations

from tasks.esql.errors import DocumentError

DEPTH_LIMIT = 20
"""Parts of a name: Elasticsearch's `index.mapping.depth.limit` and its default."""

PARTS_IN_ALL_WAYS = 6
"""A name with so many parts has 32 spellings, and twice as many with every part more."""

_SHOWN_CHARACTERS = 100

Keys = tuple[str, ...]
"""The keys that lead to a value, one object after the other."""


@lru_cache(maxsize=10_000)
def fault_of(name: str) -> str:
    """Say why Elasticsearch, too, would have no field of this name; empty if it may have one."""
    parts = name.split(".")
    if len(parts) > DEPTH_LIMIT:
        return f"it has more than {DEPTH_LIMIT} parts (`index.mapping.depth.limit`)"
    if not all(part.strip() for part in parts):
        return "a part of its name is empty"
    return ""


def abbreviated(name: str) -> str:
    """Shorten a name for a message."""
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}..."


def ways_to_write(name: str) -> list[Keys]:
    """All ways in which a document may nest a dotted name: a.b as {"a": {"b": 1}} or {"a.b": 1}."""
    parts = name.split(".")
    cuts = range(1, len(parts))
    return [
        tuple(
            ".".join(parts[start:end])
            for start, end in zip((0, *chosen), (*chosen, len(parts)), strict=True)
        )
        for count in reversed(range(len(parts)))
        for chosen in combinations(cuts, count)
    ]


def parents(name: str) -> Iterator[str]:
    """The objects above a field: a and a.b for a.b.c."""
    for dot, character in enumerate(name):
        if character == ".":
            yield name[:dot]


def refuse_twins(names: Iterable[str]) -> None:
    """Refuse names that differ only in case, also those of the objects above a field.

    Raises:
        DocumentError: two names do. As in DuckDB, only the case of ASCII letters counts.
    """
    seen: dict[bytes, str] = {}
    for name in names:
        for written in (*parents(name), name):
            twin = seen.setdefault(written.encode().lower(), written)
            if twin != written:
                raise DocumentError(
                    f"the fields [{abbreviated(twin)}] and [{abbreviated(written)}] differ only "
                    "in case, which is not supported: keep or use one of them"
                )
