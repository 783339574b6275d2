"""Mark findings whose binary has changed, and acknowledged ones."""

from __future__ import annotations

from dataclasses import replace

from tasks.history import Known
from tasks.model.findings import Finding, Status, with_acknowledgement
from tasks.model.runs import Plan
from tasks.orchestration.steps import step


def marked(findings: tuple[Finding, ...], known: Known, plan: Plan) -> tuple[Finding, ...]:
    """Mark findings with another SHA-256 than in earlier runs, and acknowledged ones.

    Both need the binary's hash, so this follows enrichment. An acknowledgement does not cover a
    changed binary, so that is marked first.

    Args:
        findings: of a run, enriched.
        known: from earlier slots of this hunt and cluster.
        plan: of the run. Acknowledgements that ended before its slot do not count.
    """
    compared = (replace(each, changed_binary=_has_changed(each, known)) for each in findings)
    return tuple(with_acknowledgement(each, known.acknowledgements, plan.slot) for each in compared)


def _has_changed(finding: Finding, known: Known) -> bool:
    memory = known.memories.get(finding.fingerprint)
    now = finding.process.hash_sha256
    before = memory.hash_sha256 if memory else None
    if finding.status is Status.QUIET or now is None or before is None:
        return False
    return now != before


@step  # No retries: pure.
def mark(findings: tuple[Finding, ...], known: Known, plan: Plan) -> tuple[Finding, ...]:
    """Mark a run's findings."""
    return marked(findings, known, plan)
