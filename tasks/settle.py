"""Settle a digest in the ledger: record its news before the post, and its end afterwards."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger

from tasks.errors import ChannelUnreadable, ReceiptLost, SlackError, SlackRefused
from tasks.history import Ledger, Unsettled
from tasks.model.digests import Digest, DigestStatus
from tasks.orchestration.steps import step
from tasks.slack.message import Message


def status_after(fault: SlackError | None, *, in_channel: bool) -> DigestStatus | None:
    """Give the final status of a digest that is no longer being sent.

    Args:
        fault: the error that stopped sending it or looking it up.
        in_channel: whether its message has a receipt. News in missing replies stays pending.

    Returns:
        None if it is not known yet: the next digest must look it up.
    """
    match fault:
        case ChannelUnreadable():
            return DigestStatus.LOST
        case ReceiptLost():
            return None
        case _ if in_channel:
            return DigestStatus.SENT
        case SlackRefused():
            return DigestStatus.REFUSED
        case _:
            return DigestStatus.DEAD


@step  # No retries: it writes a local history, or its error has the reason.
def start_scope(ledger: Ledger, slot: datetime) -> None:
    """Start delivery for clusters and hunts that are new in the destination's scope."""
    ledger.start_scope(slot)


@step  # No retries: as above.
def take_over(ledger: Ledger) -> Unsettled | None:
    """Take over the digest whose sender is gone, if there is one."""
    lost = ledger.take_over()
    if lost:
        get_run_logger().warning("Digest %s for %s lost its sender", lost.id, lost.slot)
    return lost


@step  # No retries: as above.
def begin(ledger: Ledger, digest: Digest, message: Message) -> Unsettled:
    """Record that the digest is about to be posted."""
    return ledger.begin(digest, message.outline)


@step  # No retries: as above.
def settle(ledger: Ledger, digest: Unsettled, fault: SlackError | None = None) -> None:
    """Record how the digest ended, or leave that to the next one."""
    status = status_after(fault, in_channel=ledger.unsettled(digest).in_channel)
    if status:
        ledger.settle(digest, status)
    else:
        ledger.release(digest)
    get_run_logger().info("Digest %s is %s", digest.id, status or "not settled yet")
