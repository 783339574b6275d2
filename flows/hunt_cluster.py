"""Hunt one cluster for one slot: query, diff, enrich, score, record, report, archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from prefect import State, flow, get_run_logger, runtime
from pydantic import NonNegativeInt

from flows.allowed import RunSettings, worker_allows
from flows.catching_up import catch_up
from flows.failures import add_or_explain, log_unexpected_faults, unexpected_errors_reported
from flows.slots import (
    Timetable,
    is_by_newest_event,
    never_run,
    run_name,
    slot_of_run,
    timetable,
)
from flows.states import hunt_state
from tasks.archive import check_writable, store, write_index_page
from tasks.clusters import connect
from tasks.diff import diff
from tasks.enrich import enrich, not_enriched
from tasks.errors import ArchiveError, HistoryError, PipelineError, Unexpected
from tasks.history import History
from tasks.mark import mark
from tasks.model.hunts import load_hunt, placeholder_hunt
from tasks.model.runs import ANNOUNCE_RETURNED_AFTER_DAYS, Plan, Report, new_run_id
from tasks.publish import publish
from tasks.query import as_of_newest_event, query
from tasks.record import build_report, not_searched_report, record, unpublished_reports
from tasks.report import markdown_summary, render
from tasks.score import not_scored, score
from tasks.secrets import read_block
from tasks.settings import ARCHIVE_URL, HISTORY_URL, Cluster, Moment, TimeZone, Url


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the runs of one flow run share, those of its own slot and of slots to catch up."""

    cluster: Cluster
    history: History
    archive_url: str
    report_base_url: str | None


@flow(name="hunt_cluster", flow_run_name=run_name("cluster"))
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
    mask: bool = True,
) -> State:
    """Hunt one cluster for one slot; the final state says the outcome in words.

    Args:
        cluster: The cluster to hunt, and how to reach it.
        hunt: Name of a shipped hunt, or path of a hunt file on the worker.
        thresholds: Thresholds of the hunt to override.
        slot: The moment that the run stands for; by default the scheduled start minus the delay,
            and for a folder that is hunted by hand its newest event.
        delay_minutes: How many minutes late an event may arrive and still be searched.
        stale_after_hours: A newest event older than this many hours means "no data".
        catch_up_slots: How many slots a scheduled run catches up first; older ones are "missed".
        announce_returned_after_days: A finding that was away for this many days is announced again.
        history_url: SQLAlchemy URL of the history, without a password.
        archive_url: Folder or fsspec URL of the archive.
        report_base_url: URL at which people open the archive, for links.
        time_zone: Time zone of the readers; reports give it beside UTC.
        mask: Mask passwords and tokens in command lines, in the archive, in Prefect and in Slack.
    """
    used = RunSettings(cluster=cluster, hunt=hunt, history_url=history_url, archive_url=archive_url)
    worker_allows().check(used)
    schedule = timetable(delay_minutes)
    with unexpected_errors_reported(), History.open(history_url) as history:
        site = RunContext(cluster, history, archive_url, report_base_url)
        plan = Plan(
            run_id=new_run_id(),
            hunt=placeholder_hunt(hunt, history.hunt_uuid),
            cluster=cluster.name,
            slot=slot_of_run(slot, delay_minutes),
            stale_after_hours=stale_after_hours,
            started_at=datetime.now(UTC),
            flow_run=runtime.flow_run.name,
            kibana_url=cluster.kibana,
            time_zone=time_zone,
            mask=mask,
            scheduled=schedule is not None,
            announce_returned_after_days=announce_returned_after_days,
            of_folder=cluster.folder is not None,
            by_newest_event=is_by_newest_event(cluster, slot),
        )
        report = catch_up_and_search(site, plan, hunt, thresholds or {}, schedule, catch_up_slots)
        report, address = record_and_publish(site, report)
    write_index_page(archive_url)
    return hunt_state(report, address)


def catch_up_and_search(
    site: RunContext,
    plan: Plan,
    hunt: str,
    thresholds: Mapping[str, float],
    schedule: Timetable | None,
    catch_up_slots: int,
) -> Report:
    """Run the slots that were never run, then search; a deployment's failure becomes a report."""
    try:
        with unexpected_errors_reported():
            # In two steps, so that a wrong threshold is reported with the hunt that was loaded.
            plan = replace(plan, hunt=load_hunt(hunt))
            plan = replace(plan, hunt=plan.hunt.with_thresholds(thresholds))
            check_writable(site.archive_url)
            if schedule:
                late = never_run(site.history, plan, schedule)
                keep = partial(record_and_publish, site)
                catch_up(plan, late, catch_up_slots, partial(search, site), keep)
                plan = plan.at(plan.slot)  # Catching up may have taken hours.
            return search(site, plan)
    except PipelineError as error:
        # Outside a deployment a person reads the error; a broken history is left alone.
        if runtime.deployment.id is None or isinstance(error, HistoryError):
            raise
        return not_searched_report(plan, error)


def search(site: RunContext, plan: Plan) -> Report:
    """Search the cluster, and report what was found.

    If `enrich` or `score` fails, no finding is lost: every finding carries the reason.
    """
    with connect(site.cluster, read_block) as client:
        plan = as_of_newest_event(client, plan)
        answer, coverage = query(client, plan)
        findings, known, outcome = diff(site.history, answer, coverage, plan)
        findings = add_or_explain(partial(enrich, client, plan), not_enriched, findings)
        findings = mark(findings, known, plan)
        findings = add_or_explain(partial(score, client, plan), partial(not_scored, plan), findings)
        log_unexpected_faults(findings)
        answer = answer.with_warnings(client.warnings)
        costs = client.costs.values()
    return build_report(plan, outcome, answer, coverage, findings, known.comparable, costs)


def record_and_publish(site: RunContext, report: Report) -> tuple[Report, str]:
    """Record a run, publish the unpublished reports of killed runs, then its own."""
    report = record(site.history, report)
    for other in unpublished_reports(site.history, report):
        try:
            with unexpected_errors_reported():
                publish_report(site, other)
        except (ArchiveError, Unexpected) as error:
            get_run_logger().error("%s", error)  # A later run publishes it.
    return report, publish_report(site, report)


def publish_report(site: RunContext, report: Report) -> str:
    """Archive a recorded run's report, show it in Prefect, and return the report's address."""
    address = store(site.archive_url, report, render(report), site.report_base_url)
    publish(report, markdown_summary(report), address)
    site.history.mark_published(report.run.id)
    return address
