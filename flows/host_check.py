"""Refuse requests that name another host: against DNS rebinding.

A web site whose name resolves to this machine reaches a server on loopback with the browser's help;
the request's Host header still has the site's name.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from flows.loopback import ADDRESS

_HOST = re.compile(rf"({re.escape(ADDRESS)}|localhost)(:[0-9]+)?", re.IGNORECASE)
"""With any port: a tunnel may end at another one."""

_REFUSAL = PlainTextResponse(
    f"This server answers only to the names {ADDRESS} and localhost.",
    HTTPStatus.MISDIRECTED_REQUEST,
)


class HostCheck:
    """An ASGI application that passes on only requests to this machine's names on loopback."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand in front of an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or _HOST.fullmatch(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await _REFUSAL(scope, receive, send)
