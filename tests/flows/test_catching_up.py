"""Runs of a deployment's schedule, as a server makes them, started as a worker starts them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow

from flows.daily_digest import daily_digest
from flows.hunt_cluster import RunContext, hunt_cluster, publish_report, search
from tasks.errors import ArchiveError, QueryRefused
from tasks.history import History
from tasks.model.findings import Status
from tasks.model.hunts import SHIPPED
from tasks.model.runs import Outcome, Plan, Report
from tasks.settings import Cluster, Destination
from tests.flows.site import Site, fresh, steady
from tests.flows.worker import run_deployed, worker_with

DELAY = timedelta(minutes=15)


def day(number: int) -> datetime:
    """Give a slot that is long past: Prefect waits for a start that is to come."""
    return datetime(2025, 11, 24, 6, tzinfo=UTC) + timedelta(days=number)


class Deployment:
    """A hunt that is deployed to run each day at 06:15 UTC."""

    def __init__(self, site: Site, cluster: Cluster, client: SyncPrefectClient, **changes) -> None:
        self.site = site
        self.client = client
        self.parameters = {
            "cluster": cluster.model_dump(),
            "history_url": site.history_url,
            "archive_url": str(site.archive),
            **changes,
        }
        schedule = CronSchedule(cron="15 6 * * *", timezone="UTC")
        self.id = client.create_deployment(
            flow_id=client.create_flow(hunt_cluster),
            name=uuid4().hex,
            schedules=[DeploymentScheduleCreate(schedule=schedule, active=True)],
            parameters=self.parameters,
        )

    def fall_due(self, *days: int) -> None:
        """Let Prefect make the runs of these days."""
        for number in days:
            start = (day(number) + DELAY).isoformat()
            asked = {"start_time": start, "end_time": start, "min_runs": 1, "max_runs": 1}
            path = {"id": self.id}
            self.client.request("POST", "/deployments/{id}/schedule", path_params=path, json=asked)

    def start(self, number: int):
        """Start the run of a day that is due, and give its final state."""
        due = self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[self.id]))
        )
        (mine,) = (each for each in due if each.expected_start_time == day(number) + DELAY)
        with worker_with((hunt_cluster, self.parameters)):
            return run_flow(hunt_cluster, flow_run=mine, return_type="state")

    def run(self, number: int):
        """Let the run of a day fall due and start it."""
        self.fall_due(number)
        return self.start(number)

    def outcomes(self) -> dict[datetime, Outcome]:
        """What the history says of each slot."""
        with History.open(self.site.history_url) as history:
            return {each.run.slot: each.run.outcome for each in reversed(history.runs())}


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def site_on_each(request, tmp_path) -> Site:
    """With its history in each database."""
    if request.param == "sqlite":
        return Site(tmp_path)
    return Site(tmp_path, request.getfixturevalue("postgresql_server").new_schema())


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def daily(*numbers: int) -> list[dict]:
    """Events of a healthy cluster as of these days."""
    return [fresh(day(number)) for number in numbers]


def seen_only_as_of(number: int) -> list[dict]:
    """A beacon that beats for ten hours, and once more a day later, when its rate is too low."""
    end = day(number) - timedelta(hours=1)
    return [*steady(end=end), *steady(end=end + timedelta(days=1))[-1:]]


def test_three_days_of_outage_are_three_runs_as_of_their_own_slots(site_on_each, client):
    """What was to be seen on the second of them only is found, told once, with its day."""
    site = site_on_each
    cluster = site.cluster(*daily(0, 1, 2, 3, 4), *seen_only_as_of(2))
    deployed = Deployment(site, cluster, client)
    deployed.run(0)

    state = deployed.run(4)

    assert state.message.startswith("0 new, 0 continuing")
    reports = site.reports()
    assert [each.run.slot for each in reports] == [day(n) for n in range(5)]
    assert [[f.status for f in each.findings] for each in reports] == [
        [],
        [],
        [Status.NEW],
        [Status.QUIET],
        [],
    ]
    assert reports[2].findings[0].first_seen == day(2)
    assert [each.run.compared_with for each in reports[1:]] == [day(n) for n in range(4)]
    told = [
        run_deployed(
            daily_digest,
            destination=Destination(name="secops", channel="C1", clusters=("corp",)),
            slot=day(number) + timedelta(hours=1),
            history_url=site.history_url,
            archive_url=str(site.archive),
        ).result()["digest"]
        for number in (0, 4, 5)
    ]
    assert "from the run of 26 Nov 06:00" in told[1]
    assert "agentd" not in told[0] + told[2]


def test_late_runs_that_start_out_of_order_leave_what_runs_in_time_would_have(site, client):
    """Prefect starts them all when the worker is back; the first of them is the baseline."""
    cluster = site.cluster(*daily(1, 2, 3), *seen_only_as_of(2))
    deployed = Deployment(site, cluster, client)
    deployed.fall_due(1, 2, 3)
    for number in (3, 1, 2):
        assert deployed.start(number).is_completed()
    assert deployed.outcomes() == {
        day(1): Outcome.BASELINE,
        day(2): Outcome.COMPLETE,
        day(3): Outcome.COMPLETE,
    }
    index = (site.archive / "index.html").read_text()
    assert index.count("Superseded.") == 2


def test_what_is_too_old_to_be_caught_up_is_recorded_as_missed(site, client):
    """A row with its remedy, in history and archive, and never "nothing new"."""
    deployed = Deployment(site, site.cluster(*daily(0, 4, 5)), client, catch_up_slots=1)
    deployed.run(0)
    deployed.run(5)
    missed = dict.fromkeys((day(1), day(2), day(3)), Outcome.MISSED)
    searched = {day(4): Outcome.COMPLETE, day(5): Outcome.COMPLETE}
    assert deployed.outcomes() == {day(0): Outcome.BASELINE, **missed, **searched}
    assert "did not run" in (site.archive / "index.html").read_text()
    (page,) = site.archive.glob("*/corp/2025/11/26/*/report.html")
    assert "beaconhunt run corp --slot 2025-11-26T06:00Z" in page.read_text()


def test_nothing_is_caught_up_where_that_is_not_wanted(site, client):
    """With `catch_up_slots: 0` a gap is recorded as what it is."""
    deployed = Deployment(site, site.cluster(*daily(0, 2)), client, catch_up_slots=0)
    deployed.run(0)
    deployed.run(2)
    assert deployed.outcomes()[day(1)] is Outcome.MISSED


def test_a_run_that_somebody_starts_catches_nothing_up(site, client):
    """Neither from Prefect's UI nor from the command line; and it hides no gap."""
    cluster = site.cluster(*daily(0, 1, 2, 3))
    deployed = Deployment(site, cluster, client)
    deployed.run(0)
    quick = client.create_flow_run_from_deployment(
        deployed.id, parameters={"slot": str(day(2) + timedelta(hours=1))}
    )
    with worker_with((hunt_cluster, deployed.parameters)):
        run_flow(hunt_cluster, flow_run=quick)
    site.hunt(cluster, day(2) + timedelta(hours=2))
    assert not {day(1), day(2)}.intersection(deployed.outcomes())
    deployed.run(3)
    assert {day(1), day(2)} < set(deployed.outcomes())


