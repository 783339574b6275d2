"""Acknowledge a finding, or end that, from Prefect's UI: its run history shows who did what."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.allowed import RunSettings, worker_allows
from tasks.acknowledge import end, give
from tasks.history import History
from tasks.settings import HISTORY_URL, Moment, Url


def _run_name() -> str:
    """Name the flow run in Prefect's UI by its author and finding."""
    parameters: dict[str, Any] = runtime.flow_run.parameters
    return f"{parameters['by']}: {parameters['finding']}"


@flow(name="acknowledge", flow_run_name=_run_name)
def acknowledge(
    finding: str,
    why: str,
    until: Moment,
    by: str,
    everywhere: bool = False,
    history_url: Url = HISTORY_URL,
) -> State:
    """Acknowledge a finding as harmless: it is not announced until the acknowledgement ends.

    Args:
        finding: Id of the finding, for example BH-24A3C0CA.
        why: Why the finding is harmless, for later readers.
        until: End of the acknowledgement, at most 365 days from now.
        by: Author of the acknowledgement.
        everywhere: Cover the same program and destination on every host, also hosts seen later.
        history_url: SQLAlchemy URL of the history, without a password.

    Returns:
        The final state: the acknowledgement in words.
    """
    worker_allows().check(RunSettings(history_url=history_url))
    with History.open(history_url) as history:
        said = give(history, finding, by=by, why=why, until=until, everywhere=everywhere)
    return Completed(message=said)


@flow(name="unacknowledge", flow_run_name=_run_name)
def unacknowledge(finding: str, by: str, history_url: Url = HISTORY_URL) -> State:
    """End the acknowledgement of a finding early.

    Args:
        finding: Id of the finding, for example BH-24A3C0CA.
        by: Name of the person who ends the acknowledgement.
        history_url: SQLAlchemy URL of the history, without a password.

    Returns:
        The final state: the ended acknowledgement in words.
    """
    worker_allows().check(RunSettings(history_url=history_url))
    with History.open(history_url) as history:
        said = end(history, finding, by=by)
    return Completed(message=said)
