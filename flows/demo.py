"""The demo: two made-up clusters, hunted for three daily slots, with a digest after each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks.fleet.demo import demo_clusters, slots
from tasks.fleet.generate import write_fleet
from tasks.history import upgrade_history
from tasks.model.runs import minute
from tasks.settings import Cluster, Destination, home, writing_home

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

Progress = Callable[[int, int], None]
"""Called now and then with how many hosts of a cluster are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the demo lives, and when its last slot is.

    Attributes:
        folder: of its events, history and archive; made anew each time.
        end: its last slot, aware UTC.
    """

    folder: Path
    end: datetime

    @property
    def history_url(self) -> str:
        """Its own history, so that it starts over each time."""
        return f"sqlite:///{self.folder}/history.db"

    @property
    def archive(self) -> Path:
        """Its own archive."""
        return self.folder / "archive"

    def cluster_folder(self, name: str) -> Path:
        """Where the events of one of its clusters are."""
        return self.folder / "clusters" / name


def this_morning(now: datetime) -> Demo:
    """Give the demo whose last slot is the newest 06:00 UTC, as a real one's would be."""
    six = now.astimezone(UTC).replace(hour=6, minute=0, second=0, microsecond=0)
    return Demo(home() / "demo", six if six <= now else six - timedelta(days=1))


def start_over(demo: Demo) -> None:
    """Remove what an earlier demo left, and nothing else.

    Raises:
        SettingsError: the folder cannot be written.
    """
    with writing_home():
        for part in (demo.folder / "clusters", demo.archive):
            shutil.rmtree(part, ignore_errors=True)
        for database in demo.folder.glob("history.db*"):
            database.unlink()
        demo.folder.mkdir(parents=True, exist_ok=True)


def make_clusters(demo: Demo, progress: Progress) -> dict[str, int]:
    """Write the events of the demo's clusters.

    Returns:
        How many events, by cluster name.

    Raises:
        SettingsError: the events cannot be written.
    """
    documents = {}
    with writing_home():
        for name, fleet in demo_clusters(demo.end):
            truth = write_fleet(fleet, demo.cluster_folder(name), progress)
            documents[name] = sum(truth.documents.values())
    return documents


def make_live_cluster(now: datetime, progress: Progress) -> Path:
    """Write the demo cluster of prefect.yaml anew, with events up to now.

    Raises:
        SettingsError: as `make_clusters`.
    """
    (_, fleet), *_ = demo_clusters(minute(now))
    folder = home() / "demo-cluster"
    with writing_home():
        shutil.rmtree(folder, ignore_errors=True)
        write_fleet(fleet, folder, progress)
    return folder


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One flow run of the demo, as it ended.

    Attributes:
        name: what ran, for example `corp-us 2026-11-24 06:00Z`.
        message: its final state in words.
        digest: as it would read in Slack; empty for a hunt, and where nothing is new.
    """

    name: str
    message: str
    digest: str = ""


def steps(demo: Demo) -> Iterator[DemoStep]:
    """Run the demo, flow run by flow run, on the Prefect server that is set.

    Each is an ordinary run of an ordinary flow; only the slots are given.
    """
    from prefect.settings import (  # noqa: PLC0415 - Prefect takes a second.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from flows.daily_digest import daily_digest  # noqa: PLC0415
    from flows.hunt_cluster import hunt_cluster  # noqa: PLC0415

    upgrade_history(demo.history_url)
    storage = {"history_url": demo.history_url, "archive_url": str(demo.archive)}
    names = sorted(path.name for path in (demo.folder / "clusters").iterdir())
    destination = Destination(name="secops", channel="C0000000000", clusters=tuple(names))
    # Nothing watches for heartbeats here, and ending their thread takes a second a run.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        for slot in slots(demo.end):
            for name in names:
                cluster = Cluster(name=name, url=demo.cluster_folder(name).as_uri())
                state = hunt_cluster(cluster, slot=slot, **storage, return_state=True)
                yield DemoStep(f"{name} {slot:%Y-%m-%d %H:%MZ}", _words(state))
            state = daily_digest(destination, slot=slot, **storage, return_state=True)
            digest = cast("dict[str, str]", state.result())["digest"]
            yield DemoStep(f"digest {slot:%Y-%m-%d}", _words(state), digest)


def _words(state: State[Any]) -> str:
    """Give the final state's words.

    Raises:
        PipelineError: what made the run fail.
    """
    if state.is_failed():
        state.result()
    return state.message or ""