@pytest.mark.parametrize(
    "fault",
    [QueryRefused("corp: too much was asked.", "Ask for less."), KeyError("a fault of ours")],
    ids=["refused", "a fault of ours"],
)
def test_a_slot_that_cannot_be_searched_has_failed_and_the_next_is_run(
    site, client, monkeypatch, fault
):
    """One bad day keeps no other from being searched, nor the next run of the schedule."""

    def broken_as_of_the_first(at: RunContext, plan: Plan) -> Report:
        if plan.slot == day(1):
            raise fault
        return search(at, plan)

    monkeypatch.setattr("flows.hunt_cluster.search", broken_as_of_the_first)
    deployed = Deployment(site, site.cluster(*daily(0, 1, 2, 3)), client)
    deployed.run(0)
    deployed.run(3)
    whole = dict.fromkeys((day(2), day(3)), Outcome.COMPLETE)
    assert deployed.outcomes() == {day(0): Outcome.BASELINE, day(1): Outcome.FAILED, **whole}


def test_an_archive_that_is_away_for_a_moment_keeps_no_slot_from_being_searched(
    site, client, monkeypatch
):
    """Its report is owed, and the next one of the same flow run brings it too."""
    away = [day(1)]

    def briefly_away(at: RunContext, report: Report) -> str:
        if report.run.slot in away:
            away.clear()
            raise ArchiveError("The archive cannot be written.", "Look at its disk.")
        return publish_report(at, report)

    monkeypatch.setattr("flows.hunt_cluster.publish_report", briefly_away)
    deployed = Deployment(site, site.cluster(*daily(0, 1, 2, 3)), client)
    deployed.run(0)
    assert deployed.run(3).is_completed()
    whole = dict.fromkeys((day(1), day(2), day(3)), Outcome.COMPLETE)
    assert deployed.outcomes() == {day(0): Outcome.BASELINE, **whole}
    assert [each.run.slot for each in site.reports()] == [day(number) for number in range(4)]


def test_a_slot_that_somebody_runs_meanwhile_is_left_to_them(site, client, monkeypatch):
    """Whoever backfills by hand while the schedule catches up is not in its way."""
    cluster = site.cluster(*daily(0, 1, 2))

    def overtaken_as_of_the_first(at: RunContext, plan: Plan) -> Report:
        if plan.slot == day(1) and plan.scheduled:
            site.hunt(cluster, day(1))
        return search(at, plan)

    monkeypatch.setattr("flows.hunt_cluster.search", overtaken_as_of_the_first)
    deployed = Deployment(site, cluster, client)
    deployed.run(0)
    assert deployed.run(2).is_completed()
    assert [each.run.slot for each in site.reports()] == [day(0), day(1), day(2)]


def test_a_run_that_cannot_start_leaves_the_gap_to_the_next(site, client):
    """A broken hunt file costs its own slot, and not those of the outage before."""
    shipped = (SHIPPED / "macos-unsigned-network.toml").read_text()
    file = site.folder / "mine.toml"
    deployed = Deployment(site, site.cluster(*daily(0, 1, 2, 3)), client, hunt=str(file))
    for number, text in ((0, shipped), (2, "broken"), (3, shipped)):
        file.write_text(text)
        deployed.run(number)
    assert deployed.outcomes() == {
        day(0): Outcome.BASELINE,
        day(1): Outcome.COMPLETE,
        day(2): Outcome.FAILED,
        day(3): Outcome.COMPLETE,
    }
