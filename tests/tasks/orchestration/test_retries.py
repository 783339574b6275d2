from __future__ import annotations

import asyncio

import pytest
from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import exception_to_crashed_state, exception_to_failed_state

from tasks.errors import (
    ArchiveError,
    DeadlineExceeded,
    HistoryError,
    HuntError,
    PipelineError,
    QueryRefused,
    RunInProgress,
    SettingsError,
    SlackBusy,
    SlackRefused,
    SlackUnreachable,
    TransientError,
    Unauthorised,
    Unreachable,
)
from tasks.orchestration.retries import may_pass


@task
def query() -> None:
    """A task like any other; what counts is how it ended."""


RUN = TaskRun(task_key="query", dynamic_key="0")


def failed(error: Exception) -> State:
    """The state in which Prefect leaves a task that raised."""
    return asyncio.run(exception_to_failed_state(error))


@pytest.mark.parametrize("kind", [TransientError, Unreachable, SlackBusy, SlackUnreachable])
def test_what_can_pass_by_itself_is_tried_again(kind: type[PipelineError]):
    """An overloaded cluster, a line that dropped."""
    assert may_pass(query, RUN, failed(kind("prod: later.", "Wait.")))


@pytest.mark.parametrize(
    "kind",
    [
        *(PipelineError, SettingsError, HuntError, Unauthorised, QueryRefused, DeadlineExceeded),
        *(HistoryError, RunInProgress, ArchiveError, SlackRefused),
    ],
)
def test_what_somebody_must_change_is_not_tried_again(kind: type[PipelineError]):
    """A wrong key is not right a minute later."""
    assert not may_pass(query, RUN, failed(kind("prod: no.", "Change it.")))


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ConnectionError("not ours"), TimeoutError()]
)
def test_a_fault_of_ours_is_not_tried_again(error: Exception):
    """What can pass is translated in one place each; everything else is a bug."""
    assert not may_pass(query, RUN, failed(error))


def test_a_cause_that_can_pass_does_not_make_its_effect_pass():
    """What was decided counts, not what led to it."""
    error = QueryRefused("prod: no.", "Change it.")
    error.__cause__ = Unreachable("prod: away.", "Wait.")
    assert not may_pass(query, RUN, failed(error))


def test_a_task_that_was_cancelled_is_not_tried_again():
    """Whoever stopped it meant it."""
    assert not may_pass(query, RUN, asyncio.run(exception_to_crashed_state(KeyboardInterrupt())))
