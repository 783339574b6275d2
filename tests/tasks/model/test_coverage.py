from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from tasks.model.coverage import FAULTS, OF_AGENTS, AgentCoverage, Coverage, Fault
from tasks.model.digests import CoverageGap
from tasks.model.scrutiny import HostSample, StreamEvents
from tests.builders import scrutiny

SLOT = datetime(2026, 11, 24, 6, tzinfo=UTC)

AGENT = AgentCoverage(
    version="8.15.0",
    events=1_000,
    groups=1_000,
    single_event_groups=950,
    merged_events=0,
    unsigned_unknown_events=0,
)


def coverage(age: timedelta | None) -> Coverage:
    newest = None if age is None else SLOT - age
    return Coverage(events=0 if newest is None else 1, macs=1, newest_event=newest)


def test_no_event_at_all_is_stale():
    """A cluster without events is never called clean."""
    assert coverage(None).is_stale(SLOT, stale_after_hours=6)


def test_a_newest_event_as_old_as_allowed_is_fresh_and_a_second_more_is_stale():
    """Six hours means six hours."""
    assert not coverage(timedelta(hours=6)).is_stale(SLOT, stale_after_hours=6)
    assert coverage(timedelta(hours=6, seconds=1)).is_stale(SLOT, stale_after_hours=6)


def test_agents_that_send_nearly_only_single_events_are_blind():
    """From 95 % of at least 1,000 groups on, repeated events are being dropped."""
    assert Fault.BLIND in AGENT.faults


@pytest.mark.parametrize(
    "near_miss",
    [
        {"single_event_groups": 949},
        {"groups": 999, "single_event_groups": 999},
        {"version": "8.14.3"},
        {"version": None},
        {"version": "unknown"},
    ],
)
def test_agents_just_beside_the_rule_are_not_blind(near_miss):
    """Too few single events, too few groups, or an agent that does not drop events."""
    assert Fault.BLIND not in replace(AGENT, **near_miss).faults


@pytest.mark.parametrize("version", ["8.15.0", "8.18.2", "9.1.0", "10.0.0"])
def test_every_later_agent_may_be_blind(version):
    """Versions compare as numbers, not as text."""
    assert Fault.BLIND in replace(AGENT, version=version).faults


@pytest.mark.parametrize(
    ("sent", "faults"),
    [
        ({}, (Fault.BLIND,)),
        ({"single_event_groups": 0}, ()),
        ({"single_event_groups": 0, "merged_events": 500}, (Fault.MERGED,)),
        ({"single_event_groups": 0, "merged_events": 499}, ()),
        ({"single_event_groups": 0, "unsigned_unknown_events": 50}, (Fault.NO_SIGNATURE,)),
        ({"single_event_groups": 0, "unsigned_unknown_events": 49}, ()),
        ({"events": 0, "groups": 0, "single_event_groups": 0}, ()),
        ({"merged_events": 1_000, "unsigned_unknown_events": 1_000}, OF_AGENTS),
    ],
)
def test_telemetry_has_the_faults_that_its_shares_show(sent, faults):
    """Each from its stated share on, the gravest first."""
    assert replace(AGENT, **sent).faults == faults


def test_every_fault_is_described_the_gravest_first():
    """A run, a digest and a check have the same sentence and remedy for it."""
    assert list(FAULTS) == list(Fault)
    assert FAULTS[Fault.MERGED].sentence("agents 8.18.0", "(60% of the events)") == (
        "agents 8.18.0 send an attempt and its disconnect as one event (60% of the events), so a "
        "threshold for events an hour asks for twice as many connections there."
    )
    for description in FAULTS.values():
        assert description.remedy.endswith(".")


def test_faults_of_a_cluster_name_the_agent_versions_that_have_them():
    """An operator knows which policies to look at."""
    agents = (
        AGENT,
        replace(AGENT, version="8.18.0", merged_events=1_000),
        replace(AGENT, version=None, merged_events=1_000),
        replace(AGENT, version="8.14.0"),
    )
    assert replace(coverage(timedelta()), agents=agents).faulty == {
        Fault.BLIND: ("8.15.0", "8.18.0"),
        Fault.MERGED: ("8.18.0", "unknown"),
    }


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, {}),
        ({"candidates": 10_000, "unjudged": 1}, {Fault.SEVERAL: 0.0001}),
        ({"candidates": 990, "strays": 10}, {Fault.OUTSIDE: 0.01}),
        ({"candidates": 991, "strays": 9}, {}),
        ({"candidates": 0, "strays": 9}, {}),
        ({"known": 4, "stopped": HostSample(2)}, {Fault.STOPPED: 0.5}),
        ({"known": 5, "stopped": HostSample(2)}, {}),
        ({"known": 1, "stopped": HostSample(1)}, {}),
        ({"ahead": HostSample(1)}, {Fault.AHEAD: 1}),
        ({"cloned": HostSample(3)}, {Fault.CLONED: 3}),
        ({"streams": (StreamEvents("a", 100, 100, 100, 98),)}, {Fault.TWICE: 0.02}),
        ({"streams": (StreamEvents("a", 1_000, 1_000, 1_000, 981),)}, {}),
        ({"hosts": None}, {}),
    ],
)
def test_events_and_hosts_have_the_faults_that_their_numbers_show(changes, faults):
    """Each from its stated share or number on."""
    assert replace(coverage(timedelta()), scrutiny=scrutiny(**changes)).faults == faults


def test_coverage_without_scrutiny_is_written_as_before():
    """Documents of earlier versions keep their bytes, and have no fault that nobody looked for."""
    old = TypeAdapter(Coverage).dump_json(coverage(timedelta()))
    assert b"scrutiny" not in old
    assert TypeAdapter(Coverage).validate_json(old).faults == {}


def test_every_fault_can_be_a_gap_of_a_digest():
    """Its name is the same in both."""
    assert [CoverageGap(fault).fault for fault in Fault] == list(Fault)
