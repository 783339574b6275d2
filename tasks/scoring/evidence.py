"""What a finding did within the window: from connection times to evidence."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
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
        times_ms: for each process the newest connection times, at most 2,000, ascending.
        hourly: connections by hour of the window, 0 being the oldest.
    """

    first_ms: int
    times_ms: tuple[tuple[int, ...], ...]
    hourly: Mapping[int, int]

    @property
    def count(self) -> int:
        """Number of connections in the window."""
        return sum(self.hourly.values())

    @property
    def gaps_ms(self) -> list[int]:
        """Milliseconds between neighbouring connections of one process, for all processes."""
        return [later - earlier for times in self.times_ms for earlier, later in pairwise(times)]


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
    gaps = seen.gaps_ms
    regular = regularity(gaps)
    active = list(seen.hourly.values())
    return Evidence(
        connections=seen.count,
        hourly=tuple(
            seen.hourly.get(hour, 0 if hour in awake else None) for hour in range(window.hours)
        ),
        first_connection=_utc(seen.first_ms),
        last_connection=_utc(max(times[-1] for times in seen.times_ms)),
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


AgentRow = Mapping[Hashable, Any]

Rows = Mapping[tuple[str, str], Sequence[AgentRow]]
"""Answers to `CONNECTIONS` by entity id and destination address: a row for each agent."""


def by_process(connections: pd.DataFrame) -> Rows:
    """Index the answers to `CONNECTIONS`."""
    rows: defaultdict[tuple[str, str], list[AgentRow]] = defaultdict(list)
    for row in connections.to_dict("records"):
        rows[row["process.entity_id"], row["destination.address"]].append(row)
    return rows


def connections_of(finding: Finding, rows: Rows) -> Mapping[str | None, Connections]:
    """Add up what all processes of a finding did, apart for every agent.

    Returns:
        Connections by agent.id, None being an agent without one; the agent with most connections
        first. Usually it is one; cloned Macs have one host.id and several agents. Empty when no
        answer has anything of the finding.
    """
    address = finding.destination.address
    keys = ((entity, address) for entity in finding.process.entity_ids if address is not None)
    agents: defaultdict[str | None, list[AgentRow]] = defaultdict(list)
    for row in chain.from_iterable(rows.get(key, ()) for key in keys):
        agents[row.get("agent.id")].append(row)
    added_up = ((agent, _added_up(mine)) for agent, mine in agents.items())
    return dict(sorted(added_up, key=lambda each: (-each[1].count, str(each[0]))))


def _added_up(rows: Sequence[AgentRow]) -> Connections:
    hourly: Counter[int] = Counter()
    for cell in chain.from_iterable(values(row["cells"]) for row in rows):
        hour, _, connections = cell.partition("=")
        hourly[int(hour)] += int(connections)
    return Connections(
        first_ms=min(int(row["first_at"]) for row in rows),
        times_ms=tuple(tuple(sorted(map(int, values(row["times"])))) for row in rows),
        hourly=hourly,
    )
