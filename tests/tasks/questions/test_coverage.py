"""Coverage that distrusts what it is given: from events to the report's first screen and digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.clusters import Answer, Question, ask, connect
from tasks.fleet.documents import NETWORK, Document
from tasks.model.coverage import Coverage, Fault
from tasks.model.digests import ClusterDay, Digest, Medium, day_gaps
from tasks.model.hunts import Hunt, load_hunt
from tasks.model.runs import Outcome, Plan, Report
from tasks.model.scrutiny import HostSample, HostStates, Scrutiny
from tasks.questions.candidates import ask_candidates
from tasks.questions.coverage import ask_coverage
from tasks.questions.scrutiny import asked_of_events, streams_question
from tasks.record import build_report
from tasks.report import render_report, state_message
from tasks.settings import Cluster
from tasks.slack.compose import compose_message
from tasks.slack.message import plain_text
from tests.elasticsearch_behaviours import error, real, when
from tests.elasticsearch_server import ElasticsearchServer
from tests.events import SLOT, beacon, network_event, write_events

HUNT = load_hunt("macos-unsigned-network")
HOUR = timedelta(hours=1)


def plan(hunt: Hunt = HUNT, **changes: Any) -> Plan:
    plain = Plan("abc", hunt, "corp", SLOT, stale_after_hours=6, started_at=SLOT)
    return replace(plain, **changes)


def found_in(
    folder: Path, of: Plan | None = None, clock: datetime = SLOT
) -> tuple[Answer, Coverage, int]:
    """Give the hunt's answer, its coverage, and the number of questions about coverage."""
    of = of or plan()
    with connect(Cluster(name="corp", url=folder.as_uri())) as client:
        answer = ask_candidates(client, of)
        coverage, _ = ask_coverage(client, of, clock)
        asked = sum(cost.asked for name, cost in client.costs.items() if name != "hunt")
    return answer, coverage, asked


def covered(folder: Path, events: Iterable[Document], **how: Any) -> Coverage:
    write_events(folder, events)
    return found_in(folder, **how)[1]


def scrutinised(folder: Path, events: Iterable[Document], **how: Any) -> Scrutiny:
    scrutiny = covered(folder, events, **how).scrutiny
    assert scrutiny
    return scrutiny


def hosts_of(folder: Path, events: Iterable[Document], **how: Any) -> HostStates:
    hosts = scrutinised(folder, events, **how).hosts
    assert hosts
    return hosts


def hourly(host: str, first: int, last: int, **traits: Any) -> list[Document]:
    """Give one event an hour, from so many hours before the slot to so many."""
    at = (SLOT - n * HOUR for n in range(first, last - 1, -1))
    return [network_event(host, f"process-{host}", when, **traits) for when in at]


def reported(answer: Answer, coverage: Coverage) -> Report:
    outcome = plan().outcome(coverage, whole=True, first=False)
    return build_report(plan(), outcome, answer, coverage, (), SLOT - 24 * HOUR, ())


def first_screen(report: Report) -> str:
    """Give the page down to its numbers, as text with its quotes."""
    return render_report(report).partition('class="tiles"')[0].replace("&#34;", '"')


def digest_text(report: Report, before: Report | None = None) -> str:
    """Give what the day's digest warns of; empty for no message."""
    run = report.run
    gaps = tuple(day_gaps(SLOT, run, before.run if before else None))
    searched = SLOT if run.outcome.searched else SLOT - 24 * HOUR
    day = ClusterDay(run.cluster, run.hunt, run, searched, gaps)
    digest = Digest("0a1b2c3d4e5f", 1, "soc", Medium.SLACK, SLOT, (day,))
    message = compose_message(digest, report_base_url=None)
    sections = [b for b in message.blocks if b["type"] == "section"] if message else []
    return "\n".join(map(plain_text, sections))


BEACON = beacon(1_300, 10 * HOUR, phase="attempt")
FRESH = hourly("fresh", 20, 1)


def copied(events: Iterable[Document]) -> list[Document]:
    """Give every event once more, with its `event.id`."""
    return [event for each in events for event in (each, each)]


def changed(events: Iterable[Document], of_all: int = 1, **fields: Any) -> list[Document]:
    """Give the events with other top-level blocks' fields, in one of so many of them."""
    copies = []
    for number, event in enumerate(events):
        copy = dict(event)
        if number % of_all == 0:
            for path, value in fields.items():
                block, _, name = path.partition("__")
                copy[block] = {**copy[block], name: value}
        copies.append(copy)
    return copies


TWO_CATEGORIES = {"event__category": ["network", "host"]}
IN_OTHER_LETTERS = {"family": "macOS", "name": "macOS", "type": "macos"}

