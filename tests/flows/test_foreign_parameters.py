"""A run that pairs what the worker's prefect.yaml does not: refused before anything happens."""

from __future__ import annotations

import socketserver
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prefect.flows import Flow

from flows.acknowledge import acknowledge, unacknowledge
from flows.check_cluster import check_cluster
from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from flows.retention import retention
from tasks.errors import SettingsError
from tests.flows.site import Site
from tests.flows.worker import worker_with

SECRET = "AWS_SECRET_ACCESS_KEY"


class Listener(socketserver.ThreadingTCPServer):
    """A server of somebody else, which counts who comes."""

    connections = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.address = f"127.0.0.1:{self.server_address[1]}"


class Visitor(socketserver.BaseRequestHandler):
    """Closes the connection as soon as it is counted."""

    server: Listener

    def handle(self) -> None:
        self.server.connections += 1


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with Listener() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Worker:
    """A worker with a deployment of every flow, and secrets that are none of theirs."""

    def __init__(self, folder: Path, listener: Listener) -> None:
        self.site = Site(folder)
        self.folder, self.foreign = folder, listener.address
        (folder / "foreign.toml").write_text("not a hunt")
        history = {"history_url": self.site.history_url}
        storage = history | {"archive_url": str(self.site.archive)}
        # The port of the discard service, where nothing answers.
        self.cluster = {"name": "corp", "url": "http://127.0.0.1:9", "api_key_env": "ES_KEY"}
        self.destination = {
            **{"name": "secops", "channel": "C1", "clusters": ["corp"]},
            **{"api_url": "http://127.0.0.1:9/", "token_env": "SLACK_KEY"},
        }
        word = {"finding": "BH-24A3C0CA", "by": "ada"}
        self.deployed: dict[Flow, dict[str, Any]] = {
            hunt_cluster: {"cluster": self.cluster, **storage},
            daily_digest: {"destination": self.destination, **storage},
            retention: storage,
            acknowledge: {**word, "why": "Ours.", "until": "2026-12-24T00:00:00Z", **history},
            unacknowledge: word | history,
            check_cluster: {},
        }


@pytest.fixture
def worker(tmp_path, monkeypatch, listener) -> Worker:
    monkeypatch.setenv(SECRET, "canary-secret-51c0")
    monkeypatch.setenv("PGPASSWORD", "canary-password-51c1")
    return Worker(tmp_path, listener)


Change = Callable[[Worker], dict[str, Any]]

FOREIGN: dict[str, tuple[Flow, Change]] = {
    "server": (
        hunt_cluster,
        lambda w: {"cluster": w.cluster | {"url": f"http://{w.foreign}", "api_key_env": SECRET}},
    ),
    "server of a known key": (
        hunt_cluster,
        lambda w: {"cluster": w.cluster | {"url": f"http://{w.foreign}"}},
    ),
    "variable": (hunt_cluster, lambda w: {"cluster": w.cluster | {"api_key_env": SECRET}}),
    "authority": (hunt_cluster, lambda w: {"cluster": w.cluster | {"ca_certs": "/etc/passwd"}}),
    "folder": (
        hunt_cluster,
        lambda w: {"cluster": {"name": "corp", "url": w.folder.as_uri()}},
    ),
    "hunt": (hunt_cluster, lambda w: {"hunt": str(w.folder / "foreign.toml")}),
    "history": (hunt_cluster, lambda w: {"history_url": f"postgresql://{w.foreign}/x"}),
    "archive": (hunt_cluster, lambda w: {"archive_url": str(w.folder / "elsewhere")}),
    "Slack": (
        daily_digest,
        lambda w: {"destination": w.destination | {"api_url": f"http://{w.foreign}/"}},
    ),
    "token": (daily_digest, lambda w: {"destination": w.destination | {"token_env": SECRET}}),
    "history of a digest": (daily_digest, lambda w: {"history_url": f"postgresql://{w.foreign}/x"}),
    "archive of a digest": (daily_digest, lambda w: {"archive_url": str(w.folder / "elsewhere")}),
    "history to prune": (
        retention,
        lambda w: {"history_url": f"postgresql://{w.foreign}/x", "history_days": 30},
    ),
    "archive to prune": (
        retention,
        lambda w: {"archive_url": str(w.folder / "elsewhere"), "archive_days": 30},
    ),
    "history of words": (acknowledge, lambda w: {"history_url": f"postgresql://{w.foreign}/x"}),
    "history of ends": (unacknowledge, lambda w: {"history_url": f"postgresql://{w.foreign}/x"}),
}


@pytest.mark.parametrize(("flow", "change"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_pair_is_refused_before_anything_happens(worker, listener, flow, change):
    """Nothing connects, nothing is opened or made, and the error has the line that allows it."""
    before = worker.site.contents()
    with worker_with(*worker.deployed.items()):
        state = flow(**worker.deployed[flow] | change(worker), return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, SettingsError)
    assert error.reason == "settings"
    assert "it does not list" in error.problem
    assert "add that to the `parameters` of a deployment in /" in error.remedy
    assert listener.connections == 0
    assert worker.site.contents() == before
    assert "canary" not in f"{error}{state!r}"


@pytest.mark.parametrize(
    "flow", [hunt_cluster, daily_digest, retention, acknowledge, check_cluster]
)
def test_a_worker_without_a_file_runs_nothing(worker, monkeypatch, tmp_path, flow):
    """Every flow says the one step that the worker needs."""
    monkeypatch.setenv("BEACONHUNT_HOME", str(tmp_path))
    monkeypatch.setenv("BEACONHUNT_CONFIG", "")
    monkeypatch.chdir(tmp_path)
    state = flow(**worker.deployed[flow], return_state=True)
    assert state.is_failed()
    assert "Set BEACONHUNT_CONFIG to the path of your prefect.yaml" in state.message


def test_thresholds_and_times_are_free(worker):
    """What a run by hand is for: only its outcome differs, here that the server is not there."""
    free = {
        "thresholds": {"min_duration_hours": 4},
        "slot": "2026-11-24T06:00Z",
        "delay_minutes": 5,
    }
    with worker_with(*worker.deployed.items()):
        state = hunt_cluster(**worker.deployed[hunt_cluster] | free, return_state=True)
    assert "ES_KEY" in state.message
    assert "is not set" in state.message
