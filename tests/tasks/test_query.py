"""Hunt 1 against a re-computation in plain Python, on events that nobody looked at before."""

import gzip
import ipaddress
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks.clusters import ask, connect
from tasks.errors import DeadlineExceeded, QueryRefused
from tasks.fleet.documents import NETWORK
from tasks.fleet.generate import write_fleet
from tasks.fleet.hosts import Fleet
from tasks.fleet.plants import ELSEWHERE, HOSTILE, NEAR_MISSES, plants
from tasks.model.hunts import load_hunt
from tasks.model.runs import Plan, Window
from tasks.query import as_of_newest_event, query
from tasks.questions.candidates import ask_candidates, parameters
from tasks.questions.coverage import ask_coverage
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import answer
from tests.elasticsearch_server import ElasticsearchServer
from tests.events import SLOT, beacon, network_event, write_events

HUNT = load_hunt("macos-unsigned-network")
JUST_BEFORE = SLOT - timedelta(minutes=5)

EXCLUDED = [
    ipaddress.ip_network(block.strip().strip('",'))
    for block in HUNT.query.partition("CIDR_MATCH(destination.ip,")[2].partition(")")[0].split()
]


def plan(slot: datetime = SLOT, hunt=HUNT) -> Plan:
    return Plan("abc", hunt, "corp", slot, stale_after_hours=6, started_at=slot)


@pytest.mark.parametrize(
    ("event", "slot", "remark"),
    [
        ({"at": SLOT - timedelta(days=365)}, SLOT - timedelta(days=365, minutes=-1), "24 Nov 2025"),
        ({"at": JUST_BEFORE, "host.os.family": "macOS"}, SLOT - timedelta(minutes=4), "05:56 UTC"),
        ({"at": SLOT + timedelta(days=1)}, SLOT, "no event before the time of this computer"),
    ],
    ids=["old", "outside the population", "in the future"],
)
def test_the_slot_of_a_folder_is_its_newest_event_unless_one_was_given(
    tmp_path, event, slot, remark
):
    """A folder without an event of the population is searched too: the run says what came."""
    write_events(tmp_path, [network_event(**event)])
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as client, disable_run_logger():
        assert as_of_newest_event(client, plan()) == plan()
        chosen = as_of_newest_event(client, replace(plan(), by_newest_event=True))
    assert chosen.slot == slot
    assert remark in chosen.remarks[0]


