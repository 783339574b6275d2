from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.backfill import backlog
from tasks.errors import HuntError, SettingsError
from tasks.history import History, upgrade
from tasks.hunts import load
from tasks.runs import Outcome
from tests.builders import CLUSTER, SLOT, day, report, run

DAILY = {"slug": "daily", "cron": "15 6 * * *", "timezone": "UTC"}
HUNT = load("macos-unsigned-network")
NOW = day(9)


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    """Of a deployment whose history has no run."""
    url = f"sqlite:///{tmp_path}/history.db"
    upgrade(url)
    return {"cluster": {"name": CLUSTER, "url": "file:///events"}, "history_url": url}


def record(parameters: dict[str, Any], number: int, outcome: Outcome) -> None:
    with History.open(parameters["history_url"]) as history:
        history.record(report(run(day(number), outcome, hunt=HUNT), hunt=HUNT))


def days(first: int, last: int) -> tuple[date, date]:
    return day(first).date(), day(last).date()


def test_what_no_run_has_searched_is_run_again(parameters):
    """Missed, failed and empty slots are made good; what was searched stays as it is."""
    for number, outcome in enumerate(Outcome):
        record(parameters, number, outcome)
    unsearched = [number for number, outcome in enumerate(Outcome) if not outcome.searched]
    slots = backlog(parameters, [DAILY], days(0, 6), NOW)
    assert slots == (*(day(number) for number in unsearched), day(6))


def test_the_first_and_the_last_day_count(parameters):
    """From midnight to midnight, in UTC."""
    midnight = DAILY | {"cron": "15 0 * * *"}
    assert len(backlog(parameters, [midnight], days(0, 0), NOW)) == 1
    assert backlog(parameters, [DAILY], days(0, 1), NOW) == (day(0), day(1))
    assert backlog(parameters, [DAILY], days(1, 0), NOW) == ()


def test_what_is_not_due_yet_is_left_to_its_schedule(parameters):
    """A slot is due when its late events had time to come in."""
    due = SLOT + timedelta(minutes=15)
    assert backlog(parameters, [DAILY], days(0, 3), due) == ()
    assert backlog(parameters, [DAILY], days(0, 3), due + timedelta(minutes=1)) == (SLOT,)


def test_a_schedule_counts_in_its_own_zone_and_delay(parameters):
    """As Prefect starts it: six in Berlin is five in UTC in winter."""
    berlin = {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}
    own = {**parameters, "delay_minutes": 30}
    assert backlog(own, [berlin], days(0, 0), NOW) == (datetime(2026, 11, 24, 4, 30, tzinfo=UTC),)


def test_a_schedule_that_is_not_active_does_not_count(parameters):
    """Where none is, there is no slot to run, and that is said."""
    idle = DAILY | {"cron": "0 12 * * *", "active": False}
    assert backlog(parameters, [DAILY, idle], days(0, 0), NOW) == (SLOT,)
    with pytest.raises(SettingsError, match="No schedule of demo-eu is active") as refused:
        backlog(parameters, [idle], days(0, 0), NOW)
    assert "beaconhunt run demo-eu --slot" in refused.value.remedy


def test_a_schedule_without_times_is_refused(parameters):
    """With the words of whoever knows schedules."""
    with pytest.raises(SettingsError, match="has no times") as refused:
        backlog(parameters, [{"slug": "daily", "timezone": "UTC"}], days(0, 0), NOW)
    assert "cron" in refused.value.remedy


def test_a_hunt_that_cannot_be_used_is_refused(parameters):
    """Nothing is run for it."""
    with pytest.raises(HuntError):
        backlog({**parameters, "hunt": "no-such-hunt"}, [DAILY], days(0, 0), NOW)
