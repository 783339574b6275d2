"""Say what is harmless, until when: `ack`, `unack`, `acks`."""

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

FindingId = Annotated[str, typer.Argument(metavar="FINDING", help="Its id, or how that begins.")]
By = Annotated[str | None, typer.Option(help="Who says so; by default your login name.")]


@commands.command(
    epilog="Example: `beaconhunt ack BH-24A3C0CA --why 'agent of our own' --until 2026-12-24`"
)
def ack(
    finding: FindingId,
    why: Annotated[str, typer.Option(help="It is harmless: what it is, and how you know.")],
    until: Annotated[
        datetime,
        typer.Option(parser=parse_day_or_time, metavar="DATE", help="At most 365 days from now."),
    ],
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="On every host, also those that are seen later.")
    ] = False,
    by: By = None,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Acknowledge a finding: until a day, it is not announced unless its binary changes.

    A date is that day's first minute, in UTC.
    """
    from tasks.history import History  # noqa: PLC0415 - SQLAlchemy takes its time.

    with History.open(chosen_history(history_url, config)) as history:
        word, looked_at = history.acknowledgements.give(
            finding,
            by=_who(by),
            why=why,
            until=until,
            everywhere=everywhere,
            now=datetime.now(UTC),
        )
    out.print(acknowledged_words(word, looked_at))


@commands.command(epilog="Example: `beaconhunt unack BH-24A3C0CA`")
def unack(
    finding: FindingId,
    by: By = None,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """End a finding's acknowledgement now; if it goes on, the next digest says so."""
    from tasks.history import History  # noqa: PLC0415 - SQLAlchemy takes its time.

    with History.open(chosen_history(history_url, config)) as history:
        withdrawn = history.acknowledgements.end(finding, by=_who(by), now=datetime.now(UTC))
    out.print(withdrawal_words(withdrawn))


@commands.command(epilog="Example: `beaconhunt acks --format csv`")
def acks(
    format: As = Format.TABLE, history_url: HistoryUrl = None, config: Config = CONFIG
) -> None:
    """List acknowledgements, those that hold and those that ended, newest first."""
    from tasks.history import History  # noqa: PLC0415 - SQLAlchemy takes its time.

    columns = (
        *("finding", "state", "until", "by", "why", "cluster", "host", "process", "destination"),
        *("given_at", "ended_at", "ended_by", "sha256"),
    )
    now = datetime.now(UTC)
    with History.open(chosen_history(history_url, config)) as history:
        rows = [
            {
                "finding": word.finding,
                "state": "active" if now < word.end else "ended",
                "until": word.until,
                "by": word.by,
                "why": word.why,
                "cluster": "every cluster" if word.everywhere else finding.cluster,
                "host": "every host" if word.everywhere else finding.host.name,
                "process": finding.process.executable or finding.process.name,
                "destination": finding.destination.address,
                "given_at": word.given_at,
                "ended_at": word.ended_at,
                "ended_by": word.ended_by,
                "sha256": word.hash_sha256,
            }
            for word, finding in history.acknowledgements.all()
        ]
    show_rows(columns, rows, format)


def _who(by: str | None) -> str:
    """Give who says so: the one who is named, else whoever is logged in.

    Raises:
        SettingsError: the machine knows none.
    """
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:  # The latter up to Python 3.12.
        raise SettingsError(
            "This machine does not know who you are.", "Say who you are, with `--by`."
        ) from error