SCENARIOS: dict[str, tuple[list[Document], int, str, str]] = {
    "ingested twice": (
        [*FRESH, *copied(BEACON)],
        2_600,
        "Ingested twice: 1,300 of 2,620 events (50%; logs-endpoint.events.network-default: 50%, "
        "rates 2.0 times as high)",
        "corp: 1,300 of 2,620 events (50%; ",
    ),
    "a clock two days ahead": (
        [*FRESH, *BEACON, *hourly("ahead", -48, -50)],
        1_300,
        "Clock ahead: 3 events of 1 Mac (MBP-ahead) came with a time that is still in the future, "
        "so they were not searched.",
        "corp: 3 events of 1 Mac (MBP-ahead) came with",
    ),
    "two Macs with one host.id": (
        [*FRESH, *BEACON, *hourly("a", 9, 1, **{"agent.id": "other", "host.name": "clone"})],
        1_300,
        "Shared host.id: 1 host.id (MBP-a, clone (host.id a)) had several agents at the same time",
        "corp: 1 host.id (MBP-a, clone (host.id a)) had several",
    ),
    "half of the events with two categories": (
        [*FRESH, *changed(BEACON, 2, **TWO_CATEGORIES)],
        650,
        "Blind: 650 of 1,320 events (49%; event.category: 650) have several values",
        "corp is blind to some events: 650 of 1,320 events (49%; event.category: 650) have",
    ),
    "half of the fleet stopped": (
        [*FRESH, *BEACON, *hourly("old", 60, 30), *hourly("older", 60, 40)],
        1_300,
        "Hosts stopped: 2 of 4 Macs, silent for at least 24 hours (MBP-old, MBP-older), sent",
        "corp: 2 of 4 Macs, silent for at least 24 hours (MBP-old, MBP-older), sent",
    ),
    "a third in other letters": (
        [*FRESH, *BEACON, *changed(hourly("x", 100, 1) * 7, host__os=IN_OTHER_LETTERS)],
        1_300,
        'Outside the population: 700 of 2,020 events (35%; host.os.family == "macos": 700) miss',
        'corp: 700 of 2,020 events (35%; host.os.family == "macos": 700) miss',
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_makes_events_untrue_is_on_the_first_screen_and_in_the_digest(tmp_path, name):
    """With the remedy; the hunt's own answer stays what its query says."""
    events, connections, on_page, in_message = SCENARIOS[name]
    write_events(tmp_path, events)
    answer, coverage, questions = found_in(tmp_path)
    report = reported(answer, coverage)
    assert questions == 3
    assert report.run.outcome is Outcome.COMPLETE
    assert on_page in first_screen(report)
    assert digest_text(report).startswith(in_message)
    assert len(coverage.faults) == 1
    (fault,) = coverage.faults
    assert fault in state_message(report)
    assert digest_text(report, before=report) == ""
    assert Report.from_json(report.to_json()) == report
    rows = answer.rows["count_connections"]
    assert list(rows) == [connections] * (connections > 8 * 120)


def test_events_that_are_all_outside_the_population_are_no_missing_data(tmp_path):
    """The agents do send: the remedy is the hunt."""
    write_events(tmp_path, changed(BEACON, host__os=IN_OTHER_LETTERS))
    answer, coverage, questions = found_in(tmp_path)
    report = reported(answer, coverage)
    came = '1,300 events came, none with host.os.family == "macos" (macOS: 1,300)'
    assert questions == 4  # One more, for the values.
    assert report.run.outcome is Outcome.NO_DATA
    assert state_message(report) == f"nothing matched: {came}"
    assert f"No event for this hunt.</strong> {came}. The agents do send: correct" in (
        first_screen(report)
    )
    assert digest_text(report).startswith(f"corp has no event for its hunt: {came} (last searched")


@pytest.mark.parametrize(
    ("population", "fields", "words"),
    [
        (
            'event.category == "network"',
            {"event__category": ["file", "host", "process"]},
            'none with event.category == "network" (file and host and process: 20)',
        ),
        (
            'host.os.family == "macos"',
            {"host__os": {"name": "macOS"}},
            'none with host.os.family == "macos" (no value: 20)',
        ),
        ("destination.port == 80", {}, "none with destination.port == 80 (443: 20)"),
        ("destination.port < 80", {}, "none with destination.port < 80"),
        (
            'destination.port == 443 AND NOT destination.address LIKE "45*"',
            {},
            'none with NOT destination.address LIKE "45*"',
        ),
    ],
)
def test_the_condition_that_no_event_meets_is_named_with_the_values_that_came(
    tmp_path, population, fields, words
):
    """Whatever field it is about."""
    pipeline = HUNT.pipeline.model_copy(update={"population": population})
    hunt = HUNT.model_copy(update={"pipeline": pipeline})
    write_events(tmp_path, changed(FRESH, **fields))
    answer, coverage, _ = found_in(tmp_path, plan(hunt))
    assert f"20 events came, {words}." in (reported(answer, coverage).run.detail or "")


def test_other_systems_in_the_same_data_stream_are_normal(tmp_path):
    """A mixed fleet has no fault; how much of it is not the hunt's stands in the report."""
    windows = changed(hourly("pc", 90, 1), host__os={"family": "windows"}, **TWO_CATEGORIES)
    coverage = covered(tmp_path, [*FRESH, *windows])
    assert coverage.faults == {}
    assert coverage.scrutiny
    assert (coverage.events, coverage.macs, coverage.scrutiny.sent) == (20, 1, 110)
    report = reported(Answer(rows=pd.DataFrame(), types={}), coverage)
    assert "<dd>90 of 110 events</dd>" in render_report(report)
    assert report.run.warnings == ()


def test_a_mac_that_was_enrolled_anew_is_no_clone(tmp_path):
    """Its first agent ended before the second began."""
    before, now = hourly("a", 60, 30), hourly("a", 30, 1, **{"agent.id": "anew"})
    assert hosts_of(tmp_path, [*before, *now]).cloned.count == 0


def test_an_event_after_a_past_slot_is_not_ahead_of_the_run_s_clock(tmp_path):
    """A run for last week counts no event of today; what is later than its clock it names."""
    events = [*FRESH, *hourly("today", -24, -26), *hourly("ahead", -100, -101)]
    later = hosts_of(tmp_path, events, clock=SLOT + 50 * HOUR)
    assert (later.ahead, later.ahead_events) == (HostSample(1, ("MBP-ahead",)), 2)
    assert (later.known, later.seen) == (1, 1)


def test_a_clock_may_be_a_quarter_of_an_hour_ahead(tmp_path):
    """New events arrive while the question waits."""
    at = [SLOT + timedelta(minutes=15) - timedelta(milliseconds=1), SLOT + timedelta(minutes=15)]
    events = [network_event(name, at=when) for name, when in zip("ab", at, strict=True)]
    assert hosts_of(tmp_path, events).ahead.names == ("MBP-b",)


def test_a_fresh_mac_does_not_hide_silent_ones(tmp_path):
    """Silent Macs are counted; that they stopped is said from half of them on."""
    awake = [event for name in "abcd" for event in hourly(name, 30, 2)]
    hosts = hosts_of(tmp_path, [*awake, *hourly("e", 30, 7), *hourly("f", 60, 24)])
    assert (hosts.known, hosts.silent, hosts.stopped.count) == (6, 2, 1)
    assert hosts.stopped_share < 0.5


def test_what_a_condition_excludes_anyway_is_not_called_blind(tmp_path):
    """Only where null decides: a private address is never searched, whatever its categories."""
    private = changed(hourly("a", 9, 1, destination="10.1.2.3"), **TWO_CATEGORIES)
    assert scrutinised(tmp_path, [*FRESH, *private]).unjudged == 0


def test_every_field_that_a_where_compares_is_counted_also_a_made_one(tmp_path):
    """An EVAL does not take several values away."""
    query = f"""FROM {NETWORK}
    | EVAL port = destination.port, users = MV_COUNT(user.name)
    | WHERE port == 443 AND users >= 1
    | STATS n = COUNT(*) BY host.id"""
    hunt = HUNT.model_copy(update={"query": query})
    several = {"destination__port": [443, 80], "user__name": ["ada", "kim"]}
    seen = scrutinised(tmp_path, [*FRESH, *changed(hourly("b", 5, 1), **several)], of=plan(hunt))
    assert [(each.field, each.events) for each in seen.several] == [("destination.port", 5)]


def test_backing_indices_are_one_data_stream(tmp_path):
    """An event that comes again after a rollover is the same event; an alias stays."""
    name = "ds-logs-endpoint.events.network-eu-1-2026.11.20-000001"
    indices = [f"eu:.{name}", f"us:partial-.{name}", NETWORK]
    query = streams_question(plan(), asked_of_events(HUNT)).query
    fold = query[query.index("REPLACE(") : query.index(",\n       coverage.inside")]
    listed = ", ".join(f'"{index}"' for index in indices)
    row = f"ROW _index = [{listed}] | MV_EXPAND _index | EVAL stream = {fold} | KEEP stream"
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as client:
        rows = ask(client, Question("fold", row, {"match_all": {}}, {})).rows
    stream = "logs-endpoint.events.network-eu-1"
    assert list(rows["stream"]) == [f"eu:{stream}", f"us:{stream}", NETWORK]


def asked_of(server: ElasticsearchServer, of: Plan) -> Coverage:
    with connect(Cluster(name="corp", url=server.url)) as client:
        return ask_coverage(client, of, SLOT)[0]


def test_remote_clusters_are_counted_by_data_stream(tmp_path):
    """Copies that went to two clusters are no copies: each stream counts by itself."""
    streams = [f"{alias}:{NETWORK}" for alias in ("eu", "us")]
    for stream in streams:
        write_events(tmp_path, FRESH, stream)
    hunt = HUNT.model_copy(update={"query": HUNT.query.replace("FROM logs", "FROM *:logs")})
    with ElasticsearchServer(folder=tmp_path) as server:
        coverage = asked_of(server, plan(hunt))
    assert coverage.scrutiny
    assert [each.name for each in coverage.scrutiny.streams] == streams
    assert (coverage.events, coverage.macs, coverage.faults) == (40, 1, {})


def lacking(*columns: str) -> Any:
    """Refuse questions for these columns as Elasticsearch does, until they are made null."""
    reasons = "\n".join(f"line 1:1: Unknown column [{column}]" for column in columns)
    refused = error(400, "verification_exception", f"Found {len(columns)} problems\n{reasons}")

    def behaviour(call: Any) -> None:
        reads = any(column in call.query for column in columns)
        (refused if reads and "TO_STRING(null)" not in call.query else real)(call)

    return behaviour


def test_a_field_that_the_cluster_does_not_have_costs_only_its_own_part(tmp_path):
    """The run says what it could not assess, and counts the rest."""
    write_events(tmp_path, copied(FRESH))
    with ElasticsearchServer(when("coverage.", lacking("event.id")), folder=tmp_path) as server:
        coverage = asked_of(server, plan())
    assert coverage.scrutiny
    assert (coverage.events, coverage.faults) == (40, {})
    assert coverage.scrutiny.left_out == (
        "Not assessed: whether events were ingested twice, since the cluster has no event.id.",
    )
    assert coverage.scrutiny.hosts


def test_without_agent_and_names_hosts_are_still_counted(tmp_path):
    """By their ids."""
    write_events(tmp_path, [*FRESH, *hourly("ahead", -30, -31)])
    lack = when("ahead_from", lacking("agent.id", "host.name"))
    with ElasticsearchServer(lack, folder=tmp_path) as server:
        coverage = asked_of(server, plan())
    assert coverage.scrutiny
    assert coverage.scrutiny.hosts
    assert coverage.scrutiny.hosts.ahead == HostSample(1, ("ahead",))
    assert len(coverage.scrutiny.left_out) == 2


def test_a_cluster_that_refuses_the_scrutiny_is_still_counted(tmp_path):
    """The hunt has its answer; the report says what is not known about its events."""
    write_events(tmp_path, FRESH)
    refused = error(400, "verification_exception", "Found 1 problem\nline 1:1: too clever")
    with ElasticsearchServer(
        when("coverage.", refused, otherwise=when("ahead_from", refused)), folder=tmp_path
    ) as server:
        coverage = asked_of(server, plan())
    report = reported(Answer(rows=pd.DataFrame(), types={}), coverage)
    assert (coverage.events, coverage.macs, report.run.outcome) == (20, 1, Outcome.COMPLETE)
    assert sum("Not assessed" in warning for warning in report.run.warnings) == 2


def test_a_hunt_that_only_its_cluster_can_read_is_counted_without_its_conditions(tmp_path):
    """And says so."""
    hunt = HUNT.model_copy(update={"query": f"FROM {NETWORK} | CHANGE_POINT x ON y"})
    write_events(tmp_path, changed(FRESH, 2, **TWO_CATEGORIES))
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as client:
        coverage, _ = ask_coverage(client, plan(hunt), SLOT)
    assert coverage.scrutiny
    assert (coverage.events, coverage.scrutiny.unjudged) == (10, 0)
    assert "Not assessed: which events the hunt cannot judge" in coverage.scrutiny.left_out[0]


def test_a_fault_is_news_again_when_it_has_become_much_worse(tmp_path):
    """A little more of the same is not."""
    reports = {}
    for number in (4, 5, 16):
        write_events(tmp_path / str(number), [*FRESH, *FRESH[:number]])
        answer, coverage, _ = found_in(tmp_path / str(number))
        reports[number] = reported(answer, coverage)
        assert list(coverage.faults) == [Fault.TWICE]
    assert digest_text(reports[5], before=reports[4]) == ""
    assert digest_text(reports[16], before=reports[4]).startswith("corp: 16 of 36 events (44%; ")
