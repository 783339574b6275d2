"""Which failures a task may try again: only what can pass by itself."""

from __future__ import annotations

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks.errors import TransientError

AT_MOST = 3
FIRST_DELAY_SECONDS = 5
JITTER = 0.5


def may_pass(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Tell Prefect whether to retry: a `TransientError` yes, everything else no."""
    return isinstance(state.result(raise_on_failure=False), TransientError)
