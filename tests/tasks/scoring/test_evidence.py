import random
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.findings import Process
from tasks.model.runs import Window
from tasks.scoring.evidence import (
    Connections,
    by_process,
    connections_of,
    evidence_of,
    gap_lengths,
    jitter_percent,
    regularity,
)
from tests.builders import finding

SLOT = datetime(2026, 11, 24, 6, tzinfo=UTC)
WINDOW = Window.before(SLOT, 7)
START_MS = int(WINDOW.start.timestamp() * 1000)


def spread_evenly(jitter: float, period_ms: int = 60_000) -> list[float]:
    """Gaps that cover [(1-j)S, S] without favourites."""
    return [period_ms * (1 - jitter * n / 10_000) for n in range(10_001)]


def connections(times_ms: list[int]) -> Connections:
    hourly: dict[int, int] = {}
    for time in times_ms:
        hour = (time - START_MS) // 3_600_000
        hourly[hour] = hourly.get(hour, 0) + 1
    return Connections(times_ms[0], (tuple(times_ms),), hourly)


def every(seconds: float, count: int) -> list[int]:
    return [START_MS + int(n * seconds * 1000) for n in range(count)]


def test_a_clock_is_perfectly_regular():
    """No jitter, regularity 1."""
    assert regularity([60_000] * 10) == 1.0


@pytest.mark.parametrize("jitter", [0.1, 0.3, 0.5, 0.9])
def test_even_jitter_has_its_closed_form(jitter):
    """Gaps spread over [(1-j)S, S] give R = 1 - (j/4)/(1 - j/2), and j comes back out of R."""
    expected = 1 - (jitter / 4) / (1 - jitter / 2)
    regular = regularity(spread_evenly(jitter))
    assert regular == pytest.approx(expected, abs=1e-3)
    assert jitter_percent(regular) == pytest.approx(100 * jitter, abs=0.5)


def test_random_traffic_has_the_closed_form_of_exponential_gaps():
    """A program that calls at random has 0.306, far below a beacon."""
    seeded = random.Random(4)
    gaps = [seeded.expovariate(1 / 60_000) for _ in range(50_000)]
    assert regularity(gaps) == pytest.approx(0.306, abs=0.02)


@pytest.mark.parametrize("gaps", [[], [1, 1], [0, 0, 0, 5]])
def test_too_few_gaps_or_a_median_of_zero_say_nothing(gaps):
    """Nothing is better than a figure that means nothing."""
    assert regularity(gaps) is None


@given(st.lists(st.integers(1, 10**9), min_size=3))
def test_regularity_and_jitter_stay_in_their_range(gaps):
    """Whatever the traffic, R is 0 to 1 and jitter 0 to 100 %."""
    regular = regularity(gaps)
    assert 0 <= regular <= 1
    assert 0 <= jitter_percent(regular) <= 100


@given(st.lists(st.integers(1, 10**7), min_size=3), st.integers(2, 100))
def test_regularity_knows_no_unit(gaps, factor):
    """A slower beacon with the same jitter is as regular."""
    assert regularity([gap * factor for gap in gaps]) == pytest.approx(regularity(gaps))


def test_gaps_are_counted_by_their_share_of_the_period():
    """A beacon of a minute with one long pause: all gaps at the period, one beyond twice it."""
    counts = gap_lengths([*[60_000] * 99, 3_600_000])
    assert counts[20] == 99
    assert counts[-1] == 1
    assert sum(counts) == 100


@given(st.lists(st.integers(0, 10**7), max_size=50))
def test_no_gap_is_lost(gaps):
    """What has a period has every gap counted once."""
    counts = gap_lengths(gaps)
    assert sum(counts) == (len(gaps) if counts else 0)
    assert len(counts) in {0, 41}


def test_a_minutely_beacon_of_ten_hours():
    """The figures that an analyst reads off a plain beacon."""
    shown = evidence_of(connections(every(60, 600)), frozenset(range(168)), WINDOW, threshold=60)
    assert shown.connections == 600
    assert shown.period_seconds == 60
    assert shown.jitter_percent == 0
    assert shown.hours_active == shown.hours_at_threshold == 10
    assert shown.median_per_hour == 60
    assert isinstance(shown.median_per_hour, float)  # As findings.json gives it back.
    assert shown.gaps == (*[0] * 20, 599, *[0] * 20)
    assert shown.first_connection == WINDOW.start
    assert shown.last_connection == WINDOW.start + timedelta(minutes=599)


