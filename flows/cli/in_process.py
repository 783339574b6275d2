"""Run flows in this process: from a deployment to the result of its flow run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError
from rich.status import Status as Spinner
from rich.text import Text

from flows.allowed import use_configuration
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
        from flows.check_cluster import check_cluster
        from flows.daily_digest import daily_digest
        from flows.hunt_cluster import hunt_cluster
        from flows.retention import retention
    except ValidationError as error:
        fault = error.errors()[0]
        raise SettingsError(
            f"Prefect cannot start: {error.title}.{'.'.join(map(str, fault['loc']))}: "
            f"{fault['msg']}.",
            "Correct the setting: it comes from a PREFECT_ variable or from Prefect's profile.",
        ) from error
    return {flow.name: flow for flow in (hunt_cluster, daily_digest, check_cluster, retention)}


def run_here(deployment: Deployment, config: Path, **chosen: object) -> dict[str, Any]:
    """Run a deployment's flow in this process, and raise the error that made it fail.

    Args:
        deployment: with its parameters.
        config: the prefect.yaml that lists it, and so what the run may use.
        chosen: parameters of this run.

    Returns:
        The facts about the run, for scripts.

    Raises:
        PipelineError: with the remedy.
    """
    use_configuration(config)
    flow = flows_by_name()[deployment.flow_name]
    parameters = deployment.checked(flow)
    use_prefect_server()
    try:
        state = cast("State[Any]", flow(**{**parameters, **chosen}, return_state=True))
    except Exception:
        # If the server is gone, that is the error to report.
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
    """Show progress: the newest line that the pipeline logs, one for each step."""
    with err.status(text) as spinner:
        flows_by_name()  # Prefect's import sets up its loggers, and removes other handlers.
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
    """Shows a step's newest line beside the spinner, without the lines of Prefect's engine."""

    def __init__(self, spinner: Spinner) -> None:
        super().__init__(logging.INFO)
        self._spinner = spinner

    def emit(self, record: logging.LogRecord) -> None:
        if not record.module.endswith("_engine"):
            interruption.raise_if_interrupted()
            self._spinner.update(Text(visible(record.getMessage())))
