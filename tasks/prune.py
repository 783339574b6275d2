"""Prune the history: from the number of days to keep to the number of deleted sightings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from prefect import get_run_logger

from tasks.history import prune_history
from tasks.orchestration.steps import step
from tasks.text.numbers import counted


@step  # No retries: the next run goes on where this one ended.
def prune(history_url: str, days: int | None) -> str:
    """Prune the history, and give a summary; without a number of days, keep everything."""
    if days is None:
        return "every sighting kept"
    log = get_run_logger()
    before = datetime.now(UTC) - timedelta(days=days)
    done = prune_history(
        history_url, before, progress=partial(log.info, "%d of %d old sightings looked at")
    )
    log.info("Before %s: %d sightings deleted, %d kept", before, done.deleted, done.kept)
    return f"{counted(done.deleted, 'sighting')} older than {days} days deleted"
