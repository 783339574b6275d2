"""Report a run: from its frozen document to a page, a table for spreadsheets and a few words."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import pandas as pd
from prefect import get_run_logger

from tasks.model.digests import Digest
from tasks.model.fallback import laid_out
from tasks.model.findings import Finding, Status
from tasks.model.runs import Outcome, Report, Run
from tasks.model.wording import (
    OUTCOME_WORDS,
    REASON_WORDS,
    headline,
    is_back,
    is_changed,
    is_news,
    known_words,
    no_data_words,
    reason_key,
    searched_words,
)
from tasks.orchestration.steps import step
from tasks.pages.cards import destination_text, host_text, name_text
from tasks.pages.daily import daily_view
from tasks.pages.html import RenderedReport, page
from tasks.pages.report import report_view
from tasks.text.times import full
from tasks.text.untrusted import markdown_code, markdown_text, shortened, spreadsheet_safe, visible

CELL_LIMIT = 32_767
"""Characters that a spreadsheet takes in one cell; findings.json has longer ones whole."""

SUMMARY_FINDINGS = 20
"""Announced findings in the markdown summary."""


def pages_of(report: Report) -> RenderedReport:
    """Render what the archive keeps of a run: the same report gives the same bytes."""
    return RenderedReport(html=render_report(report), csv=findings_csv(report))


def render_report(report: Report) -> str:
    """Render a run's page: the same report gives the same bytes."""
    return page("report.html.j2", report_view(report))


def render_daily(digest: Digest) -> str:
    """Render a destination's day: every cluster, and what is new with its evidence."""
    return page("daily.html.j2", daily_view(digest))


def findings_csv(report: Report) -> bytes:
    """Write the findings as UTF-8 CSV, one row each, columns in ECS words, times in ISO 8601.

    Every cell is quoted. One that a spreadsheet would run gets a leading `'`, and hidden characters
    are shown as escapes. Addresses are *not* defanged: a table is for programs too. The hunt's own
    columns are last, as `figures.<name>`; hourly counts and identities are in findings.json only.
    """
    figures = sorted({column for finding in report.findings for column in finding.figures})
    ours = dict(_COLUMNS)
    if report.hunt.pipeline.hourly_threshold is None:
        del ours["hours_at_threshold"]

    def row(finding: Finding) -> dict[str, object]:
        return {
            **{column: _cell(value(finding)) for column, value in ours.items()},
            **{f"figures.{column}": _cell(finding.figures.get(column)) for column in figures},
        }

    rows = [laid_out(row, finding) for finding in report.findings]
    columns = [*ours, *(f"figures.{column}" for column in figures)]
    table = pd.DataFrame(rows, columns=columns, dtype="object")
    table.columns = pd.Index([_cell(column) for column in columns])
    return table.to_csv(index=False, quoting=csv.QUOTE_ALL, lineterminator="\n").encode()


def _cell(value: object) -> object:
    """Give what a cell holds: a number as it is, anything else as text that is safe to open."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return shortened(spreadsheet_safe(visible(text)), CELL_LIMIT)


def state_message(report: Report) -> str:
    """Say the outcome in the few words that Prefect shows beside a run's final state."""
    run = report.run
    counts = f"{len(report.having(Status.NEW)):,} new"
    changed = sum(map(is_changed, report.findings))
    counts += f", {changed:,} changed" if changed else ""
    back = sum(map(is_back, report.findings))
    counts += f", {back:,} back after long" if back else ""
    counts += f", {len(report.having(Status.CONTINUING)):,} continuing"
    besides = f", {len(report.acknowledged):,} acknowledged" if report.acknowledged else ""
    besides += _faults(run)
    match run.outcome:
        case Outcome.COMPLETE:
            return f"{counts}{besides}"
        case Outcome.BASELINE:
            return f"baseline: {len(report.having(Status.BASELINE)):,}{besides}"
        case Outcome.PARTIAL:
            return f"partial: {counts}{besides}"
        case Outcome.NO_DATA:
            return f"{no_data_words(run)}{_faults(run)}"
        case Outcome.MISSED:
            return "not searched: the run never started"
        case Outcome.FAILED:
            word = reason_key(run)
            problem = (run.detail or REASON_WORDS[word]).partition(". ")[0].rstrip(".")
            return f"not searched: {word} ({visible(problem)})"


def _faults(run: Run) -> str:
    faults = run.coverage.faults if run.coverage else {}
    return f" ({', '.join(faults)})" if faults else ""


