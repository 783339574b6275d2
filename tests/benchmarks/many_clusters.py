"""Many clusters due in the same minute, some of them failing: one server, one worker, for real.

Every cluster is an Elasticsearch on a socket; the failing ones fail in ways of their own. What has
to come of it is checked as in a test: a report for each that works, the exact reason for each that
does not, nothing lost.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from tasks.fleet.documents import PROCESS
from tasks.model.runs import Outcome, Report
from tests.benchmarks.measurement import Measurement
from tests.elasticsearch_behaviours import error, running
from tests.elasticsearch_server import Access, ElasticsearchServer
from tests.events import beacon, network_event, process_event, write_events

ROOT = Path(__file__).parents[2]

READY_SECONDS = 600
RUNS_SECONDS = 1_800

API_SECONDS = 300
"""For one answer of a server that starts fifty runs on a loaded machine."""

_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_SECRET = "ES_API_KEY"


@dataclass(frozen=True, slots=True)
class Failing:
    """A cluster that cannot be searched, and the reason that its run must give."""

    name: str
    url: str
    reason: str
    settings: Mapping[str, Any]


def measure(clusters: int, failing: int, scratch: Path) -> Measurement:
    """Hunt them all at once; the plain thing is what the clusters themselves worked.

    Args:
        clusters: how many.
        failing: how many of them fail, at most five.
        scratch: an empty folder.
    """
    scratch.mkdir(exist_ok=True)
    slot = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
    events = _events(scratch / "events", slot)
    with ExitStack() as servers:
        broken = list(_failing(servers, events))[:failing]
        fine = servers.enter_context(ElasticsearchServer(folder=events)).url
        config = scratch / "prefect.yaml"
        names = [f"fine-{number:02}" for number in range(clusters - len(broken))]
        config.write_text(yaml.safe_dump(_deployments(names, fine, broken, scratch)))
        with _up(config, scratch / "home") as api:
            begin = time.monotonic()
            ids = [
                api.post(f"/deployments/{api.deployment(name)}/create_flow_run", _at(slot))["id"]
                for name in [*names, *(each.name for each in broken)]
            ]
            api.wait_until_ended(ids)
            seconds = time.monotonic() - begin
    reports = [
        Report.from_json(path.read_bytes()) for path in (scratch / "archive").rglob("findings.json")
    ]
    _check(reports, names, broken)
    worked = sum(cost.took_ms for report in reports for cost in report.run.costs) / 1000
    return Measurement(
        f"Hunting clusters due at once, {len(broken)} of them failing",
        clusters,
        "clusters",
        seconds,
        "what the clusters worked, added up",
        worked,
    )


def _check(reports: list[Report], names: list[str], broken: list[Failing]) -> None:
    """Make sure that nothing was lost, and every reason is the right one."""
    runs = {report.run.cluster: report.run for report in reports}
    assert Counter(report.run.cluster for report in reports) == dict.fromkeys(
        [*names, *(each.name for each in broken)], 1
    )
    assert all(runs[name].outcome is Outcome.BASELINE for name in names)
    assert {each.name: runs[each.name].reason for each in broken} == {
        each.name: each.reason for each in broken
    }


def _events(folder: Path, slot: datetime) -> Path:
    """A folder with a program that the hunt finds."""
    fresh = network_event(at=slot - timedelta(minutes=1), signature="developer", entity_id="other")
    end = slot - timedelta(hours=1)
    write_events(folder, [*beacon(1_501, timedelta(hours=10), end, phase="attempt"), fresh])
    write_events(folder, [process_event()], PROCESS)
    return folder


def _failing(servers: ExitStack, events: Path) -> Iterator[Failing]:
    """Clusters that fail, each in its own way."""

    def serving(*behaviours: Any, **how: Any) -> str:
        return servers.enter_context(ElasticsearchServer(*behaviours, folder=events, **how)).url

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    refusing = error(400, "parsing_exception", "line 1:1: mismatched input")
    yield Failing("stranger", serving(access=Access("another")), "unauthorised", {})
    yield Failing("refusing", serving(refusing), "query", {})
    yield Failing("endless", serving(running), "deadline", {"deadline_minutes": 0.05})
    yield Failing("gone", gone, "unreachable", {})
    yield Failing("keyless", gone, "unauthorised", {"api_key_env": "NOT_SET"})


def _deployments(
    names: list[str], fine: str, broken: list[Failing], scratch: Path
) -> dict[str, Any]:
    """What prefect.yaml says, without schedules."""
    storage = {
        "history_url": f"sqlite:///{scratch}/home/history.db",
        "archive_url": str(scratch / "archive"),
    }
    clusters = [
        *({"name": name, "url": fine} for name in names),
        *(
            {"name": each.name, "url": each.url, "api_key_env": _SECRET, **each.settings}
            for each in broken
        ),
    ]
    return {
        "name": "beaconhunt",
        "build": [],
        "push": [],
        "pull": [],
        "deployments": [
            {
                "name": cluster["name"],
                "entrypoint": "flows.hunt_cluster.hunt_cluster",
                "work_pool": {"name": "beaconhunt"},
                "parameters": {**storage, "cluster": cluster, "delay_minutes": 0},
            }
            for cluster in clusters
        ],
    }


def _at(slot: datetime) -> dict[str, Any]:
    scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": slot.isoformat()}}
    return {"state": scheduled, "parameters": {"slot": slot.isoformat()}}


class _Api:
    """The few questions that a benchmark has for a Prefect server."""

    def __init__(self, url: str, login: str) -> None:
        self._url = url
        self._headers = {
            "Authorization": f"Basic {b64encode(login.encode()).decode()}",
            "Content-Type": "application/json",
        }

    def get(self, path: str) -> Any:
        return self._answer(path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._answer(path, json.dumps(body).encode())

    def _answer(self, path: str, content: bytes | None) -> Any:
        """Ask until there is an answer: a busy server says 503, and Prefect's client waits too."""
        url = f"{self._url}{path}"
        for _ in range(60):
            request = urllib.request.Request(url, content, self._headers)  # noqa: S310 - loopback.
            try:
                with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:  # noqa: S310 - loopback.
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
            time.sleep(1)
        raise AssertionError(f"The server had no time for {url}.")

    def deployment(self, name: str) -> str:
        return str(self.get(f"/deployments/name/hunt_cluster/{name}")["id"])

    def wait_until_ended(self, ids: list[str]) -> None:
        deadline = time.monotonic() + RUNS_SECONDS
        wanted = {"flow_runs": {"id": {"any_": ids}}}
        while True:
            runs = self.post("/flow_runs/filter", wanted)
            if all(run["state_type"] in _ENDED for run in runs):
                return
            assert time.monotonic() < deadline, Counter(run["state_type"] for run in runs)
            time.sleep(1)


@contextmanager
def _up(config: Path, home: Path) -> Iterator[_Api]:
    """Run `beaconhunt up` in a home of its own."""
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "up.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "flows.cli", "up"),
                *("--port", str(port), "--config", str(config)),
            ],
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
                "BEACONHUNT_HOME": str(home),
                _SECRET: "beaconhunt",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + READY_SECONDS
            while "Ready:" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
            login = (home / "prefect" / "login").read_text().strip()
            yield _Api(f"http://127.0.0.1:{port}/api", login)
        finally:
            process.terminate()  # A shell's background jobs ignore SIGINT.
            process.wait(120)
