"""The archive in a browser of this machine: from a file's path to its bytes, and nothing else.

It listens on loopback only, reads only, and lists nothing. A path is compared with what an archive
can hold before anything is read: no other name gets as far as the file system.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
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
"""Neither hidden nor `..`, and no temporary name."""

_HOST = re.compile(rf"({re.escape(ADDRESS)}|localhost)(:[0-9]+)?")

_HEADERS = {
    # Inline, because a page brings its style and script along and allows them by their hashes, in
    # a policy of its own. A browser applies both; this one also holds for what older versions made.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # No site that is open beside it can draw it in, as a script or a picture.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # The index is rewritten by every run, and findings are not for a browser's cache on disk.
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
"""How long the last answers may take after a Ctrl-C."""


class ArchiveServer:
    """An ASGI application that gives an archive's files."""

    def __init__(self, archive_url: str) -> None:
        """Open the archive.

        Args:
            archive_url: a folder or an fsspec URL.

        Raises:
            ArchiveError: there is none yet, or it cannot be read.
        """
        self._folder = Folder.at(archive_url)
        if self._folder.read_inside(ARCHIVE_INDEX) is None:
            raise ArchiveError(
                f"There is no archive in {archive_url} yet: it has no {ARCHIVE_INDEX}.",
                "Run a hunt, which makes one, or name the archive with --archive-url.",
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        response = await asyncio.wrap_future(_aside(partial(self._answer, Request(scope))))
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        """Give the file that a request names, or say in words why not."""
        if not _HOST.fullmatch(request.headers.get("host", "").lower()):
            # A site that has its own name resolve to this machine asks under that name.
            return _note(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"This server answers as {ADDRESS} and as localhost, and under no other name.",
            )
        if request.method not in {"GET", "HEAD"}:
            refusal = _note(HTTPStatus.METHOD_NOT_ALLOWED, "The archive can only be read.")
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
                "The archive has no such page. It may have been removed when its time was over.",
            )
        return Response(content, headers={"Content-Type": TYPES[path.rpartition(".")[2]]})


def serve_archive(archive_url: str, port: int, say: Callable[[str], None]) -> None:
    """Serve an archive on loopback until a Ctrl-C.

    Args:
        archive_url: a folder or an fsspec URL.
        port: to listen on.
        say: told when it answers, and when it does no more.

    Raises:
        ArchiveError: there is no archive yet, or it cannot be read.
        SettingsError: the port cannot be had.
    """
    config = uvicorn.Config(
        ArchiveServer(archive_url),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    with bind_loopback(port) as listening:
        try:
            _Server(config, f"http://{ADDRESS}:{port}/", say).run([listening])
        except KeyboardInterrupt:
            say("Ended: the archive is not served any more.")


class _Server(uvicorn.Server):
    """Says where it answers, once it does."""

    def __init__(self, config: uvicorn.Config, address: str, say: Callable[[str], None]) -> None:
        super().__init__(config)
        self._address, self._say = address, say

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._say(f"Ready: {self._address}  (Ctrl-C ends it)")

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # That the end cuts an answer off is no error.
        logging.getLogger("uvicorn.error").disabled = True
        await super().shutdown(sockets)


def _aside(work: Callable[[], Response]) -> Future[Response]:
    """Do work in a thread that the end does not wait for: a store may be silent for minutes."""
    done: Future[Response] = Future()
    done.set_running_or_notify_cancel()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits.
            done.set_exception(error)

    Thread(target=do, daemon=True).start()
    return done


def _note(status: HTTPStatus, text: str) -> Response:
    """Say in words why there is no file."""
    page = _NOTE.format(title=html.escape(status.phrase), text=html.escape(text))
    return Response(page, status, media_type="text/html")
