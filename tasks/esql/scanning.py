"""NDJSON files and the shapes of fields go in; SQL for typed columns comes out.

A scan computes a field only for the rows that a question asks it for. Where a value does not fit
the shape of its field, the scan ends with a signal (see `shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tasks.esql.files import Compression
from tasks.esql.flattening import INDEX, TIME
from tasks.esql.loading import FROM_DOCUMENT, as_loaded, file_list
from tasks.esql.names import Keys, ways_to_write
from tasks.esql.shapes import Leaf, Shape, Surprise, signalling
from tasks.esql.sql import Sql, identifier, joined, sql, text_constant
from tasks.esql.streams import MappedField
from tasks.esql.types import STRING, Type

_FILE = Sql('"\x02file"')
_STARTS_LIKE_JSON = "{}[1] IN ('[', '{')"
_HOLDS_MORE = "(starts_with({0}, '[') OR starts_with({0}, '{'))"

Tree = dict[str, "Tree | str"]
"""Keys and what is below them: more keys, or the DuckDB type of a value."""


@dataclass(frozen=True, slots=True)
class ScannedField:
    """A field of a scan.

    Attributes:
        mapped: its type, and the path of its values.
        shape: how its values stand in the files.
        places: of the data stream in its folder, and of the field in the question.
        gives: the DuckDB type of its column, if that is not the type of its values.
    """

    mapped: MappedField
    shape: Shape
    places: tuple[int, int]
    gives: str = ""

    @property
    def place(self) -> int:
        """The number in the name of its column."""
        return self.places[1]

    @property
    def is_strict(self) -> bool:
        """Whether DuckDB itself refuses values in another shape."""
        is_date = self.mapped.type is Type.DATE and self.shape.leaf is Leaf.TEXT
        return is_date or self.shape.leaf is Leaf.LIST

    @property
    def duckdb(self) -> str:
        """The DuckDB type of the column."""
        return self.gives or self.mapped.type.duckdb + ("[]" if self.shape.several else "")

    @property
    def leaf_type(self) -> str:
        """The DuckDB type of the value in a file."""
        match self.shape.leaf:
            case Leaf.LIST:
                return "VARCHAR[]"
            case Leaf.ANY:
                return "JSON"
            case Leaf.TEXT:
                return "TIMESTAMPTZ" if self.mapped.type is Type.DATE else "VARCHAR"

    def signal(self, surprise: Surprise, path: Sql | None = None) -> Sql:
        """The end of the scan because of this field."""
        is_costly = self.mapped.type is Type.IP
        return signalling(surprise, self.places, self.duckdb, path, stays=is_costly)

    @property
    def wrong(self) -> Sql:
        """What a value of a wrong type becomes: null, once it is known that there are some."""
        return Sql("NULL") if self.shape.has_wrong else self.signal(Surprise.WRONG)


@dataclass(frozen=True, slots=True)
class Lines:
    """NDJSON files that are scanned together.

    Attributes:
        paths: of the files.
        compression: of all of them.
        wrapper: the keys above every document.
        is_flat: whether they were rewritten: a field is a key, and every line a document.
    """

    paths: tuple[str, ...]
    compression: Compression = Compression.NONE
    wrapper: Keys = ()
    is_flat: bool = False

    def scan(self, fields: Sequence[ScannedField]) -> Sql:
        """The columns `f0`, `f1`, ... of fields."""
        return self._selected(fields, lambda read: _value(read.field, read))

    def indexed(self, fields: Sequence[ScannedField]) -> Sql:
        """The same columns, and the name of the index that a hit comes from."""
        return self._selected(
            fields, lambda read: _value(read.field, read), Sql(f'"{INDEX}" AS hit_index')
        )

    def raw(self, fields: Sequence[ScannedField]) -> Sql:
        """The same columns as JSON, as the files have it."""
        return self._selected(_of_any(fields, "JSON"), lambda read: read.checked(read.value))

    def wrong(self, fields: Sequence[ScannedField]) -> Sql:
        """The same columns as truth values: whether a value is not of the field's type."""
        return self._selected(
            _of_any(fields, "BOOLEAN"), lambda read: read.checked(_is_wrong(read.field, read.value))
        )

    def _selected(
        self, fields: Sequence[ScannedField], column: Callable[[_Read], Sql], *others: Sql
    ) -> Sql:
        reads = [_Read(self, field) for field in fields]
        columns = [sql(f"{{}} AS f{read.field.place}", column(read)) for read in reads]
        columns += others
        return sql(
            "SELECT {} FROM {} WHERE {}",
            joined(", ", columns or [Sql("1 AS one")]),
            self._relation(fields, indexed=bool(others)),
            self._is_document(),
        )

    def objects(self) -> Sql:
        """The lines as JSON, without the broken ones."""
        return sql(
            "read_ndjson_objects({}, ignore_errors=true, hive_partitioning=false, compression={})",
            file_list(self.paths),
            text_constant(self.compression),
        )

    def ways(self, field: ScannedField) -> list[Keys]:
        """The keys under which a field may stand, those that are known first."""
        if self.is_flat:
            return [(field.mapped.path,)]
        known = sorted(field.shape.ways)
        return known + [way for way in ways_to_write(field.mapped.path) if way not in known]

    @property
    def time(self) -> Sql:
        """The column that every document has."""
        return access((*self.wrapper, TIME))

    def _is_document(self) -> Sql:
        """A condition that holds for every row, or ends the scan: the row is no document.

        Every field that is computed says so as well (see `_Read.checked`): the row may be gone
        before this condition sees it.
        """
        if self.is_flat:
            return Sql("true")
        odd = signalling(Surprise.ODD_FILE, (0, 0), "BOOLEAN", _FILE)
        return sql("CASE WHEN {} IS NULL THEN {} ELSE true END", self.time, odd)

    def _relation(self, fields: Sequence[ScannedField], *, indexed: bool) -> Sql:
        tree: Tree = {INDEX: "VARCHAR"} if indexed else {}
        for field in fields:
            for way in self.ways(field):
                _grow(tree, (*self.wrapper, *way), field.leaf_type)
        # A document is a row only with a column; and every document has a time.
        if not self.is_flat or not tree:
            _grow(tree, (*self.wrapper, TIME), "VARCHAR")
        columns = [
            sql("{}: {}", text_constant(key), text_constant(_type(below).text))
            for key, below in tree.items()
        ]
        return sql(
            "read_json({}, format='newline_delimited', records=true, hive_partitioning=false, "
            "filename={}, compression={}, columns={{}})",
            file_list(self.paths),
            text_constant(_FILE.text.strip('"')),
            text_constant(self.compression),
            joined(", ", columns),
        )