def test_an_hour_below_the_threshold_is_active_but_not_at_it():
    """59 an hour are not 60."""
    times = every(60, 60) + [START_MS + 3_600_000 + n * 61_000 for n in range(59)]
    shown = evidence_of(connections(times), frozenset(), WINDOW, threshold=60)
    assert (shown.hours_active, shown.hours_at_threshold) == (2, 1)


def test_a_hunt_without_a_threshold_has_no_hours_at_it():
    """Nothing is made up for a hunt that has no such figure."""
    shown = evidence_of(connections(every(60, 5)), frozenset(), WINDOW, threshold=None)
    assert shown.hours_at_threshold is None


def test_an_hour_asleep_is_no_data_and_an_hour_awake_is_zero():
    """A Mac that was off says nothing about the program."""
    shown = evidence_of(connections(every(60, 5)), frozenset({0, 1}), WINDOW, threshold=None)
    assert shown.hourly == (5, 0, *[None] * 166)


def test_gaps_are_those_of_each_process():
    """A restart, a second instance or a clone makes no gap to another process's connections."""
    first, second = tuple(every(55, 30)), tuple(at + 10_000 for at in every(55, 30))
    hourly = {0: 60}
    shown = evidence_of(
        Connections(START_MS, (first, second), hourly), frozenset(), WINDOW, threshold=None
    )
    assert (shown.period_seconds, shown.regularity, shown.connections) == (55, 1, 60)
    assert sum(shown.gaps) == 58
    assert shown.last_connection == WINDOW.start + timedelta(seconds=29 * 55 + 10)


def rows(*entries: tuple) -> pd.DataFrame:
    columns = ["agent.id", "process.entity_id", "destination.address", "cells", "first_at"]
    return pd.DataFrame(entries, columns=[*columns, "times"], dtype=object)


ADDRESS = "45.1.1.1"
MINE = finding(address=ADDRESS, process=Process(entity_ids=("e1", "e2")))


def test_all_starts_of_a_process_add_up_and_strangers_do_not():
    """A restart continues the same finding; another destination is another finding."""
    hour, later = START_MS + 3_600_000, START_MS + 3_600_001
    answer = rows(
        ("a", "e1", ADDRESS, ["0=2", "1=1"], START_MS, [START_MS + 9, hour, START_MS]),
        ("a", "e2", ADDRESS, "1=1", later, later),
        ("a", "e1", "45.2.2.2", "5=7", START_MS, [START_MS]),
        ("a", "e3", ADDRESS, "6=7", START_MS, [START_MS]),
    )
    assert connections_of(MINE, by_process(answer)) == {
        "a": Connections(START_MS, ((START_MS, START_MS + 9, hour), (later,)), {0: 2, 1: 2})
    }


def test_agents_are_kept_apart_the_busiest_first():
    """Two Macs with one host.id, and even one entity id, are two series of times."""
    answer = rows(
        ("b", "e1", ADDRESS, "0=1", START_MS, START_MS),
        (None, "e1", ADDRESS, "0=1", START_MS, START_MS),
        ("a", "e1", ADDRESS, "0=1", START_MS, START_MS),
        ("c", "e1", ADDRESS, "0=1", START_MS, START_MS),
        ("c", "e2", ADDRESS, "0=1", START_MS, START_MS),
    )
    counts = {agent: seen.count for agent, seen in connections_of(MINE, by_process(answer)).items()}
    assert list(counts.items()) == [("c", 2), (None, 1), ("a", 1), ("b", 1)]


def test_agents_that_the_cluster_does_not_map_are_one():
    """The evidence is not lost with them."""
    answer = rows(("", "e1", ADDRESS, "0=1", 5, 5), ("", "e2", ADDRESS, "0=1", 7, 7))
    (seen,) = connections_of(MINE, by_process(answer.drop(columns="agent.id"))).values()
    assert seen.times_ms == ((5,), (7,))


def test_a_finding_that_the_answer_does_not_know_has_no_connections():
    """No evidence is none, not zero."""
    assert connections_of(MINE, by_process(rows())) == {}
