"""Post a digest to a Slack channel: part by part, each with its receipt in the ledger."""

from __future__ import annotations

import time

from prefect import get_run_logger

from tasks.errors import ReceiptLost, SlackUnreachable
from tasks.history import Ledger, Unsettled
from tasks.orchestration.steps import step
from tasks.secrets import read_block
from tasks.settings import Destination, secret
from tasks.slack.channel import Channel
from tasks.slack.message import Message

MAX_ATTEMPTS = 3
"""So often a part is posted that is, for all that can be seen, not in the channel."""

SECONDS_BETWEEN_ATTEMPTS = 15
"""Also before a look into the channel: a message whose receipt was lost may still be on its way."""


def deliver(channel: Channel, ledger: Ledger, digest: Unsettled, message: Message) -> None:
    """Post a message and its replies, and write each receipt into the ledger before the next post.

    Where a thread breaks off, what is missing in it stays pending, for the next digest.

    Raises:
        SlackRefused: Slack did not take a part, and will not until somebody acts.
        SlackBusy: Slack did not take a part, and asks for more time than there is.
        SlackUnreachable: a part is not in the channel after all attempts.
        ReceiptLost: a part may be in the channel, and that cannot be looked up.
        RunInProgress: it took so long that somebody else settled the digest.
    """
    thread_ts = None
    for number, part in enumerate((message, *message.replies), 1):
        ts = _delivered(channel, ledger, digest, part, number, thread_ts)
        ledger.posted(digest, {number: ts})
        thread_ts = thread_ts or ts


def look_up(channel: Channel, ledger: Ledger, digest: Unsettled) -> None:
    """Write the receipts of the parts that are in the channel after all.

    Raises:
        ReceiptLost: it cannot be looked up.
    """
    if digest.missing:
        found = channel.find(digest.id, digest.begun_at, digest.thread_ts)
        receipts = {number: found[number] for number in digest.missing if number in found}
        ledger.posted(digest, receipts)


def _delivered(
    channel: Channel,
    ledger: Ledger,
    digest: Unsettled,
    part: Message,
    number: int,
    thread_ts: str | None,
) -> str:
    problem = ""
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        ledger.renew(digest)
        try:
            return channel.post(part, thread_ts)
        except SlackUnreachable as error:
            problem = error.problem
        except ReceiptLost as error:
            problem = error.problem
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
            ledger.renew(digest)
            found = channel.find(digest.id, digest.begun_at, thread_ts)
            if number in found:
                return found[number]
    raise SlackUnreachable(
        f"Slack did not take the digest in {MAX_ATTEMPTS} attempts. {problem}",
        "What it tells stays pending. Run the digest again when Slack can be reached, or leave it "
        "to the next one: that tells everything, and says so.",
    )


@step  # No retries: the ledger owns what happens after a lost receipt.
def post_digest(
    ledger: Ledger, digest: Unsettled, message: Message, destination: Destination
) -> None:
    """Post with the destination's token."""
    deliver(_channel(destination), ledger, digest, message)
    get_run_logger().info("Posted digest %s with %d replies", digest.id, len(message.replies))


@step  # No retries: as above.
def look_up_digest(ledger: Ledger, digest: Unsettled, destination: Destination) -> None:
    """Find out what of a digest is in the channel whose sender is gone."""
    look_up(_channel(destination), ledger, digest)
    get_run_logger().info("Looked digest %s up in the channel", digest.id)


@step  # No retries: a ledger of what a terminal shows.
def print_digest(ledger: Ledger, digest: Unsettled) -> None:
    """Take the digest for told: without a token the terminal shows it when the flow has ended."""
    ledger.posted(digest, dict.fromkeys(digest.missing))


def _channel(destination: Destination) -> Channel:
    token = secret(destination.token, f"Slack's bot token of {destination.name}", read_block)
    return Channel(destination.channel, token, base_url=destination.api_url)
