"""Delete what is too old to be asked for: sightings of the history, reports of the archive."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

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
    """Delete what is old.

    Args:
        history_url: SQLAlchemy URL of the history, without a password.
        archive_url: folder or fsspec URL of the archive.
        history_days: older sightings are deleted; without it all are kept.
        archive_days: older runs and daily pages are deleted; without it all are kept.

    Returns:
        The final state: what was deleted, in words.
    """
    done = prune(history_url, history_days), discard(archive_url, archive_days)
    return Completed(message=", ".join(done))
