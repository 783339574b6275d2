"""Delete what is too old to be asked for: sightings of the history."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.forget import forget
from tasks.settings import HISTORY_URL, KeptDays, Url


@flow(name="retention")
def retention(history_url: Url = HISTORY_URL, history_days: KeptDays | None = None) -> State:
    """Delete what is old.

    Args:
        history_url: SQLAlchemy URL of the history, without a password.
        history_days: older sightings are deleted; without it all are kept.

    Returns:
        The final state: what was deleted, in words.
    """
    return Completed(message=forget(history_url, history_days))
