"""NDJSON files go in, SQL for typed columns comes out, with a field in all its spellings."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.esql.loading import FROM_DOCUMENT, as_loaded, file_list, plain_columns
from tasks.esql.names import PARTS_IN_ALL_WAYS, Keys, parents, ways_to_write
from tasks.esql.sql import Sql, bound, identifier, joined, sql, text_constant
from tasks.esql.streams import MappedField

_DEEPEST = 100
"""Levels of objects and arrays that a survey looks into; DuckDB fails at 128."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What all documents of a data stream hold, without their values.

    Attributes:
        kinds: the kinds of values by field, `[VARCHAR]` for lists; `JSON` if there are several.
        spelled: by field, the keys that lead to it.
        too_deep: how many documents were left out, because they nest too deep.
    """

    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    spelled: Mapping[str, tuple[Keys, ...]] = field(default_factory=dict)
    too_deep: int = 0

    def only_kind(self, name: str) -> str:
        """The kind of all values of a field; empty if that is not certain."""
        above = (kind for parent in parents(name) for kind in self.kinds.get(parent, ()))
        if self.too_deep or len(self.spelled.get(name, ())) != 1 or any(above):
            return ""
        (kind,) = self.kinds[name]
        return kind


def survey_query(paths: Sequence[str]) -> Sql:
    """Ask for the structure of all documents, and for the number of those that nest too deep."""
    return sql(
        "SELECT json_group_structure(CASE WHEN shallow THEN json END), "
        "count(*) FILTER (NOT shallow) FROM (SELECT json, is_shallow(json, {}) AS shallow FROM {})",
        bound(_DEEPEST, "INTEGER"),
        _objects(paths),
    )


def surveyed(structure: str | None, too_deep: int) -> Survey:
    """Read the answer to `survey_query`."""
    kinds: dict[str, set[str]] = {}
    spelled: dict[str, list[Keys]] = {}
    for keys, kind in _leaves(json.loads(structure) if structure else {}, ()):
        name = ".".join(keys)
        kinds.setdefault(name, set()).add(kind)
        spelled.setdefault(name, []).append(keys)
    return Survey(
        {name: frozenset(found) for name, found in kinds.items()},
        {name: tuple(found) for name, found in spelled.items()},
        too_deep,
    )


def _leaves(structure: object, above: Keys) -> Iterator[tuple[Keys, str]]:
    """The fields in a structure as json_group_structure gives it, with their kinds."""
    if isinstance(structure, dict):
        for key, below in structure.items():
            yield from _leaves(below, (*above, key))
    elif above and isinstance(structure, list):
        inner = structure[0] if structure and isinstance(structure[0], str) else "JSON"
        yield above, f"[{inner}]"
    elif above:
        yield above, str(structure)


def _objects(paths: Sequence[str]) -> Sql:
    """The documents as JSON, without the lines that are broken."""
    return sql(
        "read_ndjson_objects({}, ignore_errors=true, hive_partitioning=false)", file_list(paths)
    )


def skipped_query(paths: Sequence[str]) -> Sql:
    """Ask for the number of lines that are not documents."""
    return sql(
        "SELECT count(*) FROM {} WHERE json IS NULL OR json_type(json) <> 'OBJECT'",
        _objects(paths),
    )


@dataclass(frozen=True, slots=True)
class _JsonFiles(ABC):
    """NDJSON files, and what a survey found in them."""

    paths: tuple[str, ...]
    survey: Survey = field(default_factory=Survey)

    @abstractmethod
    def relation(self, names: Iterable[str]) -> Sql:
        """The files with every spelling of the fields as nested columns of JSON."""

    def raw(self, name: str) -> Sql:
        """The JSON of a field, in whichever spelling the document has it."""
        ways = [
            sql(
                "{}{}",
                identifier(keys[0]),
                joined("", [sql("[{}]", text_constant(key)) for key in keys[1:]]),
            )
            for keys in self._ways(name)
        ]
        ways = ways or [Sql("CAST(NULL AS JSON)")]
        if len(ways) == 1:
            return ways[0]
        # A document with several spellings has all of their values.
        return sql(
            "CASE WHEN {0} IS NOT DISTINCT FROM {1} THEN {0} "
            "ELSE to_json(list_filter([{2}], lambda way: way IS NOT NULL)) END",
            sql("coalesce({})", joined(", ", ways)),
            sql("coalesce({})", joined(", ", reversed(ways))),
            joined(", ", ways),
        )

    def _ways(self, name: str) -> Sequence[Keys]:
        if name.count(".") < PARTS_IN_ALL_WAYS:
            return ways_to_write(name)
        return self.survey.spelled.get(name, ())

    def _spellings(self, names: Iterable[str]) -> Spellings:
        """The keys under which the fields may stand, as a tree; a leaf has nothing below."""
        tree: Spellings = {}
        for name in names:
            for keys in self._ways(name):
                branch = tree
                for key in keys:
                    branch = branch.setdefault(key, {})
        # A document is a row only with a column, also where a question reads no field at all.
        return tree or {"@timestamp": {}}


@dataclass(frozen=True, slots=True)
class StrictJson(_JsonFiles):
    """NDJSON files, read at full speed; a line that is not a document is an error."""

    def relation(self, names: Iterable[str]) -> Sql:
        """The fields, in every spelling."""
        columns = [
            sql("{}: {}", text_constant(key), text_constant(_json_structure(below).text))
            for key, below in self._spellings(names).items()
        ]
        return sql(
            "read_json({}, format='newline_delimited', records=true, hive_partitioning=false, "
            "columns={{}})",
            file_list(self.paths),
            joined(", ", columns),
        )


@dataclass(frozen=True, slots=True)
class LenientJson(_JsonFiles):
    """NDJSON files with broken lines, which are left out; slower."""

    def relation(self, names: Iterable[str]) -> Sql:
        """The same columns as the strict reading has."""
        return sql(
            "(SELECT unnest(json_transform(json, {})) FROM {} WHERE json_type(json) = 'OBJECT')",
            text_constant(json.dumps(_transform_structure(self._spellings(names)))),
            _objects(self.paths),
        )


JsonFiles = StrictJson | LenientJson
Spellings = dict[str, "Spellings"]


def _json_structure(below: Spellings) -> Sql:
    if not below:
        return Sql("JSON")
    inner = [sql("{} {}", identifier(key), _json_structure(deep)) for key, deep in below.items()]
    return sql("STRUCT({})", joined(", ", inner))


def _transform_structure(below: Spellings) -> object:
    return {key: _transform_structure(deeper) for key, deeper in below.items()} or "JSON"


def from_ndjson(json_files: JsonFiles, fields: Mapping[str, MappedField]) -> Sql:
    """The three columns of every field (see `loading`), in the order of the fields."""
    if not fields:
        return sql("SELECT 1 AS one FROM {}", json_files.relation(()))
    raw, read, ordered, columns = [], [], [], []
    for i, mapped in enumerate(fields.values()):
        convert = FROM_DOCUMENT[mapped.type]
        if mapped.is_plain:
            raw.append(sql(f"{{}} AS r{i}", json_files.raw(mapped.path)))
            read.append(sql(f"{{}} AS s{i}", sql(convert, Sql(f"(r{i} ->> '$')"))))
            columns += plain_columns(i, mapped)
            continue
        raw.append(sql(f"{{}} AS r{i}", json_files.raw(mapped.path)))
        read += [
            sql(f"{{}} AS s{i}", sql(convert, Sql(f"document_text(r{i})"))),
            sql(
                f"CASE WHEN starts_with(r{i}, '[') THEN list_transform(array_values(r{i}), "
                f"lambda element: {{}}) END AS a{i}",
                sql(convert, Sql("document_text(element)")),
            ),
        ]
        ordered.append(sql(f"{{}} AS v{i}", as_loaded(mapped.type, Sql(f"a{i}"))))
        columns += [
            Sql(f"CASE WHEN a{i} IS NULL THEN s{i} WHEN len(v{i}) = 1 THEN v{i}[1] END AS f{i}"),
            Sql(f"CASE WHEN len(v{i}) > 1 THEN v{i} END AS l{i}"),
            Sql(
                f"CASE WHEN r{i} IS NOT NULL AND s{i} IS NULL AND a{i} IS NULL THEN true "
                f"WHEN len(a{i}) > list_count(a{i}) THEN true END AS m{i}"
            ),
        ]
    return sql(
        "SELECT {} FROM (SELECT *, {} FROM (SELECT *, {} FROM (SELECT {} FROM {})))",
        joined(", ", columns),
        joined(", ", ordered),
        joined(", ", read),
        joined(", ", raw),
        json_files.relation([mapped.path for mapped in fields.values()]),
    )
