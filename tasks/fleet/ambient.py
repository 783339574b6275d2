"""Ambient programs: the noise that every Mac makes; no hunt may ever find one of them."""

from typing import Literal

from tasks.fleet.documents import Service
from tasks.fleet.programs import RESOLVERS, Ambient, cloud_service, web_sites

_APPS = "/Applications"
_LIBEXEC = "/usr/libexec"

AMBIENT: tuple[Ambient, ...] = (
    # Browsers.
    Ambient(f"{_APPS}/Safari.app/Contents/MacOS/Safari", "apple", web_sites(24), 0.12, "work"),
    Ambient(
        f"{_APPS}/Google Chrome.app/Contents/MacOS/Google Chrome Helper",
        "developer",
        web_sites(40),
        0.26,
        "work",
    ),
    # Services of macOS.
    Ambient(
        "/System/Library/PrivateFrameworks/ApplePushService.framework/apsd",
        "apple",
        cloud_service("17.17.17", "push.example", 5223),
        0.06,
        root=True,
    ),
    Ambient(
        f"{_LIBEXEC}/trustd", "apple", cloud_service("17.17.18", "ocsp.example"), 0.03, root=True
    ),
    Ambient(f"{_LIBEXEC}/nsurlsessiond", "apple", cloud_service("17.17.19", "cdn.example"), 0.06),
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
        cloud_service("67.67.67", "chat.example"),
        0.16,
        "work",
    ),
    Ambient(
        f"{_APPS}/zoom.us.app/Contents/MacOS/zoom.us",
        "developer",
        cloud_service("67.67.68", "meet.example", 8801),
        0.04,
        "work",
    ),
    # Updaters and device management.
    Ambient(
        "/Library/Application Support/Example/Updater.app/Contents/MacOS/Updater",
        "developer",
        cloud_service("78.78.78", "updates.example"),
        0.01,
        "run",
        runs=3,
        root=True,
    ),
    Ambient(
        "/usr/local/mdm/bin/mdm",
        "developer",
        cloud_service("78.78.79", "mdm.example"),
        0.04,
        root=True,
    ),
    # Without a trusted signature, and far below every threshold.
    Ambient("/opt/homebrew/bin/git-remote-http", "ad hoc", web_sites(3), 0.01, "run", runs=4),
    Ambient(
        "/private/var/folders/zz/T/go-build1/b001/exe/main", "none", web_sites(2), 0.005, "run", 2
    ),
    Ambient(
        "/opt/homebrew/bin/redis-server",
        "ad hoc",
        (Service("127.0.0.1", 6379), Service("::1", 6379)),
        0.02,
        "work",
    ),
    Ambient("/Library/Printers/Example/PrintMonitor", "expired", web_sites(1), 0.003, root=True),
    Ambient(
        f"{_APPS}/MacCleaner.app/Contents/MacOS/MacCleaner", "revoked", web_sites(2), 0.002, "work"
    ),
    Ambient("/usr/local/bin/old-agent", "no block", web_sites(1), 0.003, root=True),
    Ambient("/usr/local/bin/inventory", "unjudged", web_sites(1), 0.002, root=True),
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
        Ambient("C:\\Windows\\System32\\svchost.exe", "developer", web_sites(6), 0.3),
        Ambient("C:\\Program Files\\Example\\browser.exe", "developer", web_sites(20), 0.5, "work"),
        Ambient("C:\\Tools\\agent.exe", "none", web_sites(2), 0.02),
    ),
    "linux": (
        Ambient("/usr/bin/curl", "no block", web_sites(3), 0.1, "run", runs=8),
        Ambient("/usr/sbin/chronyd", "no block", RESOLVERS, 0.2),
    ),
}
