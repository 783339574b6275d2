"""A folder goes in, its data streams come out: their files, and the fields of their mappings.

FOLDER/<data stream>/mapping.json     optional, an Elasticsearch mapping
FOLDER/<data stream>/**               files of documents: NDJSON, JSON or Parquet
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tasks.errors import SettingsError
from tasks.esql.names import abbreviated, fault_of
from tasks.esql.types import FIELD_TYPES, Type

MAPPING = "mapping.json"
_NO_MAPPING = (
    *(ValueError, TypeError, LookupError, StopIteration, AttributeError, RecursionError, OSError),
)
_UNSUPPORTED = "with unsupported type [{}]"
_SHIPPED = {
    "logs-endpoint.events.network-*": "network.json",
    "logs-endpoint.events.process-*": "process.json",
    "metrics-endpoint.metadata*": "metadata.json",
}


@dataclass(frozen=True, slots=True)
class MappedField:
    """A field's type, and the path of its values in a document: for a multi-field its parent's.

    `unusable` says why it cannot be used; it is empty if it can.
    """

    type: Type
    path: str
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class DataStream:
    """A folder of documents: the paths of its files, and the fields of its mapping."""

    name: str
    files: tuple[str, ...]
    mapping: Mapping[str, MappedField]


def read_mapping(text: str) -> Mapping[str, MappedField]:
    """Read a mapping in the form of `GET index/_mapping` or of an index template."""
    fields = dict(_mapped_fields(properties_in(text), ""))
    for name in fields:
        name.encode()  # Half a surrogate is valid in JSON, and no text.
        if fault := fault_of(name):
            raise ValueError(f"the field [{abbreviated(name)}]: {fault}")
    return fields


def properties_in(text: str) -> dict[str, Any]:
    """Find the properties in a mapping, as JSON."""
    mapping = json.loads(text)
    while "properties" not in mapping:
        mapping = mapping["mappings"] if "mappings" in mapping else next(iter(mapping.values()))
    found: dict[str, Any] = mapping["properties"]
    return found


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
        SettingsError: the folder does not exist, a mapping cannot be read, or a file cannot be
            named to DuckDB or lies outside of the folder.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"The folder {folder} does not exist.",
            "Name a folder that holds a subfolder of NDJSON or Parquet files for each data stream.",
        )
    # DuckDB compares a file's real path with the folder that it may read.
    root = Path(os.path.realpath(folder))
    return tuple(_data_stream(path, root) for path in sorted(root.iterdir()) if _is_shown(path))


def _is_shown(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _data_stream(path: Path, root: Path) -> DataStream:
    refuse_stranger(path, root)
    files = [str(each) for each in files_below(path, root) if each != path / MAPPING]
    return DataStream(path.name, tuple(files), _mapping_of(path))


def files_below(path: Path, root: Path) -> list[Path]:
    """The files below a folder but hidden ones; links may lead to other places below the root.

    Raises:
        SettingsError: a link leads out of the root, or a name cannot get into SQL.
    """
    there = sorted(_below(path))
    for each in there:
        refuse_stranger(each, root)
    return [each for each in there if each.is_file()]


def _below(path: Path) -> Iterator[Path]:
    """Everything below a folder but what is hidden, such as `._events.ndjson` from a Mac."""
    for each in path.iterdir():
        if not each.name.startswith("."):
            yield each
            if each.is_dir() and not each.is_symlink():
                yield from _below(each)


def refuse_stranger(path: Path, root: Path) -> None:
    """Refuse a link that leaves the folder, and a name that cannot get into SQL.

    Not with `Path.resolve`: it fails on links that lead to each other.
    """
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        raise SettingsError(
            f"{path} is a link that leads out of the folder {root}.",
            "Copy what it points to into the folder, or remove the link.",
        )
    name = os.fsencode(path)
    if b"\\" in name or not _is_utf8(name):
        raise SettingsError(
            f"{name.decode(errors='backslashreplace')} has a backslash or bytes that are not UTF-8 "
            "in its path.",
            "Rename it, or move the folder.",
        )


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _mapping_of(path: Path) -> Mapping[str, MappedField]:
    own = path / MAPPING
    return mapping_in(own) if own.exists() else shipped_mapping(path.name)


def mapping_in(path: Path) -> Mapping[str, MappedField]:
    """Read the mapping in a file.

    Raises:
        SettingsError: it holds none.
    """
    try:
        return read_mapping(path.read_text(encoding="utf-8"))
    except _NO_MAPPING as error:
        raise SettingsError(
            f"{path} is not an Elasticsearch mapping: {error}.",
            "Save what GET <index>/_mapping answers, or delete it to have types inferred.",
        ) from error


@cache
def shipped_mapping(stream: str) -> Mapping[str, MappedField]:
    """Give the mapping of an Elastic Defend data stream or index pattern; for others an empty one.

    `alias:` before the name of a stream is that of a remote cluster.
    """
    text = shipped_mapping_text(stream)
    return read_mapping(text) if text else {}


def shipped_mapping_text(stream: str) -> str:
    """Give that mapping as JSON; empty if there is none."""
    for pattern, name in _SHIPPED.items():
        if fnmatchcase(stream.rpartition(":")[2], pattern):
            return files("tasks.esql").joinpath("mappings", name).read_text(encoding="utf-8")
    return ""
