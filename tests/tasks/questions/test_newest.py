"""The newest event of a folder, through the official client and the embedded cluster."""

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.clusters import connect
from tasks.model.hunts import load_hunt
from tasks.questions.newest import ask_newest_event
from tasks.settings import Cluster
from tests.events import SLOT, network_event, write_events

HUNT = load_hunt("macos-unsigned-network")
YEAR = timedelta(days=365)
OF_WINDOWS = {"host.os.family": "windows"}


@pytest.mark.parametrize(
    ("events", "newest"),
    [
        ([network_event(at=SLOT - YEAR), network_event(at=SLOT - 2 * YEAR)], SLOT - YEAR),
        ([network_event(at=SLOT - YEAR), network_event(at=SLOT + YEAR)], SLOT - YEAR),
        ([network_event(at=SLOT - YEAR), network_event(at=SLOT, **OF_WINDOWS)], SLOT - YEAR),
        ([network_event(at=SLOT - YEAR, **OF_WINDOWS)], None),
        ([network_event(at=SLOT), network_event(at=SLOT + YEAR)], None),
    ],
    ids=["however old", "clock ahead", "of the population", "of none", "future only"],
)
@pytest.mark.parametrize("compress", [True, False])
def test_the_newest_event_that_the_hunt_could_have_seen(tmp_path: Path, events, newest, compress):
    """However old it is; never one from a Mac whose clock is ahead."""
    write_events(tmp_path, events, compress=compress)
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as client:
        found = ask_newest_event(client, HUNT, SLOT, HUNT.pipeline.population)
        assert found == newest
