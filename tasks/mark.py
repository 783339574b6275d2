"""Mark what the history knows of a finding: a changed binary, an acknowledgement."""

from __future__ import annotations

from dataclasses import replace

from tasks.history import Known
from tasks.model.findings import Finding, Status, with_acknowledgement
from tasks.model.runs import Plan
from tasks.orchestration.steps import step


def marked(findings: tuple[Finding, ...], known: Known, plan: Plan) -> tuple[Finding, ...]:
    """Mark findings with another SHA-256 than the history has, and acknowledged ones.

    Both need the binary's hash, so this follows enrichment.

    Args:
        findings: of a run, enriched.
        known: what earlier slots of this hunt and cluster know.
        plan: of the run: what ended before its slot covers nothing.
    """
    compared = (replace(each, changed_binary=_has_changed(each, known)) for each in findings)
    return tuple(with_acknowledgement(each, known.acknowledgements, plan.slot) for each in compared)


def _has_changed(finding: Finding, known: Known) -> bool:
    memory = known.memories.get(finding.fingerprint)
    now = finding.process.hash_sha256
    before = memory.hash_sha256 if memory else None
    return finding.status is not Status.QUIET and None not in {now, before} and now != before


@step  # No retries: pure.
def mark(findings: tuple[Finding, ...], known: Known, plan: Plan) -> tuple[Finding, ...]:
    """Mark the findings of a run."""
    return marked(findings, known, plan)
