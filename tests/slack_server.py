"""A Slack on loopback: it takes and gives messages as Slack does, and can be told to misbehave.

```python
with SlackServer(too_many(retry_after=0), ok) as slack:
    Channel(Destination(..., api_url=slack.url), token).post(message)
assert slack.messages[0]["text"] == message.text
```
"""

from __future__ import annotations

import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.serving import Serving

MOST_BLOCKS = 50
MOST_BLOCKS_JSON = 13_200

LONGEST_PAGE = 999

Behaviour = Callable[["Call"], None]
"""What happens to one call of a method."""


@dataclass
class Call:
    """One call: what came, and the ways to answer it."""

    handler: BaseHTTPRequestHandler
    slack: SlackServer
    method: str
    sent: dict[str, Any]

    def accept(self) -> dict[str, Any]:
        """Take the message into the channel, as Slack does before it answers."""
        ts = self.slack.next_ts()
        self.slack.messages.append({**self.sent, "ts": ts})
        return {"ok": True, "channel": self.sent["channel"], "ts": ts}

    def answer(self, body: object, status: int = 200, **headers: str) -> None:
        """Answer in JSON, or with text that is none."""
        content = body if isinstance(body, str) else json.dumps(body)
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", "application/json; charset=utf-8")
        self.handler.send_header("Content-Length", str(len(content.encode())))
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(content.encode())


def ok(call: Call) -> None:
    """Do what was asked, or refuse it where Slack would."""
    if call.method in {"conversations.history", "conversations.replies"}:
        call.answer(_page(call.sent, list(_readable(call))))
        return
    blocks = call.sent.get("blocks", [])
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(blocks) > MOST_BLOCKS or len(ids) != len(set(ids)):
        call.answer({"ok": False, "error": "invalid_blocks"})
    elif len(json.dumps(blocks)) > MOST_BLOCKS_JSON:
        call.answer({"ok": False, "error": "msg_blocks_too_long"})
    elif not call.sent.get("text") and not blocks:
        call.answer({"ok": False, "error": "no_text"})
    else:
        call.answer(call.accept())


def _readable(call: Call) -> Iterator[dict[str, Any]]:
    """Give what a reader gets of the channel, newest first, or of a thread, oldest first."""
    asked, held = call.sent, call.slack.messages
    if call.method == "conversations.replies":
        chosen = [each for each in held if asked["ts"] in {each["ts"], each.get("thread_ts")}]
    else:
        oldest = float(asked.get("oldest", 0))
        chosen = [
            each for each in held[::-1] if "thread_ts" not in each and float(each["ts"]) > oldest
        ]
    for message in chosen:
        # Others' messages have none; without being asked for, Slack shows nobody's.
        hidden = {} if asked.get("include_all_metadata") == "1" else {"metadata"}
        yield {key: value for key, value in message.items() if key not in hidden}


