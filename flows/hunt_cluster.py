"""Hunt one cluster for one slot: query, diff, enrich, score, record, report, archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import NonNegativeInt

from flows.opaque import opaque
from flows.slots import never_run, timetable
from tasks.archive import check_writable, store, write_index_page
from tasks.clusters import Client, connect
from tasks.diff import diff, with_acknowledgements, with_changed_binaries
from tasks.enrich import enrich, not_enriched
from tasks.errors import (
    UNEXPECTED,
    ArchiveError,
    ClusterError,
    HistoryError,
    PipelineError,
    RunInProgress,
    SlotPruned,
    Unexpected,
)
from tasks.history import History
from tasks.model.findings import Finding, Status
from tasks.model.hunts import load_hunt, placeholder_hunt
from tasks.model.runs import ANNOUNCE_RETURNED_AFTER_DAYS, Outcome, Plan, Report, minute, new_run_id
from tasks.publish import publish
from tasks.query import query
from tasks.record import (
    build_report,
    missed_report,
    not_searched_report,
    record,
    unpublished_reports,
)
from tasks.rehearse import rehearse
from tasks.report import markdown_summary, render, state_message
from tasks.score import not_scored, score
from tasks.secrets import read_block
from tasks.settings import ARCHIVE_URL, HISTORY_URL, Cluster, Moment, TimeZone, Url


def _run_name() -> str:
    """Name the flow run in Prefect's UI: cluster and slot."""
    parameters: dict[str, Any] = runtime.flow_run.parameters
    slot = _slot(parameters.get("slot"), parameters["delay_minutes"])
    return f"{parameters['cluster'].name} {slot:%Y-%m-%d %H:%MZ}"


def _slot(given: datetime | None, delay_minutes: int) -> datetime:
    """Give the named slot, else the scheduled start minus the time that late events take."""
    if given is not None:
        return minute(given)
    start = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    return minute(start) - timedelta(minutes=delay_minutes)


@flow(name="hunt_cluster", flow_run_name=_run_name)
def hunt_cluster(
    cluster: Cluster,
    hunt: str = "macos-unsigned-network",
    thresholds: dict[str, float] | None = None,
    slot: Moment | None = None,
    delay_minutes: int = 15,
    stale_after_hours: float = 6,
    catch_up_slots: NonNegativeInt = 14,
    announce_returned_after_days: NonNegativeInt = ANNOUNCE_RETURNED_AFTER_DAYS,
    history_url: Url = HISTORY_URL,
    archive_url: Url = ARCHIVE_URL,
    report_base_url: Url | None = None,
    time_zone: TimeZone = "UTC",
) -> State:
    """Hunt one cluster for one slot.

    Args:
        cluster: which, and how to reach it.
        hunt: name of a shipped hunt, or the path of a hunt file, on the worker.
        thresholds: of the hunt, to override.
        slot: the moment that the run stands for; by default the scheduled start minus the delay.
        delay_minutes: how late events may come in.
        stale_after_hours: a newest event older than this means "no data".
        catch_up_slots: so many slots that were never run are run first, where a schedule asks for
            the run; older ones are recorded as missed.
        announce_returned_after_days: a finding that was away for so long is announced again.
        history_url: SQLAlchemy URL of the history, without a password.
        archive_url: folder or fsspec URL of the archive.
        report_base_url: where people open the archive, for links.
        time_zone: in which its readers live; reports tell it beside UTC.

    Returns:
        The final state, with the outcome in words; its data is what a script wants to know.
    """
    asked_by = timetable(delay_minutes)
    with History.open(history_url) as history:
        plan = Plan(
            run_id=new_run_id(),
            hunt=placeholder_hunt(hunt, history.hunt_uuid),
            cluster=cluster.name,
            slot=_slot(slot, delay_minutes),
            stale_after_hours=stale_after_hours,
            started_at=datetime.now(UTC),
            flow_run=runtime.flow_run.name,
            kibana_url=cluster.kibana,
            time_zone=time_zone,
            scheduled=asked_by is not None,
            announce_returned_after_days=announce_returned_after_days,
        )
        site = Site(cluster, history, archive_url, report_base_url)
        try:
            with in_words():
                plan = replace(plan, hunt=load_hunt(hunt))
                plan = replace(plan, hunt=plan.hunt.with_thresholds(thresholds or {}))
                check_writable(archive_url)
                if asked_by:
                    catch_up(site, plan, never_run(history, plan, asked_by), catch_up_slots)
                    plan = plan.at(plan.slot)  # It starts only now.
                report = searched(site, plan)
        except PipelineError as error:
            if runtime.deployment.id is None or isinstance(error, HistoryError):
                # Whoever started it by hand sees the error, and nothing is left behind; nothing
                # is written either into a history of which something cannot be read.
                raise
            report = not_searched_report(plan, error)
        report, address = left(site, report)
    write_index_page(archive_url)
    return final_state(report, address)


