"""Mark findings as harmless until a date: `ack`, `unack`, `acks`."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.cli.options import (
    CONFIG,
    As,
    Config,
    HistoryUrl,
    chosen_history,
    parse_day_or_time,
)
from flows.cli.output import Format, out, show_rows
from tasks.errors import SettingsError
from tasks.model.wording import acknowledged_words, withdrawal_words

commands = typer.Typer()

FindingId = Annotated[
    str, typer.Argument(metavar="FINDING", help="Id of the finding, or its beginning.")
]
By = Annotated[str | None, typer.Option(help="Your name. Default: your login name.")]


@commands.command(
    epilog="Example: `beaconhunt ack BH-24A3C0CA --why 'our own agent' --until 2026-12-24`"
)
def ack(
    finding: FindingId,
    why: Annotated[str, typer.Option(help="What the program is, and why it is harmless.")],
    until: Annotated[
        datetime,
        typer.Option(
            parser=parse_day_or_time,
            metavar="DATE",
            help="End of the acknowledgement, at most 365 days from now.",
        ),
    ],
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="On every host, including hosts seen later.")
    ] = False,
    by: By = None,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Acknowledge a finding as harmless: it is not announced until DATE or a changed binary.

    A date without a time means midnight UTC, at the start of that day.
    """
    from tasks.history import History

    with History.open(chosen_history(history_url, config)) as history:
        acknowledgement, looked_at = history.acknowledgements.give(
            finding,
            by=_author(by),
            why=why,
            until=until,
            everywhere=everywhere,
            now=datetime.now(UTC),
        )
    out.print(acknowledged_words(acknowledgement, looked_at))


@commands.command(epilog="Example: `beaconhunt unack BH-24A3C0CA`")
def unack(
    finding: FindingId,
    by: By = None,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """End a finding's acknowledgement now; if it is still active, the next digest announces it."""
    from tasks.history import History

    with History.open(chosen_history(history_url, config)) as history:
        withdrawn = history.acknowledgements.end(finding, by=_author(by), now=datetime.now(UTC))
    out.print(withdrawal_words(withdrawn))


@commands.command(epilog="Example: `beaconhunt acks --format csv`")
def acks(
    format: As = Format.TABLE, history_url: HistoryUrl = None, config: Config = CONFIG
) -> None:
    """List active and ended acknowledgements, newest first."""
    from tasks.history import History

    columns = (
        *("finding", "state", "until", "by", "why", "cluster", "host", "process", "destination"),
        *("given_at", "ended_at", "ended_by", "sha256"),
    )
    now = datetime.now(UTC)
    with History.open(chosen_history(history_url, config)) as history:
        rows = [
            {
                "finding": given.finding,
                "state": "active" if now < given.end else "ended",
                "until": given.until,
                "by": given.by,
                "why": given.why,
                "cluster": "every cluster" if given.everywhere else finding.cluster,
                "host": "every host" if given.everywhere else finding.host.name,
                "process": finding.process.executable or finding.process.name,
                "destination": finding.destination.address,
                "given_at": given.given_at,
                "ended_at": given.ended_at,
                "ended_by": given.ended_by,
                "sha256": given.hash_sha256,
            }
            for given, finding in history.acknowledgements.all()
        ]
    show_rows(columns, rows, format)


def _author(by: str | None) -> str:
    """Give the name from `--by`, else the login name.

    Raises:
        SettingsError: there is no login name.
    """
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:  # The latter up to Python 3.12.
        raise SettingsError(
            "This machine has no login name for you.", "Name yourself with `--by`."
        ) from error
