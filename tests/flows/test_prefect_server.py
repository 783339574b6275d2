"""The whole way of a deployment, for real: server, pool, deploy, worker, one run, and its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tasks.publish import event_id, resource
from tests.builders import SLOT, day, finding, report, run

ROOT = Path(__file__).parents[2]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Product:
    """`beaconhunt up` in homes of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = home
        self.log = home / "up.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        environment = {
            **inherited,
            "BEACONHUNT_HOME": str(home),
            "PREFECT_HOME": str(home / "prefect"),
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "up", "--port", str(self.port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api", timeout=30)

    def wait_until_ready(self, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while "Ready:" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def post(self, path: str, **body) -> dict:
        return self.api.post(path, json=body).raise_for_status().json()

    def deployment(self, name: str) -> dict:
        answer = self.api.get(f"/deployments/name/{name}")
        return answer.raise_for_status().json()

    def run(self, name: str, seconds: float = 120) -> dict:
        """Run a deployment now and give the flow run once it has ended."""
        started = self.post(f"/deployments/{self.deployment(name)['id']}/create_flow_run")
        deadline = time.monotonic() + seconds
        while True:
            flow_run = self.api.get(f"/flow_runs/{started['id']}").raise_for_status().json()
            if flow_run["state_type"] in ENDED:
                return flow_run
            assert time.monotonic() < deadline, (flow_run["state"], self.log.read_text())
            time.sleep(0.5)

    def events(self, name: str, *, until: str, seconds: float = 60) -> list[str]:
        """Give the ids of the events of a name, once the one that was sent last is among them."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.post("/events/filter", filter={"event": {"name": [name]}})
            ids = [event["id"] for event in found["events"]]
            if until in ids:
                return ids
            assert time.monotonic() < deadline, (ids, self.log.read_text())
            time.sleep(0.5)

    def interrupt(self) -> int:
        """Press Ctrl-C and wait."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("up"))
    try:
        product.wait_until_ready()
        yield product
    finally:
        product.api.close()
        if product.process.poll() is None:
            product.interrupt()


def test_a_deployed_hunt_runs_to_its_report(product):
    """Prefect starts it, the report is on disk, and the run says in words how it ended."""
    flow_run = product.run("hunt_cluster/demo")
    state = flow_run["state"]
    assert (state["type"], state["name"]) == ("COMPLETED", "Baseline"), state
    assert state["message"].startswith("baseline: ")
    assert flow_run["name"].startswith("demo 20")
    reports = list(product.home.glob("archive/macos-unsigned-network/demo/*/*/*/*/report.html"))
    assert len(reports) == 1
    artifacts = product.post("/artifacts/filter", sort="KEY_ASC")
    keys = {artifact["key"] for artifact in artifacts}
    assert keys == {
        "demo-macos-unsigned-network-findings",
        "demo-macos-unsigned-network-summary",
    }
    assert any("Baseline recorded" in str(artifact["data"]) for artifact in artifacts)


def test_cron_runs_are_created(product):
    """With a newer SQLAlchemy everything looks healthy, and no cron run is ever made."""
    deployment = product.deployment("hunt_cluster/demo")
    product.post(f"/deployments/{deployment['id']}/schedule")
    count = product.post(
        "/flow_runs/count",
        deployments={"id": {"any_": [deployment["id"]]}},
        flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}},
    )
    assert count == 3


def test_an_event_is_kept_once_by_its_id(product):
    """A slot that is run again announces its new findings once."""
    event = {
        "id": str(event_id(finding(), SLOT)),
        "event": "beaconhunt.finding.new",
        "resource": resource(finding(), report(run())),
        "occurred": datetime.now(UTC).isoformat(),
    }
    another = {**event, "id": str(event_id(finding(), day(1)))}
    for sent in (event, event, another):
        product.api.post("/events", json=[sent]).raise_for_status()
    kept = product.events("beaconhunt.finding.new", until=another["id"])
    assert sorted(kept) == sorted([event["id"], another["id"]])


def test_the_examples_are_deployed_and_inactive(product):
    """What nobody has set up yet does not run."""
    for name in ("hunt_cluster/prod-us", "hunt_cluster/prod-eu", "daily_digest/secops"):
        assert [schedule["active"] for schedule in product.deployment(name)["schedules"]] == [False]


def test_a_scheduled_hunt_that_fails_is_recorded_and_says_why(product):
    """Its reason stands in the final state, in the archive and in the next digest."""
    flow_run = product.run("hunt_cluster/prod-eu")
    assert flow_run["state_type"] == "FAILED"
    assert "not searched: " in flow_run["state"]["message"]
    assert "ES_PROD_EU_API_KEY" in flow_run["state"]["message"]
    assert list(product.home.glob("archive/macos-unsigned-network/prod-eu/*/*/*/*/report.html"))


def test_the_zombie_automation_is_there_once(product):
    """Deploying twice does not make two of it."""
    named = product.post("/automations/filter")
    assert [a["name"] for a in named if "heartbeat" in a["name"]] == [
        "beaconhunt: crash runs without a heartbeat"
    ]


def test_ctrl_c_ends_all_of_it(product):
    """Worker and server are gone, and nothing was lost on the way."""
    assert product.interrupt() == 0, product.log.read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{product.port}/api/health")
