"""Post a message to a Slack channel: from a `Message` to Slack's receipt, or the reason why not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from http.client import HTTPException

from prefect import task
from prefect.logging import get_run_logger
from pydantic import SecretStr
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryState
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.web import SlackResponse, WebClient

from tasks.blocks import read_block
from tasks.digests import Message
from tasks.errors import SlackBusy, SlackError, SlackRefused, SlackUnreachable
from tasks.settings import SecretName, secret

SLACK_URL = WebClient.BASE_URL
TIMEOUT_SECONDS = 30
LOOK_UP_SECONDS = 10
LONGEST_WAIT_SECONDS = 120
SECONDS_BETWEEN_POSTS = 1.0
"""Slack takes one post a second and channel."""

_AUTHENTICATE = (
    "Put a valid bot token where the destination's `token_env` or `token_block` says: Slack shows "
    "it at api.slack.com/apps, under OAuth & Permissions."
)
_REMEDIES = {
    "channel_not_found": "Correct the destination's `channel` (the channel's id, not its name); "
    "into a private channel, invite the app first.",
    "not_in_channel": "Invite the app into the channel: `/invite @` and the app's name.",
    "is_archived": "Unarchive the channel, or give the destination another one.",
    "restricted_action": "Ask a workspace admin to let the app post in this channel.",
    "missing_scope": "Give the app the scope `chat:write` and install it again.",
    "invalid_auth": _AUTHENTICATE,
    "not_authed": _AUTHENTICATE,
    "token_expired": _AUTHENTICATE,
    "token_revoked": _AUTHENTICATE,
    "account_inactive": _AUTHENTICATE,
}
_BLOCKS_REFUSED = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_MAY_PASS = frozenset(
    {"fatal_error", "internal_error", "ratelimited", "request_timeout", "service_unavailable"}
)

_ERROR_WORD = re.compile(r"[a-z0-9_]{1,60}")


@dataclass(frozen=True, slots=True)
class Posted:
    """Slack's receipt.

    Attributes:
        ts: Slack's id of the message in its channel.
        reply_ts: those of the replies in its thread.
        fault: why replies are missing in the thread; None when all are there. The message itself
            names how many findings it has no room for, and the report has them all.
    """

    ts: str
    reply_ts: tuple[str, ...] = ()
    fault: SlackError | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What a bot token opens.

    Attributes:
        workspace: Slack's name of it.
        app: the app's name there.
        channel: the channel's name; None where the token may not look it up.
    """

    workspace: str
    app: str
    channel: str | None


class _BlocksRefused(SlackRefused):
    """Slack does not take the blocks as they are, although they keep every limit we know."""


class _ShortWaits(RateLimitErrorRetryHandler):
    """Wait as Slack asks, but no longer than a run may: a longer wait is for the next attempt.

    It is the only handler: the library's default ones post again when an answer is lost.
    """

    def _can_retry(
        self,
        *,
        state: RetryState,  # noqa: ARG002  the base class's signature
        request: HttpRequest,  # noqa: ARG002
        response: HttpResponse | None = None,
        error: Exception | None = None,  # noqa: ARG002
    ) -> bool:
        if response is None or response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return False
        asked = _retry_after({name: value[0] for name, value in response.headers.items()})
        return asked is not None and asked <= LONGEST_WAIT_SECONDS


def post(
    message: Message,
    channel: str,
    token: SecretStr,
    *,
    base_url: str = SLACK_URL,
    seconds_between_posts: float = SECONDS_BETWEEN_POSTS,
) -> Posted:
    """Post a message and its replies, once: nothing is posted again when an answer is lost.

    Where Slack refuses the blocks, they go in halves, and at last in words only.

    Args:
        message: what to post.
        channel: Slack's channel id.
        token: the bot token; in no error, log line or traceback.
        base_url: where Slack's methods are; another one for tests only.
        seconds_between_posts: the pause before each post after the first.

    Raises:
        SlackRefused: Slack did not take the message, and will not until somebody acts.
        SlackBusy: Slack did not take the message now.
        SlackUnreachable: no answer came; the message may or may not have been posted.
    """
    client = WebClient(
        token.get_secret_value(),
        base_url=base_url,
        timeout=TIMEOUT_SECONDS,
        retry_handlers=[_ShortWaits(max_retry_count=2)],
    )
    once = partial(_post_once, client, channel, seconds_between_posts)
    ts, *thread = _post(once, message, None)
    try:
        for reply in message.replies:
            thread += _post(once, reply, ts)
    except SlackError as fault:
        return Posted(ts, tuple(thread), fault)
    return Posted(ts, tuple(thread))


