"""Ctrl-C, SIGTERM and SIGHUP: any of them ends a command, even if a library catches it."""

from __future__ import annotations

import signal
import threading

EXIT_CODE = 128 + signal.SIGINT

_interrupted = threading.Event()


def listen_for_interrupt() -> None:
    """End the command on Ctrl-C, by systemd or with its window; under nohup it goes on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def was_interrupted() -> bool:
    """Whether a signal has asked the command to end, even if a library caught the exception."""
    return _interrupted.is_set()


def raise_if_interrupted() -> None:
    """Raise the interrupt again, in case a library caught it and went on.

    Raises:
        KeyboardInterrupt: a signal has asked the command to end.
    """
    if was_interrupted() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _end(*_: object) -> None:
    _interrupted.set()
    raise KeyboardInterrupt
