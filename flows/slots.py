"""Slots to catch up: from a deployment's schedules and the history to the slots never run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.server.schemas.schedules import SCHEDULE_TYPES
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import TypeAdapter, ValidationError

from tasks.errors import SettingsError
from tasks.history import History
from tasks.model.runs import Plan, minute
from tasks.settings import Cluster

_MINUTE = timedelta(minutes=1)

_UNSURE = timedelta(hours=4)
"""Margin around the bounds of a query for a schedule's times. When clocks go back, Prefect compares
times of day that come twice, so its result near a bound is wrong. Twice the largest change of a
clock (two hours, at Troll in Antarctica) is enough."""

# The server's own types: only they compute a schedule's times.
_SCHEDULE: TypeAdapter[SCHEDULE_TYPES] = TypeAdapter(SCHEDULE_TYPES)
_TIMES = frozenset({"cron", "day_or", "interval", "anchor_date", "rrule", "timezone"})


@dataclass(frozen=True, slots=True)
class Timetable:
    """The slots of a deployment's scheduled runs.

    Attributes:
        schedules: the active schedules, as Prefect's server reads them.
        delay: time from a slot to the scheduled start of its run.
        waiting_since: slot of the oldest run that waits to start; None if no run waits.
    """

    schedules: Sequence[SCHEDULE_TYPES]
    delay: timedelta
    waiting_since: datetime | None = None

    @classmethod
    def of(cls, schedules: Iterable[Mapping[str, Any]], delay_minutes: int) -> Timetable:
        """Read schedules from prefect.yaml; inactive ones are left out.

        Raises:
            SettingsError: a schedule is invalid.
        """
        active = [each for each in schedules if each.get("active", True)]
        return cls([_read(each) for each in active], timedelta(minutes=delay_minutes))

    def slots(self, after: datetime, before: datetime) -> tuple[datetime, ...]:
        """Give the slots between two moments, without the moments, oldest first."""
        starts = (
            start
            for schedule in self.schedules
            for start in _starts(schedule, after + self.delay, before + self.delay)
        )
        slots = {start - self.delay for start in starts}
        return tuple(sorted(slot for slot in slots if after < slot < before))


def _read(schedule: Mapping[str, Any]) -> SCHEDULE_TYPES:
    try:
        return _SCHEDULE.validate_python({k: v for k, v in schedule.items() if k in _TIMES})
    except ValidationError as error:
        raise SettingsError(
            f"The schedule {dict(schedule)} is invalid: {error.errors()[0]['msg']}.",
            "Give it a `cron` and a `timezone`, under `schedules` in its deployment.",
        ) from None


def _starts(schedule: SCHEDULE_TYPES, since: datetime, until: datetime) -> Iterator[datetime]:
    """Give a schedule's times in whole minutes; Prefect gives about a thousand at a time."""
    while True:
        dates = schedule.get_dates(start=since - _UNSURE, end=until + _UNSURE)
        times = map(minute, cast("list[datetime]", run_coro_as_sync(dates)))
        later = [time for time in times if time >= since]
        if not later:
            return
        yield from later
        since = max(later) + _MINUTE


def _scheduled_deployment() -> UUID | None:
    """Give the deployment whose schedule started the current flow run; None for a run by hand."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    return flow_run.deployment_id if flow_run and flow_run.auto_scheduled else None


def is_by_newest_event(subject: object, slot: datetime | None) -> bool:
    """Whether the newest event decides on the current flow run's slot.

    Args:
        subject: the cluster or destination.
        slot: the run's `slot` parameter.
    """
    of_folder = isinstance(subject, Cluster) and subject.folder is not None
    return of_folder and slot is None and _scheduled_deployment() is None


def slot_of_run(given: datetime | None, delay_minutes: int = 0) -> datetime:
    """Give the current flow run's slot: the `slot` parameter, else from its scheduled start.

    Args:
        given: the run's `slot` parameter.
        delay_minutes: time that the schedule leaves for late events.
    """
    if given is not None:
        return minute(given)
    start = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    return minute(start) - timedelta(minutes=delay_minutes)


def run_name(subject: str) -> Callable[[], str]:
    """Name flow runs in Prefect's UI by their subject and slot: `prod-us 2026-11-24 06:00Z`.

    A slot that is not known yet is named for what it will be: `export, newest event`.

    Args:
        subject: the flow's parameter for its cluster or destination.
    """

    def name() -> str:
        given: dict[str, Any] = runtime.flow_run.parameters
        if is_by_newest_event(given[subject], given.get("slot")):
            return f"{given[subject].name}, newest event"
        slot = slot_of_run(given.get("slot"), given.get("delay_minutes", 0))
        return f"{given[subject].name} {slot:%Y-%m-%d %H:%MZ}"

    return name


def timetable(delay_minutes: int) -> Timetable | None:
    """Ask Prefect for the timetable of this flow run's deployment.

    Returns:
        None for a run that was started by hand, in Prefect's UI or elsewhere.
    """
    deployment_id = _scheduled_deployment()
    if deployment_id is None:
        return None
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment(deployment_id)
        waiting = client.read_flow_runs(
            flow_run_filter=_waiting(deployment_id),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=1,
        )
    schedules = (
        {**each.schedule.model_dump(), "active": each.active} for each in deployment.schedules
    )
    timetable = Timetable.of(schedules, delay_minutes)
    starts = [late.expected_start_time for late in waiting if late.expected_start_time]
    return replace(timetable, waiting_since=minute(starts[0]) - timetable.delay if starts else None)


def never_run(history: History, plan: Plan, timetable: Timetable) -> tuple[datetime, ...]:
    """Give the slots before a plan's slot that have no recorded run, oldest first.

    They begin after the newest slot with a scheduled run that did not fail: a failed run is
    recorded for its own slot, but it did not catch up the slots before. If there is no such run
    yet, they begin with the oldest run that waits.
    """
    since = history.last_scheduled(plan.hunt.uuid, plan.cluster, plan.slot)
    if since is None:
        if timetable.waiting_since is None:
            return ()
        since = timetable.waiting_since - _MINUTE
    recorded = history.outcomes(plan.hunt.uuid, plan.cluster, since, plan.slot)
    return tuple(slot for slot in timetable.slots(since, plan.slot) if slot not in recorded)


def _waiting(deployment_id: UUID) -> FlowRunFilter:
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
