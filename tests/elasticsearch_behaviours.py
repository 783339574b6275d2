"""What an Elasticsearch on loopback does to a request: answers it, well or badly.

A behaviour is a function of a `Call`; those below are behaviours, or give one.
"""

from __future__ import annotations

import gzip
import json
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from fnmatch import fnmatchcase
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.elasticsearch_server import ElasticsearchServer

NO_FIELDS = {"columns": [{"name": "<no-fields>", "type": "null"}], "values": []}
"""What comes where nothing can be read, since some version."""

ROWS_BY_DEFAULT = 10_000

_PRODUCT = ("X-Elastic-Product", "Elasticsearch")

Behaviour = Callable[["Call"], None]
"""What happens to one request."""


@dataclass(frozen=True)
class Request:
    """What came: the body is unpacked and read, the path unquoted; `at` is a monotonic clock's."""

    method: str
    path: str
    body: dict[str, Any]
    headers: Message
    parameters: Mapping[str, str]
    at: float

    @property
    def query(self) -> str:
        """The ES|QL text, if it asks a question."""
        return str(self.body.get("query", ""))


@dataclass
class Call:
    """One request, and the ways to answer it.

    Attributes:
        id: of the query that it starts, polls or deletes.
        question: the request that started the query.
    """

    handler: BaseHTTPRequestHandler
    server: ElasticsearchServer
    request: Request
    id: str = ""
    question: Request | None = None

    @property
    def query(self) -> str:
        """The text of the question that this is about."""
        return self.question.query if self.question else ""

    def answer(self, body: object, status: int = 200, *headers: tuple[str, str]) -> None:
        """Answer as Elasticsearch, in JSON or with a text that should be JSON."""
        goes_on = isinstance(body, Mapping) and body.get("is_running")
        later = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if not goes_on and not later:
            self.server.ended(self.id)
        content = body if isinstance(body, str) else json.dumps(body)
        accepted = (self.request.headers.get("Accept") or "application/json").replace("; ", ";")
        self.send(content, status, ("Content-Type", accepted), _PRODUCT, *headers)

    def send(self, content: str, status: int, *headers: tuple[str, str]) -> None:
        """Send exactly this, packed where the client takes it so."""
        sent = content.encode()
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            sent, headers = gzip.compress(sent, 1), (*headers, ("Content-Encoding", "gzip"))
        self.server.bytes_sent += len(sent)
        self.begin(status, ("Content-Length", str(len(sent))), *headers)
        self.handler.wfile.write(sent)

    def begin(self, status: int, *headers: tuple[str, str]) -> None:
        """Send the head of an answer."""
        if self.request is self.question and self.id not in self.server.kept:
            self.server.ended(self.id)
        self.handler.send_response(status)
        for name, value in headers:
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def drip(self, content: bytes, seconds: float) -> None:
        """Send the same bytes again and again, until nobody listens any more."""
        while not self.is_over(seconds):
            self.handler.wfile.write(content)
        self.handler.close_connection = True

    @property
    def is_hung_up(self) -> bool:
        """Whether the line is closed: who waits for an answer sends nothing else."""
        line = self.handler.connection
        return line.fileno() < 0 or bool(select.select([line], [], [], 0)[0])

    def is_over(self, seconds: float | None = None) -> bool:
        """Wait so long, or without an end: whether client or server ended the line meanwhile."""
        end = None if seconds is None else monotonic() + seconds
        while not self.server.closed.wait(0.01):
            if self.is_hung_up:
                return True
            if end is not None and monotonic() >= end:
                return False
        return True


class Turns:
    """Behaviours, each for one call; the last one stays."""

    def __init__(self, behaviours: Sequence[Behaviour]) -> None:
        self._behaviours = deque(behaviours)
        self._lock = Lock()

    def __call__(self, call: Call) -> None:
        with self._lock:
            waiting = len(self._behaviours) > 1
            behaviour = self._behaviours.popleft() if waiting else self._behaviours[0]
        behaviour(call)


# What a question gets


def real(call: Call) -> None:
    """Answer from the folder of events."""
    call.server.ask(call)


def skipping(*aliases: str) -> Behaviour:
    """Answer from the folder without these remote clusters, which cannot be reached."""
    return lambda call: call.server.ask(call, skipped=aliases)


def partial_of(rows: int | None = None) -> Behaviour:
    """Answer from the folder with the first rows, or all: some shards failed."""

    def behaviour(call: Call) -> None:
        call.server.ask(call, is_partial=True, rows=rows)

    return behaviour


def when(word: str, *behaviours: Behaviour, otherwise: Behaviour = real) -> Behaviour:
    """Take these turns with the questions that hold a word; `otherwise` with the others."""
    turns = Turns(behaviours)
    return lambda call: (turns if word in call.query else otherwise)(call)


