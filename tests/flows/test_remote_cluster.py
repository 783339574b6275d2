"""A hunt of a remote cluster: the whole flow, through the real client, over a real socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings

from flows.hunt_cluster import hunt_cluster
from tasks.clusters import node
from tasks.enrich import enrich
from tasks.errors import ClusterError, DeadlineExceeded
from tasks.fleet.documents import NETWORK, PROCESS, Document
from tasks.model.hunts import SHIPPED
from tasks.model.runs import Outcome, Report
from tasks.query import query
from tasks.score import score
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import (
    Behaviour,
    Call,
    busy,
    cut_off,
    dropped,
    error,
    forbidden,
    never,
    no_fields,
    page,
    partial_of,
    real,
    reset,
    running,
    skipping,
    too_large,
    unavailable,
    when,
)
from tests.elasticsearch_server import (
    SERVERLESS,
    V8_15,
    V8_19,
    V9_1,
    ElasticsearchServer,
    Release,
)
from tests.events import SLOT, beacon, network_event, process_event, write_events
from tests.flows.worker import run_deployed
from tests.histories import new_history

SHIPPED_HUNT = "macos-unsigned-network"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that the hunt finds, and its process event."""
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, steady())
    write_events(folder, [process_event()], PROCESS)
    return folder


def steady(**traits: Any) -> list[Document]:
    """A beacon that the hunt finds, and an event of a signed program just before the slot."""
    fresh = network_event(at=SLOT - timedelta(minutes=5), signature="developer", entity_id="other")
    return [*beacon(1_501, timedelta(hours=10), phase="attempt", **traits), fresh]


class Site:
    """A worker's history and archive, and hunts of one remote cluster."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.history_url = f"sqlite:///{folder}/history.db"
        self.archive = folder / "archive"
        new_history(self.history_url)

    def hunt(
        self, url: str, slot: datetime = SLOT, hunt: str = SHIPPED_HUNT, **settings: object
    ) -> State:
        return run_deployed(
            hunt_cluster,
            cluster=Cluster(name="corp", url=url, **settings),
            hunt=hunt,
            slot=slot,
            history_url=self.history_url,
            archive_url=str(self.archive),
        )

    @property
    def reports(self) -> list[Report]:
        """What its runs left, oldest slot first."""
        found = self.archive.glob("*/corp/*/*/*/*/findings.json")
        reports = [Report.from_json(path.read_bytes()) for path in found]
        return sorted(reports, key=lambda report: report.run.slot)

    @property
    def report(self) -> Report:
        """What the only run left."""
        (report,) = self.reports
        return report


@pytest.mark.parametrize("release", [V8_15, V8_19, V9_1, SERVERLESS])
def test_a_remote_cluster_says_what_a_folder_says(events: Path, tmp_path: Path, release: Release):
    """Only where the events come from differs, and one query at a time runs there."""
    near, far = (Site(tmp_path / name) for name in ("near", "far"))
    near.hunt(events.as_uri())
    with ElasticsearchServer(folder=events, release=release) as server:
        far.hunt(server.url)
    near, far = near.report, far.report
    assert [asdict(f) for f in far.findings] == [asdict(f) for f in near.findings] != []
    assert far.run.coverage == near.run.coverage
    assert server.most_running == 1


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: how long Prefect waits is its own test."""
    for task in (query, enrich, score):
        monkeypatch.setattr(task, "retry_delay_seconds", [0])


def attempts(server: ElasticsearchServer, word: str = "number_of_con_per_hour") -> list[float]:
    """When a question was asked, by default the hunt's own."""
    return [request.at for request in server.asked(word)]


def test_a_busy_cluster_is_asked_again_after_a_pause(events: Path, site: Site):
    """Three attempts at least two seconds apart, and one query at a time: no storm."""
    with ElasticsearchServer(busy, busy, real, folder=events) as server:
        state = site.hunt(server.url)
    assert state.is_completed(), state.message
    times = attempts(server)
    assert len(times) == 3
    assert min(later - earlier for earlier, later in pairwise(times)) >= 2
    assert server.most_running == 1
    assert [(cost.question, cost.asked, cost.failed) for cost in site.report.run.costs] == [
        ("hunt", 3, 2),
        *(
            (name, 1, 0)
            for name in ("totals", "hosts", "agents", "processes", "connections", "hours")
        ),
    ]


