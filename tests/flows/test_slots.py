from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import (
    SCHEDULE_TYPES,
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
)

from flows.slots import Timetable, never_run
from tasks.history import History
from tasks.model.runs import Outcome, Plan, minute
from tests.builders import CLUSTER, HUNT, SLOT, day, report, run
from tests.effort import examples
from tests.histories import new_history


def cron(text: str, zone: str = "UTC") -> CronSchedule:
    return CronSchedule(cron=text, timezone=zone)


def timetable(*schedules, delay_minutes: int = 0, waiting_since: datetime | None = None):
    return Timetable(schedules, timedelta(minutes=delay_minutes), waiting_since)


DAILY = timetable(cron("0 6 * * *"))


def test_a_slot_is_the_start_minus_the_delay():
    """The run of 06:15 stands for 06:00; the moments themselves do not count."""
    late = timetable(cron("15 6 * * *"), delay_minutes=15)
    assert late.slots(day(0), day(3)) == (day(1), day(2))
    moment = timedelta(minutes=1)
    assert late.slots(day(0) - moment, day(1) + moment) == (day(0), day(1))
    assert late.slots(day(1), day(1)) == late.slots(day(2), day(1)) == ()


def test_several_schedules_give_each_slot_once():
    """Week days at six, and every day at six and at noon."""
    several = timetable(cron("0 6 * * 1-5"), cron("0 6,12 * * *"))
    noon = timedelta(hours=6)
    assert several.slots(day(0), day(1) + 2 * noon) == (day(0) + noon, day(1), day(1) + noon)


def test_a_schedule_of_any_kind_is_understood():
    """Prefect knows intervals too."""
    hourly = IntervalSchedule(interval=timedelta(hours=1), anchor_date=SLOT)
    assert len(timetable(hourly).slots(day(0), day(1))) == 23


def test_a_slot_follows_the_clocks_of_its_zone():
    """Six in Berlin is four in UTC in summer and five in winter, and no day is lost."""
    berlin = timetable(cron("0 6 * * *", "Europe/Berlin"))
    autumn = berlin.slots(datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC))
    assert [f"{slot:%d %H:%M}" for slot in autumn] == ["24 04:00", "25 05:00", "26 05:00"]
    spring = berlin.slots(datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))
    assert [f"{slot:%d %H:%M}" for slot in spring] == ["28 05:00", "29 04:00", "30 04:00"]


@pytest.mark.parametrize(
    ("text", "zone", "after", "before", "slots"),
    [
        ("30 2 * * *", "Europe/Berlin", "10-24 23:01", "10-25 01:20", ["10-25 00:30"]),
        (
            *("*/30 * * * *", "America/New_York", "11-01 05:23", "11-01 06:12"),
            ["11-01 05:30"],
        ),
    ],
)
def test_a_slot_of_the_hour_that_comes_twice_is_found_within_it(text, zone, after, before, slots):
    """It is due when the clocks show its time first, and is not lost when they show it again."""
    first, last = (datetime.fromisoformat(f"2026-{moment}Z") for moment in (after, before))
    found = timetable(cron(text, zone)).slots(first, last)
    assert [f"{slot:%m-%d %H:%M}" for slot in found] == slots


CLOCK_CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
]
CRONS = ("30 1 * * *", "30 2 * * *", "0 3 * * *", "*/30 * * * *", "45 1-3 * * *")
# Intervals of days are left out: Prefect counts them anew from wherever it is asked.
INTERVALS = (timedelta(minutes=30), timedelta(hours=1), timedelta(hours=5))
RRULES = ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "FREQ=HOURLY;BYMINUTE=30", "FREQ=MINUTELY;INTERVAL=20")


@cache
def planned(zone: str, at: datetime) -> list[tuple[SCHEDULE_TYPES, list[datetime]]]:
    """Give schedules, and the starts around a clock change as Prefect plans them days before."""
    anchor = at - timedelta(days=3)
    rules = (f"DTSTART:{anchor:%Y%m%d}T000000\nRRULE:{rule};BYSECOND=0" for rule in RRULES)
    schedules = [
        *(cron(text, zone) for text in CRONS),
        *(IntervalSchedule(interval=each, anchor_date=anchor, timezone=zone) for each in INTERVALS),
        *(RRuleSchedule(rrule=rule, timezone=zone) for rule in rules),
    ]
    start, end = at - timedelta(days=2), at + timedelta(days=1)
    dates = (asyncio.run(each.get_dates(start=start, end=end)) for each in schedules)
    return [
        (each, list(map(minute, starts))) for each, starts in zip(schedules, dates, strict=True)
    ]


