"""From what a cluster answers to the report of its run, by the steps of the flow and their order.

What a run asks about each candidate is left out: its binary is given, its evidence is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from tasks.clusters import Answer
from tasks.diff import compared, identified, with_acknowledgements, with_changed_binaries
from tasks.findings import Finding
from tasks.history import History
from tasks.record import reported
from tasks.runs import Outcome, Plan, Report
from tests.builders import coverage

IDENTITY = ("host.id", "process.executable", "destination.address")


def searched(
    history: History,
    plan: Plan,
    binaries: Mapping[str, str | None],
    outcome: Outcome = Outcome.COMPLETE,
) -> Report:
    """Give the report of a run that found one program on some hosts; nothing is recorded.

    Args:
        history: with the runs before it.
        plan: of the run.
        binaries: by `host.id` the SHA-256 of the program there; None where that is not known.
        outcome: of the run; a complete one that has nothing to compare itself with is a baseline.
    """
    rows = [(host, "/opt/agent", "203.0.113.9") for host in sorted(binaries)]
    types = dict.fromkeys(IDENTITY, "keyword")
    answer = Answer(pd.DataFrame(rows, columns=list(IDENTITY), dtype=object), types)
    candidates = identified(answer, plan.hunt, plan.cluster)
    known = history.known(plan.hunt.uuid, plan.cluster, plan.slot, [*candidates["fingerprint"]])
    if outcome is Outcome.COMPLETE and known.comparable is None:
        outcome = Outcome.BASELINE
    findings = compared(candidates, known, plan, outcome)
    findings = tuple(_enriched(each, binaries) for each in findings)
    findings = with_changed_binaries(findings, known)
    return reported(
        plan,
        outcome,
        answer,
        coverage(plan.slot),
        findings=with_acknowledgements(findings, known, plan),
        compared_with=known.comparable,
        costs=(),
    )


def _enriched(finding: Finding, binaries: Mapping[str, str | None]) -> Finding:
    binary = binaries.get(str(finding.host.id), finding.process.hash_sha256)
    return replace(finding, process=replace(finding.process, hash_sha256=binary))
