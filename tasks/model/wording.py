"""Wording: the sentences about runs and findings that pages, messages and commands share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sized
from dataclasses import replace

from tasks.model.acknowledgements import Acknowledgement, Withdrawal
from tasks.model.coverage import Coverage, Fault
from tasks.model.faults import percent, unmatched_words
from tasks.model.findings import (
    Disposition,
    Evidence,
    Finding,
    NetworkDestination,
    Priority,
    Status,
)
from tasks.model.hunts import Nouns
from tasks.model.runs import Outcome, Report, Run
from tasks.text import times
from tasks.text.numbers import counted
from tasks.text.untrusted import defanged, shortened, visible

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
    "query": "the cluster refused the hunt's query",
    "settings": "a setting or the hunt's file cannot be used",
    "deadline": "the answer did not come in time",
    "internal": "the run broke off, and its log in Prefect says where",
}

FLOOD = 200
"""More news than this at once is unusual; a message shows it in groups."""

ONE_PROGRAM_SHARE = 0.8
"""From this share of a flood on, one program with one destination explains it."""

MAX_PORTS = 3

MAX_ADDRESS = 200
"""Characters of an address on a line of its own."""

EVENTS_AN_HOUR = "number_of_con_per_hour"
"""The column of a hunt with the events an hour, in spite of its name: the threshold is for them."""


def headline(report: Report) -> str:
    """Give a page's headline: how the run ended and what it found."""
    run, nouns = report.run, report.run.nouns
    match run.outcome:
        case Outcome.COMPLETE:
            text = news_words(report.findings, nouns) or "Nothing new"
        case Outcome.BASELINE:
            text = baseline_words(report.having(Status.BASELINE), nouns)
        case Outcome.PARTIAL:
            found = news_words(report.findings, nouns)
            text = f"Partial: {found or 'nothing new in what was searched'}"
        case _:
            return not_searched_words(run)
    return f"{text}{_blindness(run)}"


def _blindness(run: Run) -> str:
    faults = run.coverage.faults if run.coverage else {}
    if Fault.BLIND in faults:
        return f", blind on some {run.nouns.host[1]}"
    if Fault.SEVERAL in faults:
        return f", blind to {percent(faults[Fault.SEVERAL])} of the events"
    return ""


def is_blind(run: Run) -> bool:
    """Whether some agents drop repeated events, or the hunt cannot judge some events."""
    return run.coverage is not None and any(
        fault.kind is Fault.BLIND for fault in run.coverage.faults
    )


def not_searched_words(run: Run) -> str:
    """Give in one line why a run searched nothing."""
    match run.outcome:
        case Outcome.NO_DATA:
            if (seen := run.coverage) and seen.is_unmatched and seen.scrutiny:
                came = counted(seen.scrutiny.sent, "event")
                return f"Nothing matched: {came} came, none in the hunt's population"
            return f"No data: {newest_event_words(run)}"
        case Outcome.MISSED:
            return "Not searched: the run never started"
        case _:
            return f"Not searched: {REASON_WORDS[reason_key(run)]}"


def reason_key(run: Run) -> str:
    """Give the reason why a run failed, as a key of `REASON_WORDS`."""
    return run.reason if run.reason in REASON_WORDS else "internal"


def news_words(findings: Iterable[Finding], nouns: Nouns) -> str:
    """Count the new findings, and the known programs that changed or are back; or give nothing."""
    news = [finding for finding in findings if is_news(finding)]
    new = [finding for finding in news if finding.status is Status.NEW]
    one, many = nouns.finding
    changed, back = (len(list(filter(kind, news))) for kind in (is_changed, is_back))
    kinds = (
        counted(len(new), f"new {one}", f"new {many}") + on_hosts(new, nouns) if new else "",
        f"{counted(changed, 'known program')} with a changed binary" if changed else "",
        f"{back:,} back after long" if back else "",
    )
    return ", ".join(filter(None, kinds))


