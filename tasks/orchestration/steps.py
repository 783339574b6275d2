"""Steps: from a function to a Prefect task that passes its arguments on as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task
from prefect.utilities.annotations import opaque

P = ParamSpec("P")
R = TypeVar("R")


class Step(Task[P, R]):
    """A task that Prefect neither caches nor searches for futures.

    Prefect walks through the arguments of a task: 5,000 findings have millions of parts. Of an
    opaque argument it only sees the task that the whole value comes from, which is enough to draw
    the run's graph.
    """

    def __init__(self, function: Callable[P, R], **options: Any) -> None:  # noqa: ANN401 - Task's.
        super().__init__(function, cache_policy=NO_CACHE, **options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        """Run the step in the current flow run; the function gets the arguments themselves."""
        named = {name: opaque(value) for name, value in kwargs.items()}
        result: R = super().__call__(*map(opaque, args), **named)  # type: ignore[arg-type]
        return result


def step(function: Callable[P, R]) -> Step[P, R]:
    """Make a step that is not retried: what it needs is local, or it says why it failed."""
    return Step(function)
