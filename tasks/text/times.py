"""Moments: from times in UTC to the words that people read, the same on every machine.

`strftime` names months in the machine's language; these names are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

NAMED_DAYS = 3

_HOURS_AS_DAYS = 48
"""From here on a span reads better in days."""

_MINUTES_AS_HOURS = 60
_SECONDS_AS_MINUTES = 120
_SECONDS_AS_HOURS = 2 * 3600


def day(at: datetime) -> str:
    """Give for example `24 Nov`."""
    return f"{at.day} {MONTHS[at.month - 1]}"


def weekday(at: datetime) -> str:
    """Give for example `Tue`."""
    return WEEKDAYS[at.weekday()]


def days(moments: Iterable[datetime]) -> str:
    """Name a few days one by one, and more by the first and the last."""
    names = list(dict.fromkeys(f"{weekday(at)} {day(at)}" for at in moments))
    if len(names) <= NAMED_DAYS:
        return ", ".join(names)
    return f"{len(names)} days from {names[0]} to {names[-1]}"


def short(at: datetime) -> str:
    """Give for example `24 Nov 06:00`, for places that say UTC and the year elsewhere."""
    return f"{day(at)} {at:%H:%M}"


def full(at: datetime) -> str:
    """Give for example `24 Nov 2026 06:00 UTC`."""
    return f"{day(at)} {at.year} {at:%H:%M} UTC"


def span(duration: timedelta) -> str:
    """Give a length of time in whole hours, or days from two on: `9 hours`, `2 days`."""
    hours = int(duration / timedelta(hours=1))
    if hours >= _HOURS_AS_DAYS:
        return f"{hours // 24} days"
    return "1 hour" if hours == 1 else f"{hours} hours" if hours else "less than an hour"


@dataclass(frozen=True, slots=True)
class Clock:
    """How one page or message gives times: in UTC, in its readers' time, by age as of its slot.

    Attributes:
        slot: of the page, aware UTC.
        zone: name of the readers' time zone, for example `Europe/Berlin`.
    """

    slot: datetime
    zone: str = "UTC"

    def there(self, at: datetime) -> datetime:
        """Give the same moment in the readers' time zone."""
        return at.astimezone(ZoneInfo(self.zone))

    def short(self, at: datetime) -> str:
        """Give for example `24 Nov 07:00`, for places that give zone and year elsewhere."""
        return short(self.there(at))

    def zoned(self, at: datetime) -> str:
        """Give for example `24 Nov 07:00 CET`, for places that give the year elsewhere."""
        there = self.there(at)
        return f"{short(there)} {there.tzname()}"

    def full(self, at: datetime) -> str:
        """Give for example `24 Nov 2026 06:00 UTC (07:00 CET)`."""
        return f"{full(at)}{self.local(at)}"

    def aged(self, at: datetime) -> str:
        """Give for example `22 Nov 06:00 UTC (07:00 CET), 2 days before`."""
        year = "" if at.year == self.slot.year else f" {at.year}"
        return f"{day(at)}{year} {at:%H:%M} UTC{self.local(at)}, {self.age(at)}"

    def local(self, at: datetime) -> str:
        """Give for example ` (07:00 CET)`, with the day where it is another; nothing for UTC."""
        there = self.there(at)
        if self.zone == "UTC":
            return ""
        other_day = "" if there.day == at.day else f"{day(there)} "
        return f" ({other_day}{there:%H:%M} {there.tzname()})"

    def age(self, at: datetime) -> str:
        """Give how long before the slot it was, in whole minutes, hours or days."""
        before = self.slot - at
        minutes = int(before / timedelta(minutes=1))
        if minutes < 1:
            return "seconds before"
        return f"{span(before) if minutes >= _MINUTES_AS_HOURS else f'{minutes} min'} before"


def period(seconds: float) -> str:
    """Give a beacon's period as short as it can be read: `28 s`, `5.0 min`, `4.0 h`."""
    if seconds < _SECONDS_AS_MINUTES:
        return f"{seconds:.3g} s"
    if seconds < _SECONDS_AS_HOURS:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
