"""Post a digest to a Slack channel part by part, and record every receipt in the ledger."""

from __future__ import annotations

import time
from collections import deque

from prefect import get_run_logger

from tasks.errors import ContentRefused, ReceiptLost, SlackUnreachable
from tasks.history import Ledger, Unsettled
from tasks.orchestration.steps import step
from tasks.secrets import read_block
from tasks.settings import Destination, secret
from tasks.slack.channel import Channel
from tasks.slack.message import Message

MAX_ATTEMPTS = 3
"""Attempts to post a part that does not appear in the channel."""

SECONDS_BETWEEN_ATTEMPTS = 15
"""Also the wait before a lookup: a message whose receipt was lost may still be on its way."""


def deliver(channel: Channel, ledger: Ledger, digest: Unsettled, message: Message) -> None:
    """Post a message and its replies, and record every receipt before the next post.

    A part that Slack refuses for what it says is posted in halves, down to single findings; every
    half is then a part of its own. If a part cannot be posted, the news in the missing parts stays
    pending for the next digest.

    Raises:
        SlackNotTrusted: the certificate at Slack's address is not trusted; nothing was sent.
        SlackRefused: Slack refused a part, and will refuse it again until a setting is changed.
        SlackBusy: Slack did not accept a part, and asks for a longer wait than is allowed.
        SlackUnreachable: a part is not in the channel after all attempts.
        ReceiptLost: a part may be in the channel, but cannot be looked up.
        RunInProgress: it took so long that another process settled the digest.
    """
    thread_ts = None
    waiting = deque(enumerate((message, *message.replies), 1))
    while waiting:
        number, part = waiting.popleft()
        try:
            ts = _delivered(channel, ledger, digest, part, number, thread_ts)
        except ContentRefused:
            if len(part.blocks) == 1:
                raise
            first, second = part.halves
            behind = ledger.split(digest, number, first.announcements)
            waiting.extendleft([(behind, second.numbered(behind)), (number, first)])
        else:
            ledger.posted(digest, {number: ts})
            thread_ts = thread_ts or ts


def look_up(channel: Channel, ledger: Ledger, digest: Unsettled) -> None:
    """Record the receipts of missing parts that are in the channel after all.

    Raises:
        ReceiptLost: they cannot be looked up.
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
        f"Slack did not accept the digest in {MAX_ATTEMPTS} attempts. {problem}",
        "Its news stays pending. Run the digest again when Slack can be reached, or wait for the "
        "next digest, which contains this news and says so.",
    )


@step  # No retries: the ledger owns what happens after a lost receipt.
def post_digest(
    ledger: Ledger, digest: Unsettled, message: Message, destination: Destination
) -> None:
    """Post with the destination's token."""
    deliver(_channel(destination), ledger, digest, message)
    get_run_logger().info("Posted digest %s with %d replies", digest.id, len(message.replies))


@step  # No retries: a person sees whether it has arrived.
def post_rehearsal(message: Message, destination: Destination) -> None:
    """Post without the ledger: nothing counts as delivered."""
    channel = _channel(destination)
    thread_ts = None
    for part in (message, *message.replies):
        ts = channel.post(part, thread_ts)
        thread_ts = thread_ts or ts
    get_run_logger().info("Posted a rehearsal with %d replies", len(message.replies))


@step  # No retries: the ledger owns them, as above.
def look_up_digest(ledger: Ledger, digest: Unsettled, destination: Destination) -> None:
    """Look up in the channel the missing parts of a digest whose sender is gone."""
    look_up(_channel(destination), ledger, digest)
    get_run_logger().info("Looked digest %s up in the channel", digest.id)


@step  # No retries: it writes the terminal's ledger.
def print_digest(ledger: Ledger, digest: Unsettled) -> None:
    """Record the digest as delivered: without a token, the terminal shows it after the flow."""
    ledger.posted(digest, dict.fromkeys(digest.missing))


def _channel(destination: Destination) -> Channel:
    token = secret(destination.token, f"Slack's bot token for {destination.name}", read_block)
    return Channel(destination, token)
