"""A Slack channel: from a message to its receipt, from a digest's id to its messages there.

The only module that calls Slack.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener, getproxies

from pydantic import SecretStr
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryState
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.web import SlackResponse, WebClient

from tasks.errors import (
    ChannelUnreadable,
    ContentRefused,
    ReceiptLost,
    SlackError,
    SlackNotTrusted,
    SlackRefused,
    SlackUnreachable,
)
from tasks.settings import Destination
from tasks.slack.faults import (
    LOOK_UP_LATER,
    NO_ANSWER,
    fault_of_answer,
    fault_of_network,
    header_value,
    refusal,
    seconds_to_wait,
)
from tasks.slack.message import EVENT_TYPE, Message
from tasks.text.foreign import scrubbed

TIMEOUT_SECONDS = 30
LOOK_UP_SECONDS = 10
LONGEST_WAIT_SECONDS = 120
SECONDS_BETWEEN_POSTS = 1.0
"""Slack accepts one post a second in a channel."""

CLOCKS_DIFFER = timedelta(hours=1)
"""The largest difference between Slack's clock and ours."""

MESSAGES_PER_PAGE = 200

_UNKNOWN = "Whether a digest is in the channel cannot be looked up"
_LOOK_UP = (
    "Give the app the scope `channels:history` (in a private channel `groups:history`), install "
    "it again, and invite it into the channel: a lost receipt is then looked up. Until then the "
    "next digest repeats this one, and says so."
)
_RECEIPT = re.compile(r"\d+\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a bot token gives access to.

    Attributes:
        workspace: its name in Slack.
        app: the app's name in Slack.
        channel: the channel's name; None where the token may not look it up.
        can_find: whether the token may read the messages in a channel, to look up one whose
            receipt was lost. True also where Slack does not list the token's scopes.
    """

    workspace: str
    app: str
    channel: str | None
    can_find: bool


class _ShortWaits(RateLimitErrorRetryHandler):
    """Wait as Slack asks, but not for long: a longer wait is for the next attempt.

    It is the only handler, because the library's default ones post again when an answer is lost.
    """

    def _can_retry(
        self,
        *,
        state: RetryState,  # noqa: ARG002 - the base class's signature.
        request: HttpRequest,  # noqa: ARG002 - as above.
        response: HttpResponse | None = None,
        error: Exception | None = None,  # noqa: ARG002 - as above.
    ) -> bool:
        if response is None or response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            return False
        asked = seconds_to_wait({name: value[0] for name, value in response.headers.items()})
        return asked is not None and asked <= LONGEST_WAIT_SECONDS


class _NoRedirects(HTTPRedirectHandler):
    """Follow no redirect: urllib would send the token to wherever it leads."""

    def http_error_302(self, *_: object) -> None:
        """Leave the redirect as the answer."""

    http_error_301 = http_error_303 = http_error_302  # type: ignore[assignment]
    http_error_307 = http_error_308 = http_error_302  # type: ignore[assignment]


class _DirectClient(WebClient):
    """Slack's client, which asks Slack's address and no other."""

    def _perform_urllib_http_request_internal(
        self,
        url: str,  # noqa: ARG002 - of the base class; the request has it.
        req: Request,
    ) -> dict[str, Any]:
        """Send one request; the base class would follow redirects, and has no setting for that."""
        # Through no proxy without TLS: it would see the token.
        tunnels = {kind: proxy for kind, proxy in getproxies().items() if kind == "https"}
        opener = build_opener(_NoRedirects, ProxyHandler(tunnels))
        with opener.open(req, timeout=self.timeout) as response:
            body = response.read().decode(errors="replace")
            if not body.lstrip().startswith("{"):
                body = "no object"  # Which the base class takes every JSON for.
            return {"status": response.status, "headers": response.headers, "body": body}


class Channel:
    """One channel, with the access of one app."""

    def __init__(self, destination: Destination, token: SecretStr) -> None:
        """Prepare the calls; nothing is sent yet.

        Args:
            destination: names the channel, and the address of Slack's methods.
            token: the bot token; it is in no error, log line or traceback.
        """
        self._destination = destination
        self._client = _DirectClient(
            token.get_secret_value(),
            base_url=destination.api_url,
            timeout=TIMEOUT_SECONDS,
            retry_handlers=[_ShortWaits(max_retry_count=2)],
        )

    def post(self, part: Message, thread_ts: str | None = None) -> str:
        """Post one part of a digest, once: it is not posted again when an answer is lost.

        Where Slack refuses the only block of a part, its text is posted, and at last no more than
        the finding's id and link.

        Args:
            part: a message or a reply; its own replies are not posted.
            thread_ts: of the message, for a reply.

        Returns:
            Slack's `ts` of it.

        Raises:
            ContentRefused: Slack refused what it says; there may be less to say at once.
            SlackRefused: Slack refused it, and will refuse it again until its cause is mended.
            SlackBusy: Slack does not accept it now.
            SlackNotTrusted: it did not reach Slack, whose certificate is not trusted.
            SlackUnreachable: it did not reach Slack.
            ReceiptLost: it may or may not have been posted.
        """
        *shapes, last = part.shapes
        for shape in shapes:
            with suppress(ContentRefused):
                return self._post_once(shape, thread_ts)
        return self._post_once(last, thread_ts)

    def find(
        self, digest_id: str, since: datetime, thread_ts: str | None = None
    ) -> Mapping[int, str]:
        """Look up which parts of a digest are in the channel, by the metadata that they carry.

        Args:
            digest_id: the digest's id.
            since: when its first post was about to be made.
            thread_ts: Slack's `ts` of its message, where that is known.

        Returns:
            Slack's `ts` by the part's number.

        Raises:
            ChannelUnreadable: the app may not read the channel.
            ReceiptLost: it cannot be looked up now.
        """
        oldest = f"{(since - CLOCKS_DIFFER).timestamp():.6f}"
        if thread_ts is None:
            for message in self._messages(self._client.conversations_history, oldest=oldest):
                if _part_of(digest_id, message) is not None:
                    thread_ts = message["ts"]
                    break
            else:
                return {}
        thread = self._messages(self._client.conversations_replies, ts=thread_ts)
        return {part: message["ts"] for message in thread if (part := _part_of(digest_id, message))}

    def _post_once(self, part: Message, thread_ts: str | None) -> str:
        if thread_ts:
            time.sleep(SECONDS_BETWEEN_POSTS)
        try:
            receipt = self._client.chat_postMessage(
                channel=self._destination.channel,
                text=part.text,
                blocks=[dict(block) for block in part.blocks] or None,
                metadata=dict(part.metadata),
                thread_ts=thread_ts,
                mrkdwn=False,  # Where the text is shown, it is words.
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
            )
            if isinstance(ts := receipt["ts"], str) and _RECEIPT.fullmatch(ts):
                return ts
            fault: SlackError = ReceiptLost("Slack's answer holds no receipt.", LOOK_UP_LATER)
        except SlackApiError as error:
            fault = fault_of_answer(self._destination, error.response)
        except NO_ANSWER as error:
            fault = fault_of_network(self._destination, error)
        raise fault  # Out here it has no context: Slack's error holds the request, with the token.

    def _messages(
        self, method: Callable[..., SlackResponse], **arguments: str
    ) -> Iterator[Mapping[str, Any]]:
        """Read messages with their metadata, page by page."""
        cursor: str | None = None
        while cursor != "":
            page = self._read(method, cursor=cursor, **arguments)
            messages = page.get("messages")
            if not isinstance(messages, list):
                raise ReceiptLost(f"{_UNKNOWN} now. The answer is not Slack's.", LOOK_UP_LATER)
            yield from (each for each in messages if isinstance(_object(each).get("ts"), str))
            following = _object(page.get("response_metadata")).get("next_cursor")
            cursor = following if isinstance(following, str) else ""

    def _read(
        self, method: Callable[..., SlackResponse], **arguments: str | None
    ) -> Mapping[str, Any]:
        try:
            answer = method(
                channel=self._destination.channel,
                include_all_metadata=True,
                limit=MESSAGES_PER_PAGE,
                **arguments,
            )
            return _object(answer.data)
        except SlackApiError as error:
            fault = fault_of_answer(self._destination, error.response)
        except NO_ANSWER as error:
            fault = fault_of_network(self._destination, error)
        if isinstance(fault, SlackRefused):
            raise ChannelUnreadable(f"{_UNKNOWN}. {fault.problem}", _LOOK_UP)
        remedy = fault.remedy if isinstance(fault, SlackNotTrusted) else LOOK_UP_LATER
        raise ReceiptLost(f"{_UNKNOWN} now. {fault.problem}", remedy)


def reach(destination: Destination, token: SecretStr) -> Reach:
    """Find out whether a token could post to a channel, and post nothing.

    Args:
        destination: names the channel, and the address of Slack's methods.
        token: the bot token; in no error, log line or traceback.

    Raises:
        SlackRefused: it could not; with the remedy.
        SlackNotTrusted: the certificate at Slack's address is not trusted.
        SlackUnreachable: Slack gives no answer now.
    """
    client = _DirectClient(
        token.get_secret_value(),
        base_url=destination.api_url,
        timeout=LOOK_UP_SECONDS,
        retry_handlers=[],
    )
    me = _looked_up(destination, client.auth_test)
    scopes = _scopes(me)
    workspace, app = (str(_object(me.data).get(key) or "nameless") for key in ("team", "user"))
    if scopes and "chat:write" not in scopes:
        raise refusal(destination, "missing_scope")
    can_find = not scopes or not scopes.isdisjoint({"channels:history", "groups:history"})
    try:
        look_up = partial(client.conversations_info, channel=destination.channel)
        found = _object(_looked_up(destination, look_up)["channel"])
    except SlackRefused as fault:
        if fault.problem != refusal(destination, "missing_scope").problem:
            raise
        found = {}
    if not found:
        return Reach(workspace, app, None, can_find)
    if found.get("is_archived"):
        raise refusal(destination, "is_archived")
    anywhere = "chat:write.public" in scopes and not found.get("is_private")
    if not (found.get("is_member") or anywhere):
        raise refusal(destination, "not_in_channel")
    name = found.get("name")
    return Reach(workspace, app, name if isinstance(name, str) else None, can_find)


def _object(value: object) -> Mapping[str, Any]:
    """Give a JSON object without secrets; anything else counts as an empty one."""
    return scrubbed(value) if isinstance(value, Mapping) else {}


def _part_of(digest_id: str, message: Mapping[str, Any]) -> int | None:
    """Give which part of a digest a message is, 0 without a number; None for another message."""
    metadata = _object(message.get("metadata"))
    payload = _object(metadata.get("event_payload"))
    if metadata.get("event_type") != EVENT_TYPE or payload.get("digest_id") != digest_id:
        return None
    part = str(payload.get("part", 0))
    return int(part) if part.isdecimal() else None


def _looked_up(destination: Destination, call: Callable[[], SlackResponse]) -> SlackResponse:
    """Call a method that changes nothing, so that it does not matter if the answer is lost."""
    fault: SlackError | None = None
    try:
        return call()
    except SlackApiError as error:
        fault = fault_of_answer(destination, error.response)
    except NO_ANSWER as error:  # As of a post.
        fault = fault_of_network(destination, error)
        if not isinstance(fault, SlackNotTrusted):
            fault = None  # It is about a post.
    if isinstance(fault, SlackRefused | SlackUnreachable | SlackNotTrusted):
        raise fault  # Out here it has no context, as of a post.
    raise SlackUnreachable(
        "Slack cannot be asked now.", "Check the worker's way to Slack, and ask again."
    )


def _scopes(response: SlackResponse) -> frozenset[str]:
    """Read the token's scopes; empty where Slack does not list them."""
    scopes = header_value(response.headers, "x-oauth-scopes").split(",")
    return frozenset(scope.strip() for scope in scopes if scope.strip())
