"""Score findings: from connection times to evidence, and from evidence to a stated priority."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

import pandas as pd
from prefect import get_run_logger

from tasks.clusters import Client, values
from tasks.errors import PipelineError, Unexpected
from tasks.model.findings import RANKS, Finding, Status
from tasks.model.runs import Plan
from tasks.orchestration.retries import cluster_step
from tasks.questions.connections import ask_connections
from tasks.scoring.evidence import (
    Rows,
    by_process,
    connections_of,
    evidence_of,
)
from tasks.scoring.priorities import priority_of, reasons_for, why
from tasks.text.numbers import counted

AwakeHours = Mapping[tuple[str | None, str | None], Set[int]]
"""Hours of the window by host.id and agent.id."""

_LOG = logging.getLogger(__name__)


def scored(
    findings: tuple[Finding, ...], connections: pd.DataFrame, hours: pd.DataFrame, plan: Plan
) -> tuple[Finding, ...]:
    """Give a run's findings their evidence and priority, highest priority first.

    Args:
        findings: a run's findings; quiet ones stay as the history has them, and come last.
        connections: connection times from `ask_connections`; empty if they are not available.
        hours: awake hours of the hosts, from `ask_connections`; empty likewise.
        plan: the run's plan.
    """
    rows = by_process(connections)
    awake = {
        (row["host.id"], row.get("agent.id")): frozenset(values(row["hours"]))
        for row in hours.to_dict("records")
    }
    return _ranked(
        finding if finding.status is Status.QUIET else _scored_by_itself(finding, rows, awake, plan)
        for finding in findings
    )


def _scored_by_itself(finding: Finding, rows: Rows, awake: AwakeHours, plan: Plan) -> Finding:
    try:
        return _scored(finding, rows, awake, plan)
    except Exception as fault:  # noqa: BLE001 - one finding's fault must not lose the others.
        _LOG.exception("%s is not scored", finding.id)
        return finding.with_fault(f"not scored: {Unexpected.of(fault).problem}")


def _scored(finding: Finding, rows: Rows, awake: AwakeHours, plan: Plan) -> Finding:
    finding = _with_evidence(replace(finding, evidence=None), rows, awake, plan)
    reasons = reasons_for(finding, plan.window)
    return replace(finding, priority=priority_of(reasons), reasons=reasons, why=why(reasons))


def _with_evidence(finding: Finding, rows: Rows, awake: AwakeHours, plan: Plan) -> Finding:
    """Add the evidence of one agent: two Macs with one host.id are not one series of times."""
    agents = connections_of(finding, rows)
    if not agents:
        return finding
    (agent, seen), *others = agents.items()
    hours = awake.get((finding.host.id, agent), frozenset())
    evidence = evidence_of(seen, hours, plan.window, plan.hunt.pipeline.hourly_threshold)
    finding = replace(finding, evidence=evidence)
    if not others:
        return finding
    left_out = sum(other.count for _, other in others)
    return finding.with_fault(
        f"its host.id has {counted(len(others), 'other agent')}: "
        f"{counted(left_out, 'connection')} from there are not counted here"
    )


def _ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        sorted(
            findings,
            key=lambda f: (f.status is Status.QUIET, RANKS[f.priority], f.fingerprint),
        )
    )


def not_scored(
    plan: Plan, findings: tuple[Finding, ...], error: PipelineError
) -> tuple[Finding, ...]:
    """Keep every finding, with a priority based on its other attributes."""
    fault = f"no connection times: {error.problem}"
    nothing = pd.DataFrame()
    return tuple(
        finding if finding.status is Status.QUIET else finding.with_fault(fault)
        for finding in scored(findings, nothing, nothing, plan)
    )


@cluster_step
def score(client: Client, plan: Plan, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Fetch connection times for this run's findings, and add evidence and priority.

    A failure loses no finding.
    """
    asked = [f for f in findings if f.process.entity_ids and f.status is not Status.QUIET]
    if not asked or not plan.hunt.pipeline.score:
        return scored(findings, pd.DataFrame(), pd.DataFrame(), plan)
    connections, hours = ask_connections(client, plan, asked)
    get_run_logger().info("Connection times for %d findings", len(asked))
    return scored(findings, connections, hours, plan)
