from __future__ import annotations

from prefect import flow, task
from prefect.utilities.engine import collect_task_run_inputs_sync

from flows.opaque import opaque


class Part(list):
    """A part of a value, which notices when somebody walks through it."""

    def __iter__(self):
        raise AssertionError("somebody walked through the value")


@task
def make() -> list[Part]:
    return [Part()]


@task
def take(value: list[Part]) -> bool:
    return isinstance(value[0], Part)


def test_a_task_gets_the_value_itself_and_the_graph_its_edge():
    """Nobody walks through the parts, and the UI still shows which task the whole comes from."""

    @flow
    def chain() -> tuple[bool, int]:
        made = make()
        return take(opaque(made)), len(collect_task_run_inputs_sync(opaque(made)))

    assert chain() == (True, 1)
