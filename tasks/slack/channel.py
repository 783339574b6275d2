"""A Slack channel: from a message to its receipt, from a digest's id to its messages there.

The only module that calls Slack and translates its errors.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener, getproxies

from pydantic import SecretStr
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import HttpRequest, HttpResponse, RetryState
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.web import SlackResponse, WebClient

from tasks.errors import (
    ChannelUnreadable,
    ReceiptLost,
    SlackBusy,
    SlackError,
    SlackRefused,
    SlackUnreachable,
)
from tasks.slack.message import EVENT_TYPE, Message
from tasks.text.foreign import scrubbed

SLACK_URL = WebClient.BASE_URL
TIMEOUT_SECONDS = 30
LOOK_UP_SECONDS = 10
LONGEST_WAIT_SECONDS = 120
SECONDS_BETWEEN_POSTS = 1.0
"""Slack accepts one post a second in a channel."""

CLOCKS_DIFFER = timedelta(hours=1)
"""The largest difference between Slack's clock and ours."""

MESSAGES_PER_PAGE = 200

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
_UNKNOWN = "Whether a digest is in the channel cannot be looked up"
_LATER = (
    "The message may or may not have been posted: the next digest looks that up first. If this "
    "goes on, check the worker's way to Slack."
)
_LOOK_UP = (
    "Give the app the scope `channels:history` (in a private channel `groups:history`), install "
    "it again, and invite it into the channel: a lost receipt is then looked up. Until then the "
    "next digest repeats this one, and says so."
)
_BLOCKS_REFUSED = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_MAY_PASS = frozenset(
    {"fatal_error", "internal_error", "ratelimited", "request_timeout", "service_unavailable"}
)
_NO_WAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

_ERROR_CODE = re.compile(r"[a-z0-9_]{1,60}")
_RECEIPT = re.compile(r"\d+\.\d+", re.ASCII)

_NO_ANSWER = (OSError, HTTPException, ValueError, LookupError, RecursionError)
"""From the network, half an answer in JSON, an unknown charset, or JSON with endless brackets."""


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


class _BlocksRefused(SlackRefused):
    """Slack refuses the blocks, although they keep every limit that we know."""


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
        asked = _retry_after({name: value[0] for name, value in response.headers.items()})
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

    def __init__(
        self,
        id: str,
        token: SecretStr,
        *,
        base_url: str = SLACK_URL,
    ) -> None:
        """Prepare the calls; nothing is sent yet.

        Args:
            id: its id in Slack.
            token: the bot token; it is in no error, log line or traceback.
            base_url: the address of Slack's methods.
        """
        self._id = id
        self._client = _DirectClient(
            token.get_secret_value(),
            base_url=base_url,
            timeout=TIMEOUT_SECONDS,
            retry_handlers=[_ShortWaits(max_retry_count=2)],
        )

    def post(self, part: Message, thread_ts: str | None = None) -> str:
        """Post one part of a digest, once: it is not posted again when an answer is lost.

        Where Slack refuses the blocks, they are posted in halves, and at last as text only.

        Args:
            part: a message or a reply; its own replies are not posted.
            thread_ts: of the message, for a reply.

        Returns:
            Slack's `ts` of it; of the first piece, where it was posted in pieces.

        Raises:
            SlackRefused: Slack refused it, and will refuse it again until its cause is mended.
            SlackBusy: Slack does not accept it now.
            SlackUnreachable: it did not reach Slack.
            ReceiptLost: it may or may not have been posted.
        """
        try:
            return self._post_once(part, thread_ts)
        except _BlocksRefused:
            if not part.blocks:
                raise
        middle = len(part.blocks) // 2
        if not middle:
            return self.post(replace(part, blocks=()), thread_ts)
        # Only the last piece carries the part's number: where that is found, all of it is there.
        unnumbered = _without_part(part.metadata)
        first = self.post(Message.of(part.blocks[:middle], unnumbered), thread_ts)
        self.post(Message.of(part.blocks[middle:], part.metadata), thread_ts or first)
        return first

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
                channel=self._id,
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
            fault: SlackError = ReceiptLost("Slack's answer holds no receipt.", _LATER)
        except SlackApiError as error:
            fault = _answered(error.response)
        except _NO_ANSWER as error:
            fault = _not_answered(error)
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
                raise ReceiptLost(f"{_UNKNOWN} now. The answer is not Slack's.", _LATER)
            yield from (each for each in messages if isinstance(_object(each).get("ts"), str))
            following = _object(page.get("response_metadata")).get("next_cursor")
            cursor = following if isinstance(following, str) else ""

    def _read(
        self, method: Callable[..., SlackResponse], **arguments: str | None
    ) -> Mapping[str, Any]:
        try:
            answer = method(
                channel=self._id,
                include_all_metadata=True,
                limit=MESSAGES_PER_PAGE,
                **arguments,
            )
            return _object(answer.data)
        except SlackApiError as error:
            fault = _answered(error.response)
        except _NO_ANSWER as error:
            fault = _not_answered(error)
        if isinstance(fault, SlackRefused):
            raise ChannelUnreadable(f"{_UNKNOWN}. {fault.problem}", _LOOK_UP)
        raise ReceiptLost(f"{_UNKNOWN} now. {fault.problem}", _LATER)


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
    client = _DirectClient(
        token.get_secret_value(), base_url=base_url, timeout=LOOK_UP_SECONDS, retry_handlers=[]
    )
    me = _looked_up(client.auth_test)
    scopes = _scopes(me)
    workspace, app = (str(_object(me.data).get(key) or "nameless") for key in ("team", "user"))
    if scopes and "chat:write" not in scopes:
        raise _refused("missing_scope")
    can_find = not scopes or not scopes.isdisjoint({"channels:history", "groups:history"})
    try:
        found = _object(_looked_up(partial(client.conversations_info, channel=channel))["channel"])
    except SlackRefused as fault:
        if fault.problem != _refused("missing_scope").problem:
            raise
        found = {}
    if not found:
        return Reach(workspace, app, None, can_find)
    if found.get("is_archived"):
        raise _refused("is_archived")
    anywhere = "chat:write.public" in scopes and not found.get("is_private")
    if not (found.get("is_member") or anywhere):
        raise _refused("not_in_channel")
    name = found.get("name")
    return Reach(workspace, app, name if isinstance(name, str) else None, can_find)


