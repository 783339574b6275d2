"""The command line: each command calls a flow or a noun, and shows what came of it."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status as Spinner
from typer.core import TyperGroup

from flows.deployments import SUBJECTS, Deployment, deployments
from flows.output import Format, Telling, complain, err, out, quote, show, show_checks, show_facts
from flows.prefect_server import (
    QUIET,
    own_prefect,
    prefect_home,
    serve,
    serve_this_process,
    use_prefect_server,
)
from tasks.checks import Check, Verdict
from tasks.errors import PipelineError, SettingsError
from tasks.findings import Status
from tasks.hostile import visible
from tasks.settings import ARCHIVE_URL, HISTORY_URL, Cluster
from tasks.verdicts import given_words, withdrawn_words

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


def day_or_moment(text: str) -> datetime:
    """Read a day, which begins at midnight UTC, or a time that names its zone."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return moment(text)


_told_to_end = threading.Event()


def _end(*_: object) -> None:
    """Hear a signal."""
    _told_to_end.set()
    raise KeyboardInterrupt


class Commands(TyperGroup):
    """The commands; a Ctrl-C ends each with a sentence and the exit code that shells expect."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer has no name for them.
        """Run the command that the words name."""
        try:
            return super().invoke(ctx)
        except BaseException:
            # Libraries turn what the signal raised into errors of their own.
            if not _told_to_end.is_set():
                raise
        # Out here nothing holds on to what the command had open. The rest takes a second or two.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        err.print("Interrupted. What was recorded stays; run the command again to go on.")
        raise typer.Exit(128 + signal.SIGINT)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Hunt for unsigned macOS programs that keep calling one public address.",
)
upkeep = typer.Typer(no_args_is_help=True, help="Look after the history.")
app.add_typer(upkeep, name="history")
archive = typer.Typer(no_args_is_help=True, help="The archive of reports.")
app.add_typer(archive, name="archive")

Config = Annotated[Path, typer.Option(help="The prefect.yaml that lists your deployments.")]
HistoryUrl = Annotated[
    str | None, typer.Option(help="The history, where prefect.yaml names none or several.")
]
ArchiveUrl = Annotated[
    str | None, typer.Option(help="The archive, where prefect.yaml names none or several.")
]
Told = Annotated[Telling, typer.Option("--format", help="For people, or for scripts.")]
As = Annotated[Format, typer.Option("--format", help="How to write the rows.")]
FindingId = Annotated[str, typer.Argument(metavar="FINDING", help="Its id, or how that begins.")]
By = Annotated[str | None, typer.Option(help="Who says so; by default your login name.")]
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
    for deployment in _deployed(config, "hunt_cluster", cluster):
        _hunt(deployment, slot, cluster, format)


@app.command(epilog="Example: `beaconhunt backfill prod-eu 2026-11-01 2026-11-14`")
def backfill(
    cluster: Annotated[str, typer.Argument(help="Its name in prefect.yaml.")],
    first: Annotated[
        datetime, typer.Argument(metavar="FROM", formats=["%Y-%m-%d"], help="First day, in UTC.")
    ],
    last: Annotated[
        datetime, typer.Argument(metavar="TO", formats=["%Y-%m-%d"], help="Last day, in UTC.")
    ],
    format: Told = Telling.TEXT,
    config: Config = CONFIG,
) -> None:
    """Hunt one cluster for each scheduled slot of these days that no run has searched."""
    _flows()
    from flows.backfill import backlog  # noqa: PLC0415 - Prefect takes a second.

    for deployment in _deployed(config, "hunt_cluster", cluster):
        slots = backlog(deployment, first.date(), last.date(), now=datetime.now(UTC))
        err.print(f"{deployment.name}: slots to run: {len(slots)}", markup=False)
        for slot in slots:
            _hunt(deployment, slot, f"{cluster} {slot:%Y-%m-%d %H:%MZ}", format)


def _hunt(deployment: Deployment, slot: datetime | None, name: str, format: Telling) -> None:
    """Hunt in this process, and tell how it ended."""
    with _progress(f"Hunting {name}"):
        facts = _run(deployment, slot=slot)
    if format is Telling.JSON:
        show_facts(facts)
    else:
        out.print(f"{name}: {facts['message']}\n  {facts['report']}", markup=False)


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
    for deployment in _deployed(config, "daily_digest", destination):
        with _progress(f"Digest for {destination}"):
            facts = _run(deployment, slot=slot, dry_run=dry_run)
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
    _flows()
    from flows.check_cluster import site_of  # noqa: PLC0415 - Prefect takes a second.
    from tasks.blocks import read_block  # noqa: PLC0415
    from tasks.check import preflight  # noqa: PLC0415

    site = site_of(deployments(config), clusters or ())
    keys = [settings.cluster.api_key for settings in site.hunts]
    tokens = [destination.token for destination in site.destinations.values()]
    if any(secret and secret.is_block for secret in (*keys, *tokens)):
        use_prefect_server()
    with err.status("Checking ..."):
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

    if not folder.expanduser().is_dir():
        raise SettingsError(
            f"There is no folder {folder}.",
            "Name a folder of events, with one folder a data stream in it.",
        )
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

    columns = (
        *("slot", "cluster", "hunt", "outcome", "new", "known", "acknowledged", "quiet"),
        *("detail", "id"),
    )
    with History.open(_history_url(history_url, config)) as history:
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
        *("id", "status", "disposition", "priority", "cluster", "host", "process", "destination"),
        *("first_seen", "last_seen", "acknowledged_by", "acknowledged_until", "why"),
    )
    with History.open(_history_url(history_url, config)) as history:
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
                "acknowledged_by": word.by if (word := finding.acknowledgement) else None,
                "acknowledged_until": word.end if word else None,
                "why": finding.why,
            }
            for finding in history.findings(status, cluster, limit, now=datetime.now(UTC))
        ]
    show(columns, rows, format)


@app.command(
    epilog="Example: `beaconhunt ack BH-24A3C0CA --why 'agent of our own' --until 2026-12-24`"
)
def ack(
    finding: FindingId,
    why: Annotated[str, typer.Option(help="It is harmless: what it is, and how you know.")],
    until: Annotated[
        datetime,
        typer.Option(parser=day_or_moment, metavar="DATE", help="At most 365 days from now."),
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

    with History.open(_history_url(history_url, config)) as history:
        word, looked_at = history.acknowledgements.give(
            finding,
            by=by or _login(),
            why=why,
            until=until,
            everywhere=everywhere,
            now=datetime.now(UTC),
        )
    out.print(given_words(word, looked_at), markup=False)


@app.command(epilog="Example: `beaconhunt unack BH-24A3C0CA`")
def unack(
    finding: FindingId,
    by: By = None,
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """End a finding's acknowledgement now; if it goes on, the next digest says so."""
    from tasks.history import History  # noqa: PLC0415 - SQLAlchemy takes its time.

    with History.open(_history_url(history_url, config)) as history:
        words = history.acknowledgements.end(finding, by=by or _login(), now=datetime.now(UTC))
    out.print(withdrawn_words(words), markup=False)


