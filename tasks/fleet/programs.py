"""What runs on the fleet's computers, as tables: ambient programs, and plants with labels.

Ambient programs are the noise that every Mac makes; none of them may ever become a finding of
hunt 1. Plants are the programs that a test or the demo asks about: beacons, harmless talkers that
look like them, near misses, programs on other systems, and hostile names.

Every public address is made up and looks it (45.45.45.1); IPv6 ones are from the documentation
range, which hunt 1 does not exclude.
"""

from dataclasses import dataclass
from functools import partial
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


def _to(ip: str, port: int = 443, domain: str | None = None) -> tuple[Service, ...]:
    return (Service(ip, port, domain, owner="Example Hosting", country="NL"),)


def _sites(count: int) -> tuple[Service, ...]:
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


def _service(prefix: str, domain: str, port: int = 443) -> tuple[Service, ...]:
    return tuple(
        Service(f"{prefix}.{n}", port, domain if n % 2 else None, owner="Example Cloud")
        for n in range(1, 5)
    )


_APPS = "/Applications"
_LIBEXEC = "/usr/libexec"

AMBIENT: tuple[Ambient, ...] = (
    # Browsers.
    Ambient(f"{_APPS}/Safari.app/Contents/MacOS/Safari", "apple", _sites(24), 0.12, "work"),
    Ambient(
        f"{_APPS}/Google Chrome.app/Contents/MacOS/Google Chrome Helper",
        "developer",
        _sites(40),
        0.26,
        "work",
    ),
    # Services of macOS.
    Ambient(
        "/System/Library/PrivateFrameworks/ApplePushService.framework/apsd",
        "apple",
        _service("17.17.17", "push.example", 5223),
        0.06,
        root=True,
    ),
    Ambient(f"{_LIBEXEC}/trustd", "apple", _service("17.17.18", "ocsp.example"), 0.03, root=True),
    Ambient(f"{_LIBEXEC}/nsurlsessiond", "apple", _service("17.17.19", "cdn.example"), 0.06),
    Ambient("/usr/sbin/mDNSResponder", "apple", RESOLVERS, 0.1, root=True, lookups=True),
    Ambient(
        f"{_LIBEXEC}/rapportd",
        "apple",
        (
            Service("fe80::1cf0:12ff:fe34:5678", 49152),
            Service("ff02::fb", 5353, transport="udp", direction=None),
            Service("224.0.0.251", 5353, transport="udp", direction=None),
        ),
        0.04,
    ),
    Ambient(f"{_LIBEXEC}/sharingd", "apple", (Service("192.168.1.20", 7000),), 0.02),
    # Chat: signed, long-lived, at the rate of a beacon.
    Ambient(
        f"{_APPS}/Slack.app/Contents/MacOS/Slack",
        "developer",
        _service("67.67.67", "chat.example"),
        0.16,
        "work",
    ),
    Ambient(
        f"{_APPS}/zoom.us.app/Contents/MacOS/zoom.us",
        "developer",
        _service("67.67.68", "meet.example", 8801),
        0.04,
        "work",
    ),
    # Updaters and device management.
    Ambient(
        "/Library/Application Support/Example/Updater.app/Contents/MacOS/Updater",
        "developer",
        _service("78.78.78", "updates.example"),
        0.01,
        "run",
        runs=3,
        root=True,
    ),
    Ambient(
        "/usr/local/mdm/bin/mdm", "developer", _service("78.78.79", "mdm.example"), 0.04, root=True
    ),
    # Without a trusted signature, and far below every threshold.
    Ambient("/opt/homebrew/bin/git-remote-http", "ad hoc", _sites(3), 0.01, "run", runs=4),
    Ambient(
        "/private/var/folders/zz/T/go-build1/b001/exe/main", "none", _sites(2), 0.005, "run", 2
    ),
    Ambient(
        "/opt/homebrew/bin/redis-server",
        "ad hoc",
        (Service("127.0.0.1", 6379), Service("::1", 6379)),
        0.02,
        "work",
    ),
    Ambient("/Library/Printers/Example/PrintMonitor", "expired", _sites(1), 0.003, root=True),
    Ambient(
        f"{_APPS}/MacCleaner.app/Contents/MacOS/MacCleaner", "revoked", _sites(2), 0.002, "work"
    ),
    Ambient("/usr/local/bin/old-agent", "no block", _sites(1), 0.003, root=True),
    Ambient("/usr/local/bin/inventory", "unjudged", _sites(1), 0.002, root=True),
    Ambient(
        "/usr/local/bin/vpn-helper",
        "ad hoc",
        (Service("fd00:20::1", 4500, transport="udp"),),
        0.005,
    ),
    Ambient("/usr/local/bin/socketd", "unsigned", (Service(None, 0, direction=None),), 0.005),
    # Processes without a word to the network.
    Ambient("/usr/bin/git", "apple", habit="run", runs=5),
    Ambient("/bin/ls", "apple", habit="run", runs=4),
    Ambient("/usr/bin/ssh-add", "apple", habit="run", runs=1),
)

