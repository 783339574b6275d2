"""Ctrl-C, and what ends a command as it does: heard once, and not lost on the way."""

from __future__ import annotations

import signal
import threading

EXIT_CODE = 128 + signal.SIGINT

_told_to_end = threading.Event()


def listen_for_interrupt() -> None:
    """Let systemd and a closed window end the command as a Ctrl-C does; nohup keeps it going."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, _end)


def was_interrupted() -> bool:
    """Whether the command was told to end, whatever libraries made of it."""
    return _told_to_end.is_set()


def raise_if_interrupted() -> None:
    """Raise it again where a library made an error of its own of it, and somebody went on.

    Raises:
        KeyboardInterrupt: the command was told to end.
    """
    if was_interrupted() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _end(*_: object) -> None:
    _told_to_end.set()
    raise KeyboardInterrupt