def after(seconds: float, behaviour: Behaviour = real) -> Behaviour:
    """Let the client wait before the behaviour."""

    def late(call: Call) -> None:
        if not call.is_over(seconds):
            behaviour(call)

    return late


def answer(
    types: Mapping[str, str], *rows: Sequence[object], warnings: Sequence[str] = (), **more: object
) -> Behaviour:
    """Answer with a table.

    Args:
        types: Elasticsearch's type of each column.
        rows: its values.
        warnings: one Warning header each, as they stand after the agent's name.
        more: further fields of the body.
    """
    columns = [{"name": name, "type": kind} for name, kind in types.items()]
    body = {"took": 1, "is_running": False, "is_partial": False, "columns": columns, "values": rows}

    def behaviour(call: Call) -> None:
        agent = call.server.agent
        headers = [("Warning", f"299 {agent} {text}") for text in warnings]
        call.answer(body | more, 200, *headers)

    return behaviour


def no_fields(call: Call) -> None:
    """Answer 200 to a pattern that matches nothing, or that may not be read, as 9.4 does."""
    call.answer({"took": 1, "is_running": False, "is_partial": False, **NO_FIELDS})


def running(call: Call) -> None:
    """Say that the query goes on; nothing of its answer is there yet."""
    call.server.kept.add(call.id)
    marks = (("X-Elasticsearch-Async-Id", call.id), ("X-Elasticsearch-Async-Is-Running", "?1"))
    call.answer({"id": call.id, "is_running": True}, 200, *marks)


def deleted(call: Call) -> None:
    """Forget the query, or say that there is none."""
    if call.id in call.server.kept:
        call.server.kept.remove(call.id)
        call.answer({"acknowledged": True})
    else:
        error(404, "resource_not_found_exception", call.id)(call)


# What is asked of it besides questions


def described(call: Call) -> None:
    """Say at `/` what this is."""
    if {"monitor", "all"} & set(call.server.access.cluster):
        call.answer(call.server.release.info)
    else:
        forbidden("cluster:monitor/main", "the cluster privileges [monitor,manage,all]")(call)


def configured(call: Call) -> None:
    """Say which settings of ES|QL the cluster has: those that somebody changed, and the others."""
    if call.server.release.is_serverless:
        reason = "exists but is not available when running in serverless mode"
        error(410, "api_not_available_exception", reason)(call)
    elif not {"monitor", "all"} & set(call.server.access.cluster):
        forbidden("cluster:monitor/settings", "the cluster privileges [monitor,manage,all]")(call)
    else:
        query = "esql.query.result_truncation_"
        limit = {f"{query}max_size": str(call.server.rows_at_most)}
        default = {f"{query}default_size": "1000"}
        changed = call.server.rows_at_most != ROWS_BY_DEFAULT
        levels = {"persistent": limit, "defaults": default}
        call.answer(levels if changed else {"defaults": limit | default})


def granted(call: Call) -> None:
    """Say which of the privileges in question the key has."""
    access, body = call.server.access, call.request.body
    cluster = {p: p in access.cluster or "all" in access.cluster for p in body.get("cluster", [])}
    index = {
        name: dict.fromkeys(asked["privileges"], access.may_read(name))
        for asked in body.get("index", [])
        for name in asked["names"]
    }
    every = [*cluster.values(), *(has for each in index.values() for has in each.values())]
    call.answer(
        {
            "username": "beaconhunt",
            "has_all_requested": all(every),
            "cluster": cluster,
            "index": index,
            "application": {},
        }
    )


def mapped(call: Call) -> None:
    """Say which fields the indices have, of which types."""
    patterns = call.request.path.strip("/").removesuffix("_field_caps").strip("/").split(",")
    wanted = call.request.body.get("fields") or call.request.parameters["fields"].split(",")
    if isinstance(wanted, str):
        wanted = wanted.split(",")
    streams = call.server.streams
    found = [s for s in streams if any(fnmatchcase(s, pattern) for pattern in patterns)]
    lenient = call.request.parameters.get("ignore_unavailable") == "true"
    for pattern in patterns:
        if "*" not in pattern and pattern not in streams and not lenient:
            error(404, "index_not_found_exception", f"no such index [{pattern}]")(call)
            return
    fields: dict[str, dict[str, dict[str, Any]]] = {}
    for stream in found:
        for name, kind in call.server.types(stream).items():
            if any(fnmatchcase(name, pattern) for pattern in wanted):
                capability = fields.setdefault(name, {}).setdefault(
                    kind,
                    {
                        "type": kind,
                        "metadata_field": False,
                        "searchable": True,
                        "aggregatable": kind != "text",
                        "indices": [],
                    },
                )
                capability["indices"].append(_backing_index(stream))
    for kinds in fields.values():
        if len(kinds) == 1:
            for capability in kinds.values():
                del capability["indices"]
    call.answer({"indices": [_backing_index(stream) for stream in found], "fields": fields})