AMBIENT_ELSEWHERE: dict[Literal["windows", "linux"], tuple[Ambient, ...]] = {
    "windows": (
        Ambient("C:\\Windows\\System32\\svchost.exe", "developer", _sites(6), 0.3),
        Ambient("C:\\Program Files\\Example\\browser.exe", "developer", _sites(20), 0.5, "work"),
        Ambient("C:\\Tools\\agent.exe", "none", _sites(2), 0.02),
    ),
    "linux": (
        Ambient("/usr/bin/curl", "no block", _sites(3), 0.1, "run", runs=8),
        Ambient("/usr/sbin/chronyd", "no block", RESOLVERS, 0.2),
    ),
}

BEACONS: tuple[Plant, ...] = (
    Plant(
        "steady",
        "a steady beacon from a hidden folder: the plainest finding",
        "/Users/Shared/.x/agentd",
        _to("45.45.45.1", 8443),
        since_hours=60,
        until_hours=0,
        args=("/Users/Shared/.x/agentd", "--quiet"),
    ),
    Plant(
        "jittered",
        "30 % jitter, ad hoc signature",
        "/Users/{user}/Library/.cache/helperd",
        _to("45.45.45.2"),
        signature="ad hoc",
        jitter=0.3,
        since_hours=72,
        until_hours=0,
    ),
    Plant(
        "day and night",
        "one process over the whole window, on a Mac that never sleeps",
        "/usr/local/libexec/.netd",
        _to("45.45.45.3", 4444),
        since_hours=1_000,
        until_hours=0,
        always_on=True,
    ),
    Plant(
        "office hours",
        "a new process every working day, for nine and a half hours",
        "/Users/{user}/Library/Application Support/Notes/notesd",
        _to("45.45.45.4"),
        jitter=0.2,
        since_hours=1_000,
        until_hours=0,
        office=True,
    ),
    Plant(
        "relaunched",
        "relaunched every six hours: hunt 1 misses it, hunt 2 must not",
        "/private/tmp/.cache/upd",
        _to("45.45.45.5"),
        since_hours=120,
        until_hours=0,
        relaunch_hours=6,
    ),
    Plant(
        "no signature block",
        "no block at all: hunt 1's null logic drops it, hunt 2 must not",
        "/Users/Shared/.y/relay",
        _to("45.45.45.6"),
        signature="no block",
        since_hours=48,
        until_hours=20,
    ),
    Plant(
        "signature not judged",
        "a block without `trusted`: hunt 1's null logic drops it, hunt 2 must not",
        "/Users/Shared/.y/relay2",
        _to("45.45.45.7"),
        signature="unjudged",
        since_hours=48,
        until_hours=20,
    ),
    Plant(
        "half by merging",
        "attempt and disconnect in one event: half the count, hunt 1 misses it, hunt 2 must not",
        "/Users/Shared/.z/sync",
        _to("45.45.45.8"),
        encoding="merged",
        since_hours=60,
        until_hours=10,
    ),
    Plant(
        "merged",
        "fast enough for hunt 1 though merged",
        "/Users/Shared/.z/pulse",
        _to("45.45.45.9", 9001),
        signature="revoked",
        encoding="merged",
        per_hour=136,
        since_hours=50,
        until_hours=20,
    ),
    Plant(
        "late",
        "its first day is the last but one",
        "/Users/{user}/.config/.d/daemon",
        _to("45.45.45.10"),
        signature="unsigned",
        jitter=0.1,
        since_hours=30,
        until_hours=0,
    ),
    Plant(
        "quiet",
        "over 196 hours before the end: in the window of two days ago, not in yesterday's",
        "/Users/{user}/Downloads/.tmp/loader",
        _to("45.45.45.11"),
        since_hours=214,
        until_hours=196,
    ),
    Plant(
        "same binary",
        "the same sha256 on three Macs",
        "/Users/Shared/.update/updater",
        _to("45.45.45.12"),
        since_hours=100,
        until_hours=76,
        macs=3,
    ),
    Plant(
        "two destinations",
        "takes turns between two addresses: two findings",
        "/Users/Shared/.pair/pair",
        (*_to("45.45.45.13"), *_to("45.45.45.14", 8080)),
        per_hour=136,
        since_hours=80,
        until_hours=60,
    ),
    Plant(
        "restarted",
        "a new entity id midway: the same finding",
        "/Users/{user}/.local/bin/.svc",
        _to("45.45.45.15"),
        since_hours=70,
        until_hours=0,
        relaunch_hours=35,
    ),
    Plant(
        "ipv6",
        "over IPv6",
        "/Users/Shared/.six/six",
        _to("2001:db8:45::16"),
        since_hours=40,
        until_hours=20,
    ),
    Plant(
        "domain",
        "one domain behind four addresses",
        "/Users/Shared/.name/named",
        tuple(Service(f"45.45.46.{n}", 443, "cdn.beacon.example") for n in range(1, 5)),
        per_hour=72,
        since_hours=40,
        until_hours=20,
    ),
    Plant(
        "bulk",
        "over 1 MiB a connection: survives de-duplication",
        "/Users/Shared/.out/mover",
        _to("45.45.45.17"),
        per_hour=136,
        since_hours=36,
        until_hours=24,
        bytes_out=(1_100_000, 1_300_000),
    ),
    Plant(
        "dns client",
        "look-ups at a public resolver: hunt 1 finds it, hunt 2 must not",
        "/opt/homebrew/sbin/dnscrypt",
        (RESOLVERS[0],),
        signature="ad hoc",
        per_hour=75,
        jitter=None,
        since_hours=96,
        until_hours=72,
        lookups=True,
    ),
    Plant(
        "no executable",
        "no path: its name is its identity",
        None,
        _to("45.45.45.18"),
        name="(deleted)",
        since_hours=44,
        until_hours=30,
    ),
)

