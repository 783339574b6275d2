"""Backfill: from a deployment and a range of days to the slots that no run has searched."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from flows.deployments import Deployment
from flows.hunt_cluster import hunt_cluster
from flows.slots import Timetable
from tasks.errors import SettingsError
from tasks.history import History
from tasks.model.hunts import load_hunt


def backlog(
    deployment: Deployment, first: date, last: date, *, now: datetime
) -> tuple[datetime, ...]:
    """Give the slots in a range of days that no run has searched, oldest first.

    Args:
        deployment: the hunt's deployment.
        first: the first day, in UTC.
        last: the last day, included, in UTC.
        now: aware; slots that are not due yet are left out.

    Raises:
        SettingsError: a parameter is invalid, or no schedule defines the slots.
        HuntError: the hunt's file cannot be used.
        HistoryError: the history cannot be read.
    """
    settings = deployment.checked(hunt_cluster)
    cluster = settings["cluster"].name
    timetable = Timetable.of(deployment.filled(deployment.schedules), settings["delay_minutes"])
    if not timetable.schedules:
        raise SettingsError(
            f"Deployment {deployment.name} has no active schedule, so no slot is due.",
            f"Activate a schedule, or run a slot with `beaconhunt run {cluster} --slot TIME`.",
        )
    after = datetime.combine(first, time(), UTC) - timedelta(minutes=1)
    before = min(datetime.combine(last, time(), UTC) + timedelta(days=1), now - timetable.delay)
    with History.open(settings["history_url"]) as history:
        outcomes = history.outcomes(load_hunt(settings["hunt"]).uuid, cluster, after, before)
    searched = {slot for slot, outcome in outcomes.items() if outcome.searched}
    return tuple(slot for slot in timetable.slots(after, before) if slot not in searched)