@pytest.mark.parametrize(("zone", "at"), CLOCK_CHANGES)
@given(st.integers(-5 * 60, 5 * 60), st.integers(1, 5 * 60))
@settings(max_examples=examples(30))
def test_a_slot_is_a_slot_whenever_somebody_asks(zone, at, minutes, span):
    """Around a clock change too: the slots are what Prefect's scheduler plans days before."""
    after = at + timedelta(minutes=minutes)
    before = after + timedelta(minutes=span)
    for schedule, starts in planned(zone, at):
        expected = sorted(start for start in starts if after < start < before)
        assert list(timetable(schedule).slots(after, before)) == expected


def test_a_long_outage_has_more_slots_than_prefect_tells_at_once():
    """The newest of them are the ones to run."""
    hourly = timetable(cron("0 * * * *"))
    slots = hourly.slots(day(-100), day(0))
    assert (len(slots), slots[-1]) == (2_399, day(0) - timedelta(hours=1))


# What was never run.


@pytest.fixture
def history(tmp_path):
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    with History.open(url) as history:
        yield history


def record(history: History, *days: int, outcome: Outcome = Outcome.COMPLETE, scheduled=True):
    for number in days:
        history.record(report(run(day(number), outcome, scheduled=scheduled)))


def plan(number: int) -> Plan:
    return Plan("", HUNT, CLUSTER, day(number), 6, SLOT, scheduled=True)


def test_what_was_never_run_begins_after_the_newest_run_of_a_schedule(history):
    """Three days of outage are three slots, and the run's own is not among them."""
    record(history, -9, 0)
    assert never_run(history, plan(4), DAILY) == (day(1), day(2), day(3))
    assert never_run(history, plan(1), DAILY) == ()


def test_an_outage_over_a_clock_change_is_caught_up_whole(history):
    """Each day has its slot, at the readers' six o'clock, and none has two."""
    berlin = timetable(cron("0 6 * * *", "Europe/Berlin"))
    before, after = datetime(2026, 10, 24, 4, tzinfo=UTC), datetime(2026, 10, 27, 5, tzinfo=UTC)
    history.record(report(run(before, scheduled=True)))
    late = never_run(history, replace(plan(0), slot=after), berlin)
    assert [f"{slot:%d %H:%M}" for slot in late] == ["25 05:00", "26 05:00"]


def test_a_slot_that_a_run_has_answered_for_is_not_run_again(history):
    """Whatever it answered, and whoever asked for it."""
    record(history, 0)
    record(history, 1, outcome=Outcome.FAILED)
    record(history, 2, scheduled=False)
    assert never_run(history, plan(4), DAILY) == (day(3),)


def test_a_run_by_hand_hides_no_outage(history):
    """Whoever looks first whether the cluster answers does not take the days before away."""
    record(history, 0)
    history.record(report(run(day(3) + timedelta(hours=3))))
    assert never_run(history, plan(4), DAILY) == (day(1), day(2), day(3))


def test_a_failed_run_hides_no_outage(history):
    """What it could not catch up is caught up by the next one."""
    record(history, 0)
    record(history, 4, outcome=Outcome.FAILED)
    assert never_run(history, plan(5), DAILY) == (day(1), day(2), day(3))


def test_what_is_recorded_as_missed_stays_so(history):
    """It is not found again by every run after it."""
    record(history, 0)
    record(history, 1, 2, outcome=Outcome.MISSED)
    assert never_run(history, plan(3), DAILY) == ()


def test_the_first_run_of_a_cluster_catches_up_only_runs_that_wait(history):
    """There is no end to the slots before a deployment; those that it was late for are its own."""
    assert never_run(history, plan(4), DAILY) == ()
    waiting = timetable(cron("0 6 * * *"), waiting_since=day(2))
    assert never_run(history, plan(4), waiting) == (day(2), day(3))
    assert never_run(history, plan(1), waiting) == ()


@pytest.mark.parametrize("other", [{"cluster": "prod-us"}, {"hunt_uuid": "another"}])
def test_other_clusters_and_hunts_have_slots_of_their_own(history, other):
    """What ran on one says nothing about another."""
    record(history, 0)
    history.record(report(run(day(2), scheduled=True, **other)))
    assert never_run(history, plan(3), DAILY) == (day(1), day(2))
