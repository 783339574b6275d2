"""An Elasticsearch on loopback: it answers ES|QL as 8.19 does, and can be told to misbehave.

```python
with ElasticsearchServer(running, answer({"events": "long"}, [1])) as server:
    ask(client, Cluster(name="prod", url=server.url), ...)
assert not server.kept
```
"""

from __future__ import annotations

import gzip
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

VERSION = "8.19.3"

_PRODUCT = ("X-Elastic-Product", "Elasticsearch")
_INFO = {
    "name": "loopback",
    "cluster_name": "loopback",
    "version": {"number": VERSION, "build_flavor": "default"},
    "tagline": "You Know, for Search",
}

Behaviour = Callable[["Call"], None]
"""What happens to one request that asks a question, polls its answer, or deletes it."""


@dataclass(frozen=True)
class Request:
    """What came: the body is unpacked and read, the path unquoted."""

    method: str
    path: str
    body: dict[str, Any]
    headers: Message


@dataclass
class Call:
    """One request, and the ways to answer it.

    Attributes:
        id: of the asynchronous query that it starts, polls or deletes.
    """

    handler: BaseHTTPRequestHandler
    server: ElasticsearchServer
    request: Request
    id: str

    def answer(self, body: object, status: int = 200, *headers: tuple[str, str]) -> None:
        """Answer as Elasticsearch, in JSON or with a text that should be JSON."""
        content = body if isinstance(body, str) else json.dumps(body)
        self.send(content, status, ("Content-Type", "application/json"), _PRODUCT, *headers)

    def send(self, content: str, status: int, *headers: tuple[str, str]) -> None:
        """Send exactly this."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Length", str(len(content.encode())))
        for name, value in headers:
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(content.encode())


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
    headers = [("Warning", f"299 Elasticsearch-{VERSION}-abc {text}") for text in warnings]
    return lambda call: call.answer(body | more, 200, *headers)


def running(call: Call) -> None:
    """Say that the query goes on; nothing of its answer is there yet."""
    call.server.kept.add(call.id)
    call.answer({"id": call.id, "is_running": True})


def error(status: int, kind: str, reason: str, **more: object) -> Behaviour:
    """Refuse in Elasticsearch's words; `more` stands beside the reason."""
    cause = {"type": kind, "reason": reason, **more}
    body = {"error": {"root_cause": [cause], **cause}, "status": status}
    return lambda call: call.answer(body, status)


def page(status: int = 200) -> Behaviour:
    """Answer with a page that is not Elasticsearch's, as a gateway or a captive portal does."""
    return lambda call: call.send("<html>Hello</html>", status, ("Content-Type", "text/html"))


def text(content: str) -> Behaviour:
    """Answer 200 with a text that should be JSON."""
    return lambda call: call.answer(content)


def another_product(call: Call) -> None:
    """Answer in JSON, as something that is not Elasticsearch."""
    call.send(json.dumps(_INFO), 200, ("Content-Type", "application/json"))


def dropped(call: Call) -> None:
    """Drop the line before the answer."""
    call.handler.close_connection = True


def never(call: Call) -> None:
    """Hold the line without an answer for as long as the server lives."""
    call.server.closed.wait()


def deleted(call: Call) -> None:
    """Forget the query, or say that there is none."""
    if call.id in call.server.kept:
        call.server.kept.remove(call.id)
        call.answer({"acknowledged": True})
    else:
        error(404, "resource_not_found_exception", call.id)(call)


class ElasticsearchServer:
    """A cluster; each question and each poll takes the next behaviour, and the last one stays.

    Attributes:
        requests: all that came, in order.
        kept: ids of the asynchronous queries that it keeps.
        closed: set once it answers no more.
    """

    def __init__(
        self, *behaviours: Behaviour, delete: Behaviour = deleted, certificate: Path | None = None
    ) -> None:
        """Take what it does to questions and deletions, and for https a PEM with its key."""
        self.requests: list[Request] = []
        self.kept: set[str] = set()
        self.closed = Event()
        self._behaviours = deque(behaviours)
        self._delete = delete
        self._ids = (f"query/{number}==" for number in count())
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}"

    def came(self, method: str) -> list[Request]:
        """Give the requests of a method, in order."""
        return [request for request in self.requests if request.method == method]

    def __enter__(self) -> Self:
        """Answer from now on."""
        Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        self.requests.append(request)
        match request.method, request.path.strip("/").split("/", 2):
            case "GET", [""]:
                Call(handler, self, request, "").answer(_INFO)
            case "POST", ["_query", "async"]:
                self._next_behaviour()(Call(handler, self, request, next(self._ids)))
            case "GET", ["_query", "async", key]:
                self._next_behaviour()(Call(handler, self, request, key))
            case "DELETE", ["_query", "async", key]:
                self._delete(Call(handler, self, request, key))
            case _:
                Call(handler, self, request, "").answer({"error": "no handler found"}, 400)

    def _next_behaviour(self) -> Behaviour:
        return self._behaviours.popleft() if len(self._behaviours) > 1 else self._behaviours[0]

    def _handler(server: Self) -> type[BaseHTTPRequestHandler]:  # noqa: N805  `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    content = gzip.decompress(content)
                path, body = unquote(urlsplit(self.path).path), json.loads(content or b"{}")
                server._answer(self, Request(self.command, path, body, self.headers))

            do_GET = do_POST = do_DELETE = _take  # noqa: N815  The names that the base class calls.

            def log_message(self, *_: object) -> None:
                """Say nothing: tests look at `requests`."""

        return Handler
