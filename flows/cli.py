"""The command line: each command calls a flow or a noun, and shows what came of it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status as Spinner

from flows.output import Format, Telling, complain, err, out, quote, show, show_checks, show_facts
from tasks.checks import Check, Verdict
from tasks.errors import PipelineError, SettingsError
from tasks.findings import Status
from tasks.hostile import visible
from tasks.settings import HISTORY_URL, Cluster, deployments

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.flows import Flow


def moment(text: str) -> datetime:
    """Read a time that names its zone."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-11-24T06:00Z.") from error
    if given.tzinfo is None:
        raise typer.BadParameter(f"{text!r} names no time zone; end it with Z for UTC.")
    return given.astimezone(UTC)


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Hunt for unsigned macOS programs that keep calling one public address.",
)
db = typer.Typer(no_args_is_help=True, help="The history's database.")
app.add_typer(db, name="db")

Config = Annotated[Path, typer.Option(help="The prefect.yaml that lists your deployments.")]
HistoryUrl = Annotated[
    str | None, typer.Option(help="The history, where prefect.yaml names none or several.")
]
Told = Annotated[Telling, typer.Option("--format", help="For people, or for scripts.")]
As = Annotated[Format, typer.Option("--format", help="How to write the rows.")]
Moment = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="With its zone: 2026-11-24T06:00Z."),
]
CONFIG = Path("prefect.yaml")


@app.command(epilog="Example: `beaconhunt run prod-eu --slot 2026-11-24T06:00Z`")
def run(
    cluster: Annotated[str, typer.Argument(help="Its name in prefect.yaml.")],
    slot: Moment = None,
    format: Told = Telling.TEXT,
    config: Config = CONFIG,
) -> None:
    """Hunt one cluster now, or as of a slot, with the parameters of its deployment."""
    from flows.hunt_cluster import hunt_cluster  # noqa: PLC0415 - Prefect takes a second.

    for parameters in _deployed(config, "cluster", cluster):
        with _progress(f"Hunting {cluster}"):
            facts = _run(hunt_cluster, {**parameters, "slot": slot})
        if format is Telling.JSON:
            show_facts(facts)
        else:
            out.print(f"{cluster}: {facts['message']}\n  {facts['report']}", markup=False)


@app.command(epilog="Example: `beaconhunt digest secops --dry-run`")
def digest(
    destination: Annotated[str, typer.Argument(help="Its name in prefect.yaml.")],
    slot: Moment = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the digest; post and record nothing.")
    ] = False,
    format: Told = Telling.TEXT,
    config: Config = CONFIG,
) -> None:
    """Tell a destination what is new since its last digest."""
    from flows.daily_digest import daily_digest  # noqa: PLC0415 - Prefect takes a second.

    for parameters in _deployed(config, "destination", destination):
        with _progress(f"Digest for {destination}"):
            facts = _run(daily_digest, {**parameters, "slot": slot, "dry_run": dry_run})
        if format is Telling.JSON:
            show_facts(facts)
        else:
            quote(facts["digest"])
            out.print(f"{destination}: {facts['message']}", markup=False)


@app.command(epilog="Example: `beaconhunt check prod-eu`")
def check(
    clusters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CLUSTER]...", help="By default all, and every destination."),
    ] = None,
    format: Told = Telling.TEXT,
    config: Config = CONFIG,
) -> None:
    """Check what the deployments of prefect.yaml need; exit with 1 where something failed."""
    from flows.check_cluster import site_of  # noqa: PLC0415 - Prefect takes a second.
    from tasks.blocks import read_block  # noqa: PLC0415
    from tasks.check import preflight  # noqa: PLC0415

    site = site_of(deployments(config), clusters or ())
    with err.status("Checking ..."), _interruptible():
        checks = preflight(site, datetime.now(UTC), read_block)
    if format is Telling.JSON:
        show(Check.__slots__, [asdict(each) for each in checks], Format.JSON)
    else:
        show_checks(checks)
    if any(each.verdict is Verdict.FAILED for each in checks):
        raise typer.Exit(1)


