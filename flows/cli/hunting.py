"""Check, hunt and post digests: `run`, `backfill`, `digest`, `check`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.in_process import flows_by_name, progress, run_here
from flows.cli.options import (
    CONFIG,
    Config,
    FormatOption,
    SlotOption,
    TimeOption,
    deployments_of,
)
from flows.cli.output import (
    Format,
    OutputFormat,
    err,
    out,
    quote,
    show_checks,
    show_facts,
    show_rows,
)
from flows.deployments import Deployment, deployments
from flows.prefect_server import use_prefect_server
from tasks.preflight.checks import Check, Verdict
from tasks.text.untrusted import visible

commands = typer.Typer()


@commands.command(epilog="Example: `beaconhunt run prod-eu --slot 2026-11-24T06:00Z`")
def run(
    cluster: Annotated[str, typer.Argument(help="Name of the cluster in prefect.yaml.")],
    slot: SlotOption = None,
    format: FormatOption = OutputFormat.TEXT,
    config: Config = CONFIG,
) -> None:
    """Hunt one cluster now, or for a past slot, with its deployment's parameters.

    A folder of events is hunted as of its newest event.
    """
    for deployment in deployments_of(config, "hunt_cluster", cluster):
        _hunt(deployment, config, slot, cluster, format)


@commands.command(epilog="Example: `beaconhunt backfill prod-eu 2026-11-01 2026-11-14`")
def backfill(
    cluster: Annotated[str, typer.Argument(help="Name of the cluster in prefect.yaml.")],
    first: Annotated[
        datetime, typer.Argument(metavar="FROM", formats=["%Y-%m-%d"], help="First day, in UTC.")
    ],
    last: Annotated[
        datetime, typer.Argument(metavar="TO", formats=["%Y-%m-%d"], help="Last day, in UTC.")
    ],
    format: FormatOption = OutputFormat.TEXT,
    config: Config = CONFIG,
) -> None:
    """Hunt one cluster for the scheduled slots in a range of days that no run has searched."""
    flows_by_name()
    from flows.backfill import backlog

    for deployment in deployments_of(config, "hunt_cluster", cluster):
        slots = backlog(deployment, first.date(), last.date(), now=datetime.now(UTC))
        err.print(f"{deployment.name}: slots to run: {len(slots)}")
        for slot in slots:
            _hunt(deployment, config, slot, f"{cluster} {slot:%Y-%m-%d %H:%MZ}", format)


def _hunt(
    deployment: Deployment, config: Path, slot: datetime | None, name: str, format: OutputFormat
) -> None:
    """Hunt in this process, and print the result."""
    with progress(f"Hunting {name}"):
        facts = run_here(deployment, config, slot=slot)
    if format is OutputFormat.JSON:
        show_facts(facts)
    else:
        out.print(f"{name}: {facts['message']}\n  {facts['report']}")
        for warning in facts["warnings"]:
            err.print(f"  {visible(warning)}")


@commands.command(epilog="Example: `beaconhunt digest secops --dry-run`")
def digest(
    destination: Annotated[str, typer.Argument(help="Name of the destination in prefect.yaml.")],
    slot: TimeOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the digest; post and record nothing.")
    ] = False,
    format: FormatOption = OutputFormat.TEXT,
    config: Config = CONFIG,
) -> None:
    """Post a digest to a destination: what is new since its last digest."""
    for deployment in deployments_of(config, "daily_digest", destination):
        with progress(f"Digest for {destination}"):
            facts = run_here(deployment, config, slot=slot, dry_run=dry_run)
        if format is OutputFormat.JSON:
            show_facts(facts)
        else:
            quote(facts["digest"])
            out.print(f"{destination}: {facts['message']}")


@commands.command(epilog="Example: `beaconhunt check prod-eu`")
def check(
    clusters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLUSTER]...", help="Default: every cluster and every destination."
        ),
    ] = None,
    format: FormatOption = OutputFormat.TEXT,
    config: Config = CONFIG,
) -> None:
    """Check whether the deployments in prefect.yaml can run; exit with 1 if a check failed."""
    flows_by_name()
    from flows.check_cluster import scope_of
    from tasks.check import preflight
    from tasks.secrets import read_block

    site = scope_of(deployments(config), clusters or ())
    keys = [settings.cluster.api_key for settings in site.hunts]
    tokens = [destination.token for destination in site.destinations.values()]
    if any(secret and secret.is_block for secret in (*keys, *tokens)):
        use_prefect_server()
    with err.status("Checking ..."):
        checks = preflight(site, datetime.now(UTC), read_block)
    if format is OutputFormat.JSON:
        show_rows(Check.__slots__, [asdict(each) for each in checks], Format.JSON)
    else:
        show_checks(checks)
    if any(each.verdict is Verdict.FAILED for each in checks):
        raise typer.Exit(1)
