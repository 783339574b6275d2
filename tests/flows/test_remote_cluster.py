"""A hunt of a remote cluster: the whole flow, through the real client, over a real socket."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest

from flows.hunt_cluster import hunt_cluster
from tasks.history import upgrade
from tasks.runs import Report
from tasks.settings import Cluster
from tests.elasticsearch_server import (
    SERVERLESS,
    V8_15,
    V8_19,
    V9_1,
    ElasticsearchServer,
    Release,
)
from tests.fleet.builders import SLOT, beacon, network_event, process_event, write_events
from tests.fleet.documents import PROCESS


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that the hunt finds, and its process event."""
    folder = tmp_path_factory.mktemp("events")
    fresh = network_event(at=SLOT - timedelta(minutes=5), signature="developer", entity_id="other")
    write_events(folder, [*beacon(1_501, timedelta(hours=10)), fresh])
    write_events(folder, [process_event()], PROCESS)
    return folder


def hunted(url: str, folder: Path) -> Report:
    """What a hunt of the cluster at the URL leaves."""
    history_url = f"sqlite:///{folder}/history.db"
    upgrade(history_url)
    storage = {"history_url": history_url, "archive_url": str(folder / "archive")}
    state = hunt_cluster(Cluster(name="corp", url=url), slot=SLOT, **storage, return_state=True)
    assert state.is_completed(), state.message
    (found,) = folder.glob("archive/macos-unsigned-network/corp/*/*/*/*/findings.json")
    return Report.from_json(found.read_bytes())


@pytest.mark.parametrize("release", [V8_15, V8_19, V9_1, SERVERLESS])
def test_a_remote_cluster_says_what_a_folder_says(events: Path, tmp_path: Path, release: Release):
    """Only where the events come from differs, and one query at a time runs there."""
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    near = hunted(events.as_uri(), tmp_path / "near")
    with ElasticsearchServer(folder=events, release=release) as server:
        far = hunted(server.url, tmp_path / "far")
    assert [asdict(f) for f in far.findings] == [asdict(f) for f in near.findings] != []
    assert far.run.coverage == near.run.coverage
    assert server.most_running == 1
