"""Post the news to one destination: collect, compose, post, settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.allowed import RunSettings, worker_allows
from flows.failures import unexpected_errors_reported
from flows.slots import run_name, slot_of_run
from tasks.archive import store_daily
from tasks.collect import collect
from tasks.compose import compose
from tasks.errors import ChannelUnreadable, ReceiptLost, SlackError
from tasks.history import History, Ledger, Unsettled
from tasks.model.digests import DAY, Digest, Medium
from tasks.post import look_up_digest, post_digest, post_rehearsal, print_digest
from tasks.report import render_daily
from tasks.secrets import read_block
from tasks.settings import (
    ARCHIVE_URL,
    HISTORY_URL,
    Destination,
    Moment,
    Url,
    secret,
    secret_if_any,
)
from tasks.settle import begin, settle, start_scope, take_over
from tasks.slack.message import Message, readable
from tasks.text.numbers import counted


def medium_of(destination: Destination) -> Medium:
    """Where the digest goes: to Slack with a token, else to the terminal.

    Raises:
        SettingsError: a run of a deployment has no token, or the token is malformed.
    """
    read = secret if runtime.deployment.id is not None else secret_if_any
    token = read(destination.token, f"Slack's bot token of {destination.name}", read_block)
    return Medium.SLACK if token else Medium.TERMINAL


@flow(name="daily_digest", flow_run_name=run_name("destination"))
def daily_digest(
    destination: Destination,
    slot: Moment | None = None,
    dry_run: bool = False,
    history_url: Url = HISTORY_URL,
    archive_url: Url = ARCHIVE_URL,
    report_base_url: Url | None = None,
) -> State:
    """Post the news since the last digest to one destination, and archive a page for the day.

    If the worker's prefect.yaml has another channel under this name, or does not have the name, the
    digest is a rehearsal: it is posted with a note, and nothing is recorded or archived.

    Args:
        destination: The destination of the digest, and its scope.
        slot: The moment that the digest stands for; by default the scheduled start.
        dry_run: Compose only: post, record and archive nothing.
        history_url: SQLAlchemy URL of the history, without a password.
        archive_url: Folder or fsspec URL of the archive.
        report_base_url: URL at which people open the archive, for links.

    Returns:
        The final state in words; its data holds the digest as Slack would show it, and the
        address of the day's page.
    """
    allowed = worker_allows()
    allowed.check(
        RunSettings(destination=destination, history_url=history_url, archive_url=archive_url)
    )
    rehearsal = not allowed.lists_channel(destination)
    medium, slot = medium_of(destination), slot_of_run(slot)
    with unexpected_errors_reported(), History.open(history_url) as history:
        ledger = history.ledger(destination, medium)
        compose_now = partial(
            collect_and_compose, ledger, destination, medium, slot, report_base_url, rehearsal
        )
        page = None
        if not (dry_run or rehearsal):
            # Even a digest without news starts the scope of its destination.
            start_scope(ledger, slot)
            settle_lost(ledger, destination, medium)
            digest, message, page = post_recorded(ledger, compose_now, destination, archive_url)
        else:
            digest, message = compose_now()
            if message and medium is Medium.SLACK and not dry_run:
                post_rehearsal(message, destination)
    words = final_words(digest, message, dry_run=dry_run)
    facts = {
        "destination": destination.name,
        "slot": slot.isoformat(),
        "message": words,
        "digest": readable(message) if message else "",
        "page": page,
    }
    return Completed(message=words, data=facts)


def settle_lost(ledger: Ledger, destination: Destination, medium: Medium) -> None:
    """Settle the digest whose sender is gone, before anything else is posted.

    Raises:
        RunInProgress: its sender is not gone.
        ReceiptLost: whether it is in the channel cannot be looked up now.
    """
    lost = take_over(ledger)
    if lost is None:
        return
    try:
        if medium is Medium.SLACK:
            look_up_digest(ledger, lost, destination)
    except ReceiptLost as fault:
        settle(ledger, lost, fault)
        if not isinstance(fault, ChannelUnreadable):
            raise
    else:
        settle(ledger, lost)


def collect_and_compose(
    ledger: Ledger,
    destination: Destination,
    medium: Medium,
    slot: datetime,
    report_base_url: str | None,
    rehearsal: bool,
) -> tuple[Digest, Message | None]:
    """Collect what is pending, and compose its message; None where nothing is to be posted."""
    digest = replace(collect(ledger, destination, medium, slot), rehearsal=rehearsal)
    return digest, compose(digest, report_base_url)


def post_recorded(
    ledger: Ledger,
    compose_now: Callable[[], tuple[Digest, Message | None]],
    destination: Destination,
    archive_url: str,
) -> tuple[Digest, Message | None, str]:
    """Compose, publish and post; and once more if a receipt is lost and cannot be looked up.

    Raises:
        PipelineError: as `publish_and_post`.
    """
    digest, message = compose_now()
    try:
        page = publish_and_post(ledger, digest, message, destination, archive_url)
    except ChannelUnreadable:
        # The ledger knows that now, so the next message says that it may repeat the first.
        digest, message = compose_now()
        page = publish_and_post(ledger, digest, message, destination, archive_url)
    return digest, message, page


def publish_and_post(
    ledger: Ledger,
    digest: Digest,
    message: Message | None,
    destination: Destination,
    archive_url: str,
) -> str:
    """Archive the day's page and post the message, with a ledger entry before and after the post.

    Returns:
        The address of the page.

    Raises:
        RunInProgress: another process sends a digest right now.
        SlackError: see `tasks.post.deliver`; what has no receipt stays pending.
        ArchiveError: the page cannot be written.
    """
    begun = begin(ledger, digest, message) if message else None
    try:
        return store_daily(archive_url, digest, message, render_daily(digest))
    finally:
        # An archive that cannot be written must not hold the message back.
        if begun and message:
            post_and_settle(ledger, begun, message, destination, digest.medium)


def post_and_settle(
    ledger: Ledger, begun: Unsettled, message: Message, destination: Destination, medium: Medium
) -> None:
    """Post the message, and record in the ledger how that ended."""
    try:
        if medium is Medium.SLACK:
            post_digest(ledger, begun, message, destination)
        else:
            print_digest(ledger, begun)
    except SlackError as fault:
        settle(ledger, begun, fault)
        raise
    settle(ledger, begun)


def final_words(digest: Digest, message: Message | None, *, dry_run: bool) -> str:
    """Say in the final state's words what was posted, and where."""
    if message is None:
        posted_today = digest.previous and digest.slot - digest.previous < DAY
        if posted_today or not all(day.searched for day in digest.clusters):
            return "everything was posted before"
        return "nothing to post: every cluster searched, nothing new"
    new, baseline = len(digest.announcements), len(digest.baselines)
    counts = f"{new} new" + (f", {baseline} in baselines" if baseline else "")
    counts += f", {counted(len(digest.ended), 'acknowledgement')} ended" if digest.ended else ""
    posted = digest.medium is Medium.SLACK
    where = "posted to Slack" if posted else "no token: printed, not posted"
    where += " as a rehearsal, which does not count as delivered" if digest.rehearsal else ""
    return f"{counts}, {'dry run' if dry_run else where}"
