"""A folder of events, as relations: only the fields that a question needs, typed by their mapping.

    FOLDER/<data stream>/mapping.json                       optional, an Elasticsearch mapping
    FOLDER/<data stream>/**/*.ndjson[.gz|.zst], *.parquet   the documents

A data stream is read once into one DuckDB table, which grows when a later question needs more.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import duckdb

from tasks.errors import SettingsError
from tasks.esql.errors import DocumentError, refused
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.syntax import Column, From
from tasks.esql.translate import Demand, FieldColumn, Relation
from tasks.esql.types import FIELD_TYPES, STRING, Type

_NDJSON = (".ndjson", ".ndjson.gz", ".ndjson.zst")
_UNSUPPORTED = "with unsupported type [{}]"
_SHIPPED = {
    "logs-endpoint.events.network-*": "network.json",
    "logs-endpoint.events.process-*": "process.json",
    "metrics-endpoint.metadata*": "metadata.json",
}

# How a text in a document becomes a value of a type, null if it cannot.
_FROM_DOCUMENT = {
    Type.BOOLEAN: "boolean_from_text({})",
    Type.INTEGER: "TRY_CAST(long_from_document({}) AS INTEGER)",
    Type.LONG: "long_from_document({})",
    Type.UNSIGNED_LONG: "TRY_CAST({} AS UBIGINT)",
    Type.DOUBLE: "finite(TRY_CAST({} AS DOUBLE))",
    Type.KEYWORD: "{}",
    Type.TEXT: "{}",
    Type.IP: "ip_from_text({})",
    Type.DATE: "date_from_text({})",
}
_DEDUPLICATED = STRING | {Type.IP}


@dataclass(frozen=True, slots=True)
class MappedField:
    """A field's type, and where its values stand in a document: a multi-field has its parent's."""

    type: Type
    path: str
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class DataStream:
    """A folder with documents, and the fields that its mapping knows.

    `usual` are the fields that most questions ask for (`_meta.read_together` of the mapping):
    reading some more costs little, reading the files once more costs everything again.
    """

    name: str
    ndjson: tuple[str, ...]
    parquet: tuple[str, ...]
    mapping: Mapping[str, MappedField]
    usual: frozenset[str]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data stream's table: its columns by field, and how many documents it holds."""

    table: str
    columns: Mapping[str, FieldColumn]
    absent: frozenset[str]
    documents: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexMapping:
    """What a mapping says: its fields, and those that are usually read together."""

    fields: Mapping[str, MappedField]
    usual: frozenset[str] = frozenset()


def read_mapping(text: str) -> IndexMapping:
    """Read an Elasticsearch mapping, as `GET index/_mapping` or an index template has it."""
    mapping = json.loads(text)
    while "properties" not in mapping:
        mapping = mapping["mappings"] if "mappings" in mapping else next(iter(mapping.values()))
    fields = dict(_mapped_fields(mapping["properties"], ""))
    usual = mapping.get("_meta", {}).get("read_together", [])
    return IndexMapping(fields, frozenset(usual) & fields.keys())


def _mapped_fields(
    properties: Mapping[str, Mapping[str, object]], prefix: str
) -> Iterator[tuple[str, MappedField]]:
    for key, definition in properties.items():
        name = prefix + key
        below = definition.get("properties")
        kind = str(definition.get("type", "object"))
        if isinstance(below, Mapping) and kind == "object":
            yield from _mapped_fields(below, f"{name}.")
            continue
        yield name, _mapped_field(kind, name)
        variants = definition.get("fields")
        if isinstance(variants, Mapping):
            for variant, inner in variants.items():
                yield f"{name}.{variant}", _mapped_field(str(inner["type"]), name)


def _mapped_field(kind: str, path: str) -> MappedField:
    if kind in FIELD_TYPES:
        return MappedField(FIELD_TYPES[kind], path)
    return MappedField(Type.UNSUPPORTED, path, _UNSUPPORTED.format(kind))


