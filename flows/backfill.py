"""Backfill: from a deployment and some past days to the slots that no run has searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from inspect import signature
from typing import Any

from flows.hunt_cluster import hunt_cluster
from flows.slots import Timetable
from tasks.errors import SettingsError
from tasks.history import History
from tasks.hunts import load
from tasks.settings import Cluster


def backlog(
    parameters: Mapping[str, Any],
    schedules: Iterable[Mapping[str, Any]],
    days: tuple[date, date],
    now: datetime,
) -> tuple[datetime, ...]:
    """Give the slots of a deployment within some days that no run has searched, oldest first.

    Args:
        parameters: of its `hunt_cluster`, without those that it leaves to their defaults.
        schedules: as prefect.yaml lists them.
        days: the first and the last one, in UTC; both count.
        now: aware; what is not due yet does not count.

    Raises:
        SettingsError: no schedule is active, or one has no times.
        HuntError: the hunt's file cannot be used.
        HistoryError: the history cannot be read.
    """
    given = signature(hunt_cluster).bind(**parameters)
    given.apply_defaults()
    settings = given.arguments
    cluster = Cluster.model_validate(settings["cluster"]).name
    timetable = Timetable.of(schedules, settings["delay_minutes"])
    if not timetable.schedules:
        raise SettingsError(
            f"No schedule of {cluster} is active, so no slot is due.",
            f"Make one active, or run a slot by `beaconhunt run {cluster} --slot TIME`.",
        )
    after = datetime.combine(days[0], time(), UTC) - timedelta(minutes=1)
    before = min(datetime.combine(days[1], time(), UTC) + timedelta(days=1), now - timetable.delay)
    with History.open(settings["history_url"]) as history:
        outcomes = history.outcomes(load(settings["hunt"]).uuid, cluster, after, before)
    searched = {slot for slot, outcome in outcomes.items() if outcome.searched}
    return tuple(slot for slot in timetable.slots(after, before) if slot not in searched)
