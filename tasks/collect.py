"""Collect a destination's pending news: from its ledger to the content of a digest."""

from __future__ import annotations

import uuid
from datetime import datetime

from prefect import get_run_logger

from tasks.history import Ledger
from tasks.model.digests import Digest, Medium
from tasks.orchestration.steps import step
from tasks.settings import Destination


def collect_digest(
    ledger: Ledger, destination: Destination, medium: Medium, slot: datetime
) -> Digest:
    """Collect the pending news, and the state of every cluster in scope.

    Nothing is written.

    Args:
        ledger: the ledger of the destination and medium.
        destination: the destination with its scope.
        medium: the ledger's medium.
        slot: the digest's day is the 24 hours before it.
    """
    pending = ledger.pending(slot)
    return Digest(
        id=uuid.uuid4().hex[:12],
        number=pending.number,
        destination=destination.name,
        medium=medium,
        slot=slot,
        clusters=pending.clusters,
        announcements=tuple(each.published for each in pending.announcements),
        baselines=tuple(each.published for each in pending.baselines),
        ended=tuple(each.published for each in pending.ended),
        acknowledged=pending.acknowledged,
        previous=pending.previous,
        undelivered=pending.undelivered,
        may_repeat=pending.may_repeat,
        time_zone=destination.time_zone,
    )


@step  # No retries: it reads a local history.
def collect(ledger: Ledger, destination: Destination, medium: Medium, slot: datetime) -> Digest:
    """Read the ledger."""
    digest = collect_digest(ledger, destination, medium, slot)
    new, known = len(digest.announcements), len(digest.baselines)
    get_run_logger().info(
        "%d to announce, %d in baselines, %d acknowledged", new, known, digest.acknowledged
    )
    return digest