def _backing_index(stream: str) -> str:
    """Name what a data stream is made of, as answers do."""
    remote, colon, name = stream.rpartition(":")
    return f"{remote}{colon}.ds-{name}-2026.11.20-000001"


# What goes wrong, in Elasticsearch's words


def error(status: int, kind: str, reason: str, **more: object) -> Behaviour:
    """Refuse in Elasticsearch's words; `more` stands beside the reason."""
    cause = {"type": kind, "reason": reason, **more}
    body = {"error": {"root_cause": [cause], **cause}, "status": status}
    return lambda call: call.answer(body, status)


def root_cause(kind: str) -> Behaviour:
    """Fail in a phase of the search, for a cause that only the root causes name."""
    failed = {"type": "search_phase_execution_exception", "reason": "all shards failed"}
    body = {"error": {"root_cause": [{"type": kind, "reason": "x"}], **failed}, "status": 500}
    return lambda call: call.answer(body, 500)


def caused_by(*kinds: str) -> Behaviour:
    """Fail for a cause that only the chain below the error names."""
    chain: dict[str, Any] = {}
    for kind in reversed(("exception", *kinds)):
        chain = {"type": kind, "reason": f"the {kind}", **({"caused_by": chain} if chain else {})}
    body = {"error": {"root_cause": [], **chain}, "status": 500}
    return lambda call: call.answer(body, 500)


def forbidden(action: str, privileges: str) -> Behaviour:
    """Refuse what the key may not do."""
    reason = (
        f"action [{action}] is unauthorized for API key id [loopback] of user [beaconhunt], "
        f"this action is granted by {privileges}"
    )
    return error(403, "security_exception", reason)


def too_large(durability: str) -> Behaviour:
    """Trip a circuit breaker, which is TRANSIENT or PERMANENT."""
    reason = "[parent] Data too large, data for [<esql_block_factory>] would be [1/1b]"
    more = {"bytes_wanted": 1, "bytes_limit": 1, "durability": durability}
    return error(429, "circuit_breaking_exception", reason, **more)


busy = error(
    429,
    "es_rejected_execution_exception",
    "rejected execution of TimedRunnable on TaskExecutionTimeTrackingEsThreadPoolExecutor"
    "[name = loopback/search, queue capacity = 1000]",
)
"""More work than its queue holds."""

unavailable = error(
    503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];"
)
"""The cluster is without a master."""


# What goes wrong on the way


def page(status: int = 200, content: str = "<html>Hello</html>") -> Behaviour:
    """Answer with a page that is not Elasticsearch's, as a gateway or a captive portal does."""
    return lambda call: call.send(content, status, ("Content-Type", "text/html"))


def text(content: str) -> Behaviour:
    """Answer 200 with a text that should be JSON."""
    return lambda call: call.answer(content)


def another_product(call: Call) -> None:
    """Answer in JSON, as something that is not Elasticsearch."""
    info = json.dumps(call.server.release.info)
    call.send(info, 200, ("Content-Type", "application/json"))


def dropped(call: Call) -> None:
    """Close the line before the answer."""
    call.handler.close_connection = True


def reset(call: Call) -> None:
    """Tear the line before the answer."""
    call.server.ended(call.id)
    call.handler.close_connection = True
    now = struct.pack("ii", 1, 0)
    call.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    os.close(call.handler.connection.detach())


def cut_off(call: Call) -> None:
    """Close the line in the middle of the answer."""
    call.begin(200, ("Content-Type", "application/json"), ("Content-Length", "1000"), _PRODUCT)
    call.handler.wfile.write(b'{"took": 1, "columns": [{"name": "host.id", "ty')
    call.handler.close_connection = True


def dripping(seconds: float = 0.05) -> Behaviour:
    """Send a byte of the answer from time to time, and never an end."""

    def behaviour(call: Call) -> None:
        endless = ("Transfer-Encoding", "chunked")
        call.begin(200, ("Content-Type", "application/json"), endless, _PRODUCT)
        call.drip(b"1\r\n \r\n", seconds)

    return behaviour


def slow_headers(seconds: float = 0.05) -> Behaviour:
    """Send a byte of the answer's head from time to time, and never an end."""

    def behaviour(call: Call) -> None:
        call.handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        call.drip(b"s", seconds)

    return behaviour


def never(call: Call) -> None:
    """Hold the line without an answer until the client gives up."""
    call.is_over()
    call.handler.close_connection = True