def data_streams(folder: Path) -> tuple[DataStream, ...]:
    """The data streams of a folder, by name.

    Raises:
        SettingsError: the folder does not exist, or a mapping cannot be read.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"The folder {folder} does not exist.",
            "Name a folder that holds a subfolder of NDJSON or Parquet files for each data stream.",
        )
    return tuple(_data_stream(path) for path in sorted(folder.iterdir()) if path.is_dir())


def _data_stream(path: Path) -> DataStream:
    found = sorted(p for p in path.rglob("*") if p.is_file())
    mapping = _mapping_of(path)
    return DataStream(
        path.name,
        tuple(str(p) for p in found if p.name.endswith(_NDJSON)),
        tuple(str(p) for p in found if p.suffix == ".parquet"),
        mapping.fields,
        mapping.usual,
    )


def _mapping_of(path: Path) -> IndexMapping:
    own = path / "mapping.json"
    if own.exists():
        try:
            return read_mapping(own.read_text(encoding="utf-8"))
        except (ValueError, TypeError, LookupError, StopIteration, AttributeError) as error:
            raise SettingsError(
                f"{own} is not an Elasticsearch mapping: {error}.",
                "Save what GET <index>/_mapping answers, or delete the file to have types inferred.",
            ) from error
    for pattern, name in _SHIPPED.items():
        if fnmatchcase(path.name, pattern):
            shipped = files("tasks.esql").joinpath("mappings", name)
            return read_mapping(shipped.read_text(encoding="utf-8"))
    return IndexMapping({})


class Documents:
    """The documents of a folder, loaded into a DuckDB connection when a question asks for them."""

    def __init__(
        self, folder: Path, connection: duckdb.DuckDBPyConnection, *, skip_bad_lines: bool
    ) -> None:
        self._streams = data_streams(folder)
        self._connection = connection
        self._skip_bad_lines = skip_bad_lines
        self._loaded: dict[str, Loaded] = {}

    def open(self, source: From, demand: Demand) -> tuple[Relation, int, tuple[str, ...]]:
        """The documents of the data streams that FROM names.

        Returns:
            The relation with the fields in demand, the number of documents, and warnings.

        Raises:
            VerificationError: a pattern matches no data stream.
            DocumentError: a line is not a document, and bad lines are not to be skipped.
        """
        streams = self._matching(source)
        loaded = {stream.name: self._load(stream, demand) for stream in streams}
        shown = [_shown_fields(loaded[stream.name], demand) for stream in streams]
        names = sorted(frozenset().union(*shown), key=lambda name: name.split("."))
        columns = [
            _united(name, f"f{place}", [table.columns.get(name) for table in loaded.values()])
            for place, name in enumerate(names)
        ]
        relation = joined(
            " UNION ALL ",
            [_selected(table, columns, name) for name, table in loaded.items()],
        )
        columns += [_metadata_column(column) for column in source.metadata]
        warnings = tuple(warning for table in loaded.values() for warning in table.warnings)
        documents = sum(table.documents for table in loaded.values())
        others = frozenset().union(*(stream.mapping.keys() for stream in streams)) - set(names)
        return Relation(relation, tuple(columns), others), documents, warnings

    def _matching(self, source: From) -> list[DataStream]:
        """The data streams that patterns name, in order; `-pattern` takes some out again."""
        chosen: dict[str, DataStream] = {}
        for pattern in source.patterns:
            if pattern.startswith("-"):
                chosen = {n: s for n, s in chosen.items() if not fnmatchcase(n, pattern[1:])}
                continue
            matching = {s.name: s for s in self._streams if fnmatchcase(s.name, pattern)}
            if not matching and "*" not in pattern:
                raise refused(f"Unknown index [{pattern}]", source.source)
            chosen |= matching
        if not chosen:
            raise refused(f"Unknown index [{','.join(source.patterns)}]", source.source)
        return list(chosen.values())

    def _load(self, stream: DataStream, demand: Demand) -> Loaded:
        """The data stream's table with the fields in demand, read anew if some are missing."""
        wanted = set(demand.names)
        if demand.patterns:
            wanted |= {
                name
                for name in (*stream.mapping, *self._names_in_files(stream))
                if any(pattern.matches(name) for pattern in demand.patterns)
            }
        wanted |= stream.usual
        before = self._loaded.get(stream.name)
        if before is not None:
            if wanted <= before.columns.keys() | before.absent:
                return before
            wanted |= before.columns.keys()
            self._connection.execute(f"DROP TABLE {before.table}")
        try:
            loaded = self._read(stream, wanted, _StrictJson(stream.ndjson))
        except duckdb.InvalidInputException as error:
            bad = _bad_line(error)
            if not self._skip_bad_lines:
                raise bad from error
            loaded = self._read(stream, wanted, _LenientJson(stream.ndjson))
            loaded = replace(loaded, warnings=(self._skipped(stream, bad), *loaded.warnings))
        self._loaded[stream.name] = loaded
        return loaded

    def _read(self, stream: DataStream, wanted: Iterable[str], json_files: JsonFiles) -> Loaded:
        columns_in_parquet = self._parquet_columns(stream)
        mapped = {name: stream.mapping[name] for name in wanted if name in stream.mapping}
        unmapped = _possible_fields(set(wanted) - mapped.keys(), stream.mapping)
        mapped |= self._inferred(json_files, columns_in_parquet, unmapped)
        fields = {name: field for name, field in mapped.items() if not field.unusable}
        branches = []
        if stream.ndjson:
            branches.append(_from_ndjson(json_files, fields))
        if stream.parquet:
            branches.append(_from_parquet(stream.parquet, columns_in_parquet, fields))
        table = identifier(f"stream {stream.name}").text
        if branches:
            create = sql(f"CREATE TABLE {table} AS {{}}", joined(" UNION ALL ", branches))
        else:
            create = sql(f"CREATE TABLE {table} AS {_nothing(fields)}")
        self._connection.execute(create.text, create.values)
        return self._surveyed(stream, table, mapped, frozenset(wanted) - mapped.keys())

    def _surveyed(
        self,
        stream: DataStream,
        table: str,
        mapped: Mapping[str, MappedField],
        absent: frozenset[str],
    ) -> Loaded:
        """See which fields have several values somewhere, and which had values of a wrong type."""
        usable = [name for name, field in mapped.items() if not field.unusable]
        counts = "".join(f", count(l{i}), count(m{i})" for i in range(len(usable)))
        row = self._connection.execute(f"SELECT count(*){counts} FROM {table}").fetchone()  # noqa: S608 - our names
        assert row is not None  # noqa: S101 - an aggregate has a row
        columns = {
            name: FieldColumn(name, field.type, "", unusable=field.unusable)
            for name, field in mapped.items()
        }
        warnings = []
        for i, name in enumerate(usable):
            several, malformed = row[1 + 2 * i] > 0, row[2 + 2 * i]
            column = f"coalesce(l{i}, listed(f{i}))" if several else f"f{i}"
            columns[name] = FieldColumn(name, mapped[name].type, column, several)
            if malformed:
                warnings.append(
                    f"Field [{name}] of [{stream.name}]: {malformed} documents with a value that "
                    f"is no [{mapped[name].type}], treated as null"
                )
        return Loaded(table, columns, absent, row[0], tuple(warnings))

    def _inferred(
        self, json_files: JsonFiles, in_parquet: Mapping[str, _ParquetColumn], names: Sequence[str]
    ) -> dict[str, MappedField]:
        """Fields that no mapping knows, by the kinds of values that the files have."""
        kinds: dict[str, set[str]] = {
            name: {in_parquet[name].kind} for name in names if name in in_parquet
        }
        if json_files.paths and names:
            raw = [sql("map_keys(histogram(document_kinds({})))", _raw(name)) for name in names]
            query = sql("SELECT {} FROM {}", joined(", ", raw), json_files.relation(names))
            row = self._connection.execute(query.text, query.values).fetchone()
            for name, found in zip(names, row or (), strict=True):
                kinds.setdefault(name, set()).update(
                    kind for joined_kinds in found or () for kind in joined_kinds.split(",")
                )
        types = {name: _inferred_type(name, kinds.get(name, set())) for name in names}
        return {name: MappedField(of, name) for name, of in types.items() if of is not None}

    def _names_in_files(self, stream: DataStream) -> frozenset[str]:
        """All field names that a data stream's files have; reads all of them once."""
        names = set(self._parquet_columns(stream))
        if stream.ndjson:
            query = sql(
                "SELECT json_group_structure(json) FROM read_ndjson_objects({}, ignore_errors=true)",
                _file_list(stream.ndjson),
            )
            row = self._connection.execute(query.text).fetchone()
            if row and row[0]:
                names.update(_leaves(json.loads(row[0]), ""))
        return frozenset(names)

    def _parquet_columns(self, stream: DataStream) -> dict[str, _ParquetColumn]:
        if not stream.parquet:
            return {}
        relation = self._connection.sql(
            f"SELECT * FROM {_parquet_relation(stream.parquet).text} LIMIT 0"  # noqa: S608 - quoted
        )
        pairs = zip(relation.columns, relation.types, strict=True)
        return {
            column.name: column
            for name, of_type in pairs
            for column in _flattened(name, identifier(name), of_type)
        }

    def _skipped(self, stream: DataStream, first: DocumentError) -> str:
        query = sql(
            "SELECT count(*) FROM read_ndjson_objects({}, ignore_errors=true) "
            "WHERE json IS NULL OR json_type(json) <> 'OBJECT'",
            _file_list(stream.ndjson),
        )
        row = self._connection.execute(query.text).fetchone()
        return f"{row[0] if row else 0} unreadable lines skipped, for example {first.message}"


