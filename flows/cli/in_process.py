"""Run flows in this process: from a deployment to what its final state says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError
from rich.status import Status as Spinner
from rich.text import Text

from flows.cli import interruption
from flows.cli.output import err
from flows.deployments import Deployment
from flows.prefect_server import use_prefect_server
from tasks.errors import SettingsError
from tasks.text.untrusted import visible

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.flows import Flow


def flows_by_name() -> dict[str, Flow[..., Any]]:
    """Import the flows, by name.

    Raises:
        SettingsError: Prefect cannot start with its settings.
    """
    try:
        from flows.check_cluster import check_cluster  # noqa: PLC0415 - Prefect takes a second.
        from flows.daily_digest import daily_digest  # noqa: PLC0415
        from flows.hunt_cluster import hunt_cluster  # noqa: PLC0415
        from flows.retention import retention  # noqa: PLC0415
    except ValidationError as error:
        fault = error.errors()[0]
        raise SettingsError(
            f"Prefect cannot start: {error.title}.{'.'.join(map(str, fault['loc']))}: "
            f"{fault['msg']}.",
            "Correct that setting where it is set: a PREFECT_ variable, or Prefect's profile.",
        ) from error
    return {flow.name: flow for flow in (hunt_cluster, daily_digest, check_cluster, retention)}


def run_here(deployment: Deployment, **chosen: object) -> dict[str, Any]:
    """Run a deployment's flow in this process, and raise what made it fail.

    Args:
        deployment: with its parameters.
        chosen: parameters of this run.

    Returns:
        What its final state says for scripts.

    Raises:
        PipelineError: with the remedy.
    """
    flow = flows_by_name()[deployment.flow_name]
    parameters = deployment.checked(flow)
    use_prefect_server()
    try:
        state = cast("State[Any]", flow(**{**parameters, **chosen}, return_state=True))
    except Exception:
        # Whatever it was: without its server Prefect cannot go on.
        use_prefect_server()
        raise
    if not state.is_failed():
        return cast("dict[str, Any]", state.result())
    failure = state.result(raise_on_failure=False)
    if isinstance(failure, Exception):
        raise failure
    raise SettingsError(str(state.message), "See the log of the flow run in Prefect.")


@contextmanager
def progress(text: str) -> Iterator[Spinner]:
    """Show what is going on: the pipeline logs one line a step, and the newest is shown."""
    with err.status(text) as spinner:
        flows_by_name()  # Prefect sets its loggers up when imported, and forgets other handlers.
        handler = _Newest(spinner)
        loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield spinner
        finally:
            for logger in loggers:
                logger.removeHandler(handler)


class _Newest(logging.Handler):
    """Shows the newest line of a step beside the spinner, and none of the engine's own."""

    def __init__(self, spinner: Spinner) -> None:
        super().__init__(logging.INFO)
        self._spinner = spinner

    def emit(self, record: logging.LogRecord) -> None:
        if not record.module.endswith("_engine"):
            interruption.raise_if_interrupted()
            self._spinner.update(Text(visible(record.getMessage())))
