"""What a finding did within the window: from connection times to evidence."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pandas as pd

from tasks.clusters import values
from tasks.model.findings import Evidence, Finding
from tasks.model.runs import Window

MIN_GAPS = 3
"""Below this many gaps there is no regularity to speak of."""


def regularity(gaps_ms: Sequence[float]) -> float | None:
    """Give `R = max(0, 1 - MAD/median)` of the gaps between connections.

    1 is a clock, 0.306 is random (exponential gaps).

    Args:
        gaps_ms: milliseconds between neighbouring connections.

    Returns:
        None below three gaps, or when the median gap is 0.
    """
    if len(gaps_ms) < MIN_GAPS:
        return None
    median = statistics.median(gaps_ms)
    if median == 0:
        return None
    deviation = statistics.median(abs(gap - median) for gap in gaps_ms)
    return max(0.0, 1.0 - deviation / median)


def jitter_percent(regularity: float) -> float:
    """Give the jitter j of gaps spread evenly over `[(1-j)S, S]` that has this regularity.

    Such gaps have `R = 1 - (j/4)/(1 - j/2)`; this is that form solved for j, at most 100.
    """
    irregular = 1.0 - regularity
    return min(100.0, 100.0 * 4.0 * irregular / (1.0 + 2.0 * irregular))


GAPS_A_PERIOD = 20
"""Lengths of gaps that are told apart within a period."""

GAP_LENGTHS = 2 * GAPS_A_PERIOD
"""And within two periods; longer gaps are counted together."""


def gap_lengths(gaps_ms: Sequence[float]) -> tuple[int, ...]:
    """Count gaps by their length, as `Evidence.gaps` has them.

    Args:
        gaps_ms: milliseconds between neighbouring connections.
    """
    if len(gaps_ms) < MIN_GAPS or not (median := statistics.median(gaps_ms)):
        return ()
    counts = Counter(min(int(gap * GAPS_A_PERIOD // median), GAP_LENGTHS) for gap in gaps_ms)
    return tuple(counts[length] for length in range(GAP_LENGTHS + 1))


@dataclass(frozen=True, slots=True)
class Connections:
    """What the cluster said of one finding's connections.

    Attributes:
        first_ms: the first connection of the window, epoch milliseconds.
        times_ms: the newest connection times, at most 2,000 a process, ascending.
        hourly: connections by hour of the window, 0 being the oldest.
    """

    first_ms: int
    times_ms: tuple[int, ...]
    hourly: Mapping[int, int]


def evidence_of(
    seen: Connections, awake: Set[int], window: Window, threshold: float | None
) -> Evidence:
    """Turn connections into evidence.

    Args:
        seen: at least one connection.
        awake: hours of the window in which the Mac sent anything.
        window: of the run.
        threshold: the hunt's connections per hour, if it has one.
    """
    gaps = [later - earlier for earlier, later in pairwise(seen.times_ms)]
    regular = regularity(gaps)
    active = list(seen.hourly.values())
    return Evidence(
        connections=sum(active),
        hourly=tuple(
            seen.hourly.get(hour, 0 if hour in awake else None) for hour in range(window.hours)
        ),
        first_connection=_utc(seen.first_ms),
        last_connection=_utc(seen.times_ms[-1]),
        regularity=regular,
        period_seconds=statistics.median(gaps) / 1000 if len(gaps) >= MIN_GAPS else None,
        jitter_percent=None if regular is None else jitter_percent(regular),
        hours_active=len(active),
        hours_at_threshold=None
        if threshold is None
        else sum(count >= threshold for count in active),
        median_per_hour=float(statistics.median(active)),
        gaps=gap_lengths(gaps),
    )


def _utc(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


Rows = Mapping[tuple[str, str], Mapping[Hashable, Any]]
"""Answers to `CONNECTIONS` by entity id and destination address."""


def by_process(connections: pd.DataFrame) -> Rows:
    """Index the answers to `CONNECTIONS`."""
    return {
        (row["process.entity_id"], row["destination.address"]): row
        for row in connections.to_dict("records")
    }


def connections_of(finding: Finding, rows: Rows) -> Connections | None:
    """Add up what all processes of a finding did; None when no answer has anything of it."""
    address = finding.destination.address
    keys = ((entity, address) for entity in finding.process.entity_ids if address is not None)
    mine = [rows[key] for key in keys if key in rows]
    if not mine:
        return None
    hourly: Counter[int] = Counter()
    for row in mine:
        for cell in values(row["cells"]):
            hour, _, connections = cell.partition("=")
            hourly[int(hour)] += int(connections)
    return Connections(
        first_ms=min(int(row["first_at"]) for row in mine),
        times_ms=tuple(sorted(int(time) for row in mine for time in values(row["times"]))),
        hourly=hourly,
    )