def reach(channel: str, token: SecretStr, *, base_url: str = SLACK_URL) -> Reach:
    """Find out whether a token could post to a channel, and post nothing.

    Args:
        channel: Slack's channel id.
        token: the bot token; in no error, log line or traceback.
        base_url: where Slack's methods are.

    Raises:
        SlackRefused: it could not; with the remedy.
        SlackUnreachable: Slack gives no answer now.
    """
    client = WebClient(
        token.get_secret_value(), base_url=base_url, timeout=LOOK_UP_SECONDS, retry_handlers=[]
    )
    me = _looked_up(client.auth_test)
    scopes = _scopes(me)
    if scopes and "chat:write" not in scopes:
        raise _refused("missing_scope")
    try:
        found = _looked_up(partial(client.conversations_info, channel=channel))["channel"]
    except SlackRefused as fault:
        if fault.problem != _refused("missing_scope").problem:
            raise
        return Reach(me["team"], me["user"], None)
    if found.get("is_archived"):
        raise _refused("is_archived")
    anywhere = "chat:write.public" in scopes and not found.get("is_private")
    if not (found.get("is_member") or anywhere):
        raise _refused("not_in_channel")
    return Reach(me["team"], me["user"], found.get("name"))


@task  # no retries: the ledger owns what happens after a post whose answer is lost
def send(message: Message, channel: str, token: SecretName, base_url: str = SLACK_URL) -> Posted:
    """Post with the token of that name, and log the receipt."""
    value = secret(token, "Slack's bot token", read_block)
    posted = post(message, channel, value, base_url=base_url)
    get_run_logger().info("Posted %s with %d replies", posted.ts, len(posted.reply_ts))
    if posted.fault:
        get_run_logger().warning("Replies are missing in the thread: %s", posted.fault)
    return posted


def _post(
    once: Callable[[Message, str | None], str], message: Message, thread_ts: str | None
) -> list[str]:
    """Post one message; where its blocks are refused, halves of them, and at last only words.

    Returns:
        The `ts` of each post, the first one first; halves stand in the first one's thread.
    """
    try:
        return [once(message, thread_ts)]
    except _BlocksRefused:
        if not message.blocks:
            raise
    middle = len(message.blocks) // 2
    if not middle:
        return _post(once, replace(message, blocks=()), thread_ts)
    first, second = (
        Message.of(blocks, message.metadata)
        for blocks in (message.blocks[:middle], message.blocks[middle:])
    )
    posted = _post(once, first, thread_ts)
    return posted + _post(once, second, thread_ts or posted[0])


def _post_once(
    client: WebClient, channel: str, pause_seconds: float, message: Message, thread_ts: str | None
) -> str:
    if thread_ts:
        time.sleep(pause_seconds)
    try:
        receipt = client.chat_postMessage(
            channel=channel,
            text=message.text,
            blocks=[dict(block) for block in message.blocks] or None,
            metadata=dict(message.metadata),
            thread_ts=thread_ts,
            mrkdwn=False,  # Where the text is shown, it is words.
            parse="none",
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(receipt["ts"])
    except SlackApiError as error:
        fault = _answered(error.response)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: half an answer in JSON
        fault = _unreachable(f"Slack gave no answer ({type(error).__name__}).")
    raise fault  # Out here it has no context: Slack's error holds the request, with the token.


def _answered(response: SlackResponse) -> SlackError:
    """Translate an answer that is no receipt."""
    data = response.data if isinstance(response.data, dict) else {}
    word = str(data.get("error", ""))
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = _retry_after(response.headers)
        return SlackBusy(
            f"Slack asks to wait {seconds or 'some'} seconds. Nothing was posted.",
            "The next attempt posts it; if this goes on, see what else posts with this app.",
        )
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or word in _MAY_PASS:
        return _unreachable(f"Slack has a fault of its own (HTTP {response.status_code}).")
    if not _ERROR_WORD.fullmatch(word):
        return _unreachable(f"An answer (HTTP {response.status_code}) came that is not Slack's.")
    if word in _BLOCKS_REFUSED:
        return _BlocksRefused(f"Slack refuses: {word}.", "Report this as a bug.")
    return _refused(word)


def _refused(word: str) -> SlackRefused:
    remedy = _REMEDIES.get(word, f"Look up {word} among the errors of chat.postMessage.")
    return SlackRefused(f"Slack refuses: {word}.", remedy)


def _looked_up(call: Callable[[], SlackResponse]) -> SlackResponse:
    """Call a method that changes nothing, so that a lost answer is no riddle."""
    fault: SlackError | None = None
    try:
        return call()
    except SlackApiError as error:
        fault = _answered(error.response)
    except (OSError, HTTPException, ValueError):  # As of a post.
        pass
    if isinstance(fault, SlackRefused):
        raise fault  # Out here it has no context, as of a post.
    raise SlackUnreachable(
        "Slack cannot be asked now.", "Check the worker's way to Slack, and ask again."
    )


def _scopes(response: SlackResponse) -> frozenset[str]:
    """Read what the token may do; empty where Slack does not say."""
    values = [v for name, v in response.headers.items() if name.lower() == "x-oauth-scopes"]
    return frozenset(scope.strip() for scope in ",".join(values).split(",") if scope.strip())


def _unreachable(problem: str) -> SlackUnreachable:
    return SlackUnreachable(
        f"{problem} The message may or may not have been posted.",
        "The next digest settles that first. If this goes on, check the worker's way to Slack.",
    )


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Read the seconds that Slack asks to wait."""
    values = [value for name, value in headers.items() if name.lower() == "retry-after"]
    return int(values[0]) if values and values[0].isdigit() else None
