"""Query a cluster for the hunt's candidates and its coverage."""

from __future__ import annotations

from dataclasses import replace

from prefect import get_run_logger

from tasks.clusters import Answer, Client
from tasks.model.coverage import Coverage
from tasks.model.runs import Plan
from tasks.orchestration.retries import cluster_step, is_last_attempt
from tasks.questions.candidates import ask_candidates
from tasks.questions.coverage import ask_coverage


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
    coverage, unjudged = ask_coverage(client, plan, allow_partial=allow_partial)
    logger.info("%d events from %d hosts in the window", coverage.events, coverage.macs)
    if unjudged:
        # The heaviest query; the hunt has its answer without it.
        warning = f"Telemetry was not assessed, so the hunt may be blind: {unjudged}"
        answer = replace(answer, warnings=(*answer.warnings, warning))
    return answer, coverage
