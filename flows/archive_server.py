"""Serve the archive to browsers on this machine: from a file's path to its bytes.

The server listens on loopback only, is read-only, and lists no folders. A path must match a name
that an archive can contain: any other path is refused without touching the file system.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from socket import socket
from threading import Thread

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from flows.host_check import HostCheck
from flows.loopback import ADDRESS, bind_loopback
from tasks.archive.folder import Folder
from tasks.errors import ArchiveError
from tasks.pages.parts import ARCHIVE_INDEX

TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
}

_FILE = re.compile(rf"([0-9a-z][\w.-]*/)*[0-9a-z][\w.-]*\.({'|'.join(TYPES)})", re.ASCII)
"""Matches no hidden file, no `..` and no temporary file."""

_HEADERS = {
    # Inline, because pages contain their style and script, and allow them by hash in their own
    # policy. A browser applies both policies; this one also covers pages from older versions.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # No other open site can load it as a script or an image.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # Every run rewrites the index, and findings do not belong in a browser's cache on disk.
    "Cache-Control": "no-store",
}

_NOTE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="/">The archive</a></p>
</html>
"""

_END_SECONDS = 1
"""Time for the last responses after a Ctrl-C."""


class ArchiveServer:
    """An ASGI application that serves an archive's files."""

    def __init__(self, archive_url: str) -> None:
        """Open the archive.

        Args:
            archive_url: a folder or an fsspec URL.

        Raises:
            ArchiveError: there is no archive yet, or it cannot be read.
        """
        self._folder = Folder.at(archive_url)
        if self._folder.read_inside(ARCHIVE_INDEX) is None:
            raise ArchiveError(
                f"There is no archive in {archive_url} yet: it has no {ARCHIVE_INDEX}.",
                "Run a hunt to create it, or name another archive with --archive-url.",
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        response = await asyncio.wrap_future(_aside(partial(self._answer, Request(scope))))
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        """Give the requested file, or a page that says why there is none."""
        if request.method not in {"GET", "HEAD"}:
            refusal = _note(HTTPStatus.METHOD_NOT_ALLOWED, "The archive is read-only.")
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        path = request.scope["path"].removeprefix("/") or ARCHIVE_INDEX
        try:
            content = self._folder.read_inside(path) if _FILE.fullmatch(path) else None
        except ArchiveError as error:
            return _note(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if content is None:
            return _note(
                HTTPStatus.NOT_FOUND,
                "The archive has no such page. Retention may have removed it.",
            )
        return Response(content, headers={"Content-Type": TYPES[path.rpartition(".")[2]]})


def serve_archive(archive_url: str, port: int, say: Callable[[str], None]) -> None:
    """Serve an archive on loopback until a Ctrl-C.

    Args:
        archive_url: a folder or an fsspec URL.
        port: to listen on.
        say: called with a line when the server is ready, and when it has ended.

    Raises:
        ArchiveError: there is no archive yet, or it cannot be read.
        SettingsError: the port is not available.
    """
    config = configuration(archive_url)
    with bind_loopback(port) as listening:
        try:
            _Server(config, f"http://{ADDRESS}:{port}/", say).run([listening])
        except KeyboardInterrupt:
            say("Ended: the archive is no longer served.")


def configuration(
    archive_url: str, *, header_seconds: float = 10, connections: int = 100
) -> uvicorn.Config:
    """Configure the server of an archive.

    Args:
        archive_url: a folder or an fsspec URL.
        header_seconds: time for the headers of a request; then the connection is closed.
        connections: largest number at a time; further ones are closed at once. A browser opens six.

    Raises:
        ArchiveError: there is no archive yet, or it cannot be read.
    """
    return uvicorn.Config(
        HostCheck(ArchiveServer(archive_url)),
        http=_limited(header_seconds, connections),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_END_SECONDS,
    )


def _limited(header_seconds: float, connections: int) -> type[H11Protocol]:
    """Make the protocol of connections that close without a request; see `configuration`."""

    class Limited(H11Protocol):
        _timer: TimerHandle | None = None

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.abort()
            self._wait_for_request()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_waiting()

        def on_response_complete(self) -> None:
            self._wait_for_request()
            super().on_response_complete()

        def _wait_for_request(self) -> None:
            self._stop_waiting()
            self._timer = self.loop.call_later(header_seconds, self._close_unless_asked)

        def _stop_waiting(self) -> None:
            if self._timer:
                self._timer.cancel()

        def _close_unless_asked(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    return Limited


class _Server(uvicorn.Server):
    """Prints its address as soon as it is ready."""

    def __init__(self, config: uvicorn.Config, address: str, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._address, self._say = address, say

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._say(f"Ready: {self._address}  (Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # A response cut off by the shutdown is no error.
        logging.getLogger("uvicorn.error").disabled = True
        await super().shutdown(sockets)


def _aside(work: Callable[[], Response]) -> Future[Response]:
    """Work in a thread that does not delay the exit: an object store may hang for minutes."""
    done: Future[Response] = Future()
    done.set_running_or_notify_cancel()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited.
            done.set_exception(error)

    Thread(target=do, daemon=True).start()
    return done


def _note(status: HTTPStatus, text: str) -> Response:
    """Make a page that says why there is no file."""
    page = _NOTE.format(title=html.escape(status.phrase), text=html.escape(text))
    return Response(page, status, media_type="text/html")
