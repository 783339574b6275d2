"""Tell one destination what is new: collect, compose, post, settle."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import AwareDatetime

from flows.opaque import opaque
from tasks.archive import store_daily
from tasks.blocks import read_block
from tasks.collect import collect
from tasks.digest import write
from tasks.digests import Digest, DigestStatus, Medium, Message, readable
from tasks.errors import SlackBusy, SlackRefused
from tasks.history import History, Ledger
from tasks.notify import send
from tasks.report import render_daily
from tasks.runs import minute
from tasks.settings import ARCHIVE_URL, HISTORY_URL, Destination, Url, secret, secret_if_any
from tasks.settle import begin, settle


def medium_of(destination: Destination) -> Medium:
    """Where the digest goes: to Slack with a token, else to the terminal.

    Raises:
        SettingsError: a deployment has no token; there is no terminal where somebody would read.
            Or what is there cannot be a token.
    """
    read = secret if runtime.deployment.id is not None else secret_if_any
    token = read(destination.token, f"Slack's bot token of {destination.name}", read_block)
    return Medium.SLACK if token else Medium.TERMINAL


def _run_name() -> str:
    """Name the flow run in Prefect's UI: destination and slot."""
    parameters: dict[str, Any] = runtime.flow_run.parameters
    return f"{parameters['destination'].name} {_slot(parameters.get('slot')):%Y-%m-%d %H:%MZ}"


def _slot(given: datetime | None) -> datetime:
    return minute(given or runtime.flow_run.scheduled_start_time or datetime.now(UTC))


@flow(name="daily_digest", flow_run_name=_run_name)
def daily_digest(
    destination: Destination,
    slot: AwareDatetime | None = None,
    dry_run: bool = False,
    history_url: Url = HISTORY_URL,
    archive_url: Url = ARCHIVE_URL,
    report_base_url: Url | None = None,
) -> State:
    """Tell one destination what is new since its last digest, and leave a page of the day.

    Args:
        destination: which, with its scope.
        slot: the moment that the digest stands for; by default the scheduled start.
        dry_run: compose only: post, record and leave nothing.
        history_url: SQLAlchemy URL of the history, without a password.
        archive_url: folder or fsspec URL of the archive.
        report_base_url: where people open the archive, for links.

    Returns:
        The final state in words; its data holds the digest as it would read in Slack, and where
        the day's page is.
    """
    medium, slot = medium_of(destination), _slot(slot)
    with History.open(history_url) as history:
        ledger = history.ledger(destination, medium)
        digest = collect(ledger, destination, medium, slot, datetime.now(UTC))
        message = write(opaque(digest), report_base_url)
        page = None
        if not dry_run:
            # Also a day with nothing to tell decides from when on a destination hears.
            ledger.since(slot)
            # Told first: an archive that cannot be written must not silence the team.
            if message:
                tell(ledger, digest, message, destination)
            page = store_daily(archive_url, opaque(digest), opaque(message), render_daily(digest))
    words = final_words(digest, message, dry_run=dry_run)
    facts = {
        "destination": destination.name,
        "slot": slot.isoformat(),
        "message": words,
        "digest": readable(message) if message else "",
        "page": page,
    }
    return Completed(message=words, data=facts)


def tell(ledger: Ledger, digest: Digest, message: Message, destination: Destination) -> None:
    """Post the message between two entries of the ledger: never mark, then send.

    When no answer comes, the first entry stays: the next digest knows that this one is ambiguous.

    Raises:
        SlackRefused: with the remedy; what it told stays pending.
        SlackBusy: likewise; the next digest tells it.
        SlackUnreachable: the message may or may not have been posted.
    """
    begin(ledger, opaque(digest), opaque(message))
    if digest.medium is Medium.TERMINAL:
        settle(ledger, opaque(digest), DigestStatus.SENT)
        return
    try:
        posted = send(opaque(message), destination.channel, destination.token, destination.api_url)
    except (SlackRefused, SlackBusy):
        settle(ledger, opaque(digest), DigestStatus.REFUSED)
        raise
    settle(ledger, opaque(digest), DigestStatus.SENT, posted.ts)


def final_words(digest: Digest, message: Message | None, *, dry_run: bool) -> str:
    """Say what was told, and where."""
    if message is None:
        return "nothing to tell: every cluster searched, nothing new"
    new, baseline = len(digest.announcements), len(digest.baselines)
    told = f"{new} new" + (f", {baseline} in baselines" if baseline else "")
    posted = digest.medium is Medium.SLACK
    where = "posted to Slack" if posted else "no token: printed, not posted"
    return f"{told}, {'dry run' if dry_run else where}"
