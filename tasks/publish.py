"""Publish a run in Prefect's UI: its summary, findings and report as artifacts, and events."""

from __future__ import annotations

from datetime import datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from tasks.model.fallback import laid_out
from tasks.model.findings import Finding, Status
from tasks.model.runs import Report
from tasks.orchestration.steps import step
from tasks.text.untrusted import defanged, markdown_text, shortened, visible

TABLE_ROWS = 500
"""The UI draws every row of a table artifact at once."""

CELL_AT_MOST = 120


def findings_table(report: Report) -> list[dict[str, str]]:
    """Give the findings as rows of a table artifact, quiet ones last, at most `TABLE_ROWS`.

    The UI takes every cell for Markdown, so no name may mean anything there.
    """
    return [
        {column: markdown_text(text) for column, text in cells.items()}
        for cells in (laid_out(finding_cells, each) for each in report.findings[:TABLE_ROWS])
    ]


def finding_cells(finding: Finding) -> dict[str, str]:
    """Say in a few cells what was found; what cannot be seen is written out."""
    address = finding.destination.address
    cells = {
        "id": finding.id,
        "status": "acknowledged" if finding.acknowledgement else finding.status.value,
        "priority": finding.priority.value if finding.priority else "",
        "process": finding.process.name or "",
        "host": finding.host.name or "",
        "destination": defanged(address) if address else "",
        "why": finding.unshown or finding.why,
    }
    return {column: shortened(visible(text), CELL_AT_MOST) for column, text in cells.items()}


def event_resource(finding: Finding, report: Report) -> dict[str, str]:
    """Give the finding as the resource of its event, by which teams choose their automations."""
    return {
        "prefect.resource.id": f"beaconhunt.finding.{finding.id}",
        "prefect.resource.name": finding.id,
        "beaconhunt.cluster": finding.cluster,
        "beaconhunt.hunt": report.run.hunt,
        "beaconhunt.priority": finding.priority.value if finding.priority else "",
    }


def event_id(finding: Finding, slot: datetime) -> UUID:
    """Give the id under which Prefect keeps the event once, however often its slot is run."""
    return uuid5(NAMESPACE_OID, f"beaconhunt.finding.new {finding.fingerprint} {slot.isoformat()}")


@step  # No retries: the report is in the archive already.
def publish(report: Report, summary: str, address: str) -> None:
    """Write the artifacts, under one key a cluster so that versions make a history."""
    key = f"{report.run.cluster}-{report.run.hunt}"
    create_markdown_artifact(key=f"{key}-summary", markdown=summary, description=key)
    create_table_artifact(key=f"{key}-findings", table=findings_table(report), description=key)
    if address.startswith(("http://", "https://")):
        create_link_artifact(key=f"{key}-report", link=address, description=key)
    new = report.having(Status.NEW)
    for finding in new:
        emit_event(
            "beaconhunt.finding.new",
            event_resource(finding, report),
            payload=laid_out(finding_cells, finding),
            id=event_id(finding, report.run.slot),
        )
    get_run_logger().info("Published artifacts %s-* and %d events", key, len(new))