def is_news(finding: Finding) -> bool:
    """Whether a digest announces it: new, another binary of a known program, or back after long."""
    return finding.disposition is Disposition.ANNOUNCED


def is_changed(finding: Finding) -> bool:
    """Whether it is announced only for its binary: a new finding has no earlier one."""
    return is_news(finding) and finding.changed_binary and finding.status is not Status.NEW


def is_back(finding: Finding) -> bool:
    """Whether it is announced only because it is back after long."""
    return is_news(finding) and finding.away_since is not None and not finding.changed_binary


def baseline_words(findings: Collection[Finding], nouns: Nouns) -> str:
    """Count the findings that the first run of a hunt on a cluster recorded."""
    return f"Baseline recorded: {counted(len(findings), *nouns.finding)}{on_hosts(findings, nouns)}"


def known_words(report: Report) -> str:
    """Count the findings that are not new, or give nothing."""
    continuing = len(report.having(Status.CONTINUING))
    returned = sum(not is_back(finding) for finding in report.having(Status.RETURNED))
    quiet = len(report.having(Status.QUIET))
    one, many = report.run.nouns.finding
    again = f"{'was' if continuing == 1 else 'were'} again {found_words(report)}"
    parts = (
        f"{counted(continuing, f'known {one}', f'known {many}')} {again}" if continuing else "",
        f"{returned:,} returned" if returned else "",
        f"{len(report.acknowledged):,} acknowledged" if report.acknowledged else "",
        f"{quiet:,} went quiet" if quiet else "",
    )
    words = ", ".join(filter(None, parts))
    return f"{words}." if words else ""


def found_words(report: Report) -> str:
    """Give where and when a finding was found, which is all that a run knows: nothing about now."""
    run, pipeline = report.run, report.hunt.pipeline
    where = "over the threshold" if pipeline.thresholds else "in the hunt's answer"
    if run.outcome is Outcome.NO_DATA and run.coverage and run.coverage.newest_event:
        newest = times.short(run.coverage.newest_event)
        start = times.short(run.window.start)
        return f"{where} between {start} and the newest event, {newest} UTC"
    return f"{where} within these {counted(pipeline.window_days, 'day')}"


def one_program(findings: Collection[Finding]) -> tuple[int, Finding] | None:
    """Find the one program with one destination that explains a flood.

    Args:
        findings: the new ones.

    Returns:
        How many findings it explains, and one of them. None without a flood, or with many programs.
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


def searched_words(coverage: Coverage | None, nouns: Nouns) -> str:
    """Give how much was searched, or nothing."""
    if coverage is None:
        return ""
    hosts = counted(coverage.macs, *nouns.host)
    return f"{counted(coverage.events, 'event')} of {hosts} were searched."


def no_data_words(run: Run) -> str:
    """Give in detail why a run had no data: events stopped, or its hunt matches no event."""
    if run.coverage and run.coverage.is_unmatched and run.coverage.scrutiny:
        return f"nothing matched: {unmatched_words(run.coverage.scrutiny)}"
    return f"no data: {newest_event_words(run)}"


def newest_event_words(run: Run) -> str:
    """Give the age of the newest event, as of the slot."""
    if run.coverage is None or run.coverage.newest_event is None:
        return f"no event in {counted((run.window.end - run.window.start).days, 'day')}"
    return f"newest event {times.span(run.slot - run.coverage.newest_event)} old"


def rate_words(finding: Finding) -> str:
    """Give the rate for the hunt's threshold, beside the rate of connections.

    For example `136 events/h (68 connections/h)`: an attempt and its disconnect are two events.
    Nothing where both are unknown.
    """
    seen, events = finding.evidence, events_an_hour(finding)
    connections = f"{seen.median_per_hour:,.0f} connections/h" if seen else ""
    if events is None:
        return connections
    return f"{events:,.0f} events/h" + (f" ({connections})" if connections else "")


def period_words(seen: Evidence) -> str:
    """Give for example `52.9 s ± 1 %`; nothing without a period."""
    if seen.period_seconds is None:
        return ""
    spread = "" if seen.jitter_percent is None else f" ± {seen.jitter_percent:.0f} %"
    return f"{times.period(seen.period_seconds)}{spread}"


def events_an_hour(finding: Finding) -> float | None:
    """Give the rate from the hunt's own query; None where the query does not count events."""
    events = finding.figures.get(EVENTS_AN_HOUR)
    return events if isinstance(events, int | float) else None