def _of_any(fields: Sequence[ScannedField], gives: str) -> list[ScannedField]:
    """Fields as any JSON, for columns of a type of their own."""
    return [replace(f, shape=replace(f.shape, leaf=Leaf.ANY), gives=gives) for f in fields]


def _grow(tree: Tree, way: Keys, leaf_type: str) -> None:
    """Add a way to a tree; a leaf that is there stays, also where the way would go below it."""
    *above, last = way
    for key in above:
        below = tree.setdefault(key, {})
        if isinstance(below, str):
            return
        tree = below
    tree.setdefault(last, leaf_type)


def _type(below: Tree | str) -> Sql:
    if isinstance(below, str):
        return Sql(below)
    inner = [sql("{} {}", identifier(key), _type(deep)) for key, deep in below.items()]
    return sql("STRUCT({})", joined(", ", inner))


def access(keys: Keys) -> Sql:
    """The value below keys."""
    inner = [sql("[{}]", text_constant(key)) for key in keys[1:]]
    return sql("{}{}", identifier(keys[0]), joined("", inner))


@dataclass(frozen=True, slots=True)
class _Read:
    """A field in the files of a scan, as they have it."""

    lines: Lines
    field: ScannedField

    @property
    def value(self) -> Sql:
        """The value, under whichever known keys it stands."""
        ways = [access((*self.lines.wrapper, *way)) for way in self._known]
        return ways[0] if len(ways) == 1 else sql("coalesce({})", joined(", ", ways))

    @property
    def _known(self) -> list[Keys]:
        return self.lines.ways(self.field)[: max(len(self.field.shape.ways), 1)]

    def checked(self, value: Sql) -> Sql:
        """A value, unless the row is no document or the field stands elsewhere as well."""
        if self.lines.is_flat:
            return value
        arms = [
            sql("WHEN {} IS NULL THEN {}", self.lines.time, self._signal(Surprise.ODD_FILE)),
        ]
        known = [access((*self.lines.wrapper, *way)) for way in self._known]
        others = self.lines.ways(self.field)[len(known) :]
        if others:
            elsewhere = [access((*self.lines.wrapper, *way)) for way in others]
            arms.append(
                sql(
                    "WHEN {} THEN {}",
                    joined(" OR ", [sql("{} IS NOT NULL", way) for way in elsewhere]),
                    self._signal(Surprise.ANOTHER_WAY),
                )
            )
        if len(known) > 1:
            counted = joined(" + ", [sql("CAST({} IS NOT NULL AS INTEGER)", w) for w in known])
            arms.append(sql("WHEN {} > 1 THEN {}", counted, self._signal(Surprise.ODD_FILE)))
        return sql("CASE {} ELSE {} END", joined(" ", arms), value)

    @property
    def nested(self) -> Sql:
        """What an object or a list in a list becomes: the rewriting knows what it holds.

        In a file that was rewritten it is an object where the mapping has a field.
        """
        return self.field.wrong if self.lines.is_flat else self._signal(Surprise.ODD_FILE)

    def _signal(self, surprise: Surprise) -> Sql:
        return self.field.signal(surprise, _FILE)


