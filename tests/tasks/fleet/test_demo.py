from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.fleet.demo import EXPECTED, Expected, demo_clusters, slots
from tasks.fleet.documents import NETWORK
from tasks.fleet.hosts import Fleet
from tasks.fleet.plan import FleetPlan
from tasks.fleet.truth import Truth

END = datetime(2026, 11, 24, 6, tzinfo=UTC)


def truth_of(fleet: Fleet) -> Truth:
    """What a fleet's events come to, without writing them to files."""
    plan = FleetPlan(fleet)
    for day in plan.days:
        for _ in plan.lines(day):
            pass
    return plan.truth()


def story(clusters: dict[str, Fleet], truths: dict[str, Truth]) -> list[Expected]:
    """What comes of the demo's slots, by the labels of what was written."""
    told = []
    for expected in EXPECTED:
        name = expected.cluster
        found = [
            {(label.label, key) for label in truths[name].plantings for key in label.found(slot)}
            for slot in slots(clusters[name].end)
        ]
        now, before = found[expected.slot], found[max(expected.slot - 1, 0)]
        told.append(
            replace(
                expected,
                findings=len(now),
                new=frozenset(label for label, _ in now - before),
                quiet=frozenset(label for label, _ in before - now),
            )
            if expected.outcome != "no_data"
            else expected
        )
    return told


def test_the_demo_has_60_macs_300_000_events_and_its_story() -> None:
    """A baseline, then new findings and one gone quiet, then one more, in an office's noise."""
    clusters = dict(demo_clusters(END))
    truths = {name: truth_of(fleet) for name, fleet in clusters.items()}
    assert sum(fleet.macs for fleet in clusters.values()) == 60
    assert sum(truth.documents[NETWORK] for truth in truths.values()) >= 300_000
    assert story(clusters, truths) == list(EXPECTED)


def test_the_story_is_the_same_on_a_weekend() -> None:
    """Whoever runs the demo on a Sunday sees what others see on a Tuesday."""
    quietly = {
        name: replace(fleet, connections_per_mac_day=0)
        for name, fleet in demo_clusters(END - timedelta(days=2, hours=9))
    }
    truths = {name: truth_of(fleet) for name, fleet in quietly.items()}
    assert story(quietly, truths) == list(EXPECTED)


def test_one_cluster_of_the_demo_is_silent_before_the_last_slot() -> None:
    """Its newest event is older than the six hours after which a run says `no_data`."""
    silent = {expected.cluster for expected in EXPECTED if expected.outcome == "no_data"}
    hours = {name: fleet.silent_hours for name, fleet in demo_clusters(END)}
    assert {name for name, silence in hours.items() if silence > 6} == silent
    assert all(silence < 24 for silence in hours.values())
