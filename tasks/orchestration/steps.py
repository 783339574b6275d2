"""Steps: from a function to a Prefect task that passes its arguments on as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task
from prefect.utilities.annotations import opaque

from tasks.errors import PipelineError, Unexpected

P = ParamSpec("P")
R = TypeVar("R")


class Step(Task[P, R]):
    """A task that Prefect neither caches nor searches for futures.

    Prefect walks through the arguments of a task, and 5,000 findings have millions of parts.
    `opaque` stops that walk; Prefect still knows which task made the value, and draws the graph.
    This holds for calls, not for `submit` and `map`, which no flow of ours uses.

    Prefect keeps the text of a task's error, so an unexpected one is named by its type only.
    """

    def __init__(self, function: Callable[P, R], **options: Any) -> None:  # noqa: ANN401 - whatever Task takes.
        super().__init__(_named(function), cache_policy=NO_CACHE, **options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        """Run the step in the current flow run; the function gets the arguments themselves."""
        keywords = {name: opaque(value) for name, value in kwargs.items()}
        result: R = super().__call__(*map(opaque, args), **keywords)  # type: ignore[arg-type]
        return result


def _named(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except PipelineError:
            raise
        except Exception as fault:
            raise Unexpected.of(fault) from fault

    return run


def step(function: Callable[P, R]) -> Step[P, R]:
    """Make a step that is not retried, unlike a `cluster_step`."""
    return Step(function)
