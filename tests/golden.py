"""Golden pages: from stored documents to the pages that they give, on every machine.

After a change of the pages `python -m tests.golden` writes them anew, and the diff shows what
readers will see. Style and script are left out: they change more often, and have their own tests.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tasks.model.coverage import Coverage
from tasks.model.findings import Finding, Priority, Status
from tasks.model.hunts import load_hunt
from tasks.model.runs import Outcome, Report, Trend
from tasks.model.scrutiny import ConditionEvents, FieldEvents, HostSample
from tasks.pages.html import page
from tasks.pages.index import index_view, latest_views, month_view
from tasks.pages.records import Record, Shelf
from tasks.report import render_report
from tests.builders import (
    SLOT,
    acknowledgement,
    coverage,
    day,
    evidence,
    finding,
    report,
    run,
    scrutiny,
)

FOLDER = Path(__file__).parent / "data" / "golden"
ARCHIVE = FOLDER / "archive"
"""The archive's own pages, which are made of records."""

LARGE = FOLDER / "large.sha256"
"""Of pages that nobody would read in a diff."""

MADE_BY = "0.1.0"
"""A version that stays, so that a release changes no golden page."""

HUNT = load_hunt("macos-unsigned-network")

TREND = (
    *(Trend(day(number - 29), Outcome.COMPLETE, number % 7 == 0, 11, 60) for number in range(28)),
    Trend(day(-1), Outcome.FAILED, 0, 0),
    Trend(SLOT, Outcome.COMPLETE, 1, 2, 58),
)


def _finding(number: int, **changes: Any) -> Finding:
    """Give a finding as the shipped hunt finds it: restless, and with the hunt's own figures."""
    plain = evidence(per_hour=68, asleep=100)
    hourly = tuple(None if hour < 100 else 60 + hour * 7 % 17 for hour in range(168))
    gaps = tuple(max(0, 40 - 9 * abs(length - 20)) for length in range(41))
    return finding(
        f"mac-{number:04}",
        "/Users/Shared/.cache/agentd",
        hunt=HUNT,
        evidence=replace(plain, hourly=hourly, gaps=gaps, jitter_percent=29.0, regularity=0.92),
        figures={"duration_hours": 68, "number_of_con_per_hour": 136, "count_connections": 9_248},
        **changes,
    )


NEW = _finding(1, priority=Priority.HIGH)
KNOWN = _finding(2, status=Status.CONTINUING, first_seen=day(-9))
LOOK_UPS = _finding(3, status=Status.RETURNED, first_seen=day(-30))
MUTED = _finding(5, status=Status.CONTINUING)
MUTED = replace(MUTED, acknowledgement=acknowledgement(MUTED))
QUIET = _finding(4, status=Status.QUIET, first_seen=day(-12), last_seen=day(-2))
DEAF = replace(coverage().agents[0], version="8.17.4", groups=5_000, single_event_groups=4_990)

UNMATCHED = scrutiny(
    conditions=(ConditionEvents('host.os.family == "macos"', 0, 9, (("macOS", 620_000),)),),
    candidates=0,
    hosts=None,
)
UNTRUSTED = scrutiny(
    unjudged=155_000,
    several=(FieldEvents("event.category", 155_000),),
    stopped=HostSample(40, ("mac-0001", "mac-0002")),
    ahead=HostSample(1, ("mac-0003",)),
    ahead_events=38,
)


def _report(outcome: Outcome, *findings: Finding, **changes: Any) -> Report:
    ended = run(hunt=HUNT, outcome=outcome, time_zone="Europe/Berlin", **changes)
    return replace(report(ended, *findings, hunt=HUNT, trend=TREND), beaconhunt=MADE_BY)


