"""Scrutiny: what a cluster's events show about themselves, before a hunt may be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tasks.text.times import Clock

CLOCK_TOLERANCE = timedelta(minutes=15)
"""An event may be so much later than a run's own clock, and agents may overlap so long.

Network time keeps clocks within seconds, and no time zone is wrong by less than 15 minutes. A
question may also wait this long in the cluster, while new events arrive.
"""

SAMPLE = 10
"""Names of hosts in one state; their number is exact."""

LOOK_BACK_DAYS = 7
"""Days in which hosts must have been active to count as stopped, also for a shorter window."""

_SATURDAY = 5


def stopped_after(clock: Clock) -> timedelta:
    """Give the silence after which a host counts as stopped, as of a slot.

    Laptops sleep at night: an active one sends something in 24 hours. Most are closed at weekends:
    where the last 24 hours are mainly of a weekend, in the readers' time zone, it takes 72 hours.
    """
    middle = clock.there(clock.slot - timedelta(hours=12))
    return timedelta(hours=72 if middle.weekday() >= _SATURDAY else 24)


@dataclass(frozen=True, slots=True)
class StreamEvents:
    """The events of one data stream in the window.

    Attributes:
        name: of the data stream, with the alias of its remote cluster.
        sent: all of its events.
        searched: those in the hunt's population.
        with_id: those of the searched ones that have an `event.id`.
        distinct_ids: different values of `event.id` among these; approximate above 40,000.
    """

    name: str
    sent: int
    searched: int
    with_id: int
    distinct_ids: int

    @property
    def repeated(self) -> int:
        """Number of events that repeat the `event.id` of another one."""
        return max(0, self.with_id - self.distinct_ids)

    @property
    def factor(self) -> float:
        """How many events came for one, on average; 1 without any event."""
        return self.with_id / self.distinct_ids if self.distinct_ids else 1.0

    @property
    def repeated_share(self) -> float:
        """Their share; 0 without any event."""
        return self.repeated / self.with_id if self.with_id else 0.0


@dataclass(frozen=True, slots=True)
class ConditionEvents:
    """The events for one condition of the hunt's population.

    Attributes:
        text: the condition in ES|QL.
        met: events that meet it.
        strays: events that meet all conditions but this one, for which they lack the value, or
            have it in other letters: `macOS` for `macos`.
        others: the most frequent other values with their numbers; asked for only if no event is in
            the population.
    """

    text: str
    met: int
    strays: int = 0
    others: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FieldEvents:
    """The events with several values in one field, which the hunt therefore cannot judge."""

    field: str
    events: int


@dataclass(frozen=True, slots=True)
class HostSample:
    """Hosts in one state: their number, and the names of the first few."""

    count: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostStates:
    """The hosts in the hunt's population, by what their events show.

    Attributes:
        known: hosts with an event in the window, or in the last 7 days if that is longer.
        seen: those with an event in the window.
        silent: known hosts without an event for more than `silent_after_hours`.
        silent_after_hours: the run's `stale_after_hours`.
        stopped: known hosts without an event for at least `stopped_after_hours`.
        stopped_after_hours: see `stopped_after`.
        cloned: values of `host.id` under which several agents sent at the same time.
        ahead: hosts with events later than the run's own clock.
        ahead_events: number of these events.
    """

    known: int
    seen: int
    silent: int
    silent_after_hours: float
    stopped: HostSample
    stopped_after_hours: int
    cloned: HostSample
    ahead: HostSample
    ahead_events: int

    @property
    def stopped_share(self) -> float:
        """The share of known hosts that stopped: 0 for a single one, which may just be off."""
        return self.stopped.count / self.known if self.stopped.count > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Scrutiny:
    """What is known about the events of the hunt's data streams in the window.

    Attributes:
        streams: the data streams, by name.
        conditions: the conditions of the population, in their order.
        candidates: events in the population, and those of `unjudged` that may belong to it.
        unjudged: events that the hunt can neither choose nor leave out, because a field that it
            compares has several values.
        several: these fields, with the number of events.
        strays: events outside the population by a missing value or other letters only.
        hosts: None if they were not counted.
        left_out: sentences on what could not be assessed.
    """

    streams: tuple[StreamEvents, ...] = ()
    conditions: tuple[ConditionEvents, ...] = ()
    candidates: int = 0
    unjudged: int = 0
    several: tuple[FieldEvents, ...] = ()
    strays: int = 0
    hosts: HostStates | None = None
    left_out: tuple[str, ...] = ()

    @property
    def sent(self) -> int:
        """All events of the data streams."""
        return sum(stream.sent for stream in self.streams)

    @property
    def unjudged_share(self) -> float:
        """The share of candidates that the hunt cannot judge."""
        return self.unjudged / self.candidates if self.candidates else 0.0

    @property
    def stray_share(self) -> float:
        """The share of strays among candidates and strays; 0 where there is no candidate.

        Then the run has no data, which has words of its own.
        """
        return self.strays / (self.candidates + self.strays) if self.candidates else 0.0

    @property
    def repeated_share(self) -> float:
        """The largest share of repeated events in a data stream."""
        return max((stream.repeated_share for stream in self.streams), default=0.0)