def markdown_summary(report: Report) -> str:
    """Write the run's summary for Prefect's markdown artifact.

    All that comes from events is code or escaped: nothing in it is markup, HTML or a link.
    """
    return "\n\n".join(_paragraphs(report)) + "\n"


def _paragraphs(report: Report) -> Iterator[str]:
    run = report.run
    yield f"## {markdown_text(headline(report))}"
    yield f"{markdown_code(run.cluster)}, {full(run.slot)}, {OUTCOME_WORDS[run.outcome]}"
    for said in filter(None, (run.detail, *run.warnings)):
        yield f"> {markdown_text(said)}"
    announced = [finding for finding in report.findings if is_news(finding)]
    if announced:
        yield "\n".join(laid_out(_item, finding) for finding in announced[:SUMMARY_FINDINGS])
    if len(announced) > SUMMARY_FINDINGS:
        yield f"{len(announced) - SUMMARY_FINDINGS:,} more in the report."
    closing = (known_words(report), searched_words(run.coverage, run.nouns))
    yield from map(markdown_text, filter(None, closing))


def _item(finding: Finding) -> str:
    process, on, calls = (
        markdown_code(text)
        for text in (
            name_text(finding.process.name),
            host_text(finding),
            destination_text(finding),
        )
    )
    said = finding.unshown or finding.why
    why = f": {markdown_text(said)}" if said else ""
    level = f"**{finding.priority}** " if finding.priority else ""
    return f"- {level}{process} on {on} calls {calls} ({finding.id}){why}"


_COLUMNS: Mapping[str, Callable[[Finding], object]] = {
    "id": lambda finding: finding.id,
    "status": lambda finding: finding.status,
    "disposition": lambda finding: finding.disposition,
    "priority": lambda finding: finding.priority,
    "why": lambda finding: finding.why,
    "cluster": lambda finding: finding.cluster,
    "first_seen": lambda finding: finding.first_seen,
    "last_seen": lambda finding: finding.last_seen,
    "away_since": lambda finding: finding.away_since,
    "changed_binary": lambda finding: finding.changed_binary,
    "acknowledged_by": lambda finding: finding.acknowledgement and finding.acknowledgement.by,
    "acknowledged_until": lambda finding: finding.acknowledgement and finding.acknowledgement.end,
    "acknowledged_why": lambda finding: finding.acknowledgement and finding.acknowledgement.why,
    "host.id": lambda finding: finding.host.id,
    "host.name": lambda finding: finding.host.name,
    "user.name": lambda finding: finding.user_name,
    "process.name": lambda finding: finding.process.name,
    "process.executable": lambda finding: finding.process.executable,
    "process.command_line": lambda finding: finding.process.command_line,
    "process.hash.sha256": lambda finding: finding.process.hash_sha256,
    "process.entity_id": lambda finding: finding.process.entity_ids,
    "process.parent.name": lambda finding: finding.process.parent.name,
    "process.parent.executable": lambda finding: finding.process.parent.executable,
    "process.code_signature": lambda finding: finding.process.code_signature.word,
    "process.code_signature.signing_id": lambda finding: finding.process.code_signature.signing_id,
    "process.code_signature.team_id": lambda finding: finding.process.code_signature.team_id,
    "destination.address": lambda finding: finding.destination.address,
    "destination.ip": lambda finding: finding.destination.ip,
    "destination.domain": lambda finding: finding.destination.domain,
    "destination.port": lambda finding: finding.destination.ports,
    "connections": lambda finding: finding.evidence and finding.evidence.connections,
    "first_connection": lambda finding: finding.evidence and finding.evidence.first_connection,
    "last_connection": lambda finding: finding.evidence and finding.evidence.last_connection,
    "regularity": lambda finding: finding.evidence and finding.evidence.regularity,
    "period_seconds": lambda finding: finding.evidence and finding.evidence.period_seconds,
    "jitter_percent": lambda finding: finding.evidence and finding.evidence.jitter_percent,
    "hours_active": lambda finding: finding.evidence and finding.evidence.hours_active,
    "hours_at_threshold": lambda finding: finding.evidence and finding.evidence.hours_at_threshold,
    "median_per_hour": lambda finding: finding.evidence and finding.evidence.median_per_hour,
    "faults": lambda finding: finding.faults,
    "fingerprint": lambda finding: finding.fingerprint,
}


@step  # No retries: pure.
def render(report: Report) -> RenderedReport:
    """Render everything that the archive keeps of a run, beside its document."""
    pages = pages_of(report)
    get_run_logger().info(
        "%s: page of %d kB, table of %d findings",
        report.run.cluster,
        len(pages.html) // 1000,
        len(report.findings),
    )
    return pages