def _value(field: ScannedField, read: _Read) -> Sql:
    """The column of a field."""
    match field.shape.leaf:
        case Leaf.TEXT:
            value = _from_text(field, read.value)
        case Leaf.LIST:
            value = _from_list(field, read.value)
        case Leaf.ANY if field.shape.several:
            value = _from_any_list(field, read.value, read.nested)
        case Leaf.ANY:
            value = _from_any(field, read.value, read.nested)
    return read.checked(value)


def _from_text(field: ScannedField, text: Sql) -> Sql:
    unclear = field.signal(Surprise.ANY_LEAF)
    if field.mapped.type in STRING:
        return sql(f"CASE WHEN {_STARTS_LIKE_JSON} THEN {{}} ELSE {{0}} END", text, unclear)
    if field.mapped.type is Type.DATE:  # DuckDB's reader has made it a time.
        converted = sql("TRY(date_trunc('millisecond', CAST({} AS TIMESTAMP)))", text)
    else:
        converted = sql(FROM_DOCUMENT[field.mapped.type], text)
    return sql("coalesce({}, CASE WHEN {} IS NOT NULL THEN {} END)", converted, text, unclear)


def _from_list(field: ScannedField, texts: Sql) -> Sql:
    text = sql("{}[1]", texts)
    converted = sql(FROM_DOCUMENT[field.mapped.type], text)
    return sql(
        f"CASE WHEN len({{0}}) > 1 THEN {{1}} WHEN {_STARTS_LIKE_JSON.replace('{}', '{2}')} "
        "THEN {3} ELSE coalesce({4}, CASE WHEN {2} IS NOT NULL THEN {3} END) END",
        texts,
        field.signal(Surprise.SEVERAL),
        text,
        field.signal(Surprise.ANY_LEAF),
        converted,
    )


def _from_any(field: ScannedField, json: Sql, nested: Sql) -> Sql:
    """The only value of JSON."""
    value = sql("CASE WHEN starts_with({0}, '[') THEN {0} -> 0 ELSE {0} END", json)
    return sql(
        "CASE WHEN starts_with({0}, '[') AND json_array_length({0}) > 1 THEN {1} "
        f"WHEN {_HOLDS_MORE.replace('{0}', '{2}')} THEN {{3}} "
        "ELSE coalesce({4}, CASE WHEN json_type({2}) <> 'NULL' THEN {5} END) END",
        json,
        field.signal(Surprise.SEVERAL),
        value,
        nested,
        sql(FROM_DOCUMENT[field.mapped.type], sql("({} ->> '$')", value)),
        field.wrong,
    )


def _from_any_list(field: ScannedField, json: Sql, nested: Sql) -> Sql:
    """All values of JSON."""
    converted = sql(FROM_DOCUMENT[field.mapped.type], Sql("document_text(one)"))
    loaded = as_loaded(field.mapped.type, sql("list_transform(there, lambda one: {})", converted))
    exceptions = [
        sql("WHEN list_contains(list_transform(there, lambda one: {}), true) THEN {}", test, then)
        for test, then in (
            (sql(_HOLDS_MORE, Sql("one")), nested),
            (sql("{} IS NULL", converted), field.wrong),
        )
        if then.text != "NULL"
    ]
    filled = sql("filled({})", loaded)
    return sql(
        "list_transform([json_values({})], lambda there: {})[1]",
        json,
        sql("CASE {} ELSE {} END", joined(" ", exceptions), filled) if exceptions else filled,
    )


def _is_wrong(field: ScannedField, json: Sql) -> Sql:
    return sql(
        "list_contains(list_transform(json_values({}), lambda one: {} IS NULL), true)",
        json,
        sql(FROM_DOCUMENT[field.mapped.type], Sql("document_text(one)")),
    )


def nothing(fields: Sequence[ScannedField]) -> Sql:
    """No rows, with the columns of a scan: a data stream without files."""
    columns = [Sql(f"CAST(NULL AS {field.duckdb}) AS f{field.place}") for field in fields]
    return sql("SELECT {} WHERE false", joined(", ", columns or [Sql("1 AS one")]))
