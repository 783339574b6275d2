"""Settle a digest in the ledger: what it is about to tell before the post, how it ended after."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger

from tasks.errors import ChannelUnreadable, ReceiptLost, SlackError, SlackRefused
from tasks.history import Ledger, Unsettled
from tasks.model.digests import Digest, DigestStatus
from tasks.orchestration.steps import step
from tasks.slack.message import Message


def status_after(fault: SlackError | None, *, in_channel: bool) -> DigestStatus | None:
    """Say how a digest ended that nobody sends any more.

    Args:
        fault: why its sender, or whoever looked for it in the channel, could not go on.
        in_channel: whether its message has a receipt. What its thread lacks stays pending.

    Returns:
        None where that has to be found out later.
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


@step  # No retries: it writes a local history, or says why not.
def start_scope(ledger: Ledger, slot: datetime) -> None:
    """Decide from when on what is new in the destination's scope is heard."""
    ledger.start_scope(slot)


@step  # No retries: as above.
def take_over(ledger: Ledger) -> Unsettled | None:
    """Take over the digest whose sender is gone, if there is one."""
    lost = ledger.take_over()
    if lost:
        get_run_logger().warning("Digest %s of %s lost its sender", lost.id, lost.slot)
    return lost


@step  # No retries: as above.
def begin(ledger: Ledger, digest: Digest, message: Message) -> Unsettled:
    """Write that the digest is about to be posted."""
    return ledger.begin(digest, message.outline)


@step  # No retries: as above.
def settle(ledger: Ledger, digest: Unsettled, fault: SlackError | None = None) -> None:
    """Write how the digest ended, or leave that to the next one."""
    status = status_after(fault, in_channel=ledger.unsettled(digest).in_channel)
    if status:
        ledger.settle(digest, status)
    else:
        ledger.release(digest)
    get_run_logger().info("Digest %s is %s", digest.id, status or "not settled yet")
