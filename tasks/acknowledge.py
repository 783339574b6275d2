"""Give or end an acknowledgement: from an analyst's decision to the history."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from tasks.history import History
from tasks.model.wording import acknowledged_words, withdrawal_words
from tasks.orchestration.steps import step


@step  # No retries: the transaction is all or nothing, and its error has the reason.
def give(
    history: History, finding: str, *, by: str, why: str, until: datetime, everywhere: bool
) -> str:
    """Record an acknowledgement, and give its summary."""
    acknowledgement, looked_at = history.acknowledgements.give(
        finding, by=by, why=why, until=until, everywhere=everywhere, now=datetime.now(UTC)
    )
    summary = acknowledged_words(acknowledgement, looked_at)
    get_run_logger().info("%s", summary)
    return summary


@step  # No retries: as above.
def end(history: History, finding: str, *, by: str) -> str:
    """Record the end of a finding's acknowledgements, and give its summary."""
    summary = withdrawal_words(history.acknowledgements.end(finding, by=by, now=datetime.now(UTC)))
    get_run_logger().info("%s", summary)
    return summary
