"""NDJSON files go in, SQL for typed columns comes out, with a field in all its spellings."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import duckdb

from tasks.esql.errors import DocumentError
from tasks.esql.loading import FROM_DOCUMENT, as_loaded, file_list
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.streams import MappedField


@dataclass(frozen=True, slots=True)
class StrictJson:
    """NDJSON files, read at full speed; a line that is not a document is an error."""

    paths: tuple[str, ...]

    def relation(self, names: Iterable[str]) -> Sql:
        """The files with every spelling of the fields as nested columns of JSON."""
        columns = ", ".join(
            f"{text_constant(key).text}: {text_constant(_json_structure(below)).text}"
            for key, below in _spellings(names).items()
        )
        return sql(
            "read_json({}, format='newline_delimited', records=true, hive_partitioning=false, "
            f"columns={{{columns}}})",
            file_list(self.paths),
        )


@dataclass(frozen=True, slots=True)
class LenientJson:
    """NDJSON files with broken lines, which are left out; slower."""

    paths: tuple[str, ...]

    def relation(self, names: Iterable[str]) -> Sql:
        """The same columns as the strict reading has."""
        structure = json.dumps(_transform_structure(_spellings(names)))
        return sql(
            "(SELECT unnest(json_transform(json, {})) "
            "FROM read_ndjson_objects({}, ignore_errors=true) WHERE json_type(json) = 'OBJECT')",
            text_constant(structure),
            file_list(self.paths),
        )


JsonFiles = StrictJson | LenientJson
Spellings = dict[str, "Spellings"]


def _ways_to_write(name: str) -> list[tuple[str, ...]]:
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


def _spellings(names: Iterable[str]) -> Spellings:
    """The keys under which the fields may stand, as a tree; a leaf has nothing below."""
    tree: Spellings = {}
    for name in names:
        for keys in _ways_to_write(name):
            branch = tree
            for key in keys:
                branch = branch.setdefault(key, {})
    # A document is a row only with a column, also where a question reads no field at all.
    return tree or {"@timestamp": {}}


def _json_structure(below: Spellings) -> str:
    if not below:
        return "JSON"
    inner = ", ".join(
        f"{identifier(key).text} {_json_structure(deeper)}" for key, deeper in below.items()
    )
    return f"STRUCT({inner})"


def _transform_structure(below: Spellings) -> object:
    return {key: _transform_structure(deeper) for key, deeper in below.items()} or "JSON"


def raw_json(name: str) -> Sql:
    """The JSON of a field, in whichever spelling the document has it."""
    ways = [
        Sql(identifier(keys[0]).text + "".join(f"[{text_constant(key).text}]" for key in keys[1:]))
        for keys in _ways_to_write(name)
    ]
    return ways[0] if len(ways) == 1 else sql("coalesce({})", joined(", ", ways))


def from_ndjson(json_files: JsonFiles, fields: Mapping[str, MappedField]) -> Sql:
    """The three columns of every field (see `loading`), in the order of the fields."""
    if not fields:
        return sql("SELECT 1 AS one FROM {}", json_files.relation(()))
    raw, read, ordered, columns = [], [], [], []
    for i, field in enumerate(fields.values()):
        convert = FROM_DOCUMENT[field.type]
        raw.append(sql(f"{{}} AS r{i}", raw_json(field.path)))
        read += [
            sql(f"{{}} AS s{i}", sql(convert, Sql(f"document_text(r{i})"))),
            sql(
                f"CASE WHEN starts_with(r{i}, '[') THEN list_transform(array_values(r{i}), "
                f"lambda element: {{}}) END AS a{i}",
                sql(convert, Sql("document_text(element)")),
            ),
        ]
        ordered.append(sql(f"{{}} AS v{i}", as_loaded(field.type, Sql(f"a{i}"))))
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
        json_files.relation([field.path for field in fields.values()]),
    )


def leaves(structure: object, prefix: str) -> Iterator[str]:
    """The fields in a structure as json_group_structure gives it."""
    if isinstance(structure, dict):
        for key, below in structure.items():
            yield from leaves(below, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix


_IN_FILE = re.compile(
    r'in file "(?P<path>[^"]*)"(?:, (?:at byte \d+ )?in line (?P<line>\d+))?: (?P<why>.*)'
)


def bad_line(error: duckdb.Error) -> DocumentError:
    """DuckDB's error as ours, with the file and line where a reader finds the cause."""
    match = _IN_FILE.search(str(error))
    if match is None:
        return DocumentError(f"failed to parse: {error}")
    path, why = match["path"], match["why"]
    line, reason = _first_bad_line(Path(path)) or (match["line"], why)
    return DocumentError(f"[{path}:{line}] failed to parse: {reason}")


def _first_bad_line(path: Path) -> tuple[int, str] | None:
    """The first line that is not a JSON object. DuckDB's line numbers are off by one at times.

    None if there is none, or if Python cannot read the file's compression.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    if path.suffix == ".zst":
        return None
    with opened(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                if not isinstance(json.loads(line), dict):
                    return number, "a document must be a JSON object"
            except ValueError as error:
                return number, str(error)
    return None