@app.command(epilog="Example: `beaconhunt acks --format csv`")
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
    with History.open(_history_url(history_url, config)) as history:
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
    show(columns, rows, format)


def _login() -> str:
    """Give the name under which this person is logged in.

    Raises:
        SettingsError: the machine knows none.
    """
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:  # The latter up to Python 3.12.
        raise SettingsError(
            "This machine does not know who you are.", "Say who you are, with `--by`."
        ) from error


@upkeep.command(epilog="Example: `beaconhunt history upgrade`")
def upgrade(history_url: HistoryUrl = None, config: Config = CONFIG) -> None:
    """Create the history, or bring it to this version's schema."""
    from tasks.history import upgrade as upgrade_history  # noqa: PLC0415

    out.print(f"The history has schema {upgrade_history(_history_url(history_url, config))}.")


@upkeep.command("check", epilog="Example: `beaconhunt history check`")
def check_history(
    format: Told = Telling.TEXT, history_url: HistoryUrl = None, config: Config = CONFIG
) -> None:
    """Read all of the history, and exit with 1 where it is not well."""
    from tasks.history.upkeep import check  # noqa: PLC0415

    with err.status("Reading ..."):
        inventory = check(_history_url(history_url, config))
    if format is Telling.JSON:
        show_facts(asdict(inventory))
    else:
        rows = ", ".join(f"{count:,} {name}" for name, count in inventory.rows.items())
        out.print(f"{inventory.place} is whole, with schema {inventory.revision}: {rows}")


