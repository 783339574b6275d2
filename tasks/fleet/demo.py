"""The demo's end in, its two clusters and what must come of their three slots out.

Two offices, 60 Macs, nine days up to the end: seven of the first slot's window, and the two days
between the slots. The plants' hours count back from the end, so that the story is the same whatever
the weekday: the first slot lies at 48, the second at 24, the third at 0.

1. A baseline: what has been going on for days, harmless or not.
2. New on both clusters: a steady beacon and a jittered one, two with hostile names, one behind a
   domain. One finding of the baseline has gone quiet: it ran more than 196 hours before the end.
3. One more beacon in the one office; the other has shipped nothing for 22 hours.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from tasks.fleet.hosts import Fleet
from tasks.fleet.plants import plants
from tasks.fleet.programs import Plant


@dataclass(frozen=True, slots=True)
class Expected:
    """What the run of a cluster for a slot must come to, by labels of plants.

    Attributes:
        slot: 0, 1 or 2 of `slots`.
        findings: how many are in the run: baseline, new, continuing.
    """

    cluster: str
    slot: int
    outcome: Literal["baseline", "complete", "no_data"]
    findings: int
    new: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()


EXPECTED: tuple[Expected, ...] = (
    Expected("corp-us", 0, "baseline", findings=14),
    Expected("corp-eu", 0, "baseline", findings=7),
    Expected(
        "corp-us",
        1,
        "complete",
        findings=16,
        new=frozenset({"steady", "jittered", "script tag"}),
        quiet=frozenset({"quiet"}),
    ),
    Expected("corp-eu", 1, "complete", findings=9, new=frozenset({"right to left", "domain"})),
    Expected("corp-us", 2, "complete", findings=17, new=frozenset({"late"})),
    Expected("corp-eu", 2, "no_data", findings=0),
)
"""In the order in which the demo runs them. A plant with two destinations is two findings, one on
three Macs three."""


def slots(end: datetime) -> tuple[datetime, datetime, datetime]:
    """The three daily slots, the last one at the end."""
    return end - timedelta(days=2), end - timedelta(days=1), end


def demo_clusters(end: datetime) -> tuple[tuple[str, Fleet], ...]:
    """The name and the fleet of each cluster; together 60 Macs and over 300,000 events."""
    return (
        (
            "corp-us",
            Fleet(
                macs=40,
                others=4,
                seed=11,
                end=end,
                connections_per_mac_day=280,
                plants=_AMERICA,
                utc_offset_hours=-8,
            ),
        ),
        (
            "corp-eu",
            Fleet(
                macs=20,
                others=2,
                seed=12,
                end=end,
                connections_per_mac_day=280,
                plants=_EUROPE,
                utc_offset_hours=1,
                silent_hours=22,
            ),
        ),
    )


def _running(label: str, since_hours: float, until_hours: float) -> Plant:
    (plant,) = plants(label)
    return replace(plant, since_hours=since_hours, until_hours=until_hours)


_AMERICA: tuple[Plant, ...] = (
    # Known from the first slot on.
    *plants("telegraf", "node", "rclone", "syncthing", "print spooler", "k9s", "mosquitto_sub"),
    *plants("mesh", "same binary", "two destinations"),
    # In the first window only.
    *plants("quiet"),
    # New in the second slot.
    _running("steady", 44, 0),
    _running("jittered", 40, 0),
    _running("script tag", 42, 28),
    # New in the third.
    _running("late", 20, 0),
    # Never found by hunt 1.
    *plants("relaunched", "no signature block", "half by merging", "trusted", "too few an hour"),
    *plants("private", "documentation", "windows beacon", "linux beacon"),
)

_EUROPE: tuple[Plant, ...] = (
    *plants("syncd", "alloy", "prometheus", "python3.12", "java", "dns client"),
    _running("formula", 100, 88),
    _running("right to left", 42, 28),
    _running("domain", 40, 26),
    *plants("signature not judged", "too short", "link-local", "windows beacon", "linux beacon"),
)
