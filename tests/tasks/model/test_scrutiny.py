from datetime import timedelta

import pytest

from tasks.model.scrutiny import StreamEvents, stopped_after
from tasks.text.times import Clock
from tests.builders import SLOT, scrutiny


@pytest.mark.parametrize(
    ("days", "hours", "zone", "silence"),
    [
        (0, 0, "UTC", 24),  # Tuesday, 6 o'clock: the last 24 hours are mainly of Monday.
        (-1, 0, "UTC", 72),  # Monday: mainly of Sunday.
        (-2, 0, "UTC", 72),
        (-3, 0, "UTC", 24),  # Saturday: mainly of Friday.
        (-3, 6, "UTC", 72),
        (-3, 6, "America/New_York", 24),
    ],
)
def test_a_laptop_may_sleep_over_the_weekend(days, hours, zone, silence):
    """In its readers' time zone; on a working day, 24 hours are more than a night."""
    slot = SLOT + timedelta(days=days, hours=hours)
    assert stopped_after(Clock(slot, zone)) == timedelta(hours=silence)


def test_a_count_of_ids_above_the_number_of_events_is_its_error():
    """Above 40,000 Elasticsearch's count is approximate."""
    stream = StreamEvents("a", sent=9, searched=9, with_id=9, distinct_ids=10)
    assert (stream.repeated, stream.repeated_share) == (0, 0.0)


def test_nothing_is_a_share_of_nothing():
    """A data stream without a searched event has no fault."""
    empty = scrutiny(streams=(StreamEvents("a", 5, 0, 0, 0),), candidates=0, strays=5)
    assert (empty.repeated_share, empty.unjudged_share, empty.stray_share) == (0.0, 0.0, 0.0)
    assert empty.streams[0].factor == 1.0
