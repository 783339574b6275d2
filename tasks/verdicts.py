"""Verdicts: from a report to the words that people read first, by rule, numbers first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from tasks import moments
from tasks.coverage import Coverage
from tasks.findings import Finding, Priority, Status
from tasks.runs import Outcome, Report, Run

OUTCOME_WORDS = {
    Outcome.COMPLETE: "complete",
    Outcome.BASELINE: "baseline",
    Outcome.PARTIAL: "partial",
    Outcome.NO_DATA: "no data",
    Outcome.FAILED: "not searched",
    Outcome.MISSED: "did not run",
}

REASON_WORDS = {
    "unreachable": "the cluster did not answer",
    "unauthorised": "the cluster does not accept the key",
    "query": "the query was refused",
    "settings": "a setting or the hunt's file cannot be used",
    "deadline": "the answer did not come in time",
    "internal": "the run broke off",
}

FLOOD = 200
"""Above so many new findings a reader is told that this is unusual."""

MILLION = 1_000_000

ONE_PROGRAM_SHARE = 0.8
"""From this share on, of a flood, one program with one destination explains it."""


def summary(report: Report) -> str:
    """Say in one line how the run ended and what it found: the page's headline."""
    match report.run.outcome:
        case Outcome.COMPLETE:
            return news(report.findings, "Nothing new")
        case Outcome.BASELINE:
            recorded = report.having(Status.BASELINE)
            processes = counted(len(recorded), "process", "processes")
            return f"Baseline recorded: {processes} on {_macs(recorded)}"
        case Outcome.PARTIAL:
            return f"Partial: {news(report.findings, 'nothing new in what was searched')}"
        case _:
            return ending(report.run)


def ending(run: Run) -> str:
    """Say in one line why a run searched nothing."""
    if run.outcome is Outcome.NO_DATA:
        return f"No data: {newest_event_words(run)}"
    if run.outcome is Outcome.MISSED:
        return "Not searched: the run never started"
    return f"Not searched: {REASON_WORDS.get(run.reason or '', REASON_WORDS['internal'])}"


def news(findings: Iterable[Finding], nothing: str) -> str:
    """Say how many findings are new and how many known programs changed."""
    told = [finding for finding in findings if is_news(finding)]
    new = [finding for finding in told if finding.status is Status.NEW]
    changed = len(told) - len(new)
    kinds = (
        f"{counted(len(new), 'new beaconing process', 'new beaconing processes')} on {_macs(new)}"
        if new
        else "",
        f"{counted(changed, 'known program', 'known programs')} with a changed binary"
        if changed
        else "",
    )
    return ", ".join(filter(None, kinds)) or nothing


def is_news(finding: Finding) -> bool:
    """Whether a digest tells it: never seen before, or a known program with another binary."""
    return finding.status is Status.NEW or (
        finding.changed_binary and finding.status is not Status.QUIET
    )


def known_words(report: Report) -> str:
    """Say what is not new, or nothing."""
    continuing = len(report.having(Status.CONTINUING))
    returned = len(report.having(Status.RETURNED))
    quiet = len(report.having(Status.QUIET))
    parts = (
        f"{counted(continuing, 'known process goes', 'known processes go')} on as before"
        if continuing
        else "",
        f"{returned:,} returned" if returned else "",
        f"{quiet:,} went quiet" if quiet else "",
    )
    words = ", ".join(filter(None, parts))
    return f"{words}." if words else ""


def one_program(findings: Collection[Finding]) -> tuple[int, Finding] | None:
    """Find the one program with one destination that explains a flood.

    Args:
        findings: the new ones.

    Returns:
        How many findings it explains and one of them; None when this is no flood or many programs.
    """
    if len(findings) <= FLOOD:
        return None
    groups = Counter((each.process.name, each.destination.address) for each in findings)
    ((program, address), size), *_ = groups.most_common(1)
    if size < ONE_PROGRAM_SHARE * len(findings):
        return None
    example = next(
        each
        for each in findings
        if each.process.name == program and each.destination.address == address
    )
    return size, example


def searched_words(coverage: Coverage | None) -> str:
    """Say how much was looked at, or nothing."""
    if coverage is None:
        return ""
    events = counted(coverage.events, "network event", "network events")
    return f"{events} of {counted(coverage.macs, 'Mac', 'Macs')} were searched."


def newest_event_words(run: Run) -> str:
    """Say how old the newest event is, as of the slot."""
    if run.coverage is None or run.coverage.newest_event is None:
        days = (run.window.end - run.window.start).days
        return f"no macOS network event in {counted(days, 'day', 'days')}"
    return f"newest event {moments.span(run.slot - run.coverage.newest_event)} old"


def priorities_words(findings: Collection[Finding]) -> str:
    """Give for example `1 high, 2 medium`."""
    counts = Counter(finding.priority or "not scored" for finding in findings)
    levels = (*Priority, "not scored")
    return ", ".join(f"{counts[level]:,} {level}" for level in levels if counts[level])


def counted(number: int, one: str, many: str) -> str:
    """Give for example `1 Mac` or `4,992 Macs`."""
    return f"{number:,} {one if number == 1 else many}"


def rounded(number: int) -> str:
    """Give for example `8,120,442`, and `41.2 M` from ten million on."""
    return f"{number / MILLION:,.1f} M" if number >= 10 * MILLION else f"{number:,}"


def mac_count(findings: Iterable[Finding]) -> int:
    """Count the Macs that the findings are on."""
    return len({finding.host.id or finding.host.name for finding in findings})


def _macs(findings: Iterable[Finding]) -> str:
    return counted(mac_count(findings), "Mac", "Macs")
