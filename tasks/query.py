"""Query a cluster: the hunt's candidates, and what the cluster could have seen."""

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
    """Ask for candidates and coverage, in this order.

    Shards that fail may come back: only the last attempt takes what the others have.
    """
    logger = get_run_logger()
    allow_partial = is_last_attempt()
    client.require(plan.hunt.pipeline.min_version, f"the hunt {plan.hunt.slug}")
    answer = ask_candidates(client, plan, allow_partial=allow_partial)
    logger.info("%d candidates on %s", len(answer.rows), client.cluster.name)
    coverage, unjudged = ask_coverage(client, plan, allow_partial=allow_partial)
    logger.info("%d events of %d hosts in the window", coverage.events, coverage.macs)
    if unjudged:
        # It is the heaviest of the questions, and the hunt has its answer without it.
        told = f"Telemetry not judged, so that the hunt may be blind and not know it: {unjudged}"
        answer = replace(answer, warnings=(*answer.warnings, told))
    return answer, coverage
