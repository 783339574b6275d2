from datetime import UTC, datetime, timedelta

import pytest

from tasks.text import times
from tasks.text.times import Clock

AT = datetime(2026, 11, 24, 6, 5, tzinfo=UTC)


def test_a_moment_says_its_zone():
    """Nobody has to guess what 06:05 means."""
    assert times.full(AT) == "24 Nov 2026 06:05 UTC"
    assert times.short(AT) == "24 Nov 06:05"
    assert times.day(AT) == "24 Nov"
    assert times.weekday(AT) == "Tue"


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(minutes=59), "less than an hour"),
        (timedelta(hours=1, minutes=59), "1 hour"),
        (timedelta(hours=47, minutes=59), "47 hours"),
        (timedelta(hours=48), "2 days"),
    ],
)
def test_a_span_is_rounded_down(duration, words):
    """An age is never overstated."""
    assert times.span(duration) == words


def test_a_clock_tells_utc_and_the_readers_own_time():
    """An analyst in Berlin need not reckon, and one elsewhere reads UTC."""
    assert Clock(AT, "Europe/Berlin").full(AT) == "24 Nov 2026 06:05 UTC (07:05 CET)"
    assert Clock(AT).full(AT) == "24 Nov 2026 06:05 UTC"


def test_a_clock_gives_short_times_in_the_readers_zone():
    """With the zone where no other place gives it, and on their day."""
    berlin, late = Clock(AT, "Europe/Berlin"), datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
    assert (berlin.short(AT), berlin.zoned(AT)) == ("24 Nov 07:05", "24 Nov 07:05 CET")
    assert berlin.zoned(late) == "2 Jul 01:30 CEST"
    assert Clock(AT).zoned(AT) == "24 Nov 06:05 UTC"


def test_local_time_follows_the_season_and_the_day():
    """Summer has another offset, and late evening in UTC may be tomorrow elsewhere."""
    berlin, new_york = Clock(AT, "Europe/Berlin"), Clock(AT, "America/New_York")
    assert berlin.local(datetime(2026, 7, 1, 23, 30, tzinfo=UTC)) == " (2 Jul 01:30 CEST)"
    assert new_york.local(datetime(2026, 11, 24, 3, 0, tzinfo=UTC)) == " (23 Nov 22:00 EST)"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=59), "24 Nov 06:04 UTC, seconds before"),
        (timedelta(minutes=59), "24 Nov 05:06 UTC, 59 min before"),
        (timedelta(hours=28), "23 Nov 02:05 UTC, 28 hours before"),
        (timedelta(days=3), "21 Nov 06:05 UTC, 3 days before"),
        (timedelta(days=365), "24 Nov 2025 06:05 UTC, 365 days before"),
    ],
)
def test_an_age_is_as_of_the_slot_so_that_it_stays_true(before, words):
    """A report that is opened weeks later says the same."""
    assert Clock(AT).aged(AT - before) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.25 s"), (28, "28 s"), (119.5, "120 s"), (120, "2.0 min"), (14_400, "4.0 h")],
)
def test_a_period_reads_in_its_own_unit(seconds, words):
    """A beacon of half a minute and one of four hours are both easy to read."""
    assert times.period(seconds) == words


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (1, "Tue 24 Nov"),
        (2, "Mon 23 Nov, Tue 24 Nov"),
        (3, "Sun 22 Nov, Mon 23 Nov, Tue 24 Nov"),
        (5, "5 days from Fri 20 Nov to Tue 24 Nov"),
    ],
)
def test_many_days_are_named_by_the_first_and_the_last(since, words):
    """A week of outage does not fill the message; two runs of a day are one day."""
    runs = [AT - timedelta(days=days, hours=hours) for days in range(since) for hours in (1, 0)]
    assert times.days(sorted(runs)) == words
