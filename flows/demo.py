"""The demo: two generated clusters, hunted for three daily slots, with a digest every day."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from flows.allowed import CONFIG_NAME, use_configuration
from flows.deployments import deployments
from tasks.fleet.demo import demo_clusters, slots
from tasks.fleet.generate import write_fleet
from tasks.history import upgrade_history
from tasks.model.runs import minute
from tasks.settings import home, writing_home

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

Progress = Callable[[int, int], None]
"""Called now and then with the number of finished hosts in a cluster, and their total."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo's folder and its last slot.

    Attributes:
        folder: holds its events, history and archive; every demo starts with an empty one.
        end: its last slot, aware UTC.
    """

    folder: Path
    end: datetime

    @property
    def history_url(self) -> str:
        """The demo's own history, so that every demo starts over."""
        return f"sqlite:///{self.folder}/history.db"

    @property
    def archive(self) -> Path:
        """The demo's own archive."""
        return self.folder / "archive"

    def cluster_folder(self, name: str) -> Path:
        """The folder with the events of one cluster."""
        return self.folder / "clusters" / name


def this_morning(now: datetime) -> Demo:
    """Give the demo for the newest 06:00 UTC as its last slot, like a real deployment's."""
    six = now.astimezone(UTC).replace(hour=6, minute=0, second=0, microsecond=0)
    return Demo(home() / "demo", six if six <= now else six - timedelta(days=1))


def start_over(demo: Demo) -> None:
    """Remove the files of an earlier demo, and nothing else.

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
        Number of events by cluster name.

    Raises:
        SettingsError: the events cannot be written.
    """
    documents = {}
    with writing_home():
        for name, fleet in demo_clusters(demo.end):
            truth = write_fleet(fleet, demo.cluster_folder(name), progress)
            documents[name] = sum(truth.documents.values())
    return documents


def live_cluster() -> Path:
    """Give the folder of the demo cluster in prefect.yaml."""
    return home() / "demo-cluster"


def make_live_cluster(now: datetime, progress: Progress) -> None:
    """Replace the demo cluster of prefect.yaml by one with events up to now.

    Raises:
        SettingsError: as `make_clusters`.
    """
    (_, fleet), *_ = demo_clusters(minute(now))
    with writing_home():
        shutil.rmtree(live_cluster(), ignore_errors=True)
        write_fleet(fleet, live_cluster(), progress)


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One finished flow run of the demo.

    Attributes:
        name: subject and slot, for example `corp-us 2026-11-24 06:00Z`.
        message: message of its final state.
        digest: the Slack message as text; empty for a hunt, and if there is nothing to post.
    """

    name: str
    message: str
    digest: str = ""


def steps(demo: Demo) -> Iterator[DemoStep]:
    """Run the demo, one flow run after the other, on the current Prefect server.

    They are ordinary flow runs of the deployments in a prefect.yaml; only their slots are given.
    """
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from flows.daily_digest import daily_digest
    from flows.hunt_cluster import hunt_cluster

    upgrade_history(demo.history_url)
    config = write_configuration(demo)
    use_configuration(config)
    flows = {flow.name: flow for flow in (hunt_cluster, daily_digest)}
    listed = deployments(config)
    # Nothing watches for heartbeats here, and ending their thread costs a second for each run.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        for slot, deployment in product(slots(demo.end), listed):
            flow = flows[deployment.flow_name]
            parameters = deployment.checked(flow) | {"slot": slot}
            state = cast("State[Any]", flow(**parameters, return_state=True))
            message = _message(state)
            if flow is hunt_cluster:
                yield DemoStep(f"{deployment.name} {slot:%Y-%m-%d %H:%MZ}", message)
            else:
                yield DemoStep(f"digest {slot:%Y-%m-%d}", message, state.result()["digest"])


def write_configuration(demo: Demo) -> Path:
    """Write the demo's prefect.yaml: a hunt on each of its clusters, then a digest for them.

    Raises:
        SettingsError: it cannot be written.
    """
    names = sorted(path.name for path in (demo.folder / "clusters").iterdir())
    storage = {"history_url": demo.history_url, "archive_url": str(demo.archive)}

    def deployment(flow: str, **subject: Mapping[str, object]) -> Mapping[str, object]:
        (named,) = subject.values()
        return {
            "name": named["name"],
            "entrypoint": f"flows.{flow}.{flow}",
            "parameters": subject | storage,
        }

    listed = [
        deployment(
            "hunt_cluster", cluster={"name": name, "url": demo.cluster_folder(name).as_uri()}
        )
        for name in names
    ]
    destination = {"name": "secops", "channel": "C0000000000", "clusters": names}
    listed.append(deployment("daily_digest", destination=destination))
    config = demo.folder / CONFIG_NAME
    with writing_home():
        config.write_text(yaml.safe_dump({"deployments": listed}), encoding="utf-8")
    return config


def _message(state: State[Any]) -> str:
    """Give the final state's message.

    Raises:
        PipelineError: the error that made the run fail.
    """
    if state.is_failed():
        state.result()
    return state.message or ""
