"""Acknowledge a finding, or end that, from Prefect's UI: its run history says who did what."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.acknowledge import end, give
from tasks.history import History
from tasks.settings import HISTORY_URL, Moment, Url


def _run_name() -> str:
    """Name the flow run in Prefect's UI: who says it of which finding."""
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
    """Acknowledge a finding: it is not announced until the word ends.

    Args:
        finding: its id, for example BH-24A3C0CA.
        why: it is harmless, for whoever reads this later.
        until: when the word ends, at most 365 days from now.
        by: who says so.
        everywhere: the same program and destination on every host, also those seen later.
        history_url: SQLAlchemy URL of the history, without a password.

    Returns:
        The final state: what is acknowledged, in words.
    """
    with History.open(history_url) as history:
        said = give(history, finding, by=by, why=why, until=until, everywhere=everywhere)
    return Completed(message=said)


@flow(name="unacknowledge", flow_run_name=_run_name)
def unacknowledge(finding: str, by: str, history_url: Url = HISTORY_URL) -> State:
    """End what was said of a finding before its time.

    Args:
        finding: its id, for example BH-24A3C0CA.
        by: who ends it.
        history_url: SQLAlchemy URL of the history, without a password.

    Returns:
        The final state: what is not acknowledged any more, in words.
    """
    with History.open(history_url) as history:
        said = end(history, finding, by=by)
    return Completed(message=said)