def destination_words(destination: NetworkDestination, limit: int) -> str:
    """Give for example `203.0.113[.]47:443`, `[2001[:]db8::1]:443`, `c2[.]example:80,443 +2`.

    Args:
        destination: of a connection.
        limit: characters of its address.
    """
    address = destination.address or destination.ip or destination.domain
    if not address:
        return ""
    shown = shortened(defanged(address), limit)
    if not destination.ports:
        return shown
    ports = ",".join(map(str, destination.ports[:MAX_PORTS]))
    more = len(destination.ports) - MAX_PORTS
    host = f"[{shown}]" if address.count(":") > 1 else shown
    return f"{host}:{ports}" + (f" +{more}" if more > 0 else "")


def acknowledgement_summary(acknowledgement: Acknowledgement) -> str:
    """Give the author and the end of an acknowledgement, without its reason."""
    end = times.full(acknowledgement.end)
    if acknowledgement.ended_at and acknowledgement.ended_at == acknowledgement.end:
        return f"by {acknowledgement.by}, ended by {acknowledgement.ended_by} on {end}"
    return f"by {acknowledgement.by} until {end}"


def acknowledged_words(acknowledgement: Acknowledgement, finding: Finding) -> str:
    """Give what is acknowledged from now on, by whom, until when, and with which binary."""
    summary = acknowledgement_summary(acknowledgement)
    process = finding.process.executable or finding.process.name or "its program"
    host = finding.host.name or finding.host.id or "its host"
    hosts = "every host" if acknowledgement.everywhere else host
    address = destination_words(replace(finding.destination, ports=()), MAX_ADDRESS)
    calls = f", calling {address}" if address else ""
    return visible(
        f"{acknowledgement.finding} is acknowledged {summary}: {process} on {hosts}{calls}, with "
        f"the binary of SHA-256 {acknowledgement.hash_sha256 or 'not known'}"
    )


def withdrawal_words(withdrawn: Withdrawal) -> str:
    """Give what is not acknowledged any more, or why it still is."""
    finding = withdrawn.words[0].finding
    reasons = "; ".join(f"{each.by}'s reason: {each.why}" for each in withdrawn.words)
    if others := " and ".join(withdrawn.covered_by):
        return visible(
            f"The acknowledgement of {finding} has ended ({reasons}), but that of {others} is for "
            "every host and covers it too"
        )
    return visible(f"{finding} is not acknowledged any more ({reasons})")


def ended_words(ended: Sized) -> str:
    """Count acknowledgements that ended while their findings are still active; or give nothing."""
    return f"{counted(len(ended), 'acknowledgement')} ended, still active" if ended else ""


def priorities_words(findings: Iterable[Finding]) -> str:
    """Give for example `1 high, 2 medium`."""
    counts = Counter(map(priority_word, findings))
    return ", ".join(f"{counts[each]:,} {each}" for each in (*Priority, "unrated") if counts[each])


def priority_word(finding: Finding) -> str:
    """Give the priority, or `unrated`."""
    return finding.priority or "unrated"


def on_hosts(findings: Iterable[Finding], nouns: Nouns) -> str:
    """Give for example ` on 3 Macs`; nothing where no host is known."""
    count = host_count(findings)
    return f" on {counted(count, *nouns.host)}" if count else ""


def host_count(findings: Iterable[Finding]) -> int:
    """Count the known hosts of findings; two clusters have no host in common."""
    return len(
        {
            (finding.cluster, host)
            for finding in findings
            if (host := finding.host.id or finding.host.name)
        }
    )