def _possible_fields(names: set[str], mapping: Mapping[str, MappedField]) -> list[str]:
    """The names that can be fields: an object is none, and no field is below another one."""
    objects = {parent for name in (*names, *mapping) for parent in _parents(name)}
    return sorted(
        name for name in names - objects if not any(parent in mapping for parent in _parents(name))
    )


def _parents(name: str) -> Iterator[str]:
    """a and a.b for a.b.c."""
    for dot, character in enumerate(name):
        if character == ".":
            yield name[:dot]


# --- NDJSON ---


@dataclass(frozen=True, slots=True)
class _StrictJson:
    """NDJSON files, read at full speed; a line that is no document ends the reading."""

    paths: tuple[str, ...]

    def relation(self, names: Iterable[str]) -> Sql:
        """The files with every spelling of the fields as nested columns of JSON."""
        columns = ", ".join(
            f"{text_constant(key).text}: {text_constant(_json_structure(below)).text}"
            for key, below in _spellings(names).items()
        )
        return sql(
            f"read_json({{}}, format='newline_delimited', records=true, columns={{{columns}}})",
            _file_list(self.paths),
        )


@dataclass(frozen=True, slots=True)
class _LenientJson:
    """NDJSON files with broken lines, which are left out; slower."""

    paths: tuple[str, ...]

    def relation(self, names: Iterable[str]) -> Sql:
        """The same columns as the strict reading has."""
        structure = json.dumps(_transform_structure(_spellings(names)))
        return sql(
            "(SELECT unnest(json_transform(json, {})) "
            "FROM read_ndjson_objects({}, ignore_errors=true) WHERE json_type(json) = 'OBJECT')",
            text_constant(structure),
            _file_list(self.paths),
        )