def _page(asked: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Give as many messages as were asked for, and where the next page begins."""
    start, limit = int(asked.get("cursor", 0)), min(int(asked.get("limit", 100)), LONGEST_PAGE)
    after = start + limit
    more = after < len(messages)
    return {
        "ok": True,
        "messages": messages[start:after],
        "has_more": more,
        "response_metadata": {"next_cursor": str(after) if more else ""},
    }


def no(error: str) -> Behaviour:
    """Answer `ok: false` with Slack's word for the reason."""
    return lambda call: call.answer({"ok": False, "error": error})


def too_many(retry_after: int) -> Behaviour:
    """Ask to come back later."""
    return lambda call: call.answer(
        {"ok": False, "error": "ratelimited"}, 429, Retry_After=str(retry_after)
    )


def fault(status: int) -> Behaviour:
    """Fail without an answer of Slack's own, as a gateway does."""
    return lambda call: call.answer("<html>upstream fault</html>", status)


def not_json(call: Call) -> None:
    """Answer 200 with a page, as a captive portal does."""
    call.answer("<html>Please sign in</html>")


def half_json(call: Call) -> None:
    """Answer with JSON that breaks off."""
    call.answer('{"ok": tr')


def taken_then_dropped(call: Call) -> None:
    """Take the message and drop the line before the answer."""
    call.accept()
    call.handler.close_connection = True


def taken_slowly(seconds: float) -> Behaviour:
    """Take the message and answer late."""

    def behaviour(call: Call) -> None:
        receipt = call.accept()
        time.sleep(seconds)
        call.answer(receipt)

    return behaviour


def refusing_rich_text(call: Call) -> None:
    """Behave as a Slack that no longer knows rich text."""
    if any(block["type"] == "rich_text" for block in call.sent.get("blocks", [])):
        call.answer({"ok": False, "error": "invalid_blocks"})
    else:
        ok(call)


def refusing(word: str) -> Behaviour:
    """Refuse every message with a word in it, in a block or as text."""

    def behaviour(call: Call) -> None:
        content = json.dumps([call.sent.get("text"), call.sent.get("blocks")])
        (no("invalid_blocks") if word in content else ok)(call)

    return behaviour


def known(call: Call, scopes: str = "chat:write,channels:read,channels:history") -> None:
    """Say whose token it is, and what it may do."""
    me = {"ok": True, "team": "Example", "user": "beaconhunt"}
    call.answer(me, x_oauth_scopes=scopes)


def channel(**changes: object) -> Behaviour:
    """Describe the channel: public, in use, and the app is in it."""
    facts = {"name": "secops", "is_member": True, "is_archived": False, "is_private": False}
    return lambda call: call.answer({"ok": True, "channel": facts | changes})


def is_gone(call: Call) -> None:
    """Drop the line without having taken anything."""
    call.handler.close_connection = True


class SlackServer(Serving):
    """A Slack with one channel; each post takes the next behaviour, and the last one stays.

    Other methods answer well, unless they are told to do something else.

    Attributes:
        messages: what the channel holds, oldest first, each with its `ts`.
        posting: what happens to the next posts.
        reading: what happens to those who read the channel, each in turn likewise.
        calls: how many posts came, taken or not.
        tokens: the bearer tokens that came.
    """

    def __init__(
        self,
        *behaviours: Behaviour,
        reading: Sequence[Behaviour] = (ok,),
        certificate: Path | None = None,
        **methods: Behaviour,
    ) -> None:
        """Take what it does to posts, and to other methods: `auth_test=no("invalid_auth")`.

        With a certificate, a PEM with its key, it answers over https.
        """
        self.messages: list[dict[str, Any]] = []
        self.calls = 0
        self.tokens: set[str] = set()
        self.posting = deque(behaviours or (ok,))
        self.reading = deque(reading)
        self._methods = methods
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._scheme = "https" if certificate else "http"
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)

    def next_ts(self) -> str:
        """Give the next message's `ts`: Slack's clock, and never the same twice."""
        last = float(self.messages[-1]["ts"]) if self.messages else 0.0
        return f"{max(time.time(), last + 0.000001):.6f}"

    @property
    def url(self) -> str:
        """Where its methods are."""
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}/api/"

    def _answer(self, handler: BaseHTTPRequestHandler, method: str, sent: dict[str, Any]) -> None:
        call = Call(handler, self, method, sent)
        if scripted := self._methods.get(method.replace(".", "_")):
            scripted(call)
            return
        match method:
            case "chat.postMessage":
                self.calls += 1
                _next(self.posting)(call)
            case "conversations.history" | "conversations.replies":
                _next(self.reading)(call)
            case "auth.test":
                known(call)
            case "conversations.info":
                channel()(call)
            case _:
                call.answer({"ok": False, "error": "unknown_method"})

    def _handler(slack: Self) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                slack.tokens.add(self.headers.get("Authorization", "").removeprefix("Bearer "))
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                is_json = self.headers.get_content_type() == "application/json"
                sent = json.loads(body) if is_json and body else dict(parse_qsl(body))
                asked = urlsplit(self.path)
                method = asked.path.rpartition("/")[2]
                slack._answer(self, method, {**dict(parse_qsl(asked.query)), **sent})

            def log_message(self, *_: object) -> None:
                """Say nothing: tests look at `messages`."""

        return Handler


def _next(behaviours: deque[Behaviour]) -> Behaviour:
    return behaviours.popleft() if len(behaviours) > 1 else behaviours[0]