PASSING = {
    "502": page(502),
    "503": unavailable,
    "504": page(504),
    "circuit breaker": too_large("TRANSIENT"),
    "query lost": error(404, "resource_not_found_exception", "FjE3="),
    "task cancelled": error(400, "task_cancelled_exception", "task cancelled"),
    "node left": error(500, "node_disconnected_exception", "[node-2] disconnected"),
    "reset": reset,
    "dropped": dropped,
    "cut off": cut_off,
    "hung": never,
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_by_itself_costs_only_time(
    events: Path, site: Site, monkeypatch: pytest.MonkeyPatch, fault: Behaviour
):
    """Once at the start and once while it runs, then fine: the run is as good as any."""
    if fault is never:
        monkeypatch.setattr(node, "SILENCE_SECONDS", 3)
    with ElasticsearchServer(fault, running, fault, real, folder=events) as server:
        state = site.hunt(server.url)
        assert server.kept == set()
    assert (state.name, state.message) == ("Baseline", "baseline: 1")
    assert len(attempts(server)) == 3
    assert server.most_running == 1


@pytest.mark.usefixtures("hurried")
def test_a_rolling_restart_costs_a_run_its_time_and_not_its_day(events: Path, site: Site):
    """Node after node loses the query, then the cluster is well."""
    restart = [
        *(running, PASSING["query lost"]),
        *(running, PASSING["task cancelled"]),
        *(running, PASSING["node left"]),
        PASSING["503"],
    ]
    with ElasticsearchServer(*restart, real, folder=events) as server:
        state = site.hunt(server.url)
        assert server.kept == set()
    assert (state.name, state.message) == ("Baseline", "baseline: 1")
    assert len(attempts(server)) == 5


STAYING = {
    "too large": (too_large("PERMANENT"), "query"),
    "bad query": (error(400, "parsing_exception", "mismatched input"), "query"),
    "unknown index": (error(400, "verification_exception", "Unknown index [logs-*]"), "query"),
    "nothing to read": (no_fields, "query"),
    "key": (error(401, "security_exception", "unable to authenticate"), "unauthorised"),
    "privilege": (forbidden("indices:data/read/esql", "read"), "unauthorised"),
    "not there": (error(404, "index_not_found_exception", "no such index"), "query"),
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(("fault", "reason"), STAYING.values(), ids=STAYING)
def test_what_somebody_must_change_is_asked_once(
    events: Path, site: Site, fault: Behaviour, reason: str
):
    """It fails with the remedy, never with no findings."""
    with ElasticsearchServer(fault, folder=events) as server:
        state = site.hunt(server.url)
    failure = state.result(raise_on_failure=False)
    assert state.is_failed()
    assert isinstance(failure, ClusterError)
    assert failure.reason == reason
    assert failure.remedy
    assert len(attempts(server)) == 1


def test_an_unfinished_query_ends_at_the_deadline(events: Path, site: Site):
    """It is deleted on the server, and the run says why it failed."""
    with ElasticsearchServer(running, folder=events) as server:
        state = site.hunt(server.url, deadline_minutes=0.02)
        assert server.kept == set()
    failure = state.result(raise_on_failure=False)
    assert isinstance(failure, DeadlineExceeded)
    assert failure.reason == "deadline"
    assert len(attempts(server)) == 1


@pytest.mark.usefixtures("hurried")
def test_a_shard_that_stays_away_makes_the_last_attempt_partial(events: Path, site: Site):
    """All attempts but the last want all shards; what the others have is better than nothing."""

    def without_a_shard(call: Call) -> None:
        refused = call.request.parameters.get("allow_partial_results") == "false"
        (unavailable if refused else partial_of())(call)

    shards = when("number_of_con_per_hour", without_a_shard)
    with ElasticsearchServer(shards, folder=events) as server:
        state = site.hunt(server.url)
    assert (state.name, len(attempts(server))) == ("Partial", 6)
    assert site.report.run.outcome is Outcome.PARTIAL
    assert len(site.report.findings) == 1
    assert "some shards did not answer" in site.report.run.warnings[0]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("word", "named"),
    [("process.Ext.ancestry", "processes"), ("hours = VALUES(hour)", "hours")],
)
def test_a_part_of_the_metadata_loses_no_finding(events: Path, site: Site, word: str, named: str):
    """It stands, and says what is missing."""
    with ElasticsearchServer(when(word, partial_of(0)), folder=events) as server:
        state = site.hunt(server.url)
    assert state.is_completed()
    (finding,) = site.report.findings
    assert any(f"a part of the {named} is missing" in fault for fault in finding.faults)


CANCELLED = """
import sys
from flows.hunt_cluster import hunt_cluster
from tests.flows.worker import run_deployed
url, folder = sys.argv[1:]
storage = {"history_url": f"sqlite:///{folder}/history.db", "archive_url": f"{folder}/archive"}
run_deployed(hunt_cluster, cluster={"name": "corp", "url": url}, **storage)
"""


def test_a_cancelled_run_lets_go_of_the_cluster(tmp_path: Path, events: Path):
    """Prefect ends the process with SIGTERM; within seconds its query is deleted."""
    site = Site(tmp_path)
    api = str(get_current_settings().api.url)
    with ElasticsearchServer(running, folder=events) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", CANCELLED, server.url, tmp_path],
            env={**os.environ, "PREFECT_API_URL": api},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # Until it polls: before, the answer with the query's id may still be on its way.
            wait_until(lambda: any("/async/" in r.path for r in server.came("GET")))
            process.send_signal(signal.SIGTERM)
            asked = monotonic()
            wait_until(lambda: not server.kept)
            assert monotonic() - asked < 5
            assert process.wait(30) != 0
        finally:
            process.kill()
            process.wait()
    assert len(server.came("DELETE")) == 1
    assert not site.archive.exists()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another process does, also on a busy machine; two minutes at most."""
    end = monotonic() + 120
    while not condition():
        assert monotonic() < end, "it never came"
        sleep(0.05)


@pytest.fixture(scope="module")
def remotes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events behind two other clusters, a beacon in each."""
    folder = tmp_path_factory.mktemp("remotes")
    for alias in ("eu", "us"):
        traits = {"host_id": alias, "entity_id": alias, "executable": f"/opt/{alias}"}
        write_events(folder, steady(**traits), f"{alias}:{NETWORK}")
        write_events(folder, [process_event(alias, alias)], f"{alias}:{PROCESS}")
    return folder


def test_a_cluster_behind_the_cluster_that_does_not_answer_is_named(
    remotes: Path, site: Site, tmp_path: Path
):
    """What the others have is found and described; the run is partial, and says where not."""
    shipped = (SHIPPED / f"{SHIPPED_HUNT}.toml").read_text()
    pattern = "logs-endpoint.events.network-*"
    behind = tmp_path / "behind.toml"
    behind.write_text(shipped.replace(f"FROM {pattern}", f"FROM eu:{pattern},us:{pattern}"))
    skipped = when("number_of_con_per_hour", skipping("us"))
    with ElasticsearchServer(folder=remotes) as server:
        site.hunt(server.url, hunt=str(behind))
    (baseline,) = site.reports
    assert sorted(finding.host.id for finding in baseline.findings) == ["eu", "us"]
    assert all(finding.process.hash_sha256 for finding in baseline.findings)
    with ElasticsearchServer(skipped, folder=remotes) as server:
        state = site.hunt(server.url, SLOT + timedelta(minutes=1), hunt=str(behind))
    _, partial = site.reports
    assert (state.name, partial.run.outcome) == ("Partial", Outcome.PARTIAL)
    assert [finding.host.id for finding in partial.findings] == ["eu"]
    assert any("remote cluster us" in warning for warning in partial.run.warnings)


def crowd(count: int, *, events_each: int = 961) -> Iterator[Document]:
    """So many programs that the hunt finds, each on a Mac of its own."""
    for number in range(count):
        yield from beacon(
            events_each,
            timedelta(hours=8),
            SLOT - timedelta(minutes=5),
            host_id=f"mac-{number:04}",
            entity_id=f"e{number:04}",
        )


@pytest.mark.parametrize("count", [1, 40])
def test_many_findings_take_as_many_questions_as_one(tmp_path: Path, site: Site, count: int):
    """Seven, whatever there is to describe."""
    folder = tmp_path / "events"
    write_events(folder, crowd(count))
    started = [process_event(f"mac-{n:04}", f"e{n:04}") for n in range(count)]
    write_events(folder, started, PROCESS)
    with ElasticsearchServer(folder=folder) as server:
        site.hunt(server.url)
    assert len(site.report.findings) == count
    assert all(f.evidence and f.process.hash_sha256 for f in site.report.findings)
    assert len(server.asked()) == 7


def test_what_comes_over_the_network_does_not_grow_with_the_events(tmp_path: Path):
    """The cluster counts; only what was counted comes here."""
    sent = []
    for name, events_each in (("few", 1_000), ("many", 3_000)):
        folder = tmp_path / name
        write_events(folder, crowd(1, events_each=events_each))
        site = Site(tmp_path / f"site-{name}")
        with ElasticsearchServer(folder=folder) as server:
            site.hunt(server.url)
        received = {cost.question: cost.bytes_received for cost in site.report.run.costs}
        # Connection times are bounded, at 2,000 a process.
        sent.append(sum(received.values()) - received["connections"])
    few, many = sent
    assert abs(few - many) < 50