def _object(value: object) -> Mapping[str, Any]:
    """Give a JSON object without secrets; anything else counts as an empty one."""
    return scrubbed(value) if isinstance(value, Mapping) else {}


def _part_of(digest_id: str, message: Mapping[str, Any]) -> int | None:
    """Give which part of a digest a message is: 0 for a piece of one, None for another message."""
    metadata = _object(message.get("metadata"))
    payload = _object(metadata.get("event_payload"))
    if metadata.get("event_type") != EVENT_TYPE or payload.get("digest_id") != digest_id:
        return None
    part = str(payload.get("part", 0))
    return int(part) if part.isdecimal() else None


def _without_part(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    payload = {key: each for key, each in metadata["event_payload"].items() if key != "part"}
    return {**metadata, "event_payload": payload}


def _answered(response: SlackResponse) -> SlackError:
    """Translate an answer without a receipt."""
    data = response.data if isinstance(response.data, dict) else {}
    code = str(data.get("error", ""))
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or code == "ratelimited":
        seconds = _retry_after(response.headers)
        return SlackBusy(
            f"Slack asks to wait {seconds or 'some'} seconds. Nothing was posted.",
            "The next digest reports its findings. If this goes on, see what else uses this app.",
        )
    if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
        return SlackUnreachable(
            f"Slack's address redirects to {_redirected_to(response)}, which is not followed.",
            "Correct `api_url` of the destination, or let the worker reach Slack without a sign-in "
            "page.",
        )
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _MAY_PASS:
        return ReceiptLost(f"Slack has a fault of its own (HTTP {response.status_code}).", _LATER)
    if not _ERROR_CODE.fullmatch(code):
        return ReceiptLost(f"The answer (HTTP {response.status_code}) is not Slack's.", _LATER)
    if code in _BLOCKS_REFUSED:
        return _BlocksRefused(f"Slack refuses: {code}.", "Report this as a bug.")
    return _refused(code)


def _redirected_to(response: SlackResponse) -> str:
    """Give the host that a redirect names; the rest of its address may repeat what was sent."""
    try:
        host = urlsplit(_header(response.headers, "location")).hostname
    except ValueError:  # For example an open bracket.
        host = None
    return host or "an address without a host"


def _refused(code: str) -> SlackRefused:
    remedy = _REMEDIES.get(code, f"Look up {code} among the errors of Slack's API.")
    return SlackRefused(f"Slack refuses: {code}.", remedy)


def _looked_up(call: Callable[[], SlackResponse]) -> SlackResponse:
    """Call a method that changes nothing, so that it does not matter if the answer is lost."""
    fault: SlackError | None = None
    try:
        return call()
    except SlackApiError as error:
        fault = _answered(error.response)
    except _NO_ANSWER:  # As of a post.
        pass
    if isinstance(fault, SlackRefused | SlackUnreachable):
        raise fault  # Out here it has no context, as of a post.
    raise SlackUnreachable(
        "Slack cannot be asked now.", "Check the worker's way to Slack, and ask again."
    )


def _scopes(response: SlackResponse) -> frozenset[str]:
    """Read the token's scopes; empty where Slack does not list them."""
    scopes = _header(response.headers, "x-oauth-scopes").split(",")
    return frozenset(scope.strip() for scope in scopes if scope.strip())


def _not_answered(error: Exception) -> SlackError:
    """Translate a network error. Only if no connection was opened, nothing was posted for sure."""
    reason = error.reason if isinstance(error, URLError) else error
    unopened = (
        isinstance(reason, socket.gaierror | ssl.SSLCertVerificationError)
        or getattr(reason, "errno", None) in _NO_WAY
    )
    if unopened:
        return SlackUnreachable(
            f"Slack cannot be reached ({reason}). Nothing was posted.",
            "Check the worker's way to Slack: name resolution, proxy, certificates, firewall.",
        )
    return ReceiptLost(f"Slack gave no answer ({type(reason).__name__}).", _LATER)


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Read for how many seconds Slack asks to wait."""
    seconds = _header(headers, "retry-after")
    return int(seconds) if seconds.isdigit() else None


def _header(headers: Mapping[str, str], name: str) -> str:
    """Read a header, however its name is written; empty without it."""
    return next((value for key, value in headers.items() if key.lower() == name), "")
