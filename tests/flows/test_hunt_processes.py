"""Hunts in processes: killed after each of their steps, and two on one slot at the same moment."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from unittest import mock

import pytest
from sqlalchemy import func, select

from flows.hunt_cluster import hunt_cluster
from flows.slots import Timetable
from tasks.archive import verify_archive
from tasks.collect import collect_digest
from tasks.errors import RunInProgress
from tasks.history import History
from tasks.history.database import connect_database
from tasks.history.models import Base, FindingRow, RunRow, SightingRow
from tasks.model.digests import Medium
from tasks.model.runs import Report, Run
from tasks.report import pages_of
from tasks.settings import Cluster, Destination
from tasks.slack.compose import compose_message
from tasks.slack.message import readable
from tests.builders import day
from tests.flows.site import Site, fresh, steady
from tests.flows.worker import run_deployed
from tests.postgresql import Server
from tests.processes import at_once, killed_after

RECORDED = ["tasks.history:History.record", "tasks.history:History.mark_published"]
"""The steps that change a history."""

STEPS = [
    *RECORDED,
    "prefect.tasks:Task.__call__",
    "tasks.history.store:sighting",
    "fsspec.implementations.local:LocalFileSystem.pipe_file",
    "tasks.publish:create_markdown_artifact",
    "tasks.publish:create_table_artifact",
    "tasks.publish:emit_event",
]
"""Whatever a hunt does that others can see, it does by these, in whichever of its tasks.

