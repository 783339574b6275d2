"""Ports of this machine's loopback, which nobody else on the network reaches."""

from __future__ import annotations

import errno
import socket

from tasks.errors import SettingsError

ADDRESS = "127.0.0.1"


def bind_loopback(port: int) -> socket.socket:
    """Have a port: whoever listens there could answer in place of our server.

    Args:
        port: its number; 0 for any free one.

    Raises:
        SettingsError: somebody has it, or it is not for this user.
    """
    server = socket.socket()
    # What the last server left behind is not somebody else.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((ADDRESS, port))
    except OSError as error:
        server.close()
        remedy = (
            "Choose one from 1024 on with --port: those below are for root."
            if error.errno == errno.EACCES
            else "Choose another with --port, or end what listens there."
        )
        raise SettingsError(f"Port {port} cannot be had: {error.strerror}.", remedy) from error
    return server
