"""An Elasticsearch on loopback: it answers from a folder of events, and can be told to misbehave.

```python
with ElasticsearchServer(busy, busy, real, folder=events) as server:
    hunt_cluster(Cluster(name="prod", url=server.url), ...)
assert server.most_running == 1
```

Each question, and each poll of one, takes the next behaviour (see `elasticsearch_behaviours`), and
the last one stays; `when` scripts only the questions with a certain word in them.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from elastic_transport import NodeConfig

from tasks.esql.errors import EsqlError
from tasks.esql.node import FOLDER, EmbeddedNode
from tasks.esql.parsing import parse
from tasks.esql.tree import From
from tests.elasticsearch_behaviours import (
    NO_FIELDS,
    ROWS_BY_DEFAULT,
    Behaviour,
    Call,
    Request,
    Turns,
    configured,
    deleted,
    described,
    error,
    granted,
    mapped,
    real,
)
from tests.serving import Serving

_PARAMETERS = frozenset(
    {"delimiter", "drop_null_columns", "error_trace", "filter_path", "format", "human", "pretty"}
)
_BODY_FIELDS = frozenset(
    {
        *("query", "params", "filter", "locale", "columnar", "profile", "tables"),
        *("include_ccs_metadata", "wait_for_completion_timeout", "keep_alive"),
        "keep_on_completion",
    }
)
LOCAL = "(local)"
"""How Elasticsearch names the cluster that was asked, among remote ones."""


@dataclass(frozen=True)
class Release:
    """A version of Elasticsearch, and what came with it.

    Attributes:
        number: as `/` says it; None where it says none.
        flavor: `default` or `serverless`.
    """

    number: str | None
    flavor: str = "default"

    @property
    def is_serverless(self) -> bool:
        return self.flavor == "serverless"

    @property
    def _release(self) -> tuple[int, ...]:
        return (99, 0) if self.is_serverless else tuple(map(int, (self.number or "").split(".")))

    @property
    def major(self) -> int:
        return 9 if self.is_serverless else self._release[0]

    @property
    def knows_partial_results(self) -> bool:
        """Whether it says `is_partial`, and takes `allow_partial_results`."""
        return (8, 19) <= self._release < (9, 0) or self._release >= (9, 1)

    @property
    def counts_documents(self) -> bool:
        return self._release >= (9, 1)

    @property
    def info(self) -> dict[str, Any]:
        """What it answers at `/`."""
        version = {"number": self.number} if self.number else {}
        return {
            "name": "loopback",
            "cluster_name": "loopback",
            "version": {**version, "build_flavor": self.flavor},
            "tagline": "You Know, for Search",
        }


V8_14 = Release("8.14.3")
V8_15 = Release("8.15.5")
V8_19 = Release("8.19.3")
V9_1 = Release("9.1.4")
SERVERLESS = Release("8.11.0", "serverless")
"""It always says 8.11.0, and is always the newest."""


@dataclass(frozen=True)
class Access:
    """The one API key that is accepted, and what it may do.

    Attributes:
        key: in its `encoded` form.
        indices: patterns of what it may read; everything else does not exist for it.
        cluster: its cluster privileges; without `monitor`, `/` is refused.
    """

    key: str
    indices: tuple[str, ...] = ("*",)
    cluster: tuple[str, ...] = ("monitor",)

    def may_read(self, index: str) -> bool:
        return any(fnmatchcase(index, pattern) for pattern in self.indices)


EVERYTHING = Access("", cluster=("all",))
"""Without security anybody may do anything."""


class ElasticsearchServer(Serving):
    """A cluster.

    Attributes:
        requests: all that came, in order.
        kept: ids of the asynchronous queries that it keeps.
        most_running: how many queries ran at once, at most.
        bytes_sent: of all answers' bodies, packed.
        closed: set once it answers no more.
        release: what it is.
        access: who may do what.
        agent: how it calls itself in warnings.
        rows_at_most: where it cuts answers.
    """

    def __init__(
        self,
        *behaviours: Behaviour,
        folder: Path | None = None,
        release: Release = V8_19,
        access: Access = EVERYTHING,
        rows_at_most: int = ROWS_BY_DEFAULT,
        info: Behaviour = described,
        settings: Behaviour = configured,
        privileges: Behaviour = granted,
        fields: Behaviour = mapped,
        delete: Behaviour = deleted,
        certificate: Path | None = None,
    ) -> None:
        """Make a server that answers from now on only within a `with` block.

        Args:
            behaviours: what it does to questions and polls.
            folder: of events, for real answers. A data stream's folder named `alias:stream` is a
                remote cluster's.
            release: what it is.
            access: who may do what.
            rows_at_most: `esql.query.result_truncation_max_size`: it cuts there, silently.
            info: what it does at `/`.
            settings: what it does when asked for settings.
            privileges: what it does when asked for privileges.
            fields: what it does when asked for fields.
            delete: what it does to deletions.
            certificate: for https, a PEM with its key.
        """
        self.requests: list[Request] = []
        self.kept: set[str] = set()
        self.most_running = 0
        self.bytes_sent = 0
        self.closed = Event()
        self.release = release
        self.access = access
        self.agent = f"Elasticsearch-{release.number or 'serverless'}-abc"
        self._turns = Turns(behaviours or (real,))
        self._at = {
            "info": info,
            "settings": settings,
            "privileges": privileges,
            "fields": fields,
            "delete": delete,
        }
        self._folder = folder
        self.rows_at_most = rows_at_most
        self._ids = (f"query/{number}==" for number in count())
        self._questions: dict[str, Request] = {}
        self._running: dict[str, Call] = {}
        self._lock = Lock()
        self._node: EmbeddedNode | None = None
        self._readable: tempfile.TemporaryDirectory[str] | None = None
        self._scheme = "https" if certificate else "http"
        self._http = _Http(self._handler(), certificate)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}"

    def came(self, method: str) -> list[Request]:
        """Give the requests of a method, in order."""
        return [request for request in self.requests if request.method == method]

    def asked(self, word: str = "") -> list[Request]:
        """Give the questions with a word in them, in order."""
        return [request for request in self.requests if request.query and word in request.query]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Answer no more; a fault of the stand-in itself fails the test."""
        self.closed.set()
        super().__exit__()
        if self._node:
            self._node.close()
        if self._readable:
            self._readable.cleanup()
        if self._http.faults and kind is None:
            raise self._http.faults[0]

    # The folder of events

    def ask(
        self,
        call: Call,
        *,
        skipped: Sequence[str] = (),
        is_partial: bool = False,
        rows: int | None = None,
    ) -> None:
        """Answer a question from the folder, or say why not."""
        assert call.question is not None
        body = call.question.body
        patterns = _sources(call.query)
        there = [pattern for pattern in patterns if _alias(pattern) not in skipped]
        query = call.query.replace(",".join(patterns), ",".join(there))
        asked = {"query": query} | {k: body[k] for k in ("params", "filter") if k in body}
        more: dict[str, Any] = {"_clusters": _clusters(patterns, skipped)}
        if not body.get("include_ccs_metadata") or not any(map(_alias, patterns)):
            more = {}
        if patterns and not there:
            status, table, warnings = 200, {"took": 0, **NO_FIELDS}, None
        else:
            status, table, warnings = self._answered("POST", "/_query", asked)
        if status != HTTPStatus.OK:
            call.answer(table, status)
            return
        if self.release.knows_partial_results:
            more["is_partial"] = is_partial or len(there) < len(patterns)
        if self.release.counts_documents:
            counted = ("documents_found", "values_loaded")
            more |= {name: table.get(name, 0) for name in counted}
        if call.id in self.kept:
            more["id"] = call.id
        cut = self.rows_at_most if rows is None else rows
        values = table["values"][:cut]
        columns = {"columns": table["columns"], "values": values}
        headers = [("Warning", warnings)] if warnings else []
        call.answer({"is_running": False, "took": table["took"], **more, **columns}, 200, *headers)

    @property
    def streams(self) -> list[str]:
        """The data streams that the key may read."""
        return sorted(path.name for path in self._view().iterdir())

    def types(self, stream: str) -> dict[str, str]:
        """Give the type of each field of a data stream."""
        _, table, _ = self._answered("POST", "/_query", {"query": f'FROM "{stream}" | LIMIT 0'})
        return {column["name"]: column["type"] for column in table["columns"]}

    def _answered(
        self, method: str, path: str, body: Mapping[str, Any]
    ) -> tuple[int, dict[str, Any], str | None]:
        with self._lock:
            if self._node is None:
                where = NodeConfig("http", "events", 9200, _extras={FOLDER: self._view()})
                self._node = EmbeddedNode(where)
        meta, content = self._node.perform_request(method, path, json.dumps(body).encode())
        warnings = meta.headers.get("warning")
        if warnings:
            warnings = re.sub(r"(?<=299 )\S+", self.agent, warnings)
        return meta.status, json.loads(content), warnings

    def _view(self) -> Path:
        """A folder with the data streams that the key may read, and no other."""
        assert self._folder, "This server has no folder to answer from."
        if all(map(self.access.may_read, (path.name for path in self._folder.iterdir()))):
            return self._folder
        if self._readable is None:
            self._readable = tempfile.TemporaryDirectory(prefix="elasticsearch-server-")
            for path in self._folder.iterdir():
                if path.is_dir() and self.access.may_read(path.name):
                    shutil.copytree(path, Path(self._readable.name) / path.name)
        return Path(self._readable.name)

    # Requests

    def ended(self, query_id: str) -> None:
        """Note that a query runs no longer."""
        with self._lock:
            self._running.pop(query_id, None)

    def _answer(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        self.requests.append(request)
        call = partial(Call, handler, self, request)
        if refusal := self._refusal(request):
            refusal(call())
            return
        match request.method, request.path.strip("/").split("/", 2):
            case "GET" | "HEAD", [""]:
                self._at["info"](call())
            case "GET", ["_cluster", "settings"]:
                self._at["settings"](call())
            case "POST", ["_query"] | ["_query", "async"]:
                self._begin(call(next(self._ids), request))
            case "GET", ["_query", "async", key] if key in self.kept:
                self._turns(call(key, self._questions[key]))
            case "GET", ["_query", "async", key]:
                error(404, "resource_not_found_exception", key)(call())
            case "DELETE", ["_query", "async", key]:
                self._at["delete"](call(key, self._questions.get(key)))
            case "GET" | "POST", ["_security", "user", "_has_privileges"]:
                self._at["privileges"](call())
            case "GET" | "POST", [_, "_field_caps"]:
                self._at["fields"](call())
            case _:
                call().answer({"error": "no handler found"}, 400)

    def _begin(self, call: Call) -> None:
        with self._lock:
            self._questions[call.id] = call.request
            self._running[call.id] = call
            # Whoever hangs up before it learns the id has cancelled the query.
            run = [id for id, one in self._running.items() if id in self.kept or not one.is_hung_up]
            self.most_running = max(self.most_running, len(run))
        self._turns(call)
        if call.id not in self.kept:
            self.ended(call.id)

    def _refusal(self, request: Request) -> Behaviour | None:
        """What is wrong with a request before anybody looks at what it asks."""
        sent = [request.headers.get(name, "") for name in ("Accept", "Content-Type")]
        versions = {int(v) for each in sent for v in re.findall(r"compatible-with=(\d+)", each)}
        if not versions <= {self.release.major, self.release.major - 1}:
            reason = "Invalid media-type value on headers [Accept, Content-Type]"
            return error(400, "media_type_header_exception", reason)
        given = request.headers.get("Authorization")
        if self.access is not EVERYTHING and given != f"ApiKey {self.access.key}":
            reason = "unable to authenticate with provided credentials"
            if given is None:
                reason = f"missing authentication credentials for REST request [{request.path}]"
            return error(401, "security_exception", reason)
        if request.method == "POST" and request.path.startswith("/_query"):
            known = _PARAMETERS
            if self.release.knows_partial_results:
                known |= {"allow_partial_results"}
            for name in request.parameters.keys() - known:
                reason = f"request [{request.path}] contains unrecognized parameter: [{name}]"
                return error(400, "illegal_argument_exception", reason)
            for name in request.body.keys() - _BODY_FIELDS:
                reason = f"[1:2] [esql/query] unknown field [{name}]"
                return error(400, "x_content_parse_exception", reason)
        return None

    def _handler(server: Self) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # Head and body go separately: no waiting in between.

            def _take(self) -> None:
                at = monotonic()
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    content = gzip.decompress(content)
                where = urlsplit(self.path)
                body = json.loads(content or b"{}")
                parameters = dict(parse_qsl(where.query))
                path = unquote(where.path)
                server._answer(
                    self, Request(self.command, path, body, self.headers, parameters, at)
                )

            do_GET = do_HEAD = do_POST = do_DELETE = _take  # noqa: N815 - the base class calls them.

            def log_message(self, *_: object) -> None:
                """Say nothing: tests look at `requests`."""

        return Handler


class _Http(ThreadingHTTPServer):
    """Threads behind a socket, with TLS where there is a certificate.

    Attributes:
        faults: what went wrong in a handler and is not the client's doing.
    """

    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler], certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.faults: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; the handshake is left to the handler's thread."""
        accepted, address = super().get_request()
        if self._tls:
            accepted = self._tls.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(accepted)
        return accepted, address

    def shutdown_request(self, request: Any) -> None:
        """Close one line."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close every line: nobody is served by what was ended."""
        super().server_close()
        for line in list(self._open):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # The client was faster.

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - of the base class.
        """Keep what a handler raised; a client that hangs up is no fault."""
        fault = sys.exc_info()[1]
        if fault and not isinstance(fault, OSError):
            self.faults.append(fault)


