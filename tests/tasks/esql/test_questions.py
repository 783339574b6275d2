"""The pipeline's own questions, on a few events whose answers can be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.esql.folder import ask, write

NETWORK = "logs-endpoint.events.network-default"
PROCESS = "logs-endpoint.events.process-default"
START = datetime(2026, 11, 20, tzinfo=UTC)
WINDOW = [
    {"_tstart": "2026-11-17T06:00:00.000Z"},
    {"_tend": "2026-11-24T06:00:00.000Z"},
    {"min_duration_hours": 8},
    {"min_connections_per_hour": 1},
]

HUNT = """
FROM logs-endpoint.events.network-*
| WHERE @timestamp >= ?_tstart AND @timestamp < ?_tend
  AND host.os.family == "macos" AND event.category == "network"
  AND (process.code_signature.exists == false OR process.code_signature.trusted == false)
  AND NOT CIDR_MATCH(destination.ip, "10.0.0.0/8", "192.168.0.0/16", "::1", "FE80::/10", "FF00::/8")
| STATS total_bytes_out = SUM(source.bytes), count_connections = COUNT(*),
    start_time = MIN(@timestamp), end_time = MAX(@timestamp), host.id = MIN(host.id),
    destination.port = VALUES(destination.port), destination.ip = MIN(destination.ip)
  BY process.entity_id, destination.address, process.name
| EVAL duration = TO_DOUBLE(TO_LONG(end_time) - TO_LONG(start_time)),
    duration_hours = TO_INT(duration / 3600000)
| WHERE duration_hours >= ?min_duration_hours
| EVAL MB_out = TO_DOUBLE(total_bytes_out) / (1024 * 1024),
    number_of_con_per_hour = count_connections / duration_hours
| WHERE number_of_con_per_hour >= ?min_connections_per_hour
| KEEP process.entity_id, duration_hours, destination.address, MB_out, count_connections,
    number_of_con_per_hour, start_time, host.id, destination.ip, destination.port