def hunted(folder: Path, slot: datetime = SLOT, hunt=HUNT) -> list[dict]:
    """What the embedded cluster answers, several values sorted."""
    cluster = Cluster(name="corp", url=folder.as_uri())
    with connect(cluster) as client:
        rows = ask_candidates(client, plan(slot, hunt)).records()
    return [{k: sorted(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]


def documents(folder: Path) -> Iterator[dict]:
    for path in sorted((folder / NETWORK).glob("*.gz")):
        with gzip.open(path, "rt") as lines:
            yield from map(json.loads, lines)


def field(document: dict, path: str):
    """One value, or None where there is none or several, as ES|QL's scalars see it."""
    value = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return value


@cache
def is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return not any(ip in block for block in EXCLUDED)


def is_candidate(document: dict, window: Window) -> bool:
    """The hunt's rows, clause by clause."""
    address = field(document, "destination.ip")
    return (
        field(document, "host.os.family") == "macos"
        and field(document, "event.category") == "network"
        and (
            field(document, "process.code_signature.exists") is False
            or field(document, "process.code_signature.trusted") is False
        )
        and address is not None
        and is_public(address)
        and window.start <= datetime.fromisoformat(document["@timestamp"]) < window.end
    )


def recomputed(folder: Path, slot: datetime = SLOT, hours: int = 8, rate: int = 120) -> list[dict]:
    """Hunt 1 without ES|QL: groups, figures, thresholds, order."""
    groups = defaultdict(list)
    for document in documents(folder):
        if is_candidate(document, plan(slot).window):
            key = ("process.entity_id", "destination.address", "process.name")
            groups[tuple(field(document, path) for path in key)].append(document)
    rows = [_row(key, members) for key, members in groups.items()]
    kept = [
        row
        for row in rows
        if row["duration_hours"] >= hours and row["number_of_con_per_hour"] >= rate
    ]
    return sorted(kept, key=lambda row: (row["process.entity_id"], row["destination.address"]))


def _row(key: tuple, members: list[dict]) -> dict:
    times = [datetime.fromisoformat(document["@timestamp"]) for document in members]
    duration_ms = (max(times) - min(times)) / timedelta(milliseconds=1)
    duration_hours = math.floor(duration_ms / 3_600_000 + 0.5)
    bytes_out = [b for d in members if (b := field(d, "source.bytes")) is not None]
    return {
        "process.entity_id": key[0],
        "process.name": key[2],
        "duration_hours": duration_hours,
        "destination.address": key[1],
        "MB_out": sum(bytes_out) / (1024 * 1024) if bytes_out else None,
        "count_connections": len(members),
        "number_of_con_per_hour": len(members) // duration_hours if duration_hours else -1,
        "start_time": min(times),
        "end_time": max(times),
        "host.id": _least(members, "host.id"),
        "host.name": _least(members, "host.name"),
        "user.name": _values(members, "user.name"),
        "process.executable": _least(members, "process.executable"),
        "process.code_signature.exists": _most(members, "process.code_signature.exists"),
        "process.code_signature.trusted": _most(members, "process.code_signature.trusted"),
        "destination.domain": _values(members, "destination.domain"),
        "destination.ip": _values(members, "destination.ip"),
        "destination.port": _values(members, "destination.port"),
    }


def _present(members: list[dict], path: str) -> set:
    return {value for document in members if (value := field(document, path)) is not None}


def _least(members: list[dict], path: str):
    return min(_present(members, path), default=None)


def _most(members: list[dict], path: str):
    return max(_present(members, path), default=None)


def _values(members: list[dict], path: str):
    several = sorted(_present(members, path))
    return several if len(several) > 1 else several[0] if several else None


BUSY = plants("domain", "two destinations", "mesh", "merged", "bulk", "dns client", "alloy")
"""Of these some pass the thresholds in every encoding."""


@pytest.mark.parametrize(
    ("encoding", "seed"),
    [("paired", 1), ("paired", 2), ("merged", 3), ("deduplicated", 4), ("mixed", 5)],
)
def test_the_hunt_equals_its_description(tmp_path, encoding, seed):
    """Row for row and figure for figure, in every encoding that Elastic Defend has."""
    fleet = Fleet(
        macs=8,
        others=2,
        seed=seed,
        encoding=encoding,
        connections_per_mac_day=30,
        plants=(*HOSTILE, *NEAR_MISSES, *ELSEWHERE, *BUSY),
    )
    write_fleet(fleet, tmp_path)
    expected = recomputed(tmp_path)
    assert hunted(tmp_path) == expected
    # Merged or de-duplicated, a beacon leaves fewer events: the hunt's stated limit.
    assert len(expected) >= {"paired": 10, "mixed": 10, "merged": 4, "deduplicated": 1}[encoding]


@pytest.mark.parametrize(
    ("duration", "hours"),
    [
        (timedelta(hours=7, minutes=29, seconds=59), None),
        (timedelta(hours=7, minutes=30), 8),
        (timedelta(hours=8, minutes=29), 8),
        (timedelta(hours=8, minutes=30), 9),
    ],
)
def test_hours_are_rounded_half_up(tmp_path, duration, hours):
    """7 h 29 is not enough, 7 h 30 passes as 8: the hunt's own stated limit."""
    write_events(tmp_path, beacon(2_000, duration))
    assert [row["duration_hours"] for row in hunted(tmp_path)] == ([hours] if hours else [])
    assert hunted(tmp_path) == recomputed(tmp_path)


@pytest.mark.parametrize(("an_hour", "found"), [(119, False), (120, True), (121, True)])
def test_the_rate_is_counted_an_hour(tmp_path, an_hour, found):
    """119 events an hour are too few, 120 are enough."""
    write_events(tmp_path, beacon(8 * an_hour, timedelta(hours=8)))
    assert [row["number_of_con_per_hour"] for row in hunted(tmp_path)] == [an_hour] * found
    assert hunted(tmp_path) == recomputed(tmp_path)


@pytest.mark.parametrize(("count", "found"), [(959, False), (960, True)])
def test_one_event_decides_at_the_threshold(tmp_path, count, found):
    """959 events in 8 hours are 119 an hour, 960 are 120."""
    write_events(tmp_path, beacon(count, timedelta(hours=8)))
    assert len(hunted(tmp_path)) == found


def test_the_window_begins_with_its_first_moment_and_ends_before_the_slot(tmp_path):
    """An event of the slot itself belongs to the next window."""
    inside = beacon(1_500, timedelta(hours=8), SLOT - timedelta(milliseconds=1), entity_id="in")
    outside = [
        network_event(at=SLOT, entity_id="in"),
        network_event(at=SLOT - timedelta(days=7, milliseconds=1), entity_id="in"),
    ]
    write_events(tmp_path, [*inside, *outside])
    (row,) = hunted(tmp_path)
    assert row["count_connections"] == 1_500


def test_a_threshold_of_the_deployment_is_asked_for(tmp_path):
    """The query itself stays as the analysts wrote it."""
    write_events(tmp_path, beacon(500, timedelta(hours=5)))
    assert hunted(tmp_path) == []
    tuned = HUNT.with_thresholds({"min_duration_hours": 5, "min_events_per_hour": 100})
    assert len(hunted(tmp_path, hunt=tuned)) == 1


def test_only_parameters_of_the_query_are_sent():
    """A server refuses nothing for a parameter that it was not asked about."""
    silent = HUNT.model_copy(update={"query": "FROM logs-* | LIMIT 1"})
    assert parameters(silent, plan().window) == {}
    assert parameters(HUNT, plan().window) == {
        "_tstart": "2026-11-17T06:00:00+00:00",
        "_tend": "2026-11-24T06:00:00+00:00",
        "min_duration_hours": 8,
        "min_events_per_hour": 120,
    }


def test_coverage_counts_what_the_hunt_could_have_seen(tmp_path):
    """Only macOS network events of the window count, by agent version, with their faults."""
    mine = {"agent.version": "9.1.2"}
    events = [
        network_event("a", at=SLOT - timedelta(hours=1), phase="merged", **mine),
        network_event(
            "b", at=SLOT - timedelta(hours=2), **mine, **{"process.code_signature": None}
        ),
        network_event("b", at=SLOT - timedelta(hours=3), **mine),
        network_event("c", at=SLOT - timedelta(hours=1), **{"host.os.family": "windows"}),
        network_event("d", at=SLOT - timedelta(days=8)),
    ]
    write_events(tmp_path, events)
    cluster = Cluster(name="corp", url=tmp_path.as_uri())
    with connect(cluster) as client:
        coverage, unjudged = ask_coverage(client, plan(), SLOT)
    assert unjudged == ""
    assert (coverage.events, coverage.macs) == (3, 2)
    assert coverage.newest_event == SLOT - timedelta(hours=1)
    (agent,) = coverage.agents
    assert (agent.version, agent.events, agent.merged_events) == ("9.1.2", 3, 1)
    assert agent.unsigned_unknown_events == 1


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (QueryRefused("corp: Data too large", "Look."), "corp: Data too large"),
        (
            DeadlineExceeded("corp: no answer in 5 minutes.", "Look."),
            "corp: no answer in 5 minutes.",
        ),
        (QueryRefused("corp: Unknown column [event.type]", "Look."), ""),
    ],
)
def test_agents_that_cannot_be_judged_cost_no_hunt_and_are_told(
    tmp_path, monkeypatch, refusal, said
):
    """The heaviest question may fail where the hunt had its answer; other streams lack columns."""
    write_events(tmp_path, [network_event(at=SLOT - timedelta(hours=1))])

    def asked(client, question, **kwargs):
        if question.name == "agents":
            raise refusal
        return ask(client, question, **kwargs)

    monkeypatch.setattr("tasks.questions.coverage.ask", asked)
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as client:
        coverage, unjudged = ask_coverage(client, plan(), SLOT)
        with disable_run_logger():
            found, _ = query.fn(client, plan())
    assert (coverage.events, coverage.agents, unjudged) == (1, (), said)
    assert [said in text for text in found.warnings if "not assessed" in text] == [True] * bool(
        said
    )


