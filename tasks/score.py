"""Score findings: from connection times to evidence, and from evidence to a stated priority."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

import pandas as pd
from elasticsearch import Elasticsearch
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.clusters import ask
from tasks.errors import ClusterError, PipelineError
from tasks.evidence import CONNECTIONS, HOST_HOURS, connections_of, evidence_of
from tasks.findings import RANKS, Finding, Status
from tasks.priorities import priority_of, reasons_for, why
from tasks.retries import AT_MOST, FIRST_DELAY_SECONDS, JITTER, may_pass
from tasks.runs import Plan
from tasks.settings import Cluster

FINDINGS_A_QUESTION = 1_000
"""How many findings go into one question."""


def scored(
    findings: tuple[Finding, ...], connections: pd.DataFrame, hours: pd.DataFrame, plan: Plan
) -> tuple[Finding, ...]:
    """Give every finding of this run its evidence and priority, highest priority first.

    Args:
        findings: of a run; quiet ones keep what the history knows, and come last.
        connections: answers to `CONNECTIONS`; empty when nothing could be asked.
        hours: answers to `HOST_HOURS`; likewise.
        plan: of the run.
    """
    awake = {row["host.id"]: _hours(row["hours"]) for row in hours.to_dict("records")}
    return _ranked(
        finding
        if finding.status is Status.QUIET
        else _scored(finding, connections, awake.get(finding.host.id, frozenset()), plan)
        for finding in findings
    )


def _hours(cell: int | list[int] | None) -> frozenset[int]:
    return frozenset(cell if isinstance(cell, list) else [] if cell is None else [cell])


def _scored(finding: Finding, connections: pd.DataFrame, awake: Set[int], plan: Plan) -> Finding:
    seen = None if connections.empty else connections_of(finding, connections)
    threshold = plan.hunt.pipeline.thresholds.get("min_connections_per_hour")
    evidence = evidence_of(seen, awake, plan.window, threshold) if seen else None
    finding = replace(finding, evidence=evidence)
    reasons = reasons_for(finding, plan.window)
    return replace(finding, priority=priority_of(reasons), reasons=reasons, why=why(reasons))


def _ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        sorted(
            findings,
            key=lambda f: (f.status is Status.QUIET, RANKS[f.priority], f.fingerprint),
        )
    )


def not_scored(
    findings: tuple[Finding, ...], error: PipelineError, plan: Plan
) -> tuple[Finding, ...]:
    """Keep every finding with the priority that can be given without connection times."""
    fault = f"no connection times: {error.problem}"
    nothing = pd.DataFrame()
    return tuple(
        finding
        if finding.status is Status.QUIET
        else replace(finding, faults=(*finding.faults, fault))
        for finding in scored(findings, nothing, nothing, plan)
    )


def ask_connections(
    client: Elasticsearch, cluster: Cluster, plan: Plan, findings: Sequence[Finding]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask for connection times and waking hours of the findings, in chunks.

    Returns:
        Answers to `CONNECTIONS` and to `HOST_HOURS`, each as one table.

    Raises:
        ClusterError: also where a part of an answer is missing: no count would be right.
    """
    connections: list[pd.DataFrame] = []
    hours: list[pd.DataFrame] = []
    for start in range(0, len(findings), FINDINGS_A_QUESTION):
        chunk = findings[start : start + FINDINGS_A_QUESTION]
        entities = _terms("process.entity_id", (e for f in chunk for e in f.process.entity_ids))
        addresses = _terms("destination.address", (f.destination.address for f in chunk))
        hosts = _terms("host.id", (f.host.id for f in chunk))
        for query, terms, answers in (
            (CONNECTIONS, [entities, addresses], connections),
            (HOST_HOURS, [hosts], hours),
        ):
            within = {"bool": {"filter": [plan.window.filter, *terms]}}
            start_only = {"_tstart": plan.window.parameters["_tstart"]}
            answer = ask(client, cluster, query, parameters=start_only, within=within)
            if not answer.is_whole:
                raise ClusterError(
                    f"{cluster.name}: a part of the connections is missing from the answer.",
                    "Look at the cluster's failed shards, and at how many findings there are.",
                )
            answers.append(answer.rows)
    return pd.concat(connections, ignore_index=True), pd.concat(hours, ignore_index=True)


def _terms(column: str, values: Iterable[str | None]) -> dict[str, dict[str, list[str]]]:
    return {"terms": {column: sorted({value for value in values if value is not None})}}


@task(
    cache_policy=NO_CACHE,
    retries=AT_MOST,  # Only for what can pass; a finding is never lost either way.
    retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
    retry_jitter_factor=JITTER,
    retry_condition_fn=may_pass,
)
def score(
    client: Elasticsearch, cluster: Cluster, plan: Plan, findings: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    """Fetch connection times of this run's findings and give them evidence and priority."""
    asked = [f for f in findings if f.process.entity_ids and f.status is not Status.QUIET]
    if not asked or not plan.hunt.pipeline.score:
        return scored(findings, pd.DataFrame(), pd.DataFrame(), plan)
    connections, hours = ask_connections(client, cluster, plan, asked)
    get_run_logger().info("Connection times of %d findings", len(asked))
    return scored(findings, connections, hours, plan)
