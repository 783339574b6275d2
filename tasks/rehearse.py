"""Rehearse what people will see: a finding that cannot be shown loses no other, and says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.model.digests import Announcement, Digest
from tasks.model.findings import UNSHOWN, Finding, Host, NetworkDestination, Process
from tasks.model.runs import Report
from tasks.publish import findings_table
from tasks.report import markdown_summary, pages_of, render_daily
from tasks.slack.compose import compose_message

_BARE: Mapping[str, Any] = {
    "host": Host(),
    "user_name": None,
    "destination": NetworkDestination(),
    "figures": {},
    "candidates": 0,
    "evidence": None,
    "why": "",
    "reasons": (),
    "faults": (),
}
"""What a finding can do without, besides its process. Its identity and what is news of it stay."""

Told = tuple[Announcement, ...]


def rehearsed(report: Report) -> Report:
    """Give the report with all of its findings, each with what can be shown of it.

    All that a run leaves is made once and thrown away: its document, which must also be readable
    again, its pages and what Prefect shows.
    """

    def show(told: Told) -> None:
        trial = replace(report, findings=tuple(each.finding for each in told))
        Report.from_json(trial.to_json())
        pages_of(trial)
        markdown_summary(trial)
        findings_table(trial)

    told = tuple(Announcement(finding, report.run) for finding in report.findings)
    return replace(report, findings=tuple(each.finding for each in _standing(told, show)))


def rehearsed_day(digest: Digest, report_base_url: str | None) -> Digest:
    """Give the digest with all that it announces, each with what can be shown of it.

    What a run recorded may be for another version to tell.
    """

    def show(told: Told) -> None:
        trial = replace(digest, announcements=told)
        compose_message(trial, report_base_url=report_base_url)
        render_daily(trial)

    return replace(digest, announcements=_standing(digest.announcements, show))


def _standing(told: Told, show: Callable[[Told], None]) -> Told:
    """Find by halves what cannot be shown, unless nothing can: that is no finding's fault."""
    fault = _fault(told, show)
    if fault is None or _fault((), show):
        return told
    if len(told) == 1:
        return (_shown_in_part(told[0], fault, show),)
    half = len(told) // 2
    return _standing(told[:half], show) + _standing(told[half:], show)


def _shown_in_part(
    told: Announcement, fault: Exception, show: Callable[[Told], None]
) -> Announcement:
    """Add to the bare finding what can be shown of it, part by part, and name the others."""
    finding = told.finding
    binary = Process(hash_sha256=finding.process.hash_sha256)
    shown, unshown = replace(told, finding=replace(finding, **_BARE, process=binary)), []
    if fault_of_all := _fault((shown,), show):
        raise fault_of_all
    for part in (*_BARE, "process"):
        more = replace(shown, finding=replace(shown.finding, **{part: getattr(finding, part)}))
        if _fault((more,), show):
            unshown.append(part.replace("_", " "))
        else:
            shown = more
    why = f"{UNSHOWN}: {', '.join(unshown)} ({type(fault).__name__})"
    return replace(shown, finding=shown.finding.with_fault(why))


def _fault(told: Told, show: Callable[[Told], None]) -> Exception | None:
    """Try to show findings, and give what is wrong with that, whatever it is."""
    try:
        show(told)
    except Exception as fault:  # noqa: BLE001 - one finding's fault must not lose the others.
        return fault
    return None


@task(cache_policy=NO_CACHE)  # No retries: pure.
def rehearse(report: Report) -> Report:
    """Rehearse a run, and say in the log what cannot be shown."""
    shown = rehearsed(report)
    _log(report.findings, shown.findings)
    return shown


@task(cache_policy=NO_CACHE)  # No retries: pure.
def rehearse_day(digest: Digest, report_base_url: str | None) -> Digest:
    """Rehearse a day, and say in the log what cannot be shown."""
    shown = rehearsed_day(digest, report_base_url)
    before, after = digest.announcements, shown.announcements
    _log([told.finding for told in before], [told.finding for told in after])
    return shown


def _log(before: Sequence[Finding], after: Sequence[Finding]) -> None:
    for whole, shown in zip(before, after, strict=True):
        if shown is not whole:
            get_run_logger().error("%s %s", shown.id, shown.unshown)
