"""Faults: from what Slack and the network answer to our errors, with a remedy."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import urlsplit

from slack_sdk.web import SlackResponse

from tasks.errors import (
    ContentRefused,
    ReceiptLost,
    SlackBusy,
    SlackError,
    SlackNotTrusted,
    SlackRefused,
    SlackUnreachable,
)
from tasks.settings import Destination

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
LOOK_UP_LATER = (
    "The message may or may not have been posted: the next digest looks that up first. If this "
    "goes on, check the worker's way to Slack."
)
_CONTENT_REFUSED = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"}
)
_MAY_PASS = frozenset(
    {"fatal_error", "internal_error", "ratelimited", "request_timeout", "service_unavailable"}
)
_NO_WAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

_ERROR_CODE = re.compile(r"[a-z0-9_]{1,60}")

NO_ANSWER = (OSError, HTTPException, ValueError, LookupError, RecursionError)
"""From the network, half an answer in JSON, an unknown charset, or JSON with endless brackets."""


def fault_of_answer(destination: Destination, response: SlackResponse) -> SlackError:
    """Translate an answer without a receipt."""
    data = response.data if isinstance(response.data, dict) else {}
    code = str(data.get("error", ""))
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or code == "ratelimited":
        seconds = seconds_to_wait(response.headers)
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
        return ReceiptLost(
            f"Slack has a fault of its own (HTTP {response.status_code}).", LOOK_UP_LATER
        )
    if not _ERROR_CODE.fullmatch(code):
        return ReceiptLost(
            f"The answer (HTTP {response.status_code}) is not Slack's.", LOOK_UP_LATER
        )
    return refusal(destination, code)


def _redirected_to(response: SlackResponse) -> str:
    """Give the host that a redirect names; the rest of its address may repeat what was sent."""
    try:
        host = urlsplit(header_value(response.headers, "location")).hostname
    except ValueError:  # For example an open bracket.
        host = None
    return host or "an address without a host"


def refusal(destination: Destination, code: str) -> SlackRefused:
    """Make the error for a refusal, by Slack's code for it."""
    problem = f"{destination.name}: Slack refuses (channel {destination.channel}): {code}."
    if code in _CONTENT_REFUSED:
        return ContentRefused(problem, "Report this as a bug.")
    remedy = _REMEDIES.get(code, f"Look up {code} among the errors of Slack's API.")
    return SlackRefused(problem, remedy)


def fault_of_network(destination: Destination, error: Exception) -> SlackError:
    """Translate a network error. Only if no connection was opened, nothing was posted for sure."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return SlackNotTrusted(
            f"{destination.name}: the certificate of {urlsplit(destination.api_url).hostname} is "
            f"not trusted: {reason.verify_message}. Nothing was sent.",
            "If a proxy opens TLS, set SSL_CERT_FILE on the worker to a PEM file with its "
            "authority; else correct `api_url` of the destination.",
        )
    if isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) in _NO_WAY:
        return SlackUnreachable(
            f"Slack cannot be reached ({reason}). Nothing was posted.",
            "Check the worker's way to Slack: name resolution, proxy, firewall.",
        )
    return ReceiptLost(f"Slack gave no answer ({type(reason).__name__}).", LOOK_UP_LATER)


def seconds_to_wait(headers: Mapping[str, str]) -> int | None:
    """Read for how many seconds Slack asks to wait."""
    seconds = header_value(headers, "retry-after")
    return int(seconds) if seconds.isdigit() else None


def header_value(headers: Mapping[str, str], name: str) -> str:
    """Read a header, however its name is written; empty without it."""
    return next((value for key, value in headers.items() if key.lower() == name), "")