def _sources(query: str) -> tuple[str, ...]:
    """The patterns behind FROM; none where the query cannot be read."""
    try:
        first = parse(query).commands[0]
    except EsqlError:
        return ()
    return first.patterns if isinstance(first, From) else ()


def _alias(pattern: str) -> str:
    """The remote cluster that a pattern names; empty for the local one."""
    return pattern.removeprefix("-").rpartition(":")[0]


def _clusters(patterns: Sequence[str], skipped: Sequence[str]) -> dict[str, Any]:
    """What an answer says of each cluster that took part."""
    details = dict(_details(patterns, skipped))
    statuses = [detail["status"] for detail in details.values()]
    kinds = ("successful", "running", "skipped", "partial", "failed")
    tally = {kind: statuses.count(kind) for kind in kinds}
    return {"total": len(details), **tally, "details": details}


def _details(
    patterns: Sequence[str], skipped: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for alias in dict.fromkeys(map(_alias, patterns)):
        indices = ",".join(p.rpartition(":")[2] for p in patterns if _alias(p) == alias)
        there = int(alias not in skipped)
        reason = {
            "type": "connect_transport_exception",
            "reason": f"Unable to connect to [{alias}]",
        }
        failure = {"shard": -1, "index": None, "reason": reason}
        detail: dict[str, Any] = {
            "status": "successful" if there else "skipped",
            "indices": indices,
            "took": there,
            "_shards": {"total": there, "successful": there, "skipped": 0, "failed": 0},
        }
        yield alias or LOCAL, detail if there else detail | {"failures": [failure]}
