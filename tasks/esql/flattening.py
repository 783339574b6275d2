"""A JSON value of a file goes in; its documents come out as Elasticsearch sees them.

{"a": {"b": 1}}, {"a.b": 1}                  the field a.b
{"a": [{"b": 1}, {"b": 2}]}                  the field a.b with two values
{"_source": {...}}, {"fields": {...}}        a hit of a search: the document inside
{"hits": {"hits": [...]}}, [...]             every document inside
{"create": {"_index": "x"}}                  an action of a bulk request: no document
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tasks.esql.json_text import Broken, TooDeep
from tasks.esql.names import Keys, parents

TIME = "@timestamp"
"""Every document of a data stream has this field."""

INDEX = "_index"
"""In a hit, or in an action: the name of the document's index."""

Values = dict[str, list[Any]]
"""The values of a document by field, without nulls."""

_WRAPPERS = ("_source", "fields")
_ACTIONS = frozenset({"create", "index", "update", "delete"})
_OF_ACTIONS = frozenset(
    {"routing", "pipeline", "require_alias", "require_data_stream", "retry_on_conflict"}
)


class NotADocument(Exception):
    """A JSON value that Elasticsearch would refuse as a document; the reason is its text."""


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """What stands in the place of a document.

    Attributes:
        document: the document; what cannot be one is refused by `flattened`.
        wrapper: the keys that lead to it in a hit.
        index: the name of the index that a hit comes from; empty if there is none.
    """

    document: object
    wrapper: Keys = ()
    index: str = ""


def documents_in(value: object) -> Iterator[FoundDocument]:
    """Give the documents in a JSON value."""
    match value:
        case list():
            for element in value:
                yield from documents_in(element)
        case dict() if hits := _hits(value):
            yield from documents_in(hits)
        case dict():
            if wrapper := _wrapper(value):
                yield FoundDocument(value[wrapper], (wrapper,), _index(value))
            elif not _is_action(value):
                yield FoundDocument(value, (), _index(value))
        case _:
            yield FoundDocument(value)


def index_in_action(value: object) -> str:
    """The name of the index in the action of a bulk request; empty if there is none."""
    if not isinstance(value, dict) or not _is_action(value):
        return ""
    (options,) = value.values()
    return _index(options)


def _index(value: Mapping[str, Any]) -> str:
    name = value.get(INDEX)
    return name if isinstance(name, str) else ""


def _hits(value: Mapping[str, Any]) -> list[Any]:
    """The hits in the answer of a search; empty if it is none."""
    outer = None if TIME in value else value.get("hits")
    inner = outer.get("hits") if isinstance(outer, dict) else None
    return inner if isinstance(inner, list) else []


def _wrapper(value: Mapping[str, Any]) -> str:
    """The key of the document in a hit; empty if the value is the document."""
    for key in _WRAPPERS if TIME not in value else ():
        inner = value.get(key)
        # A hit always has its source; `fields` is also a name that a document may use.
        if isinstance(inner, dict) and (key == "_source" or TIME in inner):
            return key
    return ""


def _is_action(value: Mapping[str, Any]) -> bool:
    if len(value) != 1:
        return False
    ((name, options),) = value.items()
    return (
        name in _ACTIONS
        and isinstance(options, dict)
        and all(option.startswith("_") or option in _OF_ACTIONS for option in options)
    )


@dataclass(frozen=True, slots=True)
class Mapped:
    """The names of a mapping: its fields, and the objects above them."""

    fields: Collection[str] = frozenset()
    objects: Collection[str] = frozenset()

    @classmethod
    def of(cls, fields: Collection[str]) -> Mapped:
        """The names in a mapping with these fields."""
        return cls(fields, frozenset(above for name in fields for above in parents(name)))


class Place(Enum):
    """Where a value stands in its document."""

    ALONE = auto()
    LISTED = auto()
    INSIDE_LIST = auto()
    """In an object that is an element of a list."""


def leaves(
    value: object, mapped: Mapped, keys: Keys = (), place: Place = Place.ALONE
) -> Iterator[tuple[Keys, Place, Any]]:
    """Give every value of a document except nulls, with the keys that lead to it.

    Raises:
        NotADocument: a value stands where the mapping has an object.
    """
    match value:
        case None:
            return
        case dict() if not keys or ".".join(keys) not in mapped.fields:
            inside = Place.ALONE if place is Place.ALONE else Place.INSIDE_LIST
            for key, below in value.items():
                yield from leaves(below, mapped, (*keys, key), inside)
        case list():
            listed = Place.LISTED if place is Place.ALONE else place
            for element in value:
                yield from leaves(element, mapped, keys, listed)
        case _:
            if ".".join(keys) in mapped.objects:
                kind = {str: "a text", bool: "a truth value"}.get(type(value), "a number")
                raise NotADocument(
                    f"Expected OBJECT for [{'.'.join(keys)}], as in the mapping, but got {kind}"
                )
            yield keys, place, value


def flattened(document: object, mapped: Mapped) -> Values:
    """Give a document's values by field.

    An object where the mapping has a field stays as it is: a value of a wrong type.

    Raises:
        NotADocument: it is no object, or has a value where the mapping has an object.
        RecursionError: it nests too deep.
    """
    match document:
        case Broken(reason):
            raise NotADocument(reason)
        case TooDeep():
            raise RecursionError
        case dict():
            pass
        case _:
            raise NotADocument("a document must be a JSON object")
    values: Values = {}
    for keys, _, value in leaves(document, mapped):
        values.setdefault(".".join(keys), []).append(value)
    return values
