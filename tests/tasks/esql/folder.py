"""Documents go in, a folder comes out; and the official client that asks it."""

from __future__ import annotations

import gzip
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from elastic_transport import NodeConfig
from elasticsearch import BadRequestError, Elasticsearch

from tasks.esql.node import FOLDER, SKIP_BAD_LINES, EmbeddedNode

STREAM = "logs-test-default"
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Result:
    """An answer: column names, their types, rows, and the texts of its warnings."""

    names: list[str]
    types: list[str]
    rows: list[list[Any]]
    warnings: list[str]

    @property
    def value(self) -> Any:
        """The only value of the only row."""
        ((value,),) = self.rows
        return value


def write(
    folder: Path,
    documents: Iterable[dict[str, Any] | str],
    *,
    stream: str = STREAM,
    name: str = "events.ndjson",
    mapping: dict[str, str] | None = None,
) -> Path:
    """Write documents as one NDJSON file of a data stream; a string is written as it is."""
    path = folder / stream / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(
        (line if isinstance(line, str) else json.dumps(line)) + "\n" for line in documents
    )
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    if mapping is not None:
        properties = {field: {"type": of_type} for field, of_type in mapping.items()}
        (folder / stream / "mapping.json").write_text(json.dumps({"properties": properties}))
    return folder


@contextmanager
def connected(folder: Path, *, skip_bad_lines: bool = False) -> Iterator[Elasticsearch]:
    """The official client on a folder."""
    extras = {FOLDER: str(folder), SKIP_BAD_LINES: skip_bad_lines}
    node = NodeConfig("http", "embedded", 9200, _extras=extras)
    client = Elasticsearch([node], node_class=EmbeddedNode, max_retries=0)
    try:
        yield client
    finally:
        client.close()


def answer(client: Elasticsearch, query: str, **request: Any) -> Result:
    """Ask a client; Elasticsearch's warnings are part of the answer, not Python's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        response = client.esql.query(query=query, **request)
    columns = response["columns"]
    texts = _WARNING.findall(response.meta.headers.get("warning", ""))
    return Result(
        [column["name"] for column in columns],
        [column["type"] for column in columns],
        response["values"],
        [unquote(text.replace('\\"', '"').replace("\\\\", "\\")) for text in texts],
    )


def ask(folder: Path, query: str, *, skip_bad_lines: bool = False, **request: Any) -> Result:
    """Ask a folder one question."""
    with connected(folder, skip_bad_lines=skip_bad_lines) as client:
        return answer(client, query, **request)


def refusal(folder: Path, query: str, **request: Any) -> tuple[str, str]:
    """The type and the reason of the 400 that a question gets."""
    try:
        ask(folder, query, **request)
    except BadRequestError as error:
        body = error.body["error"]
        return body["type"], body["reason"]
    raise AssertionError(f"no error: {query}")