_talker = partial(Plant, kind="talker", note="harmless, long-running, without a trusted signature")

TALKERS: tuple[Plant, ...] = (
    _talker(
        "telegraf",
        executable="/opt/homebrew/bin/telegraf",
        destinations=_to("34.34.34.1", 8086, "metrics.example"),
        signature="ad hoc",
        since_hours=1_000,
        until_hours=0,
        always_on=True,
    ),
    _talker(
        "syncd",
        executable="/usr/local/sbin/syncd",
        destinations=_to("34.34.34.2", 873),
        since_hours=160,
        until_hours=130,
    ),
    _talker(
        "rclone",
        executable="/opt/homebrew/bin/rclone",
        destinations=_to("34.34.34.3", 443, "storage.example"),
        signature="ad hoc",
        since_hours=120,
        until_hours=100,
        bytes_out=(80_000, 900_000),
        parents=BY_HAND,
    ),
    _talker(
        "node",
        executable="/Users/{user}/.nvm/versions/node/v22.9.0/bin/node",
        destinations=_to("34.34.34.4", 443, "api.staging.example"),
        signature="ad hoc",
        per_hour=76,
        jitter=None,
        since_hours=1_000,
        until_hours=0,
        office=True,
        parents=BY_HAND,
        args=("node", "node_modules/.bin/vite", "--host"),
    ),
    _talker(
        "python3.12",
        executable="/opt/homebrew/Cellar/python@3.12/3.12.7/bin/python3.12",
        destinations=_to("34.34.34.5", 443, "scrape.example"),
        signature="ad hoc",
        per_hour=80,
        jitter=None,
        since_hours=90,
        until_hours=75,
        parents=BY_HAND,
        args=("python3.12", "crawl.py", "--all"),
    ),
    _talker(
        "java",
        executable="/opt/homebrew/opt/openjdk/bin/java",
        destinations=_to("34.34.34.6", 9092, "kafka.example"),
        signature="ad hoc",
        per_hour=72,
        jitter=0.6,
        since_hours=1_000,
        until_hours=0,
        office=True,
        args=("java", "-jar", "consumer.jar"),
    ),
    _talker(
        "syncthing",
        executable="/opt/homebrew/bin/syncthing",
        destinations=_to("34.34.34.7", 22000),
        signature="ad hoc",
        jitter=0.5,
        since_hours=130,
        until_hours=110,
    ),
    _talker(
        "prometheus",
        executable="/usr/local/bin/prometheus",
        destinations=_to("34.34.34.8", 9090),
        encoding="merged",
        per_hour=140,
        since_hours=100,
        until_hours=84,
    ),
    _talker(
        "alloy",
        executable="/usr/local/bin/alloy",
        destinations=_to("34.34.34.9", 4317),
        encoding="merged",
        per_hour=135,
        since_hours=150,
        until_hours=134,
    ),
    _talker(
        "k9s",
        executable="/opt/homebrew/bin/k9s",
        destinations=_to("34.34.34.10", 6443, "k8s.example"),
        signature="ad hoc",
        since_hours=70,
        until_hours=58,
        parents=BY_HAND,
    ),
    _talker(
        "mosquitto_sub",
        executable="/opt/homebrew/bin/mosquitto_sub",
        destinations=_to("34.34.34.11", 8883, "mqtt.example"),
        signature="ad hoc",
        since_hours=80,
        until_hours=62,
    ),
    _talker(
        "print spooler",
        executable="/Library/Printers/Example/SpoolHelper",
        destinations=_to("34.34.34.12", 443, "print.example"),
        signature="expired",
        since_hours=140,
        until_hours=120,
        user="root",
    ),
    _talker(
        "mesh",
        executable="/usr/local/bin/meshd",
        destinations=(Service("fd00:34::13", 51820, transport="udp", owner=""),),
        since_hours=60,
        until_hours=50,
    ),
)

