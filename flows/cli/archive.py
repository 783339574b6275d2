"""Look after the archive of reports: `archive verify`, `reindex`, `prune`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from flows.cli.options import CONFIG, ArchiveUrl, Config, chosen_archive
from flows.cli.output import out
from tasks.settings import KEPT_DAYS_AT_LEAST
from tasks.text.untrusted import visible

commands = typer.Typer(no_args_is_help=True, help="Look after the archive of reports.")


@commands.command(epilog="Example: `beaconhunt archive verify`")
def verify(archive_url: ArchiveUrl = None, config: Config = CONFIG) -> None:
    """Render every run again and compare bytes; exit with 1 where a file was changed."""
    from tasks.archive import verify_archive as verified  # noqa: PLC0415 - Prefect takes a second.
    from tasks.report import pages_of  # noqa: PLC0415

    runs, changed = 0, False
    for differences in verified(chosen_archive(archive_url, config), pages_of):
        runs += 1
        for each in differences:
            made = f" now; beaconhunt {each.version} made it" if each.version else ""
            out.print(visible(f"{each.path} {each.reason}{made}"))
            changed = changed or not each.version
    out.print(
        f"Runs read: {runs:,}. {'Files were changed.' if changed else 'No file was changed.'}"
    )
    if changed:
        raise typer.Exit(1)


@commands.command(epilog="Example: `beaconhunt archive reindex`")
def reindex(archive_url: ArchiveUrl = None, config: Config = CONFIG) -> None:
    """Build the archive's index.html, and the pages of all months, from the records of its runs."""
    from tasks.archive import write_index  # noqa: PLC0415 - Prefect takes a second.

    out.print(write_index(chosen_archive(archive_url, config), anew=True))


@commands.command(epilog="Example: `beaconhunt archive prune --older-than 400`")
def prune(
    older_than: Annotated[
        int,
        typer.Option(
            min=KEPT_DAYS_AT_LEAST, metavar="DAYS", help="Age of the runs and daily pages."
        ),
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without, they are only listed.")
    ] = False,
    archive_url: ArchiveUrl = None,
    config: Config = CONFIG,
) -> None:
    """Remove old runs and daily pages, and files that were cut off; list them.

    The newest run of each cluster stays, and the newest complete one.
    """
    from tasks.archive import prune_archive  # noqa: PLC0415 - Prefect takes a second.

    gone = prune_archive(
        chosen_archive(archive_url, config),
        datetime.now(UTC) - timedelta(days=older_than),
        dry_run=not yes,
        tell=lambda path: out.print(visible(path)),
    )
    out.print(
        f"Removed: {len(gone):,}"
        if yes
        else f"To be removed: {len(gone):,}. Nothing was: remove them with --yes."
    )