@app.command(epilog="Example: `beaconhunt query data 'FROM logs-* | STATS COUNT(*) BY host.name'`")
def query(
    folder: Annotated[Path, typer.Argument(help="Of events: one folder a data stream in it.")],
    text: Annotated[str, typer.Argument(metavar="ES|QL", help="The question.")],
    format: As = Format.TABLE,
    skip_bad_lines: Annotated[
        bool, typer.Option(help="Count unreadable NDJSON lines instead of stopping.")
    ] = False,
) -> None:
    """Ask a folder of events a question in ES|QL."""
    from tasks.clusters import Question, ask, connect  # noqa: PLC0415 - DuckDB takes its time.

    url = folder.expanduser().absolute().as_uri()
    cluster = Cluster(name="folder", url=url, skip_bad_lines=skip_bad_lines)
    with err.status("Reading ..."), connect(cluster) as client:
        answer = ask(client, Question("query", text, {"match_all": {}}, {}))
    for warning in answer.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False)
    show(list(answer.types), answer.records(), format)


@app.command(epilog="Example: `beaconhunt runs --cluster prod-eu --format json`")
def runs(
    cluster: Annotated[str | None, typer.Option(help="Only of this cluster.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 30,
    format: As = Format.TABLE,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """List runs, newest first, with their outcomes and counts."""
    from tasks.history import History  # noqa: PLC0415 - SQLAlchemy takes its time.

    columns = ("slot", "cluster", "hunt", "outcome", "new", "known", "quiet", "detail", "id")
    with History.open(_history_url(history_url, config)) as history:
        rows = [
            {
                "slot": each.run.slot,
                "cluster": each.run.cluster,
                "hunt": each.run.hunt,
                "outcome": each.run.outcome.value,
                "new": each.counts.get(Status.NEW, 0),
                "known": sum(each.counts.get(status, 0) for status in _KNOWN),
                "quiet": each.counts.get(Status.QUIET, 0),
                "detail": each.run.detail,
                "id": each.run.id,
            }
            for each in history.runs(cluster=cluster, limit=limit)
        ]
    show(columns, rows, format)


_KNOWN = (Status.BASELINE, Status.CONTINUING, Status.RETURNED)


@app.command(epilog="Example: `beaconhunt findings --status new --format csv`")
def findings(
    status: Annotated[Status | None, typer.Option(help="Only with this status.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only of this cluster.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    format: As = Format.TABLE,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """List findings as the newest run left them that searched their cluster.

    A later run that failed or had no data does not hide what is known.
    """
    from tasks.history import History  # noqa: PLC0415 - SQLAlchemy takes its time.

    columns = (
        *("id", "status", "priority", "cluster", "host", "process", "destination"),
        *("first_seen", "last_seen", "why"),
    )
    with History.open(_history_url(history_url, config)) as history:
        rows = [
            {
                "id": finding.id,
                "status": finding.status.value,
                "priority": finding.priority.value if finding.priority else None,
                "cluster": finding.cluster,
                "host": finding.host.name,
                "process": finding.process.name,
                "destination": finding.destination.address,
                "first_seen": finding.first_seen,
                "last_seen": finding.last_seen,
                "why": finding.why,
            }
            for finding in history.findings(status=status, cluster=cluster, limit=limit)
        ]
    show(columns, rows, format)


@db.command(epilog="Example: `beaconhunt db upgrade`")
def upgrade(history_url: HistoryUrl = None, config: Config = CONFIG) -> None:
    """Create the history, or bring it to this version's schema."""
    from tasks.history import upgrade as upgrade_history  # noqa: PLC0415

    out.print(upgrade_history(_history_url(history_url, config)))


@app.command(epilog="Example: `beaconhunt demo`")
def demo() -> None:
    """Hunt two made-up clusters for three days, and show what Slack would have heard."""
    from flows import demo as story  # noqa: PLC0415 - Prefect takes a second.

    today = story.this_morning(datetime.now(UTC))
    story.start_over(today)
    with _bar("Making two clusters of events") as progress:
        events = story.make_clusters(today, progress)
    for name, count in events.items():
        out.print(f"{name}: {count:,} events in {today.cluster_folder(name)}")
    with _progress("Starting Prefect") as spinner:
        for step in story.steps(today):
            spinner.update(f"{step.name} done")
            out.print(f"{step.name}: {step.message}", markup=False)
            quote(step.digest)
    out.print(f"\nThe archive: {today.archive / 'index.html'}")


@app.command(epilog="Example: `beaconhunt up --port 4300`")
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the server, on loopback.")] = 4200,
    config: Config = CONFIG,
) -> None:
    """Run a Prefect server, deploy prefect.yaml on it, and work until Ctrl-C."""
    from flows import demo as story  # noqa: PLC0415 - starts faster without.
    from flows.prefect_server import serve  # noqa: PLC0415
    from tasks.history import upgrade as upgrade_history  # noqa: PLC0415

    with _bar("Making the demo cluster") as progress:
        made = story.make_live_cluster(datetime.now(UTC), progress)
    out.print(f"The demo cluster: {made}")
    out.print(upgrade_history(_history_url(None, config)))
    serve(port, config, say=out.print)


@contextmanager
def _bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a countable work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as progress:
        task = progress.add_task(text, total=None)
        with _interruptible():
            yield lambda done, of: progress.update(task, completed=done, total=of)


def _deployed(config: Path, kind: str, name: str) -> Iterator[Mapping[str, Any]]:
    """Give the parameters of every deployment of a cluster or destination.

    Raises:
        SettingsError: there is none; the error lists those that there are.
    """
    listed = [p for p in deployments(config).values() if isinstance(p.get(kind), dict)]
    mine = [parameters for parameters in listed if parameters[kind].get("name") == name]
    if not mine:
        known = ", ".join(sorted({str(parameters[kind].get("name")) for parameters in listed}))
        raise SettingsError(
            f"There is no {kind} {name!r} in {config}.",
            f"It has: {known or 'none'}. Correct the name, or add a deployment.",
        )
    return iter(mine)


def _history_url(given: str | None, config: Path) -> str:
    """Choose the history: the given one, else the only one that the deployments name."""
    if given or not config.exists():
        return given or HISTORY_URL
    named = {
        parameters.get("history_url", HISTORY_URL)
        for parameters in deployments(config).values()
        if {"cluster", "destination"} & parameters.keys()
    }
    if len(named) > 1:
        raise SettingsError(
            f"{config} names {len(named)} histories.",
            f"Choose one with --history-url: {', '.join(sorted(named))}.",
        )
    return next(iter(named), HISTORY_URL)


def _run(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run a flow in this process, and raise what made it fail.

    Returns:
        What its final state says for scripts.

    Raises:
        PipelineError: with the remedy.
        SettingsError: a parameter does not fit.
    """
    from prefect.exceptions import ParameterTypeError, SignatureMismatchError  # noqa: PLC0415

    state = cast("State[Any]", flow(**parameters, return_state=True))
    if not state.is_failed():
        return cast("dict[str, Any]", state.result())
    failure = state.result(raise_on_failure=False)
    if isinstance(failure, ParameterTypeError | SignatureMismatchError):
        raise SettingsError(
            f"A parameter of the deployment does not fit: {failure}",
            "Correct `parameters` in prefect.yaml.",
        ) from failure
    if isinstance(failure, Exception):
        raise failure
    raise SettingsError(str(state.message), "See the log of the flow run in Prefect.")


@contextmanager
def _progress(text: str) -> Iterator[Spinner]:
    """Show what is going on: the pipeline logs one line a step, and the newest is shown."""
    with err.status(text) as spinner:
        handler = _Newest(spinner)
        loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            with _interruptible():
                yield spinner
        finally:
            for logger in loggers:
                logger.removeHandler(handler)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn a Ctrl-C into a sentence and the exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt as stop:
        err.print("Interrupted. What was recorded stays; run the command again to go on.")
        raise typer.Exit(128 + signal.SIGINT) from stop


class _Newest(logging.Handler):
    """Shows the newest line of a step beside the spinner, and none of the engine's own."""

    def __init__(self, spinner: Spinner) -> None:
        super().__init__(logging.INFO)
        self._spinner = spinner

    def emit(self, record: logging.LogRecord) -> None:
        if not record.module.endswith("_engine"):
            self._spinner.update(visible(record.getMessage()))


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong use."""
    # Prefect reads these when it is imported. Its server gets every line; a person at a terminal
    # gets ours.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "90")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL", "CRITICAL")
    try:
        app()
    except PipelineError as error:
        complain(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
