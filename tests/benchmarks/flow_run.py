"""Run the flow: one that finds nothing against an empty Prefect flow, one with findings against it.

The first ratio is what every run costs, in empty flows: Prefect's tasks, the steps, the history and
the archive. The second is what findings add; if they cost nothing, it would be 1. Every hunt here
is the flow itself, so that a new step is measured from its first day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

from prefect import flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tasks.fleet.documents import PROCESS, Document
from tasks.settings import Cluster
from tests.benchmarks.measurement import Measurement, timed
from tests.events import beacon, process_event, write_events
from tests.flows.site import Site, fresh

THRESHOLDS = {"min_duration_hours": 1.0, "min_events_per_hour": 2.0}
"""So low that a dozen events make a candidate: this measures findings, not events."""


@flow
def empty() -> None:
    """Do nothing."""


def measure(candidates: int, folder: Path) -> list[Measurement]:
    """First runs, from the question to the archive, on a server like that of the tests."""
    folder.mkdir()
    site = Site(folder)
    quiet = site.cluster(fresh(), name="quiet", processes=False)
    busy = site.cluster(fresh(), *_network(candidates), name="busy", processes=False)
    write_events(folder / busy.name, _processes(candidates), PROCESS)
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        empty_seconds, _ = timed(empty, times=5)
        quiet_seconds, _ = timed(_first_runs(site, quiet), times=3)
        busy_seconds, _ = timed(_first_runs(site, busy))
    [report] = site.reports("busy-0")
    return [
        Measurement(
            what="hunt_cluster, nothing found",
            size=1,
            unit="run",
            cost=quiet_seconds,
            against="an empty flow",
            against_cost=empty_seconds,
        ),
        Measurement(
            what="hunt_cluster",
            size=len(report.findings),
            unit="findings",
            cost=busy_seconds,
            against="hunt_cluster, nothing found",
            against_cost=quiet_seconds,
        ),
    ]


def _first_runs(site: Site, cluster: Cluster) -> Callable[[], None]:
    """A call that runs the flow, on the same events under another cluster's name every time."""
    numbers = count()

    def run() -> None:
        renamed = cluster.model_copy(update={"name": f"{cluster.name}-{next(numbers)}"})
        site.hunt(renamed, thresholds=THRESHOLDS).result()

    return run


def _network(candidates: int) -> Iterator[Document]:
    for number in range(candidates):
        destination = f"45.45.{number // 250}.{number % 250 + 1}"
        yield from beacon(12, timedelta(hours=2), destination=destination, **_traits(number))


def _processes(candidates: int) -> Iterator[Document]:
    return (process_event(**_traits(number)) for number in range(candidates))


def _traits(number: int) -> dict[str, str]:
    """Ten programs a Mac."""
    return {"host_id": f"mac-{number // 10}", "entity_id": f"process-{number}"}
