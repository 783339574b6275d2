"""Retries: which failed questions to a cluster are asked again, and when."""

from __future__ import annotations

from collections.abc import Callable

from prefect import runtime
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from tasks.errors import TransientError
from tasks.orchestration.steps import P, R, Step

AT_MOST = 5
"""They last as long as a node's restart."""

FIRST_DELAY_SECONDS = 5
JITTER = 0.5


def may_pass(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Decide for Prefect whether to retry: a `TransientError` yes, everything else no."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


def cluster_step(function: Callable[P, R]) -> Step[P, R]:
    """Make a step that asks a cluster, and retries transient failures.

    An overloaded cluster or a dropped line is asked again after 5, 10, 20, 40 and 80 s, give or
    take half.
    """
    return Step(
        function,
        retries=AT_MOST,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
        retry_jitter_factor=JITTER,
        retry_condition_fn=may_pass,
    )


def is_last_attempt() -> bool:
    """Whether the running task will not be retried."""
    return bool(runtime.task_run.run_count > AT_MOST)
