"""Prefect's Secret blocks: from a block's name to its secret."""

from __future__ import annotations

from typing import Any, cast

from prefect.blocks.system import Secret

from tasks.errors import SettingsError


def read_block(name: str) -> str | None:
    """Read a Secret block from this process's Prefect server; None if there is no such block.

    Raises:
        SettingsError: the block holds something other than text.
    """
    try:
        block = cast("Secret[Any]", Secret.load(name))
    except ValueError:  # Prefect raises it if there is no such block.
        return None
    value = block.value.get_secret_value()
    if not isinstance(value, str):
        raise SettingsError(
            f"The Prefect Secret block {name} is not text.", "Store only the secret, as text."
        )
    return value
