"""A worker's folders, and the events of a cluster from which a hunt's findings can be foretold."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flows.hunt_cluster import hunt_cluster
from tasks.fleet.documents import PROCESS
from tasks.model.runs import Report
from tasks.settings import Cluster
from tests.events import SLOT, beacon, network_event, process_event, write_events
from tests.flows.worker import run_deployed
from tests.histories import new_history

DAY = timedelta(days=1)


class Site:
    """A worker's folders: clusters, history and archive."""

    def __init__(self, folder: Path, history_url: str | None = None) -> None:
        self.folder = folder
        self.history_url = history_url or f"sqlite:///{folder}/history.db"
        self.archive = folder / "archive"
        new_history(self.history_url)

    def cluster(self, *documents: dict, name: str = "corp", processes: bool = True) -> Cluster:
        """A folder of events; without `processes` it has no stream of process events."""
        folder = self.folder / name
        write_events(folder, documents)
        if processes:
            write_events(folder, [process_event()], PROCESS)
        return Cluster(name=name, url=folder.as_uri())

    def hunt(self, cluster: Cluster, slot=SLOT, **changes):
        """Run the flow, and give its final state."""
        places = {"history_url": self.history_url, "archive_url": str(self.archive)}
        return run_deployed(hunt_cluster, cluster=cluster, slot=slot, **places | changes)

    def reports(self, name: str = "corp", hunt: str = "*") -> list[Report]:
        """What the archive holds of a cluster, oldest slot first, repeats in order."""
        found = self.archive.glob(f"{hunt}/{name}/*/*/*/*/findings.json")
        reports = [Report.from_json(path.read_bytes()) for path in found]
        return sorted(reports, key=lambda report: (report.run.slot, report.run.started_at))

    def contents(self) -> dict[str, bytes]:
        """Every file below, to see whether anything was written."""
        return {str(p): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


def steady(entity_id: str = "e", end=SLOT - timedelta(hours=1), **traits) -> list[dict]:
    """A beacon that the hunt finds: ten hours, 150 events an hour."""
    return beacon(1_501, timedelta(hours=10), end, phase="attempt", entity_id=entity_id, **traits)


def fresh(slot=SLOT) -> dict:
    """An event of a signed program, so that the cluster has data as of the slot."""
    at = slot - timedelta(minutes=5)
    return network_event(at=at, signature="developer", entity_id="signed", executable="/opt/signed")
