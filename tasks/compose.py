"""Compose the Slack message of a day from its digest."""

from __future__ import annotations

from prefect import get_run_logger

from tasks.model.digests import Digest
from tasks.orchestration.steps import step
from tasks.slack.compose import compose_message
from tasks.slack.message import Message


@step  # No retries: pure.
def compose(digest: Digest, report_base_url: str | None) -> Message | None:
    """Compose the message, if there is anything to report, and log its counts."""
    message = compose_message(digest, report_base_url=report_base_url)
    get_run_logger().info(
        "%s: %d new, %d in baselines, %s",
        digest.destination,
        len(digest.announcements),
        len(digest.baselines),
        f"{1 + len(message.replies)} message(s)" if message else "nothing to report",
    )
    return message
