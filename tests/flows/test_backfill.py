from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flows.backfill import backlog
from flows.deployments import Deployment
from tasks.errors import HuntError, SettingsError
from tasks.history import History
from tasks.model.hunts import load_hunt
from tasks.model.runs import Outcome
from tests.builders import CLUSTER, SLOT, day, report, run
from tests.histories import new_history

DAILY = {"slug": "daily", "cron": "15 6 * * *", "timezone": "UTC"}
SHIPPED = load_hunt("macos-unsigned-network")
LATER = day(99)


class Site:
    """A deployment of the shipped hunt, and its history without a run."""

    def __init__(self, folder: Path) -> None:
        self.history_url = f"sqlite:///{folder}/history.db"
        new_history(self.history_url)

    def record(self, number: int, outcome: Outcome) -> None:
        with History.open(self.history_url) as history:
            history.record(report(run(day(number), outcome, hunt=SHIPPED), hunt=SHIPPED))

    def backlog(self, first: int, last: int, *schedules: dict, now=LATER, **parameters):
        """Slots to run from one day to another."""
        deployment = Deployment(
            name="demo",
            entrypoint="flows.hunt_cluster.hunt_cluster",
            parameters={
                "cluster": {"name": CLUSTER, "url": "file:///events"},
                "history_url": self.history_url,
                **parameters,
            },
            schedules=schedules or [DAILY],
        )
        return backlog(deployment, day(first).date(), day(last).date(), now=now)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_no_run_has_searched_is_run_again(site):
    """Missed, failed and empty slots are made good; what was searched stays as it is."""
    for number, outcome in enumerate(Outcome):
        site.record(number, outcome)
    unsearched = [day(number) for number, outcome in enumerate(Outcome) if not outcome.searched]
    assert site.backlog(0, 6) == (*unsearched, day(6))


def test_the_first_and_the_last_day_count(site):
    """From midnight to midnight, in UTC."""
    assert site.backlog(0, 1) == (day(0), day(1))
    assert site.backlog(1, 0) == ()
    assert site.backlog(0, 0, DAILY | {"cron": "15 0 * * *"}) == (day(0) - timedelta(hours=6),)


def test_what_is_not_due_yet_is_left_to_its_schedule(site):
    """A slot is due when its late events had time to come in."""
    due = SLOT + timedelta(minutes=15)
    assert site.backlog(0, 3, now=due) == ()
    assert site.backlog(0, 3, now=due + timedelta(minutes=1)) == (SLOT,)


def test_a_schedule_counts_in_its_own_zone_and_with_its_delay(site):
    """As Prefect starts it: six in Berlin is five in UTC in winter."""
    berlin = {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}
    assert site.backlog(0, 0, berlin, delay_minutes=30) == (SLOT - timedelta(minutes=90),)


def test_a_schedule_that_is_not_active_does_not_count(site):
    """Without an active schedule there is no slot to run, and the error says so."""
    idle = DAILY | {"cron": "0 12 * * *", "active": False}
    assert site.backlog(0, 0, DAILY, idle) == (SLOT,)
    with pytest.raises(SettingsError, match="Deployment demo has no active schedule") as refused:
        site.backlog(0, 0, idle)
    assert "beaconhunt run demo-eu --slot" in refused.value.remedy


def test_a_schedule_without_times_is_refused(site):
    """The error gives the reason of Prefect's schedules."""
    with pytest.raises(SettingsError, match=r"^The schedule .* is invalid: ") as refused:
        site.backlog(0, 0, {"slug": "daily", "timezone": "UTC"})
    assert "cron" in refused.value.remedy


def test_a_hunt_that_cannot_be_used_is_refused(site):
    """Nothing is run for it."""
    with pytest.raises(HuntError, match="no-such-hunt"):
        site.backlog(0, 0, hunt="no-such-hunt")
