from datetime import UTC, datetime, timedelta

import pytest

from tasks import moments

AT = datetime(2026, 11, 24, 6, 5, tzinfo=UTC)


def test_a_moment_says_its_zone():
    """Nobody has to guess what 06:05 means."""
    assert moments.full(AT) == "24 Nov 2026 06:05 UTC"
    assert moments.short(AT) == "24 Nov 06:05"
    assert moments.day(AT) == "24 Nov"
    assert moments.weekday(AT) == "Tue"


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
    assert moments.span(duration) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.25 s"), (28, "28 s"), (119.5, "120 s"), (120, "2.0 min"), (14_400, "4.0 h")],
)
def test_a_period_reads_in_its_own_unit(seconds, words):
    """A beacon of half a minute and one of four hours are both easy to read."""
    assert moments.period(seconds) == words
