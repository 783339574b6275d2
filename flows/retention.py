"""Delete old sightings from the history, and old reports from the archive."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.allowed import RunSettings, worker_allows
from tasks.archive import discard
from tasks.prune import prune
from tasks.settings import ARCHIVE_URL, HISTORY_URL, KeptDays, Url


@flow(name="retention")
def retention(
    history_url: Url = HISTORY_URL,
    archive_url: Url = ARCHIVE_URL,
    history_days: KeptDays | None = None,
    archive_days: KeptDays | None = None,
) -> State:
    """Delete old sightings from the history, and old reports from the archive.

    Args:
        history_url: SQLAlchemy URL of the history, without a password.
        archive_url: Folder or fsspec URL of the archive.
        history_days: Sightings older than this many days are deleted; without it, all are kept.
        archive_days: Runs and daily pages older than this many days are deleted; without it, all
            are kept.

    Returns:
        The final state, with the numbers of deleted records in words.
    """
    worker_allows().check(RunSettings(history_url=history_url, archive_url=archive_url))
    done = prune(history_url, history_days), discard(archive_url, archive_days)
    return Completed(message=", ".join(done))