def documents() -> dict[str, Report]:
    """Give a document for each kind of page."""
    known = (KNOWN, replace(LOOK_UPS, evidence=None), replace(QUIET, evidence=None))
    stale = Coverage(73_683, 20, SLOT - timedelta(hours=22))
    return {
        "nothing-new": _report(Outcome.COMPLETE, *known, compared_with=day(-1)),
        "one-new": _report(Outcome.COMPLETE, NEW, *known, MUTED, compared_with=day(-1)),
        "baseline": _report(Outcome.BASELINE, replace(NEW, status=Status.BASELINE)),
        "partial": _report(Outcome.PARTIAL, NEW, KNOWN, warnings=("Cut at 10,000 rows.",)),
        "no-data": _report(Outcome.NO_DATA, KNOWN, coverage=stale, detail="Events stopped."),
        "unmatched": _report(
            Outcome.NO_DATA, coverage=Coverage(0, 0, None, scrutiny=UNMATCHED), detail="Outside."
        ),
        "untrusted": _report(
            Outcome.COMPLETE,
            KNOWN,
            coverage=replace(coverage(), scrutiny=UNTRUSTED),
            warnings=("Blind: half.", "Clock ahead: one."),
        ),
        "failed": _report(Outcome.FAILED, reason="unauthorised", detail="The key is refused."),
        "blind": _report(
            Outcome.COMPLETE, KNOWN, coverage=replace(coverage(), agents=(DEAF,)), warnings=("B.",)
        ),
    }


def archive_pages() -> dict[str, str]:
    """Give the archive's own pages: a repeated slot, a silent cluster, one that is gone."""
    recent = [
        report(run(day(-30), Outcome.BASELINE, hunt=HUNT), replace(NEW, status=Status.BASELINE)),
        report(run(day(-2), hunt=HUNT), KNOWN),
        report(run(day(-1), Outcome.FAILED, hunt=HUNT, reason="unreachable"), hunt=HUNT),
        report(run(hunt=HUNT), NEW, KNOWN, QUIET),
        report(run(outcome=Outcome.NO_DATA, hunt=HUNT, attempt=2), hunt=HUNT),
        report(run(outcome=Outcome.MISSED, hunt=HUNT, cluster="demo-us"), hunt=HUNT),
    ]
    records = {of.run.folder: Record.of(of) for of in recent}
    november = {folder: each for folder, each in records.items() if "/2026/11/" in folder}
    silent = run(day(-80), hunt=HUNT, cluster="lab"), run(day(-120), hunt=HUNT, cluster="old-lab")
    silent_records = {each.folder: Record.of(report(each, KNOWN)) for each in silent}
    days = ("daily/secops/2026/11/24/0705Z-9f8e7d6c5b4a.html",)
    broken = ("macos-unsigned-network/lab/2026/11/02/0600Z-0123456789ab/run.json",)
    months = {"2026-11": 5, "2026-10": 1, "2026-09": 1, "2026-07": 1}
    (_, latest), *_ = sorted(latest_views(records).items())
    return {
        "index": page(
            "archive.html.j2", index_view(Shelf(records, days, broken), silent_records, months)
        ),
        "month": page(
            "month.html.j2", month_view("2026-11", Shelf(november, days, broken), "stamp")
        ),
        "latest": page("latest.html.j2", latest),
    }


def large() -> dict[str, Report]:
    """Give documents whose pages are kept as a hash."""
    return {
        f"{count}-new": _report(Outcome.COMPLETE, *map(_finding, range(count)))
        for count in (25, 5_000)
    }


def essence(html: str) -> str:
    """Give a page without its style and script, and without their hashes."""
    html = re.sub(r"<(style|script)>.*?</\1>", r"<\1></\1>", html, flags=re.DOTALL)
    return re.sub(r"sha256-[\w+/=]+", "sha256-", html)


def sha256(of: Report) -> str:
    """Hash the essence of a document's page."""
    return hashlib.sha256(essence(render_report(of)).encode()).hexdigest()


def main() -> None:
    """Write the documents and pages anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, of in documents().items():
        (FOLDER / f"{name}.json").write_bytes(of.to_json())
        (FOLDER / f"{name}.html").write_text(essence(render_report(of)), encoding="utf-8")
    ARCHIVE.mkdir(exist_ok=True)
    for name, html in archive_pages().items():
        (ARCHIVE / f"{name}.html").write_text(essence(html), encoding="utf-8")
    hashes = (f"{name} {sha256(of)}\n" for name, of in large().items())
    LARGE.write_text("".join(hashes), encoding="utf-8")


if __name__ == "__main__":
    main()
