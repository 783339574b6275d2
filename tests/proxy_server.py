"""A proxy on loopback: it opens tunnels, and keeps what it sees of them.

```python
with ProxyServer() as proxy:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    ...
assert proxy.asked == ["es.example.com:9200"]
```
"""

from __future__ import annotations

import socket
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.serving import Serving


class ProxyServer(Serving):
    """A proxy.

    Attributes:
        asked: the hosts and ports of the tunnels that were asked for, in order.
        headers: the headers of each of these requests.
        seen: all that clients sent through it.
    """

    def __init__(self, refusal: int | None = None) -> None:
        """Make a proxy that opens every tunnel, or refuses every one with a status."""
        self.asked: list[str] = []
        self.headers: list[Message] = []
        self.seen = b""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                proxy.headers.append(self.headers)
                if refusal:
                    self.send_error(refusal)
                    return
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port))) as cluster:
                    self.send_response(200)
                    self.end_headers()
                    answers = Thread(target=_copy, args=(cluster, self.connection))
                    answers.start()
                    _copy(self.connection, cluster, proxy)
                    answers.join()
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing: tests look at `asked`."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._http.server_port}"


def _copy(source: socket.socket, target: socket.socket, seen_by: ProxyServer | None = None) -> None:
    """Pass on what comes until either end closes the line."""
    with suppress(OSError):
        while content := source.recv(65_536):
            if seen_by:
                seen_by.seen += content
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