@upkeep.command(epilog="Example: `beaconhunt history backup history-2026-11-24.db`")
def backup(
    file: Annotated[Path, typer.Argument(help="To write; it must not be there yet.")],
    history_url: HistoryUrl = None,
    config: Config = CONFIG,
) -> None:
    """Copy a history in SQLite, while runs and digests go on."""
    from tasks.history.upkeep import backup as back_up  # noqa: PLC0415

    with err.status("Copying ..."):
        back_up(_history_url(history_url, config), file)
    out.print(f"Copied to {file}", markup=False)


@archive.command(epilog="Example: `beaconhunt archive verify`")
def verify(archive_url: ArchiveUrl = None, config: Config = CONFIG) -> None:
    """Render every run again and compare bytes; exit with 1 where a file was changed."""
    from tasks.archive import verify as verified  # noqa: PLC0415 - Prefect takes a second.
    from tasks.report import pages_of  # noqa: PLC0415

    runs, changed = 0, False
    for differences in verified(_archive_url(archive_url, config), pages_of):
        runs += 1
        for each in differences:
            made = f" now; beaconhunt {each.version} made it" if each.version else ""
            out.print(visible(f"{each.path} {each.reason}{made}"), markup=False)
            changed = changed or not each.version
    out.print(
        f"Runs read: {runs:,}. {'Files were changed.' if changed else 'No file was changed.'}"
    )
    if changed:
        raise typer.Exit(1)


@archive.command(epilog="Example: `beaconhunt archive reindex`")
def reindex(archive_url: ArchiveUrl = None, config: Config = CONFIG) -> None:
    """Build the archive's index.html anew from the records of its runs."""
    from tasks.archive import write_index  # noqa: PLC0415 - Prefect takes a second.

    out.print(write_index(_archive_url(archive_url, config)), markup=False)


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
    with err.status("Starting Prefect"):
        serve_this_process(today.folder / "prefect")
    with _progress("Hunting") as spinner:
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
    from tasks.history import upgrade as upgrade_history  # noqa: PLC0415

    env = own_prefect(port, prefect_home())
    flows = _flows()
    for deployment in deployments(config):
        if deployment.flow_name in flows:
            deployment.checked(flows[deployment.flow_name])
    with _bar("Making the demo cluster") as progress:
        made = story.make_live_cluster(datetime.now(UTC), progress)
    out.print(f"The demo cluster: {made}")
    out.print(f"The history has schema {upgrade_history(_history_url(None, config))}.")
    serve(env, config, say=out.print)


@contextmanager
def _bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a countable work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _deployed(config: Path, flow_name: str, subject: str) -> list[Deployment]:
    """Give every deployment of a flow that is for a cluster or destination.

    Raises:
        SettingsError: there is none; the error lists those that there are.
    """
    listed = [each for each in deployments(config) if each.flow_name == flow_name]
    mine = [each for each in listed if each.subject == subject]
    if not mine:
        known = ", ".join(sorted({str(each.subject) for each in listed}))
        raise SettingsError(
            f"There is no {SUBJECTS[flow_name]} {subject!r} in {config}.",
            f"It has: {known or 'none'}. Correct the name, or add a deployment.",
        )
    return mine


