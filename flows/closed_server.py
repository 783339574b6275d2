"""Run Prefect's server on a listening socket that was inherited, behind a check of the host.

`python -m flows.closed_server 5` takes file descriptor 5. Like `prefect server start` it serves API
and UI and runs the server's services; settings come from the environment.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from flows.host_check import HostCheck


def serve(listening: socket.socket) -> None:
    """Serve until SIGTERM."""
    settings = get_current_settings().server
    # Around the application, not in it: the server's services call it under another host's name.
    app = HostCheck(create_app(final=True))
    config = uvicorn.Config(
        app,
        log_level=settings.logging_level.lower(),
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        server_header=False,
    )
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
