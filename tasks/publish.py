"""Publish a run in Prefect's UI: its summary, findings and report as artifacts, and events."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from tasks.findings import Finding, Status
from tasks.hostile import defanged, shortened, visible
from tasks.runs import Report

ROWS_AT_MOST = 500
"""The UI draws every row of a table artifact at once."""

CELL_AT_MOST = 120


def table(report: Report) -> list[dict[str, str]]:
    """Give the findings as rows of a table artifact, quiet ones last, at most `ROWS_AT_MOST`."""
    return [_row(finding) for finding in report.findings[:ROWS_AT_MOST]]


def _row(finding: Finding) -> dict[str, str]:
    address = finding.destination.address
    cells = {
        "id": finding.id,
        "status": finding.status.value,
        "priority": finding.priority.value if finding.priority else "",
        "process": finding.process.name or "",
        "host": finding.host.name or "",
        "destination": defanged(address) if address else "",
        "why": finding.why,
    }
    return {name: shortened(visible(text), CELL_AT_MOST) for name, text in cells.items()}


def announce(finding: Finding, report: Report) -> None:
    """Emit the `beaconhunt.finding.new` event, on which teams hang their own automations."""
    emit_event(
        event="beaconhunt.finding.new",
        resource={
            "prefect.resource.id": f"beaconhunt.finding.{finding.id}",
            "prefect.resource.name": finding.id,
            "beaconhunt.cluster": finding.cluster,
            "beaconhunt.hunt": report.run.hunt,
            "beaconhunt.priority": finding.priority.value if finding.priority else "",
        },
        payload=_row(finding),
    )


@task(cache_policy=NO_CACHE)  # No retries: the report is in the archive already.
def publish(report: Report, summary: str, address: str) -> None:
    """Write the artifacts, under one key a cluster so that versions make a history."""
    key = f"{report.run.cluster}-{report.run.hunt}"
    create_markdown_artifact(key=f"{key}-summary", markdown=summary, description=key)
    create_table_artifact(key=f"{key}-findings", table=table(report), description=key)
    if address.startswith(("http://", "https://")):
        create_link_artifact(key=f"{key}-report", link=address, description=key)
    new = report.having(Status.NEW)
    for finding in new:
        announce(finding, report)
    get_run_logger().info("Published artifacts %s-* and %d events", key, len(new))
