"""Record a run: from its findings to a report, which the history stores in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

from prefect import get_run_logger

from tasks.clusters import Answer
from tasks.errors import PipelineError
from tasks.history import History
from tasks.model.costs import Cost
from tasks.model.coverage import Coverage
from tasks.model.fallback import as_recorded
from tasks.model.faults import UNMATCHED_REMEDY, fault_sentences, unmatched_words
from tasks.model.findings import Finding
from tasks.model.runs import Outcome, Plan, Report, Run
from tasks.orchestration.steps import step
from tasks.text import times


def build_report(
    plan: Plan,
    outcome: Outcome,
    answer: Answer,
    coverage: Coverage,
    findings: tuple[Finding, ...],
    compared_with: datetime | None,
    costs: Iterable[Cost],
) -> Report:
    """Build the report of a run that got its answers."""
    run = replace(
        _run(plan, outcome),
        detail=_missing_data(coverage, plan) if outcome is Outcome.NO_DATA else None,
        warnings=tuple(_warnings(answer, coverage, plan)),
        coverage=coverage,
        compared_with=compared_with,
        costs=tuple(costs),
    )
    return _report(plan, run, tuple(map(as_recorded, findings)))


def not_searched_report(plan: Plan, error: PipelineError) -> Report:
    """Build the report of a run that got no answer."""
    run = _run(plan, Outcome.FAILED)
    return _report(plan, replace(run, reason=error.reason, detail=str(error)), ())


def missed_report(plan: Plan) -> Report:
    """Build the report for a slot that was never run and is too old to be caught up."""
    detail = (
        "No run was started for this slot, and too many came after it for it to be caught up. "
        f"Run it with `beaconhunt run {plan.cluster} --slot {plan.slot:%Y-%m-%dT%H:%MZ}`."
    )
    return _report(plan, replace(_run(plan, Outcome.MISSED), detail=detail), ())


def _run(plan: Plan, outcome: Outcome) -> Run:
    return Run(
        id=plan.run_id,
        hunt_uuid=plan.hunt.uuid,
        hunt=plan.hunt.slug,
        cluster=plan.cluster,
        slot=plan.slot,
        window=plan.window,
        outcome=outcome,
        started_at=plan.started_at,
        finished_at=datetime.now(UTC),
        flow_run=plan.flow_run,
        scheduled=plan.scheduled,
        nouns=plan.hunt.pipeline.nouns,
        kibana_url=plan.kibana_url,
        sources=plan.hunt.sources,
        time_zone=plan.time_zone,
        mask=plan.mask,
    )


def _report(plan: Plan, run: Run, findings: tuple[Finding, ...]) -> Report:
    return Report(beaconhunt=version("beaconhunt"), run=run, hunt=plan.hunt, findings=findings)


def _missing_data(coverage: Coverage, plan: Plan) -> str:
    if coverage.is_unmatched and coverage.scrutiny:
        return f"{unmatched_words(coverage.scrutiny)}. {UNMATCHED_REMEDY}"
    if coverage.newest_event is None:
        problem = "The window holds no event that the hunt could have seen."
        remedy = (
            "Check that the agents ship them to this cluster, and that the API key may read them."
        )
    else:
        age = times.span(plan.slot - coverage.newest_event)
        problem = (
            f"Events have stopped coming: the newest is {age} older than the slot, and "
            f"{plan.stale_after_hours:g} hours are allowed."
        )
        remedy = "Check that the agents still ship them."
    if plan.of_folder and not plan.remarks:
        remedy = (
            f"`beaconhunt run {plan.cluster}`, without `--slot`, hunts an export as of its newest "
            "event."
        )
    return f"{problem} {remedy}"


def _warnings(answer: Answer, coverage: Coverage, plan: Plan) -> Iterator[str]:
    if answer.is_partial or coverage.is_partial:
        yield "Partial: some shards did not answer, and what they hold was not searched."
    for remote in answer.skipped:
        yield f"Partial: the remote cluster {remote} did not answer and was not searched in full."
    if answer.is_cut:
        yield f"Cut at {len(answer.rows):,} rows: there may be more candidates."
    for fault in coverage.faults:
        sentences = fault_sentences(fault, coverage, plan.hunt.pipeline.nouns)
        yield f"{fault.kind.capitalize()}: {sentences}"
    yield from coverage.scrutiny.left_out if coverage.scrutiny else ()
    yield from plan.remarks
    if not plan.hunt.reproducible:
        yield "Not reproducible as of a slot: the query uses NOW()."
    yield from _without_divisions_by_zero(answer.warnings)


def _without_divisions_by_zero(warnings: tuple[str, ...]) -> Iterator[str]:
    """Leave out divisions by zero, whose rows hunts filter out, with their introductory lines."""
    places = {_place(text) for text in warnings if "/ by zero" in text}
    return (text for text in warnings if _place(text) not in places)


def _place(warning: str) -> str:
    """Give the text before the first `: `, as in `Line 3:9: evaluation of [a / b] failed, ...`."""
    return warning.partition(": ")[0]


def _document(history: History, report: Report) -> Report:
    """Give the report as it is published: masked, and with the trend of earlier runs."""
    run = report.run
    findings = (each.masked if run.mask else each for each in report.findings)
    trend = history.trend(run.hunt_uuid, run.cluster, run.slot)
    return replace(report, findings=tuple(findings), trend=trend)


@step  # No retries: the transaction is all or nothing, and its error has the reason.
def record(history: History, report: Report) -> Report:
    """Write the run whole, and give the report to publish."""
    run = report.run
    if not history.record(report):
        get_run_logger().warning("An earlier run for slot %s has a better outcome", run.slot)
    return _document(history, report)


@step  # No retries: it reads the history.
def unpublished_reports(history: History, report: Report) -> tuple[Report, ...]:
    """Give other reports for this hunt and cluster that may be missing in the archive."""
    recorded = history.unpublished(report.run.hunt_uuid, report.run.cluster)
    others = tuple(_document(history, each) for each in recorded if each.run.id != report.run.id)
    for other in others:
        get_run_logger().warning(
            "The run for slot %s ended before its report was archived", other.run.slot
        )
    return others