`sighting` is called in the middle of the transaction; a file that was piped has no name yet.
"""

SECOPS = Destination(name="secops", channel="C1", clusters=("corp",))
HOUR = timedelta(hours=1)
MORNINGS = Timetable.of([{"cron": "15 6 * * *", "timezone": "UTC"}], delay_minutes=15)


def hunt(cluster: Cluster, number: int, history_url: str, archive_url: str) -> None:
    """Run the flow for a day's slot, as the schedule of every morning asks for it."""
    with mock.patch("flows.hunt_cluster.timetable", return_value=MORNINGS):
        places = {"history_url": history_url, "archive_url": archive_url}
        run_deployed(hunt_cluster, cluster=cluster, slot=day(number), **places).result()


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A program has always called; another one begins on the second day."""
    old = steady(end=day(0) - HOUR, entity_id="old", executable="/opt/old")
    new = steady(end=day(1) - HOUR)
    return Site(tmp_path).cluster(*map(fresh, (day(0), day(1), day(2))), *old, *new)


@pytest.fixture
def sites(request: pytest.FixtureRequest, tmp_path: Path, cluster: Cluster) -> Iterator[Site]:
    """Any number of workers who have searched the first day, on the database that a test names."""

    def searched(site: Site) -> Site:
        with History.open(site.history_url) as history:
            history.ledger(SECOPS, Medium.SLACK).start_scope(day(0) + HOUR)
        hunt(cluster, 0, site.history_url, str(site.archive))
        return site

    def another() -> Iterator[Site]:
        if request.param == "postgresql":
            server: Server = request.getfixturevalue("postgresql_server")
            for number in count():
                yield searched(Site(tmp_path / str(number), server.new_schema()))
        first = searched(Site(tmp_path / "first"))
        for number in count():
            yield copied(first, tmp_path / str(number))

    return another()


def copied(site: Site, folder: Path) -> Site:
    shutil.copytree(site.folder, folder)
    return Site(folder)


def killed_everywhere(
    sites: Iterator[Site], cluster: Cluster, steps: Sequence[str]
) -> Iterator[tuple[str, Site]]:
    """Kill the second day's hunt after its first step, after its second and so on.

    The last one came to its end. Of several that left the same it gives the first.
    """
    met = []
    for number in count(1):
        site = next(sites)
        orders = (cluster, 1, site.history_url, str(site.archive))
        step = killed_after(steps, number, hunt, *orders, environment={})
        if step is None or (left := remains(site)) not in met:
            yield f"{number}: {step}", site
            met.append(left)
        if step is None:
            return


def remains(site: Site) -> object:
    """What there is after a kill: files, rows, and reports that the archive lacks."""
    files = (str(path.relative_to(site.archive)) for path in site.archive.rglob("*"))
    with connect_database(site.history_url) as database, database.reading() as session:
        rows = [
            session.scalar(select(func.count()).select_from(table))
            for table in Base.metadata.sorted_tables
        ]
        owed = session.scalars(select(RunRow.id).where(RunRow.unreported.is_not(None))).all()
    return sorted(re.sub("[0-9a-f]{12,}", "ID", file) for file in files), rows, len(owed)


def memory(site: Site) -> object:
    """What the history knows, but for the ids and clocks of runs."""
    sightings = select(FindingRow.id, SightingRow.slot, SightingRow.status, SightingRow.news).join(
        FindingRow
    )
    with History.open(site.history_url) as history:
        runs = [replace(each, run=timeless(each.run)) for each in history.runs()]
        findings = history.findings()
        assert not history.unpublished(runs[0].run.hunt_uuid, "corp")
    with connect_database(site.history_url) as database, database.reading() as session:
        return runs, findings, sorted(map(tuple, session.execute(sightings)))


def archive(site: Site) -> Mapping[datetime, Report]:
    """What stands in the archive, by slot; all that its first page shows is there, and whole."""
    records = {path.parent for path in site.archive.rglob("run.json")}
    index = (site.archive / "index.html").read_text()
    shown = re.findall(r'href="([^"]*)/report.html"', index)
    assert {site.archive / folder for folder in shown} == records
    assert set(verify_archive(str(site.archive), pages_of)) == {()}
    documents = (Report.from_json((each / "findings.json").read_bytes()) for each in records)
    standing = sorted(documents, key=lambda report: report.run.standing)
    return {each.run.slot: replace(each, run=timeless(each.run)) for each in standing}


def timeless(run: Run) -> Run:
    clocks = {"started_at": run.slot, "finished_at": run.slot, "costs": ()}
    return replace(run, id="", flow_run=None, scheduled=False, **clocks)


def news(site: Site, number: int) -> str:
    """What the digest of a day says."""
    with History.open(site.history_url) as history:
        ledger = history.ledger(SECOPS, Medium.SLACK)
        digest = collect_digest(ledger, SECOPS, Medium.SLACK, day(number) + HOUR)
    message = compose_message(digest, report_base_url=None)
    assert message
    assert "agentd" in readable(message)
    return readable(message)


def after(site: Site, number: int) -> tuple[object, ...]:
    """What there is after a day: history, archive, and what is told."""
    return memory(site), archive(site), news(site, number)


@pytest.mark.parametrize("sites", ["sqlite"], indirect=True)
def test_wherever_a_hunt_is_killed_the_next_one_leaves_what_there_would_have_been(
    sites: Iterator[Site], cluster: Cluster
):
    """The same history, archive and digest, whether its slot is run again or the next one comes."""
    outcomes = []
    for step, site in killed_everywhere(sites, cluster, STEPS):
        again = copied(site, site.folder.with_suffix(".again"))
        if not step.endswith("None"):
            hunt(cluster, 1, again.history_url, str(again.archive))
        hunt(cluster, 2, site.history_url, str(site.archive))
        outcomes.append((step, after(again, 1), after(site, 2)))
    *killed, (_, repeated, continued) = outcomes
    assert set(RECORDED) <= {step.partition(": ")[2] for step, *_ in killed}
    for step, *found in killed:
        assert found == [repeated, continued], step


@pytest.mark.parametrize("sites", ["postgresql"], indirect=True)
def test_the_same_is_true_on_postgresql(sites: Iterator[Site], cluster: Cluster):
    """After each of the steps that write there; the slot may also be run again later."""
    outcomes = []
    for step, site in killed_everywhere(sites, cluster, RECORDED):
        hunt(cluster, 2, site.history_url, str(site.archive))
        continued = after(site, 2)
        hunt(cluster, 1, site.history_url, str(site.archive))
        outcomes.append((step, continued, after(site, 2)))
    *killed, (_, *undisturbed) = outcomes
    for step, *found in killed:
        assert found == undisturbed, step


def compete(cluster: Cluster, history_url: str, archive_url: str, folder: Path) -> None:
    """Run the flow beside another process that does the same, and note what comes of it."""

    def emitted(event: str, *_: object, **__: object) -> None:
        with (folder / "emitted").open("a") as notes:
            notes.write(f"{event}\n")

    with mock.patch("tasks.publish.emit_event", emitted):
        try:
            hunt(cluster, 1, history_url, archive_url)
        except RunInProgress as other:
            (folder / "said").write_text(str(other))


@pytest.mark.parametrize("sites", ["sqlite", "postgresql"], indirect=True)
def test_of_two_hunts_on_one_slot_at_once_one_wins_and_the_other_says_so(
    sites: Iterator[Site], cluster: Cluster
):
    """Both have begun to search when the first records: there is one run, and its news once."""
    site, alone = next(sites), next(sites)
    orders = (cluster, site.history_url, str(site.archive), site.folder)
    at_once(2, compete, *orders, environment={}, before="flows.hunt_cluster:connect")
    hunt(cluster, 1, alone.history_url, str(alone.archive))
    assert "while run" in (site.folder / "said").read_text()
    assert (site.folder / "emitted").read_text() == "beaconhunt.finding.new\n"
    assert after(site, 1) == after(alone, 1)
    assert remains(site) == remains(alone)
