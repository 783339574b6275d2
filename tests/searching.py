"""From what a cluster answers to the report of its run, by the steps of the flow in their order.

What a run asks about each candidate is left out: its binary stands in its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from tasks.clusters import Answer
from tasks.diff import compared, identified
from tasks.history import History
from tasks.mark import marked
from tasks.model.findings import Finding
from tasks.model.runs import Outcome, Plan, Report
from tasks.record import build_report
from tests.builders import coverage

BINARY = "process.hash.sha256"

Row = dict[str, Any]


def row(
    host: object = "mac-a",
    executable: object = "/opt/agent",
    address: object = "203.0.113.9",
    *,
    entity_id: str = "e",
    binary: str | None = None,
    connections: int = 1_000,
) -> Row:
    """Give a row of the shipped hunt's answer."""
    return {
        "process.entity_id": entity_id,
        "host.id": host,
        "process.executable": executable,
        "destination.address": address,
        "count_connections": connections,
        BINARY: binary,
    }


def searched(
    history: History, plan: Plan, rows: Sequence[Row], outcome: Outcome = Outcome.COMPLETE
) -> Report:
    """Give the report of a run that got these rows; nothing is recorded.

    Args:
        history: with the runs before it.
        plan: of the run.
        rows: with their columns in the order in which the cluster has them.
        outcome: of the run; a complete one that has nothing to compare itself with is a baseline.
    """
    columns = list(rows[0] if rows else row())
    types = dict.fromkeys(columns, "keyword") | {"count_connections": "long"}
    answer = Answer(pd.DataFrame(rows, columns=columns, dtype=object), types)
    candidates = identified(answer, plan.hunt, plan.cluster)
    known = history.known(plan.hunt.uuid, plan.cluster, plan.slot, [*candidates["fingerprint"]])
    if outcome is Outcome.COMPLETE and known.comparable is None:
        outcome = Outcome.BASELINE
    findings = tuple(map(_enriched, compared(candidates, known, plan, outcome)))
    return build_report(
        plan,
        outcome,
        answer,
        coverage(plan.slot),
        findings=marked(findings, known, plan),
        compared_with=known.comparable,
        costs=(),
    )


def _enriched(finding: Finding) -> Finding:
    binary = finding.figures.get(BINARY, finding.process.hash_sha256)
    return replace(finding, process=replace(finding.process, hash_sha256=binary))
