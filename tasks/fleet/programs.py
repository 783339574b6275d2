"""Programs of a fleet: what an ambient program and a planted one are, and what they call.

Every public address is made up and looks it (45.45.45.1); IPv6 ones are from the documentation
range, which hunt 1 does not exclude.
"""

from dataclasses import dataclass
from typing import Literal

from tasks.fleet.documents import Encoding, Service, Signature


@dataclass(frozen=True, slots=True)
class Ambient:
    """A program of the noise.

    Attributes:
        share: its part of a Mac's events on a working day; negligible ones have 0.
        habit: `boot`: one process from start-up to shut-down; `work`: one process a working day;
            `run`: `runs` short processes a working day.
        root: whether it runs as root, else as the Mac's user.
        lookups: its events are DNS look-ups, not connections.
    """

    executable: str
    signature: Signature
    destinations: tuple[Service, ...] = ()
    share: float = 0.0
    habit: Literal["boot", "work", "run"] = "boot"
    runs: int = 0
    root: bool = False
    lookups: bool = False
    bytes_out: tuple[int, int] = (400, 9_000)


@dataclass(frozen=True, slots=True)
class Plant:
    """A program that is planted, with its label.

    Attributes:
        note: what it is there for.
        per_hour: connections (or look-ups) an hour while it runs. Each is two events in the paired
            encoding, one in the merged.
        jitter: gaps are uniform on [(1 - jitter) * S, S]; None: exponential, as people make them.
        since_hours: when it starts, in hours before the fleet's end; cut at the fleet's begin.
        until_hours: when it ends, likewise.
        office: it starts at nine on working days and runs for nine and a half hours.
        relaunch_hours: how long each of its processes lives.
        macs: on how many Macs it runs.
        encoding: the policy of its Macs in a mixed fleet.
        always_on: its Macs never sleep.
        executable: `{user}` stands for the user's name; None leaves the field out.
        name: `process.name`, by default the executable's last part.
        user: by default the Mac's.
        parents: the processes above it, the nearest last.
    """

    label: str
    note: str
    executable: str | None
    destinations: tuple[Service, ...]
    kind: Literal["beacon", "talker", "near miss", "other system", "hostile"] = "beacon"
    signature: Signature = "none"
    per_hour: float = 68
    jitter: float | None = 0.01
    since_hours: float = 40
    until_hours: float = 28
    office: bool = False
    relaunch_hours: float | None = None
    macs: int = 1
    encoding: Encoding = "paired"
    always_on: bool = False
    family: Literal["macos", "windows", "linux"] = "macos"
    name: str | None = None
    user: str | None = None
    args: tuple[str, ...] = ()
    parents: tuple[str, ...] = ("/sbin/launchd",)
    bytes_out: tuple[int, int] = (900, 1_100)
    lookups: bool = False


LAUNCHD = "/sbin/launchd"
TERMINAL = "/System/Applications/Utilities/Terminal.app/Contents/MacOS/Terminal"
SHELL = "/bin/zsh"
BY_HAND = (LAUNCHD, TERMINAL, SHELL)
"""The parents of a program that someone started in a terminal."""

RESOLVERS = (
    Service("53.53.53.53", 53, transport="udp", owner="Example DNS"),
    Service("53.53.53.54", 53, transport="udp", owner="Example DNS"),
)


def hosted_at(ip: str, port: int = 443, domain: str | None = None) -> tuple[Service, ...]:
    """Give one server at a hosting company."""
    return (Service(ip, port, domain, owner="Example Hosting", country="NL"),)


def web_sites(count: int) -> tuple[Service, ...]:
    """Web sites, of every shape: IPv6, with and without domain, direction and owner."""
    return tuple(
        Service(
            f"2001:db8:80::{n:x}" if n % 4 == 3 else f"56.56.56.{n}",
            80 if n % 10 == 9 else 443,
            f"site-{n:02}.example" if n % 2 else None,
            owner="" if n % 8 == 5 else "Example Networks",
            direction=None if n % 9 == 4 else "egress",
        )
        for n in range(1, count + 1)
    )


def cloud_service(prefix: str, domain: str, port: int = 443) -> tuple[Service, ...]:
    """Give four servers of a cloud service, half of them without their domain."""
    return tuple(
        Service(f"{prefix}.{n}", port, domain if n % 2 else None, owner="Example Cloud")
        for n in range(1, 5)
    )
