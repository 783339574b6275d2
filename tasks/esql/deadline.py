"""The end of the time for a question, which loops in Python look at: DuckDB has its interrupt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

_Made = TypeVar("_Made")
_WATCH_SECONDS = 0.2


class Deadline:
    """The moment at which a question ends; `end` brings it forward."""

    def __init__(self, seconds: float | None = None) -> None:
        """Count from now; None is without end."""
        self._at = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def seconds_left(self) -> float | None:
        """The remaining time; None without end."""
        return None if self._at == math.inf else max(self._at - time.monotonic(), 0)

    def end(self) -> None:
        """End the time now."""
        self._at = -math.inf

    def check(self) -> None:
        """Raise once the time is over.

        Raises:
            TimeoutError: it is.
        """
        if time.monotonic() >= self._at:
            raise TimeoutError


def run_apart(
    work: Callable[[], _Made],
    deadline: Deadline,
    interrupt: Callable[[], None],
    watch: Callable[[], None] | None = None,
) -> _Made:
    """Do work in a thread, so that a signal or the deadline ends it: DuckDB often ignores a signal.

    Args:
        work: it checks the deadline wherever it may take long in Python.
        deadline: of the work.
        interrupt: ends what DuckDB does; called again and again until the work has ended.
        watch: called several times a second while the work goes on.

    Raises:
        TimeoutError: the deadline passed; every error of the work is raised too.
    """
    with ThreadPoolExecutor(max_workers=1) as apart:
        result = apart.submit(work)
        try:
            while watch and not wait([result], _WATCH_SECONDS).done:
                watch()
            return result.result(deadline.seconds_left)
        except BaseException:
            deadline.end()
            while not result.done():
                interrupt()
                time.sleep(0.01)
            del result  # Its error refers to DuckDB's objects, which ours would keep alive.
            raise
