"""Real processes: killed with SIGKILL after any of their steps, or two at the same moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pkgutil import resolve_name
from typing import Any

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from tests import sqlite  # noqa: F401 - it makes SQLite forgetful.

_PROCESSES = get_context("forkserver")
"""Forks from a process of one thread that has imported everything already."""

_PROCESSES.set_forkserver_preload(
    [
        "flows.daily_digest",
        "flows.hunt_cluster",
        # What a first flow run imports, for more CPU than it takes itself.
        "duckdb",
        "fastapi.encoders",
        "prefect.flow_engine",
        "prefect.task_engine",
        "prefect.telemetry.run_telemetry",
        "prefect.utilities.visualization",
        "tasks.esql.node",
        "tests.compiled_templates",
        # What the modules of tests import in which the functions are.
        "tests.flows.office",
        "tests.flows.site",
        "tests.postgresql",
        __name__,
    ]
)


def public(owner: type) -> list[str]:
    """Name all that can be asked of a class's objects."""
    return [
        f"{owner.__module__}:{owner.__qualname__}.{name}"
        for name, each in vars(owner).items()
        if callable(each) and not name.startswith("_")
    ]


def killed_after(
    steps: Sequence[str],
    number: int,
    run: Callable[..., object],
    *arguments: object,
    environment: Mapping[str, str],
) -> str | None:
    """Run a function in a process of its own that is killed right after so many steps.

    Args:
        steps: `module:name` of the functions whose ends are counted, whoever calls them.
        number: of the last step, from 1 on.
        run: the function, of a module.
        arguments: its arguments.
        environment: what is added to the process's environment.

    Returns:
        The step after which it was killed; None when it came to its end.
    """
    receiver, sender = _PROCESSES.Pipe(duplex=False)
    orders = (sender, steps, number, dict(environment), PREFECT_API_URL.value(), run, arguments)
    process = _PROCESSES.Process(target=_run, args=orders)
    process.start()
    sender.close()
    process.join()
    with receiver:
        if process.exitcode == 0:
            return None
        assert process.exitcode == -signal.SIGKILL
        return str(receiver.recv())


def at_once(
    processes: int,
    run: Callable[..., object],
    *arguments: object,
    environment: Mapping[str, str],
    before: str | None = None,
) -> None:
    """Run a function in several processes, which begin together, and wait for all of them.

    Args:
        processes: how many.
        run: the function, of a module.
        arguments: its arguments.
        environment: what is added to the processes' environment.
        before: `module:name` of a function of theirs; each waits for the others before it.
    """
    together = _PROCESSES.Barrier(processes)
    orders = (together, before, dict(environment), PREFECT_API_URL.value(), run, arguments)
    started = [_PROCESSES.Process(target=_run_together, args=orders) for _ in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join()
        assert process.exitcode == 0


def _run_together(
    together: Barrier,
    before: str | None,
    environment: Mapping[str, str],
    api_url: str,
    run: Callable[..., object],
    arguments: Sequence[Any],
) -> None:
    os.environ.update(environment)

    def meeting(_: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def meets(*args: Any, **kwargs: Any) -> Any:
            together.wait()
            return function(*args, **kwargs)

        return meets

    if before:
        _replace(before, meeting)
    together.wait()
    with _reporting_to(api_url):
        run(*arguments)


def _run(
    sender: Connection,
    steps: Sequence[str],
    number: int,
    environment: Mapping[str, str],
    api_url: str,
    run: Callable[..., object],
    arguments: Sequence[Any],
) -> None:
    os.environ.update(environment)
    numbers = count(1)

    def ending(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def ends(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if next(numbers) == number:
                sender.send(step)
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return ends

    for step in steps:
        _replace(step, ending)
    with _reporting_to(api_url):
        run(*arguments)


def _reporting_to(api_url: str) -> AbstractContextManager[object]:
    """Know the server of the tests; a heart that beats keeps a flow's end waiting for a second."""
    return temporary_settings({PREFECT_API_URL: api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def _replace(step: str, by: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace the function `module:name` by what is made of it."""
    owner, _, name = step.replace(":", ".").rpartition(".")
    setattr(resolve_name(owner), name, by(step, resolve_name(step)))
