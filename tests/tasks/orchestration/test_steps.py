from __future__ import annotations

from prefect import flow

from tasks.orchestration.steps import step


class Part(list):
    """A part of a value that notices when something walks through it."""

    def __iter__(self):
        raise AssertionError("something walked through the value")


@step
def make() -> list[Part]:
    return [Part()]


@step
def take(first: list[Part], second: list[Part]) -> bool:
    return isinstance(first[0], Part) and first is second


def test_a_step_gets_its_arguments_as_they_are():
    """Prefect walks through no part of them, positional or named."""

    @flow
    def chain() -> bool:
        made = make()
        return take(made, second=made)

    assert chain()
