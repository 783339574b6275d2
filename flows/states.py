"""States: how a flow run ends, in the words that Prefect's UI shows."""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.model.findings import Status
from tasks.model.runs import Outcome, Report
from tasks.report import state_message

_NAMES = {
    Outcome.NO_DATA: "No data",
    Outcome.PARTIAL: "Partial",
    Outcome.BASELINE: "Baseline",
}


def hunt_state(report: Report, address: str) -> State:
    """Give the final state of a hunt.

    Args:
        report: of the run.
        address: at which people open it.
    """
    message, run = state_message(report), report.run
    if run.outcome is Outcome.FAILED:
        return Failed(message=message)
    facts = {
        "cluster": run.cluster,
        "hunt": run.hunt,
        "slot": run.slot.isoformat(),
        "outcome": run.outcome.value,
        "new": [finding.id for finding in report.having(Status.NEW)],
        "warnings": list(run.warnings),
        "message": message,
        "report": address,
    }
    return Completed(message=message, name=_NAMES.get(run.outcome, "Completed"), data=facts)
