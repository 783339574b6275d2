"""Failures: how a flow reports an error that no one expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import get_run_logger

from tasks.errors import UNEXPECTED, ClusterError, PipelineError, Unexpected
from tasks.model.findings import Finding

Findings = tuple[Finding, ...]


@contextmanager
def unexpected_errors_reported() -> Iterator[None]:
    """Turn an unexpected error into one with a remedy, and log its traceback.

    Raises:
        Unexpected: for any exception that is not a `PipelineError`.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as fault:
        error = Unexpected.of(fault)
        get_run_logger().exception("%s", error.problem)
        raise error from fault


def add_or_explain(
    step: Callable[[Findings], Findings],
    explain: Callable[[Findings, PipelineError], Findings],
    findings: Findings,
) -> Findings:
    """Run a step that adds to findings; if it fails, keep them, every one with the reason."""
    try:
        with unexpected_errors_reported():
            return step(findings)
    except (ClusterError, Unexpected) as error:
        return explain(findings, error)


def log_unexpected_faults(findings: Findings) -> None:
    """Log each unexpected fault that steps have noted on findings, with their number."""
    faults = Counter(fault for finding in findings for fault in finding.faults)
    for fault, count in faults.items():
        if UNEXPECTED in fault:
            get_run_logger().error("%s: %d findings", fault, count)
