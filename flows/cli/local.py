"""Run everything on this machine: `demo`, `up`, `serve-archive`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.allowed import use_configuration
from flows.cli.in_process import flows_by_name, progress
from flows.cli.options import CONFIG, ArchiveUrl, Config, chosen_archive, chosen_history
from flows.cli.output import bar, err, out, quote
from flows.deployments import deployments
from flows.prefect_server import (
    own_prefect,
    prefect_home,
    run_server_and_worker,
    serve_this_process,
)

commands = typer.Typer()


@commands.command(epilog="Example: `beaconhunt demo`")
def demo() -> None:
    """Hunt two generated clusters for three days; print the messages it would post to Slack."""
    from flows import demo as story

    today = story.this_morning(datetime.now(UTC))
    story.start_over(today)
    with bar("Generating two clusters of events") as advance:
        events = story.make_clusters(today, advance)
    for name, count in events.items():
        out.print(f"{name}: {count:,} events in {today.cluster_folder(name)}")
    with err.status("Starting Prefect"):
        serve_this_process(today.folder / "prefect")
    with progress("Hunting") as spinner:
        for step in story.steps(today):
            spinner.update(f"{step.name} done")
            out.print(f"{step.name}: {step.message}")
            quote(step.digest)
    out.print(f"\nThe archive: {today.archive / 'index.html'}")


Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback to listen on.")]


@commands.command(epilog="Example: `beaconhunt up --port 4300`")
def up(
    port: Port = 4200,
    config: Config = CONFIG,
) -> None:
    """Run a Prefect server and a worker with the deployments of prefect.yaml, until Ctrl-C."""
    from flows import demo as story
    from tasks.history import upgrade_history

    use_configuration(config)
    own = own_prefect(port, prefect_home())
    flows = flows_by_name()
    clusters = [
        deployment.checked(flows[deployment.flow_name]).get("cluster")
        for deployment in deployments(config)
        if deployment.flow_name in flows
    ]
    if any(cluster and cluster.folder == str(story.live_cluster()) for cluster in clusters):
        with bar("Generating the demo cluster") as advance:
            story.make_live_cluster(datetime.now(UTC), advance)
        out.print(f"The demo cluster: {story.live_cluster()}")
    out.print(f"The history has schema {upgrade_history(chosen_history(None, config))}.")
    run_server_and_worker(own, config, report=out.print)


@commands.command(epilog="Example: `beaconhunt serve-archive --port 8601`")
def serve_archive(
    archive_url: ArchiveUrl = None, port: Port = 8600, config: Config = CONFIG
) -> None:
    """Serve the archive read-only to browsers on this machine, until Ctrl-C."""
    from flows import archive_server

    archive = chosen_archive(archive_url, config)
    archive_server.serve_archive(archive, port, out.print)