JsonFiles = _StrictJson | _LenientJson
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
    # A document needs a column to be a row, also where a question reads no field at all.
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


def _raw(name: str) -> Sql:
    """The JSON of a field, whichever way it is written."""
    ways = [
        Sql(identifier(keys[0]).text + "".join(f"[{text_constant(key).text}]" for key in keys[1:]))
        for keys in _ways_to_write(name)
    ]
    return ways[0] if len(ways) == 1 else sql("coalesce({})", joined(", ", ways))


def _from_ndjson(json_files: JsonFiles, fields: Mapping[str, MappedField]) -> Sql:
    """Three columns a field: its single value, its values if they are several, and `malformed`."""
    if not fields:
        return sql("SELECT 1 AS one FROM {}", json_files.relation(()))
    raw, read, ordered, columns = [], [], [], []
    for i, field in enumerate(fields.values()):
        convert = _FROM_DOCUMENT[field.type]
        raw.append(sql(f"{{}} AS r{i}", _raw(field.path)))
        read += [
            sql(f"{{}} AS s{i}", sql(convert, Sql(f"document_text(r{i})"))),
            sql(
                f"CASE WHEN starts_with(r{i}, '[') THEN list_transform(array_values(r{i}), "
                f"lambda element: {{}}) END AS a{i}",
                sql(convert, Sql("document_text(element)")),
            ),
        ]
        ordered.append(sql(f"{{}} AS v{i}", _as_loaded(field.type, Sql(f"a{i}"))))
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


