"""Which failures of a question a task may try again: only what can pass by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from tasks.errors import TransientError

P = ParamSpec("P")
R = TypeVar("R")

AT_MOST = 3
FIRST_DELAY_SECONDS = 5
JITTER = 0.5


def may_pass(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Tell Prefect whether to retry: a `TransientError` yes, everything else no."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


def cluster_task(step: Callable[P, R]) -> Task[P, R]:
    """Make a task of a step that asks a cluster.

    An overloaded cluster or a line that dropped is asked again, after 5, 10 and 20 s, each up to
    half as long or short.
    """
    return task(
        cache_policy=NO_CACHE,
        retries=AT_MOST,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
        retry_jitter_factor=JITTER,
        retry_condition_fn=may_pass,
    )(step)


def is_last_attempt() -> bool:
    """Whether the running task is not tried again."""
    return bool(runtime.task_run.run_count > AT_MOST)
