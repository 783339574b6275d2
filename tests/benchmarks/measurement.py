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
        cost: in seconds, or in `of_cost`.
        against: the plain thing.
        against_cost: of the plain thing.
        plans: how a database executes each of its statements.
        of_cost: the unit of both costs.
        goal: what is aimed at, in words; it is no limit.
    """

    what: str
    size: int
    unit: str
    cost: float
    against: str
    against_cost: float
    plans: Mapping[str, str] = field(default_factory=dict)
    of_cost: str = "s"
    goal: str = ""

    @property
    def ratio(self) -> float:
        """How many times as much as the plain thing."""
        return self.cost / self.against_cost


def timed(call: Callable[[], T], *, times: int = 1) -> tuple[float, T]:
    """Give the seconds that a call takes, and what it gives.

    Args:
        call: what to measure.
        times: how often to call; the quickest counts, which the rest of the machine disturbed
            least.
    """
    return _least(call, times, time.perf_counter)


def worked(call: Callable[[], T], *, times: int = 1) -> tuple[float, T]:
    """Give the CPU seconds of a call in all threads, which other processes disturb less."""
    return _least(call, times, time.process_time)


def _least(call: Callable[[], T], times: int, clock: Callable[[], float]) -> tuple[float, T]:
    least = float("inf")
    for _ in range(times):
        begin = clock()
        given = call()
        least = min(least, clock() - begin)
    return least, given
