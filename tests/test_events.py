import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tasks.fleet.documents import NETWORK
from tests.events import (
    SLOT,
    beacon,
    connection,
    network_event,
    process_event,
    write_events,
)


@pytest.mark.parametrize(
    ("hours", "rate"),
    [(7.5, 119), (7.5, 120), (8, 121), (8 + 29 / 60, 120), (29_999_999 / 3.6e6, 2)],
)
def test_a_beacon_has_exactly_its_count_its_duration_and_its_end(hours: float, rate: int) -> None:
    """A test at a threshold needs events at the threshold, to the millisecond."""
    duration = timedelta(milliseconds=round(hours * 3_600_000))
    count = round(rate * hours)
    times = [datetime.fromisoformat(event["@timestamp"]) for event in beacon(count, duration, SLOT)]
    assert len(times) == count
    assert times == sorted(times)
    assert times[-1] == SLOT
    assert times[-1] - times[0] == duration


def test_a_connection_has_the_events_of_its_encoding() -> None:
    """Two documents when paired, one with arrays when merged, the first alone when repeated."""
    assert [event["event"]["action"] for event in connection("paired")] == [
        "connection_attempted",
        "disconnect_received",
    ]
    assert [event["event"]["type"] for event in connection("merged")] == [["start", "end"]]
    assert [event["event"]["type"] for event in connection("deduplicated")] == [["start"]]


def test_an_override_changes_one_field_and_none_takes_it_away() -> None:
    """A test says what it is about, and no more."""
    plain = network_event()
    changed = network_event(**{"process.code_signature.trusted": False, "network.direction": None})
    assert changed["process"]["code_signature"] == {"exists": False, "trusted": False}
    del changed["process"]["code_signature"]["trusted"]
    changed["network"]["direction"] = plain["network"]["direction"]
    assert changed | {"event": plain["event"]} == plain  # Each event has an id of its own.


def test_a_process_event_belongs_to_the_network_event_of_the_same_entity() -> None:
    """Enrichment joins them by entity id; only the process event has hash and ancestry."""
    seen, started = network_event(entity_id="x"), process_event(entity_id="x")
    for field in ("entity_id", "executable", "name", "code_signature"):
        assert seen["process"][field] == started["process"][field]
    assert started["process"]["Ext"]["ancestry"] == ["parent-0"]
    assert len(started["process"]["hash"]["sha256"]) == 64


@pytest.mark.parametrize("compress", [True, False])
def test_written_events_are_an_embedded_cluster(tmp_path: Path, compress: bool) -> None:
    """One folder a data stream, one line a document."""
    path = write_events(tmp_path, [network_event(), network_event("b")], compress=compress)
    assert path.parent == tmp_path / NETWORK
    assert (path.suffix == ".gz") == compress
    if not compress:
        hosts = [json.loads(line)["host"]["id"] for line in path.read_text().splitlines()]
        assert hosts == ["a", "b"]
