"""Maintain the archive of reports: `archive verify`, `reindex`, `prune`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from flows.cli.options import CONFIG, ArchiveUrl, Config, chosen_archive
from flows.cli.output import out
from tasks.settings import KEPT_DAYS_AT_LEAST
from tasks.text.untrusted import visible

commands = typer.Typer(no_args_is_help=True, help="Maintain the archive of reports.")


@commands.command(epilog="Example: `beaconhunt archive verify`")
def verify(archive_url: ArchiveUrl = None, config: Config = CONFIG) -> None:
    """Render every run again and compare the bytes; exit with 1 if a file was changed."""
    from tasks.archive import verify_archive
    from tasks.report import pages_of

    runs, changed = 0, False
    for differences in verify_archive(chosen_archive(archive_url, config), pages_of):
        runs += 1
        for difference in differences:
            version = difference.version
            made = f" now; beaconhunt {version} made it" if version else ""
            out.print(visible(f"{difference.path} {difference.reason}{made}"))
            changed = changed or not version
    out.print(
        f"Runs read: {runs:,}. {'Files were changed.' if changed else 'No file was changed.'}"
    )
    if changed:
        raise typer.Exit(1)


@commands.command(epilog="Example: `beaconhunt archive reindex`")
def reindex(archive_url: ArchiveUrl = None, config: Config = CONFIG) -> None:
    """Rebuild index.html and the pages of all months from the archived runs."""
    from tasks.archive import write_index

    out.print(write_index(chosen_archive(archive_url, config), anew=True))


@commands.command(epilog="Example: `beaconhunt archive prune --older-than 400`")
def prune(
    older_than: Annotated[
        int,
        typer.Option(
            min=KEPT_DAYS_AT_LEAST, metavar="DAYS", help="Age of the runs and daily pages in days."
        ),
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them. Without it, they are only listed.")
    ] = False,
    archive_url: ArchiveUrl = None,
    config: Config = CONFIG,
) -> None:
    """Remove old runs, old daily pages and incomplete files, and list them.

    The newest run for each cluster is kept, and the newest complete run.
    """
    from tasks.archive import prune_archive

    removed = prune_archive(
        chosen_archive(archive_url, config),
        datetime.now(UTC) - timedelta(days=older_than),
        dry_run=not yes,
        report=lambda path: out.print(visible(path)),
    )
    out.print(
        f"Removed: {len(removed):,}"
        if yes
        else f"To be removed: {len(removed):,}. Nothing was removed: add --yes to remove them."
    )
