"""Look after the history: `history upgrade`, `check`, `backup`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import CONFIG, Config, HistoryUrl, Told, chosen_history
from flows.cli.output import Telling, err, out, show_facts

commands = typer.Typer(no_args_is_help=True, help="Look after the history.")


@commands.command(epilog="Example: `beaconhunt history upgrade`")
def upgrade(history_url: HistoryUrl = None, config: Config = CONFIG) -> None:
    """Create the history, or bring it to this version's schema."""
    from tasks.history import upgrade as upgrade_history  # noqa: PLC0415

    out.print(f"The history has schema {upgrade_history(chosen_history(history_url, config))}.")


@commands.command("check", epilog="Example: `beaconhunt history check`")
def check_history(
    format: Told = Telling.TEXT, history_url: HistoryUrl = None, config: Config = CONFIG
) -> None:
    """Read all of the history, and exit with 1 where it is not well."""
    from tasks.history.upkeep import check  # noqa: PLC0415

    with err.status("Reading ..."):
        inventory = check(chosen_history(history_url, config))
    if format is Telling.JSON:
        show_facts(asdict(inventory))
    else:
        rows = ", ".join(f"{count:,} {name}" for name, count in inventory.rows.items())
        out.print(f"{inventory.place} is whole, with schema {inventory.revision}: {rows}")


@commands.command(epilog="Example: `beaconhunt history backup history-2026-11-24.db`")
def backup(
    file: Annotated[Path, typer.Argument(help="To write; it must not be there yet.")],
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Copy a history in SQLite, while runs and digests go on."""
    from tasks.history.upkeep import backup as back_up  # noqa: PLC0415

    with err.status("Copying ..."):
        back_up(chosen_history(history_url, config), file)
    out.print(f"Copied to {file}", markup=False)
