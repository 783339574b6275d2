"""HTTP servers of tests on loopback: they answer while a `with` block lasts."""

from __future__ import annotations

from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Self

POLL_SECONDS = 0.02
"""Time until a server notices that it should end."""


class Serving:
    """A server that answers in a block; a subclass makes `_http`, its listening server."""

    _http: ThreadingHTTPServer

    def __enter__(self) -> Self:
        """Answer from now on."""
        Thread(target=self._http.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()
