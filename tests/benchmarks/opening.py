"""What a question costs before it reads events, and what warnings cost it."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb

from tasks.clusters import Answer, Question, ask, connect
from tasks.errors import QueryRefused
from tasks.fleet.documents import NETWORK
from tasks.settings import Cluster
from tests.benchmarks.measurement import Measurement, timed, worked
from tests.events import network_event, write_events

STREAMS = 68
"""As many as an agent's integrations write."""

NOTHING = "ROW a = 1 | LIMIT 1"

TYPING_ERROR = """\
FROM logs-endpoint.events.network-*
| WHERE destination.adress == "x"
| LIMIT 1
"""

WARNING = {
    "divide after STATS, may warn": (
        """\
FROM logs-endpoint.events.network-*
| STATS events = COUNT(*), macs = COUNT_DISTINCT(host.id) BY process.name
| EVAL rate = events / macs
| SORT process.name
| LIMIT 10000
""",
        """\
FROM logs-endpoint.events.network-*
| STATS events = COUNT(*), macs = COUNT_DISTINCT(host.id) BY process.name
| SORT process.name
| LIMIT 10000
""",
    ),
    "compare several values, may warn": (
        """\
FROM logs-endpoint.events.network-*
| WHERE host.ip == "127.0.0.1"
| STATS events = COUNT(*)
| LIMIT 1
""",
        """\
FROM logs-endpoint.events.network-*
| WHERE MV_MIN(host.ip) == "127.0.0.1"
| STATS events = COUNT(*)
| LIMIT 1
""",
    ),
}
"""Questions that may warn, and others that do as much and cannot."""


def measure(events: Path, scratch: Path) -> list[Measurement]:
    """Open many data streams, refuse a typing error, and warn.

    Args:
        events: an embedded cluster of many events in NDJSON, whose first day has enough of them.
        scratch: an empty folder.
    """
    smaller = scratch / "one-file"
    (smaller / NETWORK).mkdir(parents=True)
    largest = max((events / NETWORK).iterdir(), key=lambda path: path.stat().st_size)
    shutil.copy(largest, smaller / NETWORK)
    return [
        _streams(scratch / "streams"),
        _typing_error(events),
        *(_warning(smaller, what) for what in WARNING),
    ]


def _streams(folder: Path) -> Measurement:
    for number in range(STREAMS):
        write_events(folder, [network_event()], f"logs-integration_{number}.events-default")
    question = "FROM logs-* | STATS events = COUNT(*) | LIMIT 1"
    cost, answer = timed(lambda: _answer(folder, question), times=2)
    against_cost, counted = timed(lambda: _counted(folder), times=2)
    if answer.rows["events"][0] != counted:
        raise ValueError(f"{answer.rows['events'][0]} events of {counted} were counted.")
    return Measurement(
        "one question of all", STREAMS, "data streams", cost, "DuckDB", against_cost, goal="0.3 s"
    )


def _counted(folder: Path) -> int:
    files = [str(path) for path in folder.glob("*/*")]
    with duckdb.connect() as database:
        return len(database.read_json(files, format="newline_delimited"))


def _typing_error(events: Path) -> Measurement:
    cost, _ = worked(lambda: _refused(events), times=2)
    against_cost, _ = worked(lambda: _answer(events, NOTHING), times=2)
    return Measurement(
        "refuse a typing error",
        1,
        "question",
        cost,
        "a question that reads nothing",
        against_cost,
        goal="0.5 s more",
    )


def _refused(events: Path) -> None:
    try:
        _answer(events, TYPING_ERROR)
    except QueryRefused as refusal:
        if "destination.adress" in refusal.problem:
            return
        raise
    raise ValueError("A typing error was answered.")


def _warning(events: Path, what: str) -> Measurement:
    may, cannot = WARNING[what]
    cost, _ = worked(lambda: _answer(events, may), times=3)
    against_cost, _ = worked(lambda: _answer(events, cannot), times=3)
    return Measurement(*(what, 1, "question", cost, "without a warning", against_cost), goal="1.3x")


def _answer(folder: Path, query: str) -> Answer:
    with connect(Cluster(name="bench", url=folder.absolute().as_uri())) as client:
        return ask(client, Question("benchmark", query, {"match_all": {}}, {}))