NANOSECONDS = answer(
    {"events": "long", "macs": "long", "newest_event": "date_nanos"},
    [1, 1, "2026-11-24T05:00:00.000000001Z"],
)


def test_times_in_nanoseconds_are_refused_and_never_no_findings():
    """TO_LONG gives nanoseconds there: no duration would pass a threshold, or all of them."""
    with (
        ElasticsearchServer(NANOSECONDS) as server,
        connect(Cluster(name="corp", url=server.url)) as client,
        pytest.raises(QueryRefused, match="@timestamp is date_nanos, not date, in logs-") as caught,
    ):
        ask_coverage(client, plan(), SLOT)
    assert "Map @timestamp as date" in caught.value.remedy


GROUPED = f"FROM {NETWORK} | STATS n = COUNT(*) BY process.entity_id"


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize(
    ("end", "is_paged"),
    [(" | SORT process.entity_id | LIMIT 10000", True), (" | LIMIT 10000", False)],
)
def test_a_cluster_that_cuts_below_every_page_is_read_whole_or_called_cut(
    tmp_path, limit, end, is_paged
):
    """Its administrator lowered the limit, and no answer says so."""
    write_events(tmp_path, [network_event(entity_id=name, at=JUST_BEFORE) for name in "abcde"])
    hunt = HUNT.model_copy(update={"query": GROUPED + end})
    with (
        ElasticsearchServer(folder=tmp_path, rows_at_most=limit) as server,
        connect(Cluster(name="corp", url=server.url)) as client,
    ):
        found = ask_candidates(client, plan(hunt=hunt))
    assert len(found.rows) == (5 if is_paged else min(5, limit))
    assert found.is_cut == (len(found.rows) < 5)
