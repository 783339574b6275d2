"""Ports on loopback, which only this machine can reach."""

from __future__ import annotations

import errno
import socket

from tasks.errors import SettingsError

ADDRESS = "127.0.0.1"


def bind_loopback(port: int) -> socket.socket:
    """Listen on a port, so that no other process can answer in place of our server.

    Args:
        port: its number; 0 for any free one.

    Raises:
        SettingsError: the port is in use, or this user may not have it.
    """
    server = socket.socket()
    # Connections left over from the last server do not count as a port in use.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((ADDRESS, port))
        server.listen()
    except OSError as error:
        server.close()
        remedy = (
            "Choose a port from 1024 on with --port: lower ports need root."
            if error.errno == errno.EACCES
            else "Choose another port with --port, or end the process that uses this one."
        )
        raise SettingsError(f"Port {port} is not available: {error.strerror}.", remedy) from error
    return server
