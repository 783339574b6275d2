"""A data stream goes in; a scan of its documents comes out, with what is known of their shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import duckdb

from tasks.esql.errors import DocumentError
from tasks.esql.lines import file_in, unreadable
from tasks.esql.loading import JSON_KINDS, inferred_type, kinds_of
from tasks.esql.names import (
    PARTS_IN_ALL_WAYS,
    abbreviated,
    fault_of,
    parents,
    refuse_twins,
    ways_to_write,
)
from tasks.esql.scanning import ScannedField, nothing
from tasks.esql.shapes import Leaf, Shape, Signal, Surprise, signal_in
from tasks.esql.sql import Sql, joined, sql, text_constant
from tasks.esql.stream_files import Execute, StreamFiles
from tasks.esql.streams import MappedField
from tasks.esql.survey import Survey, survey_query, surveyed
from tasks.esql.types import Type
from tasks.text.numbers import counted

_MOST_FIELDS = 1_000
_MOST_IN_ANY_SHAPE = 300
_ROWS_AT_ONCE = 1_000
_NEAR = 0.75
"""From here on a name that no document has is taken for a typing error in a mapped one."""

MappedFields = Mapping[str, MappedField]


class StreamReader:
    """Reads one data stream, and learns the shapes of its fields from scans that end early.

    Args:
        place: of the data stream among those of its folder.
        files: of the data stream.
        execute: runs a statement.
    """

    def __init__(self, place: int, files: StreamFiles, execute: Execute) -> None:
        self.files = files
        self.stream = files.stream
        self._place = place
        self._execute = execute
        self._shapes: dict[str, Shape] = {}
        self._kinds: dict[str, set[str]] = {}
        self._wrong: dict[str, int] = {}
        self._surveyed: list[Survey] | None = None
        self._asked: list[ScannedField] = []
        for shapes in files.shapes:
            for name, shape in shapes.items():
                self._widen(name, shape)

    # --- Fields ---

    def fields(self, wanted: Collection[str]) -> MappedFields:
        """The fields of these names that exist, with their types; sorted.

        Raises:
            DocumentError: two names differ only in case, or they are too many.
        """
        possible = {name for name in wanted if not fault_of(name)}
        mapped = {name: f for name, f in self.stream.mapping.items() if name in possible}
        others = _possible_fields(possible - mapped.keys(), self.stream.mapping)
        refuse_twins([*mapped, *others])
        self._rewrite_unscannable({*(field.path for field in mapped.values()), *others})
        inferred = self._inferred([name for name in others if not self.is_typing_error(name)])
        fields = dict(sorted([*mapped.items(), *inferred.items()]))
        self._refuse_too_many([field for field in fields.values() if not field.unusable])
        return fields

    def _rewrite_unscannable(self, paths: Collection[str]) -> None:
        """Rewrite the files that hold a field where a scan does not look for it."""
        is_long = any(path.count(".") >= PARTS_IN_ALL_WAYS for path in paths)
        for file in self.files.scanned:
            if is_long or not file.below_lists.isdisjoint(paths):
                self.rewrite(file.path)

    def is_typing_error(self, name: str) -> bool:
        """Whether a name is near a mapped one, and no document that was looked at has it."""
        if name in self._shapes or name in self.files.parquet.names:
            return False
        return bool(get_close_matches(name, self.stream.mapping, n=1, cutoff=_NEAR))

    def _inferred(self, names: Sequence[str]) -> MappedFields:
        """Fields that no mapping knows, by the kinds of values that the files have."""
        unknown = [name for name in names if name not in self._kinds]
        self._kinds |= self.kinds(unknown) if unknown else {}
        typed = {name: inferred_type(name, self._kinds[name]) for name in names}
        return {name: MappedField(of_type, name) for name, of_type in typed.items() if of_type}

    def kinds(self, names: Sequence[str]) -> dict[str, set[str]]:
        """The kinds of the values that fields have in the files."""
        kinds: dict[str, set[str]] = {name: set() for name in names}
        for name in names:
            for made in self.files.rewritten.values():
                kinds[name] |= made.kinds.get(name, set())
            kinds[name] |= self.files.parquet.kinds(name)
        fields = self._scanned({name: MappedField(Type.KEYWORD, name) for name in names})
        known = sql("[{}]", joined(", ", map(text_constant, JSON_KINDS)))
        for lines in self.files.lines if names else ():
            bits = [sql(f"bit_or(document_kinds(f{field.place}, {{}}))", known) for field in fields]
            query = sql("SELECT {} FROM ({})", joined(", ", bits), lines.raw(fields))
            for name, found in zip(names, self._row(query), strict=True):
                kinds[name] |= kinds_of(found)
        return kinds

    def _refuse_too_many(self, fields: Sequence[MappedField]) -> None:
        """Refuse what DuckDB could not prepare in time; single texts cost it little."""
        of_any = sum(self._shape(field).settled.leaf is Leaf.ANY for field in fields)
        for most, count in ((_MOST_FIELDS, len(fields)), (_MOST_IN_ANY_SHAPE, of_any)):
            if count > most:
                raise DocumentError(
                    f"the question reads {count} fields of [{self.stream.name}], more than "
                    f"[{most}] at once: name those that you need, for example with KEEP"
                )

    # --- All fields ---

    def names(self) -> frozenset[str]:
        """The names of all fields."""
        return frozenset({*self.stream.mapping, *self.names_in_files()})

    def names_in_files(self) -> frozenset[str]:
        """The names of all fields that a document may have; reads every file, once."""
        if any(survey.below_lists for survey in self._surveys()) or self._has_hidden_objects():
            for file in self.files.scanned:
                self.rewrite(file.path)
        names = set(self.files.parquet.names)
        names |= {name for survey in self._surveys() for name in survey.ways}
        names |= {name for made in self.files.rewritten.values() for name in made.kinds}
        return frozenset(names)

    def _surveys(self) -> list[Survey]:
        """What the files hold that are scanned as they are."""
        if self._surveyed is None:
            self._surveyed = [
                surveyed(self._rows(survey_query(lines.objects())), lines.wrapper)
                for lines in self.files.lines
            ]
            for survey in self._surveyed:
                for name, ways in survey.ways.items():
                    shape = self._shapes.get(name, Shape())
                    self._shapes[name] = replace(shape, ways=shape.ways | ways)
        return self._surveyed

    def _has_hidden_objects(self) -> bool:
        """Whether a field with values of several kinds has objects among them."""
        mixed = {
            name
            for survey in self._surveys()
            for name, kinds in survey.kinds.items()
            if kinds & {"JSON", "[JSON]"} and not fault_of(name)
        }
        return any("OBJECT" in kinds for kinds in self.kinds(sorted(mixed)).values())

    def faulty_names(self) -> Iterator[str]:
        """A warning if the files have names that cannot be fields."""
        faults = {name: fault for name in self.names() if (fault := fault_of(name))}
        if faults:
            name, fault = min(faults.items())
            example = f"[{abbreviated(name)}]: {fault}"
            count = counted(len(faults), "field")
            yield f"{count} of [{self.stream.name}] left out, for example {example}"
        if deep := sum(survey.too_deep for survey in self._surveys()):
            yield (
                f"{counted(deep, 'document')} of [{self.stream.name}] nest too deep: fields that "
                "only they have are left out"
            )

    # --- Scans ---

    def scan(self, fields: MappedFields) -> Sql:
        """The documents with the columns `f0`, `f1`, ... of the fields."""
        scanned = self._scanned(fields)
        parts = [lines.scan(scanned) for lines in (*self.files.lines, *self.files.flat_lines)]
        parts += self.files.parquet.scan(scanned)
        return joined(" UNION ALL ", parts or [nothing(scanned)])

    def has_wrong(self, field: MappedField) -> bool:
        """Whether a scan met a value of a field that is not of its type."""
        return self._shape(field).has_wrong

    def is_several(self, field: MappedField) -> bool:
        """Whether some document has several values of a field."""
        return self._shape(field).several

    def wrong_values(self, fields: MappedFields) -> Iterator[str]:
        """A warning for every field with values that are not of its type."""
        having = {name: f for name, f in fields.items() if self._shape(f).has_wrong}
        unknown = {name: field for name, field in having.items() if name not in self._wrong}
        if unknown:
            scanned = self._scanned(unknown)
            sums = ", ".join(f"count(*) FILTER (f{field.place})" for field in scanned)
            parts = [lines.wrong(scanned) for lines in (*self.files.lines, *self.files.flat_lines)]
            parts += self.files.parquet.wrong(scanned)
            row = self._row(sql("SELECT {} FROM ({})", Sql(sums), joined(" UNION ALL ", parts)))
            self._wrong |= dict(zip(unknown, row, strict=True))
        for name, field in having.items():
            yield (
                f"Field [{abbreviated(name)}] of [{self.stream.name}]: "
                f"{counted(self._wrong[name], 'document')} with a value that is no "
                f"[{field.type}], treated as null"
            )

    def _scanned(self, fields: MappedFields) -> list[ScannedField]:
        self._asked = [
            ScannedField(field, self._shape(field).settled, (self._place, place))
            for place, field in enumerate(fields.values())
        ]
        return self._asked

    def _shape(self, field: MappedField) -> Shape:
        return self._shapes.get(field.path, Shape())

    def _row(self, query: Sql) -> tuple[Any, ...]:
        """The single row of an aggregate."""
        return self._execute(query).fetchone() or ()

    def _rows(self, query: Sql) -> Iterator[tuple[Any, ...]]:
        found = self._execute(query)
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            yield from rows

    # --- What a scan met ---

    def _learn(self, signal: Signal) -> bool:
        """Rewrite a file, or widen the shape of a field, as a scan demands."""
        if signal.surprise is Surprise.ODD_FILE:
            return self.rewrite(signal.path)
        if signal.stream != self._place:
            return False
        path = self._asked[signal.field].mapped.path
        shape = self._shapes.get(path, Shape())
        match signal.surprise:
            case Surprise.ANOTHER_WAY:
                shape = replace(shape, ways=frozenset(ways_to_write(path)))
            case Surprise.ANY_LEAF:
                shape = replace(shape, leaf=Leaf.ANY)
            case Surprise.SEVERAL:
                shape = replace(shape, several=True)
            case Surprise.WRONG:
                shape = replace(shape, has_wrong=True)
        self._shapes[path] = shape
        return True

    def rewrite(self, path: str) -> bool:
        """Rewrite a file; false if it is none that is scanned as it is.

        Raises:
            DocumentError: the file holds something that is no document.
        """
        if all(file.path != path for file in self.files.scanned):
            return False
        self.files.rewrite(path)
        for name, shape in self.files.rewritten[path].shapes.items():
            self._widen(name, shape)
        self._kinds, self._wrong, self._surveyed = {}, {}, None
        return True

    def learn_from(self, error: duckdb.Error) -> bool:
        """Learn from the end of a scan: from its signal, or from DuckDB's own error about a file.

        Returns:
            False if the error is about no field and no file of this data stream.

        Raises:
            DocumentError: as above, or the file is one that a scan must be able to read.
        """
        if signal := signal_in(error):
            return self._learn(signal)
        scanned = [file.path for file in self.files.scanned]
        others = (*self.files.parquet.paths, *(m.path for m in self.files.rewritten.values()))
        path = file_in(error, (*scanned, *others))
        if path is None:
            return False
        strict = [field.mapped.path for field in self._asked if field.is_strict]
        if "JSON transform error" in str(error) and "Expected OBJECT" not in str(error) and strict:
            for name in strict:
                self._shapes[name] = replace(self._shapes.get(name, Shape()), leaf=Leaf.ANY)
        elif not self.rewrite(path):
            raise unreadable(error, path) from error
        return True

    def _widen(self, name: str, shape: Shape) -> None:
        self._shapes[name] = self._shapes[name] | shape if name in self._shapes else shape


def _possible_fields(names: Collection[str], mapping: MappedFields) -> list[str]:
    """The names that can be fields: not those of objects, nor those below another field."""
    objects = {parent for name in (*names, *mapping) for parent in parents(name)}
    return sorted(
        name
        for name in names
        if name not in objects and not any(parent in mapping for parent in parents(name))
    )
