"""Collect what a destination has not heard: from its ledger to the content of one digest."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.digests import Digest, Medium
from tasks.history import Ledger
from tasks.settings import Destination

LONGEST_POST = timedelta(minutes=10)
"""A digest that is still being sent after this long has lost its sender."""


def collected(
    ledger: Ledger, destination: Destination, medium: Medium, slot: datetime, *, now: datetime
) -> Digest:
    """Gather what there is to tell, and the day of every cluster in scope.

    What a digest told whose sender was lost is told again, and says so. Nothing is written.

    Args:
        ledger: of the destination and medium.
        destination: with its scope.
        medium: whose ledger it is.
        slot: the digest's day is the 24 hours before it.
        now: aware UTC.
    """
    unsettled = ledger.unsettled()
    lost = unsettled if unsettled and now - unsettled.begun_at > LONGEST_POST else None
    pending = ledger.pending(slot)
    return Digest(
        id=uuid.uuid4().hex[:12],
        destination=destination.name,
        medium=medium,
        slot=slot,
        clusters=ledger.cluster_days(slot),
        announcements=pending.announcements,
        baselines=pending.baselines,
        may_repeat=lost.slot if lost else None,
    )


@task(cache_policy=NO_CACHE)  # No retries: it reads a local history.
def collect(
    ledger: Ledger, destination: Destination, medium: Medium, slot: datetime, now: datetime
) -> Digest:
    """Read the ledger."""
    digest = collected(ledger, destination, medium, slot, now=now)
    told, known = len(digest.announcements), len(digest.baselines)
    get_run_logger().info("%d to announce, %d of baselines", told, known)
    return digest
