"""Acknowledge a finding, or end that: from an analyst's word to an entry of the history."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from tasks.history import History
from tasks.model.wording import acknowledged_words, withdrawal_words
from tasks.orchestration.steps import step


@step  # No retries: the transaction is all or nothing, and says why.
def give(
    history: History, finding: str, *, by: str, why: str, until: datetime, everywhere: bool
) -> str:
    """Write the word into the history."""
    word, looked_at = history.acknowledgements.give(
        finding, by=by, why=why, until=until, everywhere=everywhere, now=datetime.now(UTC)
    )
    said = acknowledged_words(word, looked_at)
    get_run_logger().info("%s", said)
    return said


@step  # No retries: as above.
def end(history: History, finding: str, *, by: str) -> str:
    """Write the end of what was said of a finding into the history."""
    said = withdrawal_words(history.acknowledgements.end(finding, by=by, now=datetime.now(UTC)))
    get_run_logger().info("%s", said)
    return said
