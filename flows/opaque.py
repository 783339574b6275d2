"""Values that Prefect passes on as they are, without looking for futures inside them."""

from __future__ import annotations

from typing import TypeVar, cast

from prefect.utilities.annotations import opaque as unwalked

T = TypeVar("T")


def opaque(value: T) -> T:
    """Keep Prefect from walking through a task's argument: 5,000 findings have millions of parts.

    It still sees which task the whole value comes from, and draws the run's graph by that. The
    task gets the value itself, so for the reader and the type checker this is the value.
    """
    return cast("T", unwalked(value))
