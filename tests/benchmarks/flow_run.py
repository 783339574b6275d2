"""Run the flow: against the same functions in the same order, without Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows.hunt_cluster import hunt_cluster
from tasks.archive import write_index, write_run
from tasks.clusters import connect
from tasks.diff import compared, identified, with_changed_binaries
from tasks.enrich import ask_processes, described, entity_ids
from tasks.fleet.documents import PROCESS, Document
from tasks.history import History, upgrade_history
from tasks.model.hunts import load_hunt
from tasks.model.runs import Plan
from tasks.pages.html import RenderedReport
from tasks.query import search, survey
from tasks.record import build_report
from tasks.report import findings_csv, render_report
from tasks.score import ask_connections, scored
from tasks.settings import Cluster
from tests.benchmarks.measurement import Measurement, timed
from tests.events import SLOT, beacon, process_event, write_events

HUNT = "macos-unsigned-network"
THRESHOLDS = {"min_duration_hours": 1.0, "min_events_per_hour": 2.0}
"""So low that a dozen events make a candidate: this measures findings, not events."""


def measure(candidates: int, folder: Path) -> Measurement:
    """A first run, from the question to the archive, on a server like that of the tests."""
    cluster = Cluster(name="bench", url=folder.absolute().as_uri())
    write_events(folder, _network(candidates))
    write_events(folder, _processes(candidates), PROCESS)
    # The functions go first: what is loaded once is theirs to pay, not Prefect's.
    against_seconds, _ = timed(lambda: without_prefect(cluster, **_store(folder / "without")))
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        seconds, _ = timed(lambda: with_prefect(cluster, **_store(folder / "with")))
    return Measurement(
        what="hunt_cluster",
        size=candidates,
        unit="findings",
        seconds=seconds,
        against="its functions without Prefect",
        against_seconds=against_seconds,
    )


def with_prefect(cluster: Cluster, history_url: str, archive_url: str) -> None:
    """Run the flow, and raise what made it fail."""
    state = hunt_cluster(
        cluster,
        HUNT,
        THRESHOLDS,
        slot=SLOT,
        history_url=history_url,
        archive_url=archive_url,
        return_state=True,
    )
    state.result()


def without_prefect(cluster: Cluster, history_url: str, archive_url: str) -> None:
    """Do what `hunt_cluster` does, but for artifacts and logs."""
    plan = Plan(
        run_id="bench",
        hunt=load_hunt(HUNT).with_thresholds(THRESHOLDS),
        cluster=cluster.name,
        slot=SLOT,
        stale_after_hours=6,
        started_at=datetime.now(UTC),
    )
    with History.open(history_url) as history, connect(cluster) as client:
        answer, (coverage, _) = search(client, plan), survey(client, plan)
        candidates = identified(answer, plan.hunt, plan.cluster)
        fingerprints = frozenset(candidates["fingerprint"])
        known = history.known(plan.hunt.uuid, plan.cluster, plan.slot, fingerprints)
        outcome = plan.outcome(coverage, whole=answer.is_whole, first=known.comparable is None)
        findings = compared(candidates, known, plan, outcome)
        processes = ask_processes(client, plan, entity_ids(findings))
        findings = with_changed_binaries(described(findings, processes), known)
        findings = scored(findings, *ask_connections(client, plan, findings), plan)
        report = build_report(
            plan,
            outcome,
            answer,
            coverage,
            findings=findings,
            compared_with=known.comparable,
        )
        history.record(report)
        trend = history.trend(plan.hunt.uuid, plan.cluster, plan.slot)
    report = replace(report, trend=trend)
    write_run(
        archive_url, report, RenderedReport(html=render_report(report), csv=findings_csv(report))
    )
    write_index(archive_url)


def _store(folder: Path) -> dict[str, str]:
    """An empty history and archive."""
    folder.mkdir()
    history_url = f"sqlite:///{folder / 'history.db'}"
    upgrade_history(history_url)
    return {"history_url": history_url, "archive_url": str(folder / "archive")}


def _network(candidates: int) -> Iterator[Document]:
    for number in range(candidates):
        destination = f"45.45.{number // 250}.{number % 250 + 1}"
        yield from beacon(12, timedelta(hours=2), destination=destination, **_traits(number))


def _processes(candidates: int) -> Iterator[Document]:
    return (process_event(**_traits(number)) for number in range(candidates))


def _traits(number: int) -> dict[str, str]:
    """Ten programs a Mac."""
    return {"host_id": f"mac-{number // 10}", "entity_id": f"process-{number}"}
