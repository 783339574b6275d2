"""A node of the official client whose requests end in time."""

from __future__ import annotations

import contextlib
import socket
import weakref
from threading import Timer
from typing import Any

from elastic_transport import HttpHeaders, NodeConfig, Urllib3HttpNode
from elastic_transport._node import NodeApiResponse  # It has no public name.
from elastic_transport.client_utils import DEFAULT, DefaultType

REQUEST_SECONDS = 60
"""How long a request may take of which nothing else is said."""

SILENCE_SECONDS = 60
"""How long a server may send nothing; it answers polls well within it."""


class BoundedNode(Urllib3HttpNode):
    """The client's own node, where `request_timeout` bounds the whole request.

    urllib3's time-outs are between two bytes: an answer that drips a byte every few seconds would
    never end. So when the time is over, the request's socket is shut down under it.

    Attributes:
        bytes_received: of all answers' bodies, unpacked.
    """

    def __init__(self, config: NodeConfig) -> None:
        """Take the client's settings of the node."""
        super().__init__(config)
        self.bytes_received = 0
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self.pool.ConnectionCls = _listed(self.pool.ConnectionCls, self._connections)

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Send a request and read its answer, in `request_timeout` seconds."""
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
    """Give the class of a pool's connections, whose instances list themselves."""

    class Listed(kind):  # type: ignore[misc]
        def connect(self) -> None:
            connections.add(self)  # First: a handshake can drip too.
            super().connect()

    return Listed