@dataclass(frozen=True, slots=True)
class Site:
    """What the runs of a flow run share: where they search, and where they leave their reports."""

    cluster: Cluster
    history: History
    archive_url: str
    report_base_url: str | None


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what nobody foresaw into an error with a remedy, as every other is, and log it whole.

    Raises:
        Unexpected: whatever it was.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as fault:
        error = Unexpected.of(fault)
        get_run_logger().exception("%s", error.problem)
        raise error from fault


def catch_up(site: Site, plan: Plan, slots: Sequence[datetime], at_most: int) -> None:
    """Run slots that were never run, oldest first, each as of itself.

    Of more than `at_most` the older ones are recorded as missed. A slot whose cluster does not
    answer, or in which something breaks, has failed, and the next one is run.
    """
    too_old = max(len(slots) - at_most, 0)
    get_run_logger().info("%d slots were never run, %d are too old", len(slots), too_old)
    for number, slot in enumerate(slots):
        late = plan.at(slot)
        try:
            with in_words():
                left(site, missed_report(late) if number < too_old else tried(site, late))
        except RunInProgress as other:
            get_run_logger().warning("%s", other)
        except (ArchiveError, Unexpected) as error:
            # It is recorded, and its report is owed: today's hunt does not wait for the archive.
            get_run_logger().error("%s", error)


def tried(site: Site, plan: Plan) -> Report:
    """Search the cluster, or say why it was not searched."""
    try:
        with in_words():
            return searched(site, plan)
    except (ClusterError, SlotPruned, Unexpected) as error:
        return not_searched_report(plan, error)


def searched(site: Site, plan: Plan) -> Report:
    """Search the cluster."""
    with connect(site.cluster, read_block) as client:
        return hunted(client, plan, site.history)


def left(site: Site, report: Report) -> tuple[Report, str]:
    """Record a run and leave its pages, after those of runs that were killed in between.

    Returns:
        The report with its trend, and the address at which people open it.
    """
    report = record(site.history, opaque(rehearse(opaque(report))))
    for killed in unpublished_reports(site.history, opaque(report)):
        try:
            with in_words():
                archived(site, killed)
        except (ArchiveError, Unexpected) as error:
            get_run_logger().error("%s", error)  # It stays owed, and keeps no other from its place.
    return report, archived(site, report)


def archived(site: Site, report: Report) -> str:
    """Leave a recorded run's pages; doing it twice, or in two processes, leaves the same.

    Returns:
        The address at which people open its report.
    """
    pages = render(opaque(report))
    address = store(site.archive_url, opaque(report), opaque(pages), site.report_base_url)
    publish(opaque(report), markdown_summary(report), address)
    site.history.mark_published(report.run.id)
    return address


def hunted(client: Client, plan: Plan, history: History) -> Report:
    """Search the cluster and find out what there is to say of every candidate.

    Enrichment and evidence may fail: no finding is lost by it, each then carries the reason.
    """
    answer, coverage = query(client, plan)
    findings, known, outcome = diff(history, opaque(answer), coverage, plan)
    findings = with_changed_binaries(enriched(client, plan, findings), known)
    findings = with_acknowledgements(findings, known, plan)
    findings = evidenced(client, plan, findings)
    broken = Counter(fault for each in findings for fault in each.faults if UNEXPECTED in fault)
    for fault, count in broken.items():
        get_run_logger().error("%s: %d findings", fault, count)
    return build_report(
        plan,
        outcome,
        answer,
        coverage,
        findings=findings,
        compared_with=known.comparable,
        costs=client.costs.values(),
    )


def enriched(client: Client, plan: Plan, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Enrich, or say of each finding why it is not."""
    try:
        with in_words():
            return enrich(client, plan, opaque(findings))
    except (ClusterError, Unexpected) as error:
        return not_enriched(findings, error)


def evidenced(client: Client, plan: Plan, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Score, or say of each finding why it has no evidence."""
    try:
        with in_words():
            return score(client, plan, opaque(findings))
    except (ClusterError, Unexpected) as error:
        return not_scored(findings, error, plan)


_STATE_NAMES = {
    Outcome.NO_DATA: "No data",
    Outcome.PARTIAL: "Partial",
    Outcome.BASELINE: "Baseline",
}


def final_state(report: Report, address: str) -> State:
    """Say the outcome in words, as Prefect's UI shows it."""
    message, run = state_message(report), report.run
    if run.outcome is Outcome.FAILED:
        return Failed(message=message)
    facts = {
        "cluster": run.cluster,
        "hunt": run.hunt,
        "slot": run.slot.isoformat(),
        "outcome": run.outcome.value,
        "new": [finding.id for finding in report.having(Status.NEW)],
        "message": message,
        "report": address,
    }
    return Completed(message=message, name=_STATE_NAMES.get(run.outcome, "Completed"), data=facts)