def _as_loaded(of_type: Type, values: Sql) -> Sql:
    """Values in the order of doc values: sorted, texts and addresses without repetitions."""
    there = sql("list_filter({}, lambda made: made IS NOT NULL)", values)
    distinct = sql("list_distinct({})", there) if of_type in _DEDUPLICATED else there
    return sql("list_sort({})", distinct)


def _leaves(structure: object, prefix: str) -> Iterator[str]:
    if isinstance(structure, dict):
        for key, below in structure.items():
            yield from _leaves(below, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix


def _inferred_type(name: str, kinds: set[str]) -> Type | None:
    """A type for the kinds of JSON values; None if there are none. Names as ECS would type them."""
    kinds = kinds - {"NULL", "OBJECT", "ARRAY", ""}
    if not kinds:
        return None
    if name == "@timestamp":
        return Type.DATE
    if kinds == {"BOOLEAN"}:
        return Type.BOOLEAN
    if kinds <= {"UBIGINT", "BIGINT"}:
        return Type.LONG
    if kinds <= {"UBIGINT", "BIGINT", "DOUBLE", "HUGEINT"}:
        return Type.DOUBLE
    if "TIMESTAMP" in kinds:
        return Type.DATE
    return Type.IP if name.split(".")[-1] == "ip" else Type.KEYWORD


_IN_FILE = re.compile(
    r'in file "(?P<path>[^"]*)"(?:, (?:at byte \d+ )?in line (?P<line>\d+))?: (?P<why>.*)'
)


def _bad_line(error: duckdb.Error) -> DocumentError:
    """Word DuckDB's complaint with the file and the line that a reader will find."""
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


def _file_list(paths: Sequence[str]) -> Sql:
    return sql("[{}]", joined(", ", map(text_constant, paths)))


# --- Parquet ---


@dataclass(frozen=True, slots=True)
class _ParquetColumn:
    """A field in Parquet: its SQL, the DuckDB type of a value, whether it holds lists."""

    name: str
    sql: Sql
    kind: str
    several: bool


def _flattened(
    name: str, column: Sql, of_type: duckdb.sqltypes.DuckDBPyType
) -> Iterator[_ParquetColumn]:
    if of_type.id == "struct":
        for key, inner in of_type.children:
            below = sql("{}[{}]", column, text_constant(key))
            yield from _flattened(f"{name}.{key}", below, inner)
    elif of_type.id == "list":
        ((_, element),) = of_type.children
        yield _ParquetColumn(name, column, _json_kind(str(element)), several=True)
    else:
        yield _ParquetColumn(name, column, _json_kind(str(of_type)), several=False)


def _json_kind(duckdb_type: str) -> str:
    """The kind under which a Parquet type counts when types are inferred."""
    if duckdb_type.startswith("TIMESTAMP") or duckdb_type == "DATE":
        return "TIMESTAMP"
    if duckdb_type.endswith("INT") or duckdb_type == "INTEGER":
        return "BIGINT"
    if duckdb_type in {"FLOAT", "DOUBLE"} or duckdb_type.startswith("DECIMAL"):
        return "DOUBLE"
    return duckdb_type


def _parquet_relation(paths: Sequence[str]) -> Sql:
    return sql("read_parquet({}, union_by_name=true)", _file_list(paths))


def _from_parquet(
    paths: Sequence[str],
    columns: Mapping[str, _ParquetColumn],
    fields: Mapping[str, MappedField],
) -> Sql:
    """The same three columns a field as NDJSON gives."""
    selected = [
        part
        for i, field in enumerate(fields.values())
        for part in _parquet_field(i, field, columns.get(field.path))
    ]
    return sql(
        "SELECT {} FROM {}",
        joined(", ", selected or [Sql("1 AS one")]),
        _parquet_relation(paths),
    )


def _parquet_field(i: int, field: MappedField, column: _ParquetColumn | None) -> list[Sql]:
    if column is None:
        return _null_columns(i, field)
    native = column.kind == "TIMESTAMP" and field.type is Type.DATE
    convert = (
        "date_trunc('millisecond', CAST({} AS TIMESTAMP))" if native else _FROM_DOCUMENT[field.type]
    )
    text = "{}" if native else "CAST({} AS VARCHAR)"
    if not column.several:
        value = sql(convert, sql(text, column.sql))
        malformed = sql("CASE WHEN {} IS NOT NULL AND {} IS NULL THEN true END", column.sql, value)
        return [
            sql(f"{{}} AS f{i}", value),
            Sql(f"CAST(NULL AS {field.type.duckdb}[]) AS l{i}"),
            sql(f"{{}} AS m{i}", malformed),
        ]
    each = sql(convert, sql(text, Sql("element")))
    values = _as_loaded(field.type, sql("list_transform({}, lambda element: {})", column.sql, each))
    return [
        sql(f"only_value({{}}) AS f{i}", values),
        sql(f"list_filter([{{}}], lambda all_values: len(all_values) > 1)[1] AS l{i}", values),
        sql(
            "CASE WHEN list_contains(list_transform({}, "
            f"lambda element: element IS NOT NULL AND {{}} IS NULL), true) THEN true END AS m{i}",
            column.sql,
            each,
        ),
    ]


def _null_columns(i: int, field: MappedField) -> list[Sql]:
    form = field.type.duckdb
    return [
        Sql(f"CAST(NULL AS {form}) AS f{i}"),
        Sql(f"CAST(NULL AS {form}[]) AS l{i}"),
        Sql(f"CAST(NULL AS BOOLEAN) AS m{i}"),
    ]


def _nothing(fields: Mapping[str, MappedField]) -> str:
    """No rows, with all columns: a data stream without files."""
    columns = [
        part.text for i, field in enumerate(fields.values()) for part in _null_columns(i, field)
    ]
    return f"SELECT {', '.join(columns or ['1 AS one'])} WHERE false"


# --- Several data streams as one relation ---


def _shown_fields(loaded: Loaded, demand: Demand) -> frozenset[str]:
    return frozenset(
        name
        for name in loaded.columns
        if name in demand.names or any(pattern.matches(name) for pattern in demand.patterns)
    )


def _united(name: str, column: str, parts: Sequence[FieldColumn | None]) -> FieldColumn:
    """A field over several data streams: of one type, or unusable."""
    present = [part for part in parts if part is not None]
    types = {part.type for part in present}
    unusable = next((part.unusable for part in present if part.unusable), "")
    if len(types) > 1:
        listed = ", ".join(f"[{of_type}]" for of_type in sorted(types))
        unusable = f"due to ambiguities being mapped as [{len(types)}] incompatible types: {listed}"
    of_type = Type.UNSUPPORTED if unusable else present[0].type
    several = not unusable and any(part.several for part in present)
    return FieldColumn(name, of_type, column, several, unusable)


def _selected(loaded: Loaded, columns: Sequence[FieldColumn], stream: str) -> Sql:
    selected = [
        sql(
            "{} AS {}",
            _selected_column(loaded.columns.get(column.name), column),
            Sql(column.column),
        )
        for column in columns
    ]
    index = sql("{} AS stream_name", text_constant(stream))
    return sql(
        f"SELECT {{}} FROM {loaded.table}",  # noqa: S608 - quoted
        joined(", ", [*selected, index]),
    )


def _selected_column(part: FieldColumn | None, whole: FieldColumn) -> Sql:
    form = whole.type.duckdb + ("[]" if whole.several else "")
    if part is None or whole.unusable:
        return Sql(f"CAST(NULL AS {form})")
    if whole.several and not part.several:
        return Sql(f"listed({part.column})")
    return Sql(part.column)


def _metadata_column(column: Column) -> FieldColumn:
    if column.name != "_index":
        raise refused(f"metadata field [{column.name}] is not supported", column.source)
    return FieldColumn("_index", Type.KEYWORD, "stream_name")
