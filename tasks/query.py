"""Query a cluster for the hunt's candidates and its coverage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prefect import get_run_logger

from tasks.clusters import Answer, Client
from tasks.model.coverage import Coverage
from tasks.model.runs import Plan, slot_of_newest
from tasks.orchestration.retries import cluster_step, is_last_attempt
from tasks.questions.candidates import ask_candidates
from tasks.questions.coverage import ask_coverage
from tasks.questions.newest import EVERY_EVENT, ask_newest_event
from tasks.text.times import full


def as_of_newest_event(client: Client, plan: Plan) -> Plan:
    """Choose the slot of a folder that was hunted by hand without one, and say so.

    An export is in the past: as of now, it has no data.
    """
    if not plan.by_newest_event:
        return plan
    populations = (plan.hunt.pipeline.population, EVERY_EVENT)
    asked = (ask_newest_event(client, plan.hunt, plan.started_at, each) for each in populations)
    newest = next(filter(None, asked), None)
    if newest is None:
        remark = "No slot was given, and the folder has no event before the time of this computer."
        return replace(plan, remarks=(remark,))
    slot = slot_of_newest(newest, plan.started_at)
    remark = f"No slot was given: this run is as of the folder's newest event, {full(slot)}."
    get_run_logger().info("%s", remark)
    return replace(plan, slot=slot, remarks=(remark,))


@cluster_step
def query(client: Client, plan: Plan) -> tuple[Answer, Coverage]:
    """Query for candidates, then for coverage.

    Failed shards may recover: only the last attempt accepts an answer without them.
    """
    logger = get_run_logger()
    allow_partial = is_last_attempt()
    client.require(plan.hunt.pipeline.min_version, f"the hunt {plan.hunt.slug}")
    answer = ask_candidates(client, plan, allow_partial=allow_partial)
    logger.info("%d candidates on %s", len(answer.rows), client.cluster.name)
    clock = datetime.now(UTC)
    coverage, unjudged = ask_coverage(client, plan, clock, allow_partial=allow_partial)
    logger.info("%d events from %d hosts in the window", coverage.events, coverage.macs)
    if unjudged:
        # The heaviest query; the hunt has its answer without it.
        warning = f"Telemetry was not assessed, so the hunt may be blind: {unjudged}"
        answer = replace(answer, warnings=(*answer.warnings, warning))
    return answer, coverage
