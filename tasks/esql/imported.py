"""Files and mappings of data streams go in; all of them get into a folder, or no change at all.

What is new is written into a hidden folder beside its place. At the end it is moved there; an error
on the way undoes the moves before it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

from tasks.errors import NotImported
from tasks.esql.streams import (
    MAPPING,
    MappedField,
    mapping_in,
    properties_in,
    read_mapping,
    shipped_mapping,
    shipped_mapping_text,
)
from tasks.esql.types import Type

_NEW_FOLDER = (
    "Import all files at once into a new folder: a type is then chosen that fits them all."
)


class ImportedFolder:
    """A folder that data streams are imported into.

    Args:
        folder: it may not exist yet.
        stage: a hidden folder on the same disk.
        given: the mappings that came with the files, by data stream.
    """

    def __init__(self, folder: Path, stage: Path, given: Mapping[str, Path]) -> None:
        self._folder = folder
        self._new = stage / "new"
        self._given = given
        self._new.mkdir()

    def file_of(self, stream: str) -> Path:
        """The path to write a data stream's documents to."""
        (self._new / stream).mkdir(exist_ok=True)
        return self._new / stream / _file_name(1)

    def fields_of(self, stream: str) -> Mapping[str, MappedField]:
        """The fields in the mapping of a data stream.

        Raises:
            NotImported: the mapping that came with the files has another type for a field.
            SettingsError: a mapping cannot be read.
        """
        mapped = read_mapping(json.dumps({"properties": self._properties(stream)}))
        for name, field in self.own_fields_of(stream).items():
            if name not in mapped or mapped[name].type is not field.type:
                raise self.conflict(stream, name, f"another one in {self._given[stream]}")
        return mapped

    def own_fields_of(self, stream: str) -> Mapping[str, MappedField]:
        """The fields that the folder's own mapping adds to that of Elastic Defend."""
        own = self._folder / stream / MAPPING
        fields = mapping_in(own) if own.exists() else {}
        return {name: fields[name] for name in fields.keys() - shipped_mapping(stream).keys()}

    def _properties(self, stream: str) -> dict[str, Any]:
        own, given = self._folder / stream / MAPPING, self._given.get(stream)
        texts = []
        for path in (own, given):
            if path and path.exists():
                mapping_in(path)  # Its error names the file.
                texts.append(path.read_text(encoding="utf-8"))
        properties: dict[str, Any] = {}
        for text in texts or filter(None, [shipped_mapping_text(stream)]):
            _merge(properties, properties_in(text))
        return properties

    def conflict(self, stream: str, name: str, found: str) -> NotImported:
        """The error for a field whose type in the folder is another one."""
        known = self.own_fields_of(stream)[name].type
        return NotImported(
            f"The field [{name}] of [{stream}] is [{known}] in {self._folder}, but {found}.",
            _NEW_FOLDER,
        )

    def describe(self, stream: str, inferred: Mapping[str, Type]) -> None:
        """Write the mapping of a data stream, with the types that were inferred.

        Where the folder has files without a mapping, their types stay inferred from all values.
        """
        there = self._folder / stream
        if there.exists() and not (there / MAPPING).exists():
            return
        properties = self._properties(stream)
        for name, of_type in inferred.items():
            *above, last = name.split(".")
            place = properties
            for key in above:
                place = place.setdefault(key, {}).setdefault("properties", {})
            place[last] = {"type": of_type}
        text = json.dumps({"mappings": {"properties": properties}}, indent=1, ensure_ascii=False)
        (self._new / stream / MAPPING).write_text(text + "\n", encoding="utf-8")

    def publish(self) -> None:
        """Move everything to its place.

        Raises:
            OSError: something cannot be moved; what was moved before is back.
        """
        if not self._folder.exists():
            self._new.rename(self._folder)
            return
        with ExitStack() as undo:
            for path in sorted(self._new.iterdir()):
                self._move(path, undo)
            undo.pop_all()

    def _move(self, new: Path, undo: ExitStack) -> None:
        there = self._folder / new.name
        if not there.exists():
            undo.callback(shutil.rmtree, there, ignore_errors=True)
            new.rename(there)
            return
        if (new / MAPPING).exists():
            before = (there / MAPPING).read_bytes()
            undo.callback((there / MAPPING).write_bytes, before)
            (new / MAPPING).replace(there / MAPPING)
        free = _reserved(there)
        undo.callback(free.unlink, missing_ok=True)
        (new / _file_name(1)).replace(free)


def _file_name(number: int) -> str:
    return f"{number:04}.parquet"


def _reserved(folder: Path) -> Path:
    """Make an empty file under the next free number: no file is ever overwritten."""
    for number in count(1):
        path = folder / _file_name(number)
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError  # `count` has no end.


def _merge(properties: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Add properties to others; where both have a field, the added one stands."""
    for name, definition in others.items():
        known = properties.get(name, {})
        if "properties" in known and "properties" in definition:
            _merge(known["properties"], definition["properties"])
        else:
            properties[name] = definition
