"""Maintain the history: `history upgrade`, `check`, `backup`, `prune`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import CONFIG, Config, FormatOption, HistoryUrl, chosen_history
from flows.cli.output import OutputFormat, bar, err, out, show_facts
from tasks.settings import KEPT_DAYS_AT_LEAST

commands = typer.Typer(no_args_is_help=True, help="Maintain the history.")


@commands.command(epilog="Example: `beaconhunt history upgrade`")
def upgrade(history_url: HistoryUrl = None, config: Config = CONFIG) -> None:
    """Create the history, or upgrade it to the schema of this version."""
    from tasks.history import upgrade_history

    out.print(f"The history has schema {upgrade_history(chosen_history(history_url, config))}.")


@commands.command("check", epilog="Example: `beaconhunt history check`")
def check_history(
    format: FormatOption = OutputFormat.TEXT,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Read the whole history; exit with 1 if it is damaged."""
    from tasks.history.upkeep import take_inventory

    with err.status("Reading ..."):
        inventory = take_inventory(chosen_history(history_url, config))
    if format is OutputFormat.JSON:
        show_facts(asdict(inventory))
    else:
        rows = ", ".join(f"{count:,} {name}" for name, count in inventory.rows.items())
        out.print(f"{inventory.place} is whole, with schema {inventory.revision}: {rows}")


@commands.command(epilog="Example: `beaconhunt history backup history-2026-11-24.db`")
def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")],
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Copy a SQLite history; runs and digests may go on meanwhile."""
    from tasks.history.upkeep import back_up

    with err.status("Copying ..."):
        back_up(chosen_history(history_url, config), file)
    out.print(f"Copied to {file}")


@commands.command(epilog="Example: `beaconhunt history prune --older-than 400`")
def prune(
    older_than: Annotated[
        int,
        typer.Option(min=KEPT_DAYS_AT_LEAST, metavar="DAYS", help="Age of the sightings in days."),
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete them. Without it, they are only counted.")
    ] = False,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Delete old sightings that no later run or digest needs; runs may go on meanwhile."""
    from tasks.history.retention import prune_history

    before = datetime.now(UTC) - timedelta(days=older_than)
    with bar("Sightings") as progress:
        url = chosen_history(history_url, config)
        done = prune_history(url, before, dry_run=not yes, progress=progress)
    out.print(
        f"{done.deleted:,} of {done.deleted + done.kept:,} sightings older than {older_than} days "
        f"{'were' if yes else 'would be'} deleted."
        f"{'' if yes else ' Nothing was deleted: add --yes to delete them.'}"
    )
