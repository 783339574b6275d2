"""A node for the official client: with a time limit on whole requests, and through a proxy."""

from __future__ import annotations

import contextlib
import socket
import weakref
from threading import Timer
from typing import Any

from elastic_transport import HttpHeaders, NodeConfig, Urllib3HttpNode
from elastic_transport._node import NodeApiResponse  # It has no public name.
from elastic_transport.client_utils import DEFAULT, DefaultType

from tasks.clusters.proxy import proxy_to

REQUEST_SECONDS = 60
"""Time limit for a request without its own `request_timeout`."""

SILENCE_SECONDS = 60
"""Time that a server may send nothing; it answers polls well within it."""


class BoundedNode(Urllib3HttpNode):
    """The client's own node, where `request_timeout` limits the whole request.

    urllib3's timeouts apply between two bytes: an answer that drips a byte every few seconds would
    never end. So at the time limit, the request's socket is shut down.

    The client's own node knows no proxy (elastic/elastic-transport-python#53); the pool does.

    Attributes:
        bytes_received: bytes in all answers' bodies, decompressed.
    """

    def __init__(self, config: NodeConfig) -> None:
        """Take the client's settings for the node."""
        super().__init__(config)
        self.bytes_received = 0
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self.pool.ConnectionCls = _listed(self.pool.ConnectionCls, self._connections)
        if proxy := proxy_to(self.base_url):
            # As the pool's own constructor takes a proxy, to which the node's passes none.
            self.pool.proxy, self.pool.proxy_headers = proxy.url, proxy.headers
            self.pool.conn_kw |= {"proxy": proxy.url, "socket_options": []}

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Send a request and read its answer, within `request_timeout` seconds."""
        bound = REQUEST_SECONDS if isinstance(request_timeout, DefaultType) else request_timeout
        seconds = REQUEST_SECONDS if bound is None else bound
        end = Timer(seconds, self._end)
        end.daemon = True
        end.start()
        try:
            response = super().perform_request(
                method, target, body, headers, min(seconds, SILENCE_SECONDS)
            )
        finally:
            end.cancel()
        self.bytes_received += len(response.body)
        return response

    def _end(self) -> None:
        for connection in list(self._connections):
            if connection.sock is not None:
                with contextlib.suppress(OSError):  # It has just ended by itself.
                    connection.sock.shutdown(socket.SHUT_RDWR)


def _listed(kind: type[Any], connections: weakref.WeakSet[Any]) -> type[Any]:
    """Make a class of connections that register themselves in a set."""

    class Listed(kind):  # type: ignore[misc]
        def connect(self) -> None:
            connections.add(self)  # Before connecting: a handshake can drip too.
            super().connect()

    return Listed
