"""Score findings: from connection times to evidence, and from evidence to a stated priority."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace

import pandas as pd
from prefect import get_run_logger

from tasks.clusters import Client, values
from tasks.errors import PipelineError, Unexpected
from tasks.model.findings import LEFT_OUT, NO_EVIDENCE, RANKS, Finding, Status
from tasks.model.hunts import Hunt
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

_LOG = logging.getLogger(__name__)

HOURS_NOT_KNOWN = "hours without data are not known: no host.id, or several"


def scored(
    findings: tuple[Finding, ...],
    connections: pd.DataFrame,
    hours: pd.DataFrame,
    plan: Plan,
    failure: str = "",
) -> tuple[Finding, ...]:
    """Give a run's findings their evidence and priority, highest priority first.

    Args:
        findings: a run's findings; quiet ones stay as the history has them, and come last.
        connections: connection times from `ask_connections`; empty if they are not available.
        hours: awake hours of the hosts, from `ask_connections`; empty likewise.
        plan: the run's plan.
        failure: the reason why the cluster gave no connection times.
    """
    answers = _Answers(
        plan,
        by_process(connections),
        {
            (row["host.id"], row.get("agent.id")): frozenset(values(row["hours"]))
            for row in hours.to_dict("records")
        },
        failure,
    )
    return _ranked(
        finding if finding.status is Status.QUIET else _scored_by_itself(finding, answers)
        for finding in findings
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """What is known of all findings' connections.

    Attributes:
        rows: answers to `CONNECTIONS`.
        awake: hours of the window in which a Mac sent anything, by host.id and agent.id.
        failure: as for `scored`.
    """

    plan: Plan
    rows: Rows
    awake: Mapping[tuple[str | None, str | None], Set[int]]
    failure: str


def _scored_by_itself(finding: Finding, answers: _Answers) -> Finding:
    try:
        return _scored(finding, answers)
    except Exception as fault:  # noqa: BLE001 - one finding's fault must not lose the others.
        _LOG.exception("%s is not scored", finding.id)
        return finding.with_fault(f"{NO_EVIDENCE}: {Unexpected.of(fault).problem}")


def _scored(finding: Finding, answers: _Answers) -> Finding:
    finding = _with_evidence(replace(finding, evidence=None), answers)
    reasons = reasons_for(finding, answers.plan.window)
    return replace(finding, priority=priority_of(reasons), reasons=reasons, why=why(reasons))


def _with_evidence(finding: Finding, answers: _Answers) -> Finding:
    """Add the evidence of one agent, or the reason why there is none.

    Two Macs with one host.id are not one series of times.
    """
    plan = answers.plan
    if reason := unasked(finding, plan.hunt) or answers.failure:
        return finding.with_fault(f"{NO_EVIDENCE}: {reason}")
    agents = connections_of(finding, answers.rows)
    if not agents:
        return finding.with_fault(f"{NO_EVIDENCE}: none found (DNS lookups do not count)")
    (agent, seen), *others = agents.items()
    hours = answers.awake.get((finding.host.id, agent))
    threshold = plan.hunt.pipeline.hourly_threshold
    evidence = evidence_of(seen, hours or frozenset(), plan.window, threshold)
    finding = replace(finding, evidence=evidence)
    if hours is None:
        finding = finding.with_fault(HOURS_NOT_KNOWN)
    if others:
        left_out = sum(other.count for _, other in others)
        finding = finding.with_fault(
            f"its host.id has {counted(len(others), 'other agent')}: "
            f"{counted(left_out, 'connection')} from there are not counted here"
        )
    return finding


def unasked(finding: Finding, hunt: Hunt) -> str:
    """Give the reason why a finding's connection times are not asked for; usually empty."""
    if not hunt.pipeline.score:
        return LEFT_OUT
    if not finding.process.entity_ids:
        return "its events have no process.entity_id"
    if finding.destination.address is None:
        return "its events have no destination.address"
    return ""


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
    return scored(findings, pd.DataFrame(), pd.DataFrame(), plan, failure=error.problem)


@cluster_step
def score(client: Client, plan: Plan, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Fetch connection times for this run's findings, and add evidence and priority.

    A failure loses no finding.
    """
    seen = (finding for finding in findings if finding.status is not Status.QUIET)
    asked = [finding for finding in seen if not unasked(finding, plan.hunt)]
    if not asked:
        return scored(findings, pd.DataFrame(), pd.DataFrame(), plan)
    connections, hours = ask_connections(client, plan, asked)
    get_run_logger().info("Connection times for %d findings", len(asked))
    return scored(findings, connections, hours, plan)
