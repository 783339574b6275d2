"""Plants: the programs that a test or the demo asks about, each with its label.

They are beacons, harmless talkers that look like them, near misses, programs on other systems, and
hostile names.
"""

from functools import partial

from tasks.fleet.documents import Service
from tasks.fleet.programs import BY_HAND, RESOLVERS, Plant, hosted_at

BEACONS: tuple[Plant, ...] = (
    Plant(
        "steady",
        "a steady beacon from a hidden folder: the plainest finding",
        "/Users/Shared/.x/agentd",
        hosted_at("45.45.45.1", 8443),
        since_hours=60,
        until_hours=0,
        args=("/Users/Shared/.x/agentd", "--quiet"),
    ),
    Plant(
        "jittered",
        "30 % jitter, ad hoc signature",
        "/Users/{user}/Library/.cache/helperd",
        hosted_at("45.45.45.2"),
        signature="ad hoc",
        jitter=0.3,
        since_hours=72,
        until_hours=0,
    ),
    Plant(
        "day and night",
        "one process over the whole window, on a Mac that never sleeps",
        "/usr/local/libexec/.netd",
        hosted_at("45.45.45.3", 4444),
        since_hours=1_000,
        until_hours=0,
        always_on=True,
    ),
    Plant(
        "office hours",
        "a new process every working day, for nine and a half hours",
        "/Users/{user}/Library/Application Support/Notes/notesd",
        hosted_at("45.45.45.4"),
        jitter=0.2,
        since_hours=1_000,
        until_hours=0,
        office=True,
    ),
    Plant(
        "relaunched",
        "relaunched every six hours: hunt 1 misses it, hunt 2 must not",
        "/private/tmp/.cache/upd",
        hosted_at("45.45.45.5"),
        since_hours=120,
        until_hours=0,
        relaunch_hours=6,
    ),
    Plant(
        "no signature block",
        "no block at all: hunt 1's null logic drops it, hunt 2 must not",
        "/Users/Shared/.y/relay",
        hosted_at("45.45.45.6"),
        signature="no block",
        since_hours=48,
        until_hours=20,
    ),
    Plant(
        "signature not judged",
        "a block without `trusted`: hunt 1's null logic drops it, hunt 2 must not",
        "/Users/Shared/.y/relay2",
        hosted_at("45.45.45.7"),
        signature="unjudged",
        since_hours=48,
        until_hours=20,
    ),
    Plant(
        "half by merging",
        "attempt and disconnect in one event: half the count, hunt 1 misses it, hunt 2 must not",
        "/Users/Shared/.z/sync",
        hosted_at("45.45.45.8"),
        encoding="merged",
        since_hours=60,
        until_hours=10,
    ),
    Plant(
        "merged",
        "fast enough for hunt 1 though merged",
        "/Users/Shared/.z/pulse",
        hosted_at("45.45.45.9", 9001),
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
        hosted_at("45.45.45.10"),
        signature="unsigned",
        jitter=0.1,
        since_hours=30,
        until_hours=0,
    ),
    Plant(
        "quiet",
        "over 196 hours before the end: in the window of two days ago, not in yesterday's",
        "/Users/{user}/Downloads/.tmp/loader",
        hosted_at("45.45.45.11"),
        since_hours=214,
        until_hours=196,
    ),
    Plant(
        "same binary",
        "the same sha256 on three Macs",
        "/Users/Shared/.update/updater",
        hosted_at("45.45.45.12"),
        since_hours=100,
        until_hours=76,
        macs=3,
    ),
    Plant(
        "two destinations",
        "takes turns between two addresses: two findings",
        "/Users/Shared/.pair/pair",
        (*hosted_at("45.45.45.13"), *hosted_at("45.45.45.14", 8080)),
        per_hour=136,
        since_hours=80,
        until_hours=60,
    ),
    Plant(
        "restarted",
        "a new entity id midway: the same finding",
        "/Users/{user}/.local/bin/.svc",
        hosted_at("45.45.45.15"),
        since_hours=70,
        until_hours=0,
        relaunch_hours=35,
    ),
    Plant(
        "ipv6",
        "over IPv6",
        "/Users/Shared/.six/six",
        hosted_at("2001:db8:45::16"),
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
        hosted_at("45.45.45.17"),
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
        hosted_at("45.45.45.18"),
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
        destinations=hosted_at("34.34.34.1", 8086, "metrics.example"),
        signature="ad hoc",
        since_hours=1_000,
        until_hours=0,
        always_on=True,
    ),
    _talker(
        "syncd",
        executable="/usr/local/sbin/syncd",
        destinations=hosted_at("34.34.34.2", 873),
        since_hours=160,
        until_hours=130,
    ),
    _talker(
        "rclone",
        executable="/opt/homebrew/bin/rclone",
        destinations=hosted_at("34.34.34.3", 443, "storage.example"),
        signature="ad hoc",
        since_hours=120,
        until_hours=100,
        bytes_out=(80_000, 900_000),
        parents=BY_HAND,
    ),
    _talker(
        "node",
        executable="/Users/{user}/.nvm/versions/node/v22.9.0/bin/node",
        destinations=hosted_at("34.34.34.4", 443, "api.staging.example"),
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
        destinations=hosted_at("34.34.34.5", 443, "scrape.example"),
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
        destinations=hosted_at("34.34.34.6", 9092, "kafka.example"),
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
        destinations=hosted_at("34.34.34.7", 22000),
        signature="ad hoc",
        jitter=0.5,
        since_hours=130,
        until_hours=110,
    ),
    _talker(
        "prometheus",
        executable="/usr/local/bin/prometheus",
        destinations=hosted_at("34.34.34.8", 9090),
        encoding="merged",
        per_hour=140,
        since_hours=100,
        until_hours=84,
    ),
    _talker(
        "alloy",
        executable="/usr/local/bin/alloy",
        destinations=hosted_at("34.34.34.9", 4317),
        encoding="merged",
        per_hour=135,
        since_hours=150,
        until_hours=134,
    ),
    _talker(
        "k9s",
        executable="/opt/homebrew/bin/k9s",
        destinations=hosted_at("34.34.34.10", 6443, "k8s.example"),
        signature="ad hoc",
        since_hours=70,
        until_hours=58,
        parents=BY_HAND,
    ),
    _talker(
        "mosquitto_sub",
        executable="/opt/homebrew/bin/mosquitto_sub",
        destinations=hosted_at("34.34.34.11", 8883, "mqtt.example"),
        signature="ad hoc",
        since_hours=80,
        until_hours=62,
    ),
    _talker(
        "print spooler",
        executable="/Library/Printers/Example/SpoolHelper",
        destinations=hosted_at("34.34.34.12", 443, "print.example"),
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
    _near_miss("too few an hour", destinations=hosted_at("23.23.23.1"), per_hour=55),
    _near_miss("too short", destinations=hosted_at("23.23.23.2"), since_hours=36, until_hours=28.8),
    _near_miss("trusted", destinations=hosted_at("23.23.23.3"), signature="developer"),
    _near_miss("apple", destinations=hosted_at("23.23.23.4"), signature="apple"),
    _near_miss("private", destinations=hosted_at("10.9.8.7")),
    _near_miss("carrier", destinations=hosted_at("100.64.9.9")),
    _near_miss("loopback", destinations=hosted_at("127.0.0.1", 5432)),
    _near_miss("loopback ipv6", destinations=hosted_at("::1", 5432)),
    _near_miss("link-local", destinations=hosted_at("fe80::2")),
    _near_miss("multicast", destinations=hosted_at("224.0.0.251", 5353)),
    _near_miss("multicast ipv6", destinations=hosted_at("ff02::fb", 5353)),
    _near_miss("documentation", destinations=hosted_at("203.0.113.9")),
    _near_miss("no address", destinations=(Service(None, 443, direction=None),)),
)

_elsewhere = partial(Plant, kind="other system", note="a macOS hunt must not find it", parents=())

ELSEWHERE: tuple[Plant, ...] = (
    _elsewhere(
        "windows beacon",
        executable="C:\\Users\\Public\\svc.exe",
        destinations=hosted_at("23.23.24.1"),
        family="windows",
    ),
    _elsewhere(
        "linux beacon",
        executable="/opt/.x/kworker",
        destinations=hosted_at("23.23.24.2"),
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
    _hostile("script tag", "<script>alert(1)</script>", hosted_at("45.45.47.1")),
    _hostile("channel mention", "<!channel>", hosted_at("45.45.47.2")),
    _hostile("right to left", "Zoom\u202egpj.app", hosted_at("45.45.47.3")),
    _hostile("control characters", "bell\x07red\x1b[31m\nline", hosted_at("45.45.47.4")),
    _hostile("zero width", "Sl\u200back\u2060Helper", hosted_at("45.45.47.5")),
    _hostile("formula", "=cmd()", hosted_at("45.45.47.6")),
    _hostile("bold", "*bold*", hosted_at("45.45.47.7")),
    _hostile("template", "100%s%d{{ 7 * 7 }}", hosted_at("45.45.47.8")),
    _hostile(
        "long command line", "longargs", hosted_at("45.45.47.9"), args=("longargs", "A" * 100_000)
    ),
    _hostile(
        "user name", "payload", hosted_at("45.45.47.10"), user='"><img src=x onerror=alert(1)>'
    ),
    _hostile("link", "linker", hosted_at("45.45.47.11", 443, "<https://beacon.example|sign in>")),
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
