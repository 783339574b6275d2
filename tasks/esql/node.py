"""Requests from the official client go in, Elasticsearch's answers come out, without a network."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from elastic_transport import (
    ApiResponseMeta,
    BaseNode,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
)
from elastic_transport._node import NodeApiResponse  # It has no public name.
from elastic_transport.client_utils import DEFAULT, DefaultType

from tasks.errors import SettingsError
from tasks.esql.deadline import Deadline
from tasks.esql.engine import Engine, Request, Result
from tasks.esql.errors import EsqlError

VERSION = "8.19.0"
FOLDER = "beaconhunt.folder"
SKIP_BAD_LINES = "beaconhunt.skip_bad_lines"
_WARNING_AGENT = f"Elasticsearch-{VERSION}-embedded"
_BODY_FIELDS = {
    "query", "params", "filter", "locale", "columnar", "profile", "include_ccs_metadata",
    "wait_for_completion_timeout", "keep_alive", "keep_on_completion", "allow_partial_results",
}  # fmt: skip


class _Refusal(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(status, kind, reason)
        self.status = status
        self.kind = kind
        self.reason = reason


class EmbeddedNode(BaseNode):
    """A node of the official client that answers from a folder.

    Pass the class as `node_class`, and in `NodeConfig(_extras=...)` the folder's path under
    `FOLDER` and, to skip lines that are not documents, True under `SKIP_BAD_LINES`.

    Raises:
        SettingsError: on creation, if there is no such folder.
    """

    _CLIENT_META_HTTP_CLIENT = ("em", "1")

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        extras = config._extras  # NodeConfig's place for a node's own state.
        if FOLDER not in extras:
            raise SettingsError(
                f"An embedded node got no folder in _extras[{FOLDER!r}].",
                "Make the client with tasks.clusters.connect.",
            )
        self._engine = Engine(
            Path(extras[FOLDER]), skip_bad_lines=bool(extras.get(SKIP_BAD_LINES, False))
        )
        self._one_at_a_time = threading.Lock()
        self._kept: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {}

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Answer a request, within `request_timeout` seconds if they are given.

        Raises:
            ConnectionTimeout: the time is over.
        """
        started = time.monotonic()
        # The default is for a network; a folder may take longer.
        deadline = Deadline(None if isinstance(request_timeout, DefaultType) else request_timeout)
        warnings: tuple[str, ...] = ()
        status = 200
        try:
            with self._alone(deadline):
                path = unquote(urlsplit(target).path)
                content, warnings = self._answer(method, path, body, deadline)
        except TimeoutError as error:
            raise ConnectionTimeout(f"No answer in {request_timeout} s", errors=(error,)) from error
        except EsqlError as error:
            status, content = error.status, _error_body(error.status, error.kind, error.reason)
        except _Refusal as refusal:
            status = refusal.status
            content = _error_body(status, refusal.kind, refusal.reason)
        meta = ApiResponseMeta(
            node=self.config,
            duration=time.monotonic() - started,
            http_version="1.1",
            status=status,
            headers=_headers(headers, warnings),
        )
        encoded = b"" if method == "HEAD" else json.dumps(content, ensure_ascii=False).encode()
        return NodeApiResponse(meta, encoded)

    def close(self) -> None:
        """Free the documents."""
        self._engine.close()

    @contextlib.contextmanager
    def _alone(self, deadline: Deadline) -> Iterator[None]:
        """Wait for the questions of other threads."""
        seconds = deadline.seconds_left
        if not self._one_at_a_time.acquire(timeout=-1 if seconds is None else seconds):
            raise TimeoutError
        try:
            yield
        finally:
            self._one_at_a_time.release()

    def _answer(
        self, method: str, path: str, body: bytes | None, deadline: Deadline
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        match method, path.strip("/").split("/"):
            case "GET" | "HEAD", [""]:
                return _INFO, ()
            case "POST", ["_query"]:
                return self._query(_request(body), deadline)
            case "POST", ["_query", "async"]:
                return self._query_async(_request(body), deadline)
            case "GET", ["_query", "async", key]:
                return self._kept_answer(key)
            case "DELETE", ["_query", "async", key]:
                self._kept_answer(key)
                del self._kept[key]
                return {"acknowledged": True}, ()
            case _:
                raise _Refusal(
                    400,
                    "illegal_argument_exception",
                    f"no handler found for uri [{path}] and method [{method}]: an embedded "
                    "cluster answers / and /_query only",
                )

    def _query(
        self, request: Mapping[str, Any], deadline: Deadline
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        started = time.monotonic()
        question = Request(
            _query_text(request), _parameters(request.get("params")), request.get("filter")
        )
        answer = self._engine.answer(question, deadline.seconds_left)
        took_ms = round((time.monotonic() - started) * 1000)
        return _answer_body(answer, took_ms, bool(request.get("columnar"))), answer.warnings

    def _query_async(
        self, request: Mapping[str, Any], deadline: Deadline
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        content, warnings = self._query(request, deadline)
        content = {"is_running": False, **content}
        if request.get("keep_on_completion"):
            content = {"id": secrets.token_urlsafe(24), **content}
            self._kept[content["id"]] = content, warnings
        return content, warnings

    def _kept_answer(self, key: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        if key not in self._kept:
            raise _Refusal(404, "resource_not_found_exception", key)
        return self._kept[key]


_INFO = {
    "name": "embedded",
    "cluster_name": "embedded",
    "cluster_uuid": "embedded",
    "version": {
        "number": VERSION,
        "build_flavor": "default",
        "build_type": "embedded",
        "lucene_version": "9.12.2",
        "minimum_wire_compatibility_version": "7.17.0",
        "minimum_index_compatibility_version": "7.0.0",
    },
    "tagline": "You Know, for Search",
}


def _request(body: bytes | None) -> Mapping[str, Any]:
    try:
        request = json.loads(body or b"")
        # Neither half a surrogate is a text, nor 1e400 a number.
        json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, "x_content_parse_exception", f"request body: {error}") from error
    if not isinstance(request, dict):
        raise _Refusal(400, "x_content_parse_exception", "request body must be an object")
    for name in request:
        if name not in _BODY_FIELDS:
            raise _Refusal(400, "x_content_parse_exception", f"unknown field [{name}]")
    return request


def _query_text(request: Mapping[str, Any]) -> str:
    query = request.get("query")
    if not isinstance(query, str):
        raise _Refusal(400, "action_request_validation_exception", "[query] is required")
    return query


def _parameters(params: object) -> dict[str, object]:
    """The values by name: `[{"a": 1}]` is ?a; those without a name are ?1, ?2, ..."""
    parameters: dict[str, object] = {}
    for place, value in enumerate(params if isinstance(params, list) else [], 1):
        if isinstance(value, dict):
            parameters.update(value)
        else:
            parameters[str(place)] = value
    return parameters


def _answer_body(answer: Result, took_ms: int, columnar: bool) -> dict[str, Any]:
    values: list[list[object]] = answer.rows
    if columnar:
        values = [list(column) for column in zip(*answer.rows, strict=True)] or [
            [] for _ in answer.columns
        ]
    return {
        "took": took_ms,
        "is_partial": False,
        "documents_found": answer.documents,
        "values_loaded": answer.values_loaded,
        "columns": [{"name": name, "type": of_type} for name, of_type in answer.columns],
        "values": values,
    }


def _error_body(status: int, kind: str, reason: str) -> dict[str, Any]:
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def _headers(request: HttpHeaders | None, warnings: tuple[str, ...]) -> HttpHeaders:
    accepted = (request["accept"] if request and "accept" in request else "") or "application/json"
    headers = HttpHeaders(
        {"x-elastic-product": "Elasticsearch", "content-type": accepted.split(",")[0]}
    )
    if warnings:
        headers["warning"] = ", ".join(f'299 {_WARNING_AGENT} "{_quoted(w)}"' for w in warnings)
    return headers


def _quoted(warning: str) -> str:
    """A warning as a header value: quotes and backslashes escaped, the rest percent-encoded."""
    escaped = warning.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%25")
    return "".join(
        c if " " <= c <= "~" else "".join(f"%{byte:02X}" for byte in c.encode()) for c in escaped
    )
