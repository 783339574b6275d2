"""Two calls in, a measurement out: what ours costs, in times of a plain thing of the same size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What something costs beside a plain thing of the same size, in the same run.

    Seconds differ from machine to machine and from hour to hour; the ratio differs much less.

    Attributes:
        what: is measured.
        size: how many units.
        unit: what is counted, in the plural.
        seconds: that it took.
        against: the plain thing.
        against_seconds: that the plain thing took.
        plans: how a database executes each of its statements.
    """

    what: str
    size: int
    unit: str
    seconds: float
    against: str
    against_seconds: float
    plans: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times as long as the plain thing."""
        return self.seconds / self.against_seconds

    @property
    def microseconds_each(self) -> float:
        """Of one unit."""
        return 1e6 * self.seconds / self.size


def timed(call: Callable[[], T], *, times: int = 1) -> tuple[float, T]:
    """Give the seconds that a call takes, and what it gives.

    Args:
        call: what to measure.
        times: how often to call; the quickest counts, which the rest of the machine disturbed
            least.
    """
    quickest = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        given = call()
        quickest = min(quickest, time.perf_counter() - begin)
    return quickest, given