def _history_url(given: str | None, config: Path) -> str:
    """Choose the history: the given one, else the only one that the deployments name."""
    if given or not config.exists():
        return given or HISTORY_URL
    named = {each.history_url for each in deployments(config) if each.flow_name in SUBJECTS}
    if len(named) > 1:
        raise SettingsError(
            f"{config} names {len(named)} histories.",
            f"Choose one with --history-url: {', '.join(sorted(named))}.",
        )
    return next(iter(named), HISTORY_URL)


def _archive_url(given: str | None, config: Path) -> str:
    """Choose the archive: the given one, else the only one that the deployments name."""
    if given or not config.exists():
        return given or ARCHIVE_URL
    named = {each.archive_url for each in deployments(config) if each.flow_name in SUBJECTS}
    if len(named) > 1:
        raise SettingsError(
            f"{config} names {len(named)} archives.",
            f"Choose one with --archive-url: {', '.join(sorted(named))}.",
        )
    return next(iter(named), ARCHIVE_URL)


def _flows() -> dict[str, Flow[..., Any]]:
    """Import the flows, by name.

    Raises:
        SettingsError: Prefect cannot start with its settings.
    """
    try:
        from flows.check_cluster import check_cluster  # noqa: PLC0415 - Prefect takes a second.
        from flows.daily_digest import daily_digest  # noqa: PLC0415
        from flows.hunt_cluster import hunt_cluster  # noqa: PLC0415
    except ValidationError as error:
        fault = error.errors()[0]
        raise SettingsError(
            f"Prefect cannot start: {error.title}.{'.'.join(map(str, fault['loc']))}: "
            f"{fault['msg']}.",
            "Correct that setting where it is set: a PREFECT_ variable, or Prefect's profile.",
        ) from error
    return {flow.name: flow for flow in (hunt_cluster, daily_digest, check_cluster)}


def _run(deployment: Deployment, **chosen: object) -> dict[str, Any]:
    """Run a deployment's flow in this process, and raise what made it fail.

    Args:
        deployment: with its parameters.
        chosen: parameters of this run.

    Returns:
        What its final state says for scripts.

    Raises:
        PipelineError: with the remedy.
    """
    flow = _flows()[deployment.flow_name]
    parameters = deployment.checked(flow)
    use_prefect_server()
    try:
        state = cast("State[Any]", flow(**{**parameters, **chosen}, return_state=True))
    except Exception:
        # Whatever it was: without its server Prefect cannot go on.
        use_prefect_server()
        raise
    if not state.is_failed():
        return cast("dict[str, Any]", state.result())
    failure = state.result(raise_on_failure=False)
    if isinstance(failure, Exception):
        raise failure
    raise SettingsError(str(state.message), "See the log of the flow run in Prefect.")


@contextmanager
def _progress(text: str) -> Iterator[Spinner]:
    """Show what is going on: the pipeline logs one line a step, and the newest is shown."""
    with err.status(text) as spinner:
        _flows()  # Prefect sets its loggers up when it is imported, and forgets other handlers.
        handler = _Newest(spinner)
        loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield spinner
        finally:
            for logger in loggers:
                logger.removeHandler(handler)


class _Newest(logging.Handler):
    """Shows the newest line of a step beside the spinner, and none of the engine's own."""

    def __init__(self, spinner: Spinner) -> None:
        super().__init__(logging.INFO)
        self._spinner = spinner

    def emit(self, record: logging.LogRecord) -> None:
        if not record.module.endswith("_engine"):
            self._spinner.update(visible(record.getMessage()))


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    # Prefect reads these when it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # It warns of what our errors say with a remedy.
    logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # systemd and a closed window end a command as a Ctrl-C does; nohup keeps it going.
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, _end)
    try:
        app()
    except PipelineError as error:
        complain(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