_near_miss = partial(
    Plant,
    kind="near miss",
    note="hunt 1 must not find it",
    executable="/usr/local/bin/near-miss",
)

NEAR_MISSES: tuple[Plant, ...] = (
    _near_miss("too few an hour", destinations=_to("23.23.23.1"), per_hour=55),
    _near_miss("too short", destinations=_to("23.23.23.2"), since_hours=36, until_hours=28.8),
    _near_miss("trusted", destinations=_to("23.23.23.3"), signature="developer"),
    _near_miss("apple", destinations=_to("23.23.23.4"), signature="apple"),
    _near_miss("private", destinations=_to("10.9.8.7")),
    _near_miss("carrier", destinations=_to("100.64.9.9")),
    _near_miss("loopback", destinations=_to("127.0.0.1", 5432)),
    _near_miss("loopback ipv6", destinations=_to("::1", 5432)),
    _near_miss("link-local", destinations=_to("fe80::2")),
    _near_miss("multicast", destinations=_to("224.0.0.251", 5353)),
    _near_miss("multicast ipv6", destinations=_to("ff02::fb", 5353)),
    _near_miss("documentation", destinations=_to("203.0.113.9")),
    _near_miss("no address", destinations=(Service(None, 443, direction=None),)),
)

_elsewhere = partial(Plant, kind="other system", note="a macOS hunt must not find it", parents=())

ELSEWHERE: tuple[Plant, ...] = (
    _elsewhere(
        "windows beacon",
        executable="C:\\Users\\Public\\svc.exe",
        destinations=_to("23.23.24.1"),
        family="windows",
    ),
    _elsewhere(
        "linux beacon",
        executable="/opt/.x/kworker",
        destinations=_to("23.23.24.2"),
        family="linux",
    ),
)


def _hostile(
    label: str,
    name: str,
    destinations: tuple[Service, ...],
    user: str | None = None,
    args: tuple[str, ...] = (),
) -> Plant:
    return Plant(
        label,
        "hostile data in a field that reports and digests show",
        f"/Users/Shared/.h/{name}",
        destinations,
        kind="hostile",
        name=name,
        user=user,
        args=args,
    )


HOSTILE: tuple[Plant, ...] = (
    _hostile("script tag", "<script>alert(1)</script>", _to("45.45.47.1")),
    _hostile("channel mention", "<!channel>", _to("45.45.47.2")),
    _hostile("right to left", "Zoom\u202egpj.app", _to("45.45.47.3")),
    _hostile("control characters", "bell\x07red\x1b[31m\nline", _to("45.45.47.4")),
    _hostile("zero width", "Sl\u200back\u2060Helper", _to("45.45.47.5")),
    _hostile("formula", "=cmd()", _to("45.45.47.6")),
    _hostile("bold", "*bold*", _to("45.45.47.7")),
    _hostile("template", "100%s%d{{ 7 * 7 }}", _to("45.45.47.8")),
    _hostile("long command line", "longargs", _to("45.45.47.9"), args=("longargs", "A" * 100_000)),
    _hostile("user name", "payload", _to("45.45.47.10"), user='"><img src=x onerror=alert(1)>'),
    _hostile("link", "linker", _to("45.45.47.11", 443, "<https://beacon.example|sign in>")),
)

PLANTS: tuple[Plant, ...] = BEACONS + TALKERS + NEAR_MISSES + ELSEWHERE
"""What a fleet has when it says nothing else; `HOSTILE` comes on top when it is asked for."""


def plants(*labels: str) -> tuple[Plant, ...]:
    """The plants with these labels, in this order.

    Raises:
        KeyError: no plant has this label.
    """
    table = {plant.label: plant for plant in PLANTS + HOSTILE}
    return tuple(table[label] for label in labels)