| SORT number_of_con_per_hour DESC, process.entity_id, destination.address
| LIMIT 10000
"""


def event(minutes: float, **changes: Any) -> dict[str, Any]:
    """A network event of an unsigned process, some minutes after START."""
    when = START + timedelta(minutes=minutes)
    document: dict[str, Any] = {
        "@timestamp": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent": {"version": "8.17.0"},
        "host": {"id": "h1", "os": {"family": "macos"}},
        "event": {"category": ["network"], "type": ["start"]},
        "process": {
            "entity_id": "p1",
            "name": "agent",
            "code_signature": {"exists": False},
        },
        "destination": {"address": "8.8.4.4", "ip": "8.8.4.4", "port": 443},
        "source": {"bytes": 1024, "port": 50_000},
    }
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        inside = document
        for parent in parents:
            inside = inside[parent]
        inside[leaf] = value
    return document


def hunted(tmp_path: Path, events: list[dict[str, Any]]) -> list[list[Any]]:
    """What the hunt finds in some events."""
    return ask(write(tmp_path, events, stream=NETWORK), HUNT, params=WINDOW).rows


def beacon(minutes: float, **changes: Any) -> list[dict[str, Any]]:
    """An event every 20 minutes, for so many minutes, the last one included."""
    times = [n * 20 for n in range(int(minutes // 20) + 1)]
    return [event(time, **changes) for time in {*times, minutes}]


def test_the_hunt_finds_a_beacon_with_its_figures(tmp_path: Path):
    """Bytes, connections, hours and rate, as hunts.md defines them."""
    assert hunted(tmp_path, beacon(480)) == [
        ["p1", 8, "8.8.4.4", 25 / 1024, 25, 3, "2026-11-20T00:00:00.000Z", "h1", "8.8.4.4", 443]
    ]


@pytest.mark.parametrize(("minutes", "hours"), [(449, None), (450, 8), (509, 8), (510, 9)])
def test_the_hunts_hours_round_at_the_half(tmp_path: Path, minutes, hours):
    """7 h 29 min are 7 hours and not found, 7 h 30 min are 8 and found."""
    found = hunted(tmp_path, beacon(minutes))
    assert [row[1] for row in found] == ([hours] if hours else [])


@pytest.mark.parametrize(
    "changes",
    [
        {"process__code_signature": {"exists": True, "trusted": True}},
        {"process__code_signature": {}},
        {"host__os": {"family": "windows"}},
        {"destination__ip": "10.1.2.3"},
        {"destination__ip": "fe80::1"},
        {"destination__ip": None},
        {"event__category": ["network", "process"]},
    ],
)
def test_the_hunt_leaves_out_what_it_should(tmp_path: Path, changes):
    """Signed, no signature block, another system, a private or no address, two categories."""
    assert hunted(tmp_path, beacon(480, **changes)) == []


def test_the_hunt_keeps_a_signature_that_is_not_trusted(tmp_path: Path):
    """Not existing or not trusted: either will do."""
    untrusted = {"process__code_signature": {"exists": True, "trusted": False}}
    assert len(hunted(tmp_path, beacon(480, **untrusted))) == 1


def test_the_hunt_finds_nothing_on_a_quiet_cluster(tmp_path: Path):
    """No event, no row, and no error."""
    assert hunted(tmp_path, []) == []


def test_coverage_counts_merged_documents_and_lonely_groups(tmp_path: Path):
    """Per agent version: documents, merged ones, and groups of a single event."""
    query = """
    FROM logs-endpoint.events.network-*
    | WHERE host.os.family == "macos"
    | STATS events = COUNT(*), merged = SUM(CASE(MV_COUNT(event.type) > 1, 1, 0)),
        unsigned = SUM(CASE(process.code_signature.exists IS NULL, 1, 0)),
        newest = MAX(@timestamp)
      BY agent.version, process.entity_id, destination.ip, destination.port
    | STATS events = SUM(events), merged = SUM(merged), unsigned = SUM(unsigned),
        groups = COUNT(*), single = SUM(CASE(events == 1, 1, 0)), newest = MAX(newest)
      BY agent.version
    | SORT agent.version
    | LIMIT 100
    """
    events = [
        event(0),
        event(1, event__type=["start", "end"]),
        event(2, destination__port=80),
        event(3, agent__version="8.19.0", process__code_signature={}),
        event(4, host__os={"family": "windows"}),
    ]
    assert ask(write(tmp_path, events, stream=NETWORK), query).rows == [
        [3, 1, 0, 2, 1, "2026-11-20T00:02:00.000Z", "8.17.0"],
        [1, 0, 1, 1, 1, "2026-11-20T00:03:00.000Z", "8.19.0"],
    ]


def test_evidence_has_one_time_for_each_connection(tmp_path: Path):
    """Attempt and disconnect are one connection, merged or not, counted in their hour."""
    query = """
    FROM logs-endpoint.events.network-*
    | EVAL start = CASE(MV_MAX(event.type) == "start", @timestamp, null),
        end = CASE(MV_MIN(event.type) == "end", @timestamp, null)
    | STATS starts = TOP(start, 2000, "desc"), ends = TOP(end, 2000, "desc"),
        n = COUNT(start), m = COUNT(end)
      BY process.entity_id, destination.address, source.port
    | EVAL times = CASE(n >= m, starts, ends)
    | MV_EXPAND times
    | EVAL hour = DATE_TRUNC(1 hour, times)
    | STATS n = COUNT(*), times = TOP(times, 2000, "desc")
      BY process.entity_id, destination.address, hour
    | EVAL cell = CONCAT(TO_STRING(hour), "=", TO_STRING(n))
    | STATS hours = VALUES(cell), times = TOP(times, 2000, "desc"), connections = SUM(n)
      BY process.entity_id, destination.address
    | LIMIT 100
    """
    events = [
        event(0),
        event(5, event__type=["end"]),
        event(70, event__type=["start", "end"], source__port=50_001),
        event(75, event__type=["end"], source__port=50_002),
        event(80, process__entity_id="other"),
    ]
    terms = [
        {"terms": {"process.entity_id": ["p1"]}},
        {"terms": {"destination.address": ["8.8.4.4"]}},
        {"range": {"@timestamp": {"gte": "2026-11-17T06:00:00Z", "lt": "2026-11-24T06:00:00Z"}}},
    ]
    result = ask(write(tmp_path, events, stream=NETWORK), query, filter={"bool": {"filter": terms}})
    assert result.rows == [
        [
            ["2026-11-20T00:00:00.000Z=1", "2026-11-20T01:00:00.000Z=2"],
            ["2026-11-20T01:15:00.000Z", "2026-11-20T01:10:00.000Z", "2026-11-20T00:00:00.000Z"],
            3,
            "p1",
            "8.8.4.4",
        ]
    ]


def test_enrichment_gathers_what_the_events_say_of_a_process(tmp_path: Path):
    """Arguments and ancestors are lists, each value once; hashes and parents are single."""
    events = [
        {
            "@timestamp": "2026-11-20T00:00:00Z",
            "process": {
                "entity_id": "p1",
                "args": ["agent", "-x", "-x"],
                "hash": {"sha256": "aa"},
                "Ext": {"ancestry": ["b", "a"]},
                "parent": {"name": "launchd"},
            },
        },
        {"@timestamp": "2026-11-20T01:00:00Z", "process": {"entity_id": "p1", "args": ["agent"]}},
        {"@timestamp": "2026-11-20T02:00:00Z", "process": {"entity_id": "p2"}},
    ]
    query = """
    FROM logs-endpoint.events.process-*
    | STATS args = VALUES(process.args), sha256 = MIN(process.hash.sha256),
        ancestry = VALUES(process.Ext.ancestry), parent = MAX(process.parent.name),
        user = MIN(user.name), first = MIN(@timestamp)
      BY process.entity_id
    | LIMIT 1000
    """
    wanted = {"terms": {"process.entity_id": ["p1", "gone"]}}
    result = ask(write(tmp_path, events, stream=PROCESS), query, filter=wanted)
    assert result.rows == [
        [["-x", "agent"], "aa", ["a", "b"], "launchd", None, "2026-11-20T00:00:00.000Z", "p1"]
    ]
