"""The end of the time for a question, which loops in Python look at: DuckDB has its interrupt."""

from __future__ import annotations

import math
import time


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
