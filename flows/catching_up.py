"""Catch up: from slots that were never run to a recorded run of every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from prefect import get_run_logger

from flows.failures import unexpected_errors_reported
from tasks.errors import ArchiveError, ClusterError, RunInProgress, SlotPruned, Unexpected
from tasks.model.runs import Plan, Report
from tasks.record import missed_report, not_searched_report

Search = Callable[[Plan], Report]


def catch_up(
    plan: Plan,
    slots: Sequence[datetime],
    at_most: int,
    search: Search,
    keep: Callable[[Report], object],
) -> None:
    """Run slots that were never run, oldest first, each as of itself.

    Nothing that goes wrong here keeps a later slot from its run.

    Args:
        plan: of the run that catches up.
        slots: oldest first.
        at_most: how many of them are run; older ones are recorded as missed.
        search: searches the cluster as of a plan's slot.
        keep: records and publishes a report.
    """
    too_old = max(len(slots) - at_most, 0)
    get_run_logger().info("%d slots were never run, %d of them are too old", len(slots), too_old)
    for number, slot in enumerate(slots):
        late = plan.at(slot)
        try:
            with unexpected_errors_reported():
                keep(missed_report(late) if number < too_old else search_or_fail(search, late))
        except RunInProgress as other:
            get_run_logger().warning("%s", other)
        except (ArchiveError, Unexpected) as error:
            # The run is recorded, and a later one publishes its report.
            get_run_logger().error("%s", error)


def search_or_fail(search: Search, plan: Plan) -> Report:
    """Search the cluster, or report why it was not searched."""
    try:
        with unexpected_errors_reported():
            return search(plan)
    except (ClusterError, SlotPruned, Unexpected) as error:
        return not_searched_report(plan, error)
