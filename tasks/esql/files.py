"""A file's first bytes go in; its kind comes out, and the shape of its first documents.

The content counts, not the name: exports are renamed, rotated and compressed.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tasks.esql.errors import DocumentError
from tasks.esql.flattening import (
    TIME,
    FoundDocument,
    Mapped,
    NotADocument,
    Place,
    documents_in,
    leaves,
)
from tasks.esql.names import Keys
from tasks.esql.shapes import Leaf, Shape

_HEAD_BYTES = 1 << 18
_HEAD_LINES = 25
_TIMES = (str, int, list)
_SCANNED = (Place.ALONE, Place.LISTED)
_TEXT_NAMES = (".ndjson", ".jsonl", ".json")


class Kind(StrEnum):
    """What a file is."""

    LINES = "NDJSON"
    """One document a line, in shapes that a scan can read."""
    ODD = "JSON"
    """Other JSON, or other encodings: it is rewritten first."""
    PARQUET = "Parquet"
    UNKNOWN = "unknown"
    EMPTY = "empty"


class Compression(StrEnum):
    """How a file is compressed, by DuckDB's names."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a data stream, as its first bytes show it.

    Attributes:
        path: of the file.
        kind: what it is.
        compression: of its bytes.
        encoding: of its text, by Python's name.
        wrapper: the keys that lead to the document in every line.
        shapes: of the fields in its first documents.
        below_lists: fields in lists of objects, which a scan cannot read.
        fault: why it is not read; empty if it is.
    """

    path: str
    kind: Kind
    compression: Compression = Compression.NONE
    encoding: str = "utf-8"
    wrapper: Keys = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    below_lists: frozenset[str] = frozenset()
    fault: str = ""


_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def looked_at(path: Path, mapped: Mapped) -> DataFile:
    """Look at a file's first bytes.

    Raises:
        DocumentError: it cannot be read.
    """
    try:
        with path.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError as error:
        raise DocumentError(f"[{path}] cannot be read: {error.strerror}") from error
    if head.startswith(b"PAR1"):
        return DataFile(str(path), Kind.PARQUET)
    if not head:
        return DataFile(str(path), Kind.EMPTY)
    compression = Compression.NONE
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        # Only DuckDB can unpack it: it is read in the usual shape, or rewritten.
        return DataFile(str(path), Kind.LINES, Compression.ZSTD)
    if head.startswith(b"\x1f\x8b"):
        compression, head = Compression.GZIP, _unpacked(head)
    encoding = _encoding(head)
    text = head.decode(encoding, errors="ignore")
    if not _is_named_as_text(path) and text.lstrip()[:1] not in {"{", "["}:
        fault = "neither its name nor its content is that of NDJSON, JSON or Parquet"
        return DataFile(str(path), Kind.UNKNOWN, compression, encoding, fault=fault)
    return _glanced(DataFile(str(path), Kind.ODD, compression, encoding), text, mapped)


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""


def _encoding(head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if head[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" else "utf-8"


def _is_named_as_text(path: Path) -> bool:
    """Whether a name is that of NDJSON or JSON, also if compressed or rotated: a.ndjson.1.gz."""
    return any(suffix in _TEXT_NAMES for suffix in path.suffixes)


def _glanced(file: DataFile, text: str, mapped: Mapped) -> DataFile:
    """Find the shapes of the first documents; the file is odd if a scan cannot read one of them."""
    if file.encoding != "utf-8":
        return file
    wrappers: set[Keys] = set()
    seen: set[tuple[Keys, Place]] = set()
    several: set[str] = set()
    try:
        for found in _first_documents(text):
            wrappers.add(found.wrapper)
            document = found.document
            if not isinstance(document, dict) or not isinstance(document.get(TIME), _TIMES):
                return file
            places = [(keys, place) for keys, place, _ in leaves(document, mapped)]
            seen.update(places)
            names = Counter(".".join(keys) for keys, place in places if place in _SCANNED)
            several.update(name for name, count in names.items() if count > 1)
    except (ValueError, RecursionError, NotADocument):
        return file
    if len(wrappers) != 1:
        return file
    return DataFile(
        file.path,
        Kind.LINES,
        file.compression,
        wrapper=wrappers.pop(),
        shapes=_shapes(seen, several),
        below_lists=frozenset(".".join(keys) for keys, place in seen if place is Place.INSIDE_LIST),
    )


def _first_documents(text: str) -> Iterator[FoundDocument]:
    """The documents in the first lines.

    Raises:
        ValueError: a line is not a single document.
    """
    *lines, last = text.split("\n")  # Not with `splitlines`: texts may hold other line ends.
    if len(text) < _HEAD_BYTES // 4:
        lines.append(last)  # Else it may be cut.
    for line in lines[:_HEAD_LINES]:
        if line.strip():
            (found,) = documents_in(json.loads(line))
            yield found


def _shapes(seen: Iterable[tuple[Keys, Place]], several: Container[str]) -> dict[str, Shape]:
    """The shapes of fields, from the places of their values and the names of those with several."""
    shapes: dict[str, Shape] = {}
    for keys, place in seen:
        if place not in _SCANNED:
            continue
        name = ".".join(keys)
        leaf = Leaf.TEXT if place is Place.ALONE else Leaf.LIST
        shape = Shape(frozenset({keys}), leaf, several=name in several)
        shapes[name] = shapes[name] | shape if name in shapes else shape
    return shapes
