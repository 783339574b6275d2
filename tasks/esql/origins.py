"""What a document says of its data stream goes in; the name of the data stream comes out.

The name comes from a document and becomes that of a folder: it is checked first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import NotImported
from tasks.esql.flattening import FoundDocument
from tasks.esql.names import abbreviated, ways_to_write
from tasks.esql.streams import shipped_mapping

ORIGIN_FIELDS = (
    *("data_stream.type", "data_stream.dataset", "data_stream.namespace"),
    "event.dataset",
)
"""The fields of a document that say where it belongs."""

_ALLOWED = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")
"""Elasticsearch allows a few more characters, and folders would not take all of them."""

_BACKING = re.compile(r"(?:.*[:-])?\.ds-(.+)-\d{4}\.\d{2}\.\d{2}-\d{6,}")
"""An index behind a data stream; also of a remote cluster, or mounted from a snapshot."""

_LIKE_A_STREAM = re.compile(r"(?:logs|metrics|traces)-[^-]+-[^-]+")
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a document, or the hit that it comes in, says of its data stream; "" for nothing."""

    index: str = ""
    type: str = ""
    dataset: str = ""
    namespace: str = ""
    event_dataset: str = ""

    @classmethod
    def of(cls, index: object, values: Sequence[object]) -> Origin:
        """Take the name of a hit's index, and the values of `ORIGIN_FIELDS`."""
        return cls(*(value if isinstance(value, str) else "" for value in (index, *values)))

    @classmethod
    def of_document(cls, found: FoundDocument) -> Origin:
        """Look into a document."""
        return cls.of(found.index, [_first(found.document, name) for name in ORIGIN_FIELDS])


def _first(document: object, name: str) -> object:
    """The first value of a field, however the document nests it."""
    for keys in ways_to_write(name):
        value = document
        for key in keys:
            value = _only(value)
            value = value.get(key) if isinstance(value, dict) else None
        if (value := _only(value)) is not None:
            return value
    return None


def _only(value: Any) -> Any:  # noqa: ANN401 - any JSON value.
    return value[0] if isinstance(value, list) and value else value


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a document stands.

    Attributes:
        path: of its file.
        folders: the names of the folders above the file, nearest first.
        chosen: the data stream for documents that say nothing; "" if none was chosen.
    """

    path: Path
    folders: tuple[str, ...] = ()
    chosen: str = ""

    @property
    def folder(self) -> str:
        """The nearest folder that is named like a data stream; "" if there is none."""
        return next(filter(_is_like_a_stream, self.folders), "")

    def stream_of(self, origin: Origin) -> str:
        """Give the data stream of a document.

        Raises:
            NotImported: nothing says which one it is, or its name cannot be that of a folder.
        """
        stream = self._named(origin)
        if not stream:
            raise NotImported(
                f"[{self.path}] has documents that do not say which data stream they belong to: "
                "they have neither `_index` nor `data_stream.dataset` nor `event.dataset`.",
                "Name it with --stream, for example logs-endpoint.events.network-default; or leave "
                "the file out.",
            )
        if not is_stream_name(stream):
            raise NotImported(
                f"[{self.path}] has documents of a data stream {abbreviated(stream)!r}: that name "
                "cannot be a folder's.",
                "A data stream has at most 200 small letters, digits, dots, hyphens and "
                "underscores in its name, and starts with a letter or digit. Correct `_index` or "
                "`data_stream` of these documents, or leave the file out.",
            )
        return stream

    def _named(self, origin: Origin) -> str:
        if origin.index:
            backing = _BACKING.fullmatch(origin.index)
            return backing[1] if backing else origin.index.rpartition(":")[2]
        if origin.type and origin.dataset:
            return f"{origin.type}-{origin.dataset}-{origin.namespace or _DEFAULT}"
        if origin.event_dataset:
            return self._of_dataset(origin.event_dataset)
        return self.folder or self.chosen

    def _of_dataset(self, dataset: str) -> str:
        """The data stream of a dataset: that of its folder, else the usual one."""
        logs, metrics = f"logs-{dataset}", f"metrics-{dataset}"
        if self.folder.startswith((f"{logs}-", f"{metrics}-")):
            return self.folder
        usual = metrics if shipped_mapping(metrics) else logs
        return f"{usual}-{_DEFAULT}"


def is_stream_name(name: str) -> bool:
    """Whether a data stream may have this name."""
    return _ALLOWED.fullmatch(name) is not None


def _is_like_a_stream(name: str) -> bool:
    return bool(_LIKE_A_STREAM.fullmatch(name) or shipped_mapping(name))
