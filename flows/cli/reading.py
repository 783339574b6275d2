"""Read events, runs and findings: `query`, `runs`, `findings`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import CONFIG, As, Config, HistoryUrl, chosen_history
from flows.cli.output import Format, err, show_rows
from tasks.errors import SettingsError
from tasks.model.findings import Status
from tasks.settings import Cluster

commands = typer.Typer()


@commands.command(
    epilog="Example: `beaconhunt query data 'FROM logs-* | STATS COUNT(*) BY host.name'`"
)
def query(
    folder: Annotated[
        Path, typer.Argument(help="Folder of events, with one subfolder for each data stream.")
    ],
    text: Annotated[str, typer.Argument(metavar="ES|QL", help="The query.")],
    format: As = Format.TABLE,
    skip_bad_lines: Annotated[
        bool, typer.Option(help="Skip and count unreadable NDJSON lines instead of stopping.")
    ] = False,
) -> None:
    """Run an ES|QL query against a folder of events."""
    from tasks.clusters import Question, ask, connect

    if not folder.expanduser().is_dir():
        raise SettingsError(
            f"There is no folder {folder}.",
            "Name a folder of events, with one subfolder for each data stream.",
        )
    url = folder.expanduser().absolute().as_uri()
    cluster = Cluster(name="folder", url=url, skip_bad_lines=skip_bad_lines)
    with err.status("Reading ..."), connect(cluster) as client:
        answer = ask(client, Question("query", text, {"match_all": {}}, {}))
    for warning in answer.warnings:
        err.print(f"warning: {warning}", style="yellow")
    show_rows(list(answer.types), answer.records(), format)


@commands.command(epilog="Example: `beaconhunt runs --cluster prod-eu --format json`")
def runs(
    cluster: Annotated[str | None, typer.Option(help="Only runs on this cluster.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of runs.")] = 30,
    format: As = Format.TABLE,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """List runs, newest first, with their outcomes and counts."""
    from tasks.history import History

    columns = (
        *("slot", "cluster", "hunt", "outcome", "new", "known", "acknowledged", "quiet"),
        *("detail", "id"),
    )
    with History.open(chosen_history(history_url, config)) as history:
        rows = [
            {
                "slot": each.run.slot,
                "cluster": each.run.cluster,
                "hunt": each.run.hunt,
                "outcome": each.run.outcome.value,
                "new": each.counts.get(Status.NEW, 0),
                "known": sum(each.counts.get(status, 0) for status in _KNOWN),
                "acknowledged": each.acknowledged,
                "quiet": each.counts.get(Status.QUIET, 0),
                "detail": each.run.detail,
                "id": each.run.id,
            }
            for each in history.runs(cluster=cluster, limit=limit)
        ]
    show_rows(columns, rows, format)


_KNOWN = (Status.BASELINE, Status.CONTINUING, Status.RETURNED)


@commands.command(epilog="Example: `beaconhunt findings --status new --format csv`")
def findings(
    status: Annotated[Status | None, typer.Option(help="Only findings with this status.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only findings on this cluster.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of findings.")] = 100,
    format: As = Format.TABLE,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """List findings as of the last run that searched their cluster.

    A later run that failed or had no data does not hide them.
    """
    from tasks.history import History

    columns = (
        *("id", "status", "disposition", "priority", "cluster", "host", "process", "destination"),
        *("first_seen", "last_seen", "acknowledged_by", "acknowledged_until", "why"),
    )
    with History.open(chosen_history(history_url, config)) as history:
        rows = [
            {
                "id": finding.id,
                "status": finding.status.value,
                "disposition": finding.disposition.value,
                "priority": finding.priority.value if finding.priority else None,
                "cluster": finding.cluster,
                "host": finding.host.name,
                "process": finding.process.name,
                "destination": finding.destination.address,
                "first_seen": finding.first_seen,
                "last_seen": finding.last_seen,
                "acknowledged_by": given.by if (given := finding.acknowledgement) else None,
                "acknowledged_until": given.end if given else None,
                "why": finding.why,
            }
            for finding in history.findings(status, cluster, limit, now=datetime.now(UTC))
        ]
    show_rows(columns, rows, format)
