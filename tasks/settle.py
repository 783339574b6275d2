"""Settle a digest in the ledger: what is about to be told before the post, what was told after."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.digests import Digest, DigestStatus, Message
from tasks.history import Ledger


@task(cache_policy=NO_CACHE)  # No retries: it writes a local history, or says why not.
def begin(ledger: Ledger, digest: Digest, message: Message) -> None:
    """Write that the digest is about to be posted, and give up one whose sender was lost."""
    other = ledger.unsettled()
    # By its slot: where two saw that a sender was lost, the second finds the first being sent.
    if other and other.slot == digest.may_repeat:
        ledger.settle(other.id, DigestStatus.LOST)
        get_run_logger().warning("Digest %s lost its sender; this one may repeat it", other.id)
    ledger.begin(digest, message.payload_hash)


@task(cache_policy=NO_CACHE)  # No retries: it writes a local history, or says why not.
def settle(
    ledger: Ledger, digest: Digest, status: DigestStatus, slack_ts: str | None = None
) -> None:
    """Write how the digest ended; sent delivers what it told."""
    ledger.settle(digest.id, status, slack_ts)
    get_run_logger().info("Digest %s is %s", digest.id, status)
