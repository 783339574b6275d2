"""Prefect's Secret blocks: from a block's name to the secret in it."""

from __future__ import annotations

from typing import Any, cast

from prefect.blocks.system import Secret

from tasks.errors import SettingsError


def read_block(name: str) -> str | None:
    """Read a Secret block of the Prefect server that this process talks to; None without one.

    Raises:
        SettingsError: it holds something else than text.
    """
    try:
        block = cast("Secret[Any]", Secret.load(name))
    except ValueError:  # What Prefect raises where there is no such block.
        return None
    value = block.value.get_secret_value()
    if not isinstance(value, str):
        raise SettingsError(
            f"The Prefect Secret block {name} holds no text.", "Store the secret alone, as text."
        )
    return value
