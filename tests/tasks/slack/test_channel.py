from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from slack_sdk.web import WebClient

from tasks.errors import (
    ChannelUnreadable,
    ContentRefused,
    ReceiptLost,
    SlackBusy,
    SlackError,
    SlackNotTrusted,
    SlackRefused,
    SlackUnreachable,
    TransientError,
)
from tasks.settings import Destination
from tasks.slack import channel as channels
from tasks.slack.channel import Channel, Reach, reach
from tasks.slack.message import Message, violations
from tests.certificates import Authority
from tests.slack_server import (
    Behaviour,
    Call,
    SlackServer,
    channel,
    fault,
    half_json,
    is_gone,
    known,
    no,
    not_json,
    ok,
    refusing,
    refusing_rich_text,
    taken_slowly,
    taken_then_dropped,
    too_many,
)

CANARY = "canary-5d1f-must-not-be-seen"
CHANNEL = "C0123456789"
DIGEST = "0a1b2c3d4e5f"

PERMANENT = {
    "channel_not_found": "channel",
    "not_in_channel": "/invite",
    "is_archived": "Unarchive",
    "restricted_action": "admin",
    "missing_scope": "chat:write",
    "invalid_auth": "token_env",
    "token_revoked": "token_env",
    "account_inactive": "token_env",
}


def section(words: str) -> dict[str, object]:
    """Give a block that says these words."""
    return {"type": "section", "text": {"type": "plain_text", "text": words}}


def rich_text(words: str) -> dict[str, object]:
    """Give a finding's kind of block."""
    inner = {"type": "rich_text_section", "elements": [{"type": "text", "text": words}]}
    return {"type": "rich_text", "elements": [inner]}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Post as fast as this Slack takes it."""
    monkeypatch.setattr(channels, "SECONDS_BETWEEN_POSTS", 0)


def message(*words: str, part: int = 1, digest: str = DIGEST) -> Message:
    """Give a part of a digest with a block for each of these words."""
    blocks = [rich_text(word) for word in words or ("1 new finding",)]
    payload = {"digest_id": digest, "part": part}
    return Message.of(blocks, {"event_type": "beaconhunt_digest", "event_payload": payload})


def soc(url: str) -> Destination:
    return Destination(name="soc", channel=CHANNEL, clusters=("corp",), api_url=url)


def at(slack: SlackServer) -> Channel:
    return Channel(soc(slack.url), SecretStr(CANARY))


def posted(slack: SlackServer, what: Message | None = None, thread_ts: str | None = None) -> str:
    return at(slack).post(what or message(), thread_ts)


def test_a_digest_arrives_once_as_written_and_unfurls_nothing():
    """What is posted is what was composed, in the right channel, with the id that finds it."""
    with SlackServer() as slack:
        ts = posted(slack)
    (arrived,) = slack.messages
    assert ts == arrived["ts"]
    assert arrived["channel"] == CHANNEL
    assert arrived["text"] == "1 new finding"
    assert arrived["metadata"] == message().metadata
    assert (arrived["unfurl_links"], arrived["unfurl_media"]) == (False, False)
    assert slack.tokens == {CANARY}


def test_a_reply_stands_in_the_thread_of_its_message():
    """Findings 11 to 50 do not flood the channel: they hang below the digest."""
    with SlackServer() as slack:
        ts = posted(slack)
        posted(slack, message("eleven", part=2), ts)
    assert [each.get("thread_ts") for each in slack.messages] == [None, ts]


@pytest.mark.parametrize("behaviour", [taken_then_dropped, is_gone, fault(500), fault(503)])
def test_a_lost_answer_is_not_posted_again(behaviour: Behaviour):
    """Whether Slack has the message is to be looked up: two of them would be worse."""
    with SlackServer(behaviour, ok) as slack:
        with pytest.raises(ReceiptLost, match="may or may not have been posted"):
            posted(slack)
        assert slack.calls == 1


def saying(body: object) -> Behaviour:
    """Answer 200 with any JSON."""
    return lambda call: call.answer(body)


@pytest.mark.parametrize("behaviour", [not_json, half_json, no("internal_error")])
def test_an_answer_that_is_no_receipt_is_never_taken_for_one(behaviour: Behaviour):
    """A sign-in page of a captive portal answers 200 and is not Slack."""
    with SlackServer(behaviour) as slack, pytest.raises(ReceiptLost):
        posted(slack)


ODD = [{"ok": True}, {"ok": True, "ts": 1}, {"ok": True, "ts": "\ud800"}, [], 1, None, "ok"]
ODD += [{"ok": False}, {"ok": False, "error": {}}, {"ok": False, "error": "\ud800"}, [{"ok": True}]]


@pytest.mark.parametrize("body", ODD)
def test_json_without_a_receipt_is_none(body: object):
    """Also `ok` without the message's `ts`: the next digest looks it up."""
    with SlackServer(saying(body)) as slack, pytest.raises(ReceiptLost) as caught:
        posted(slack)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "body",
    [
        {"ok": True},
        {"ok": True, "messages": 1},
        {"ok": True, "messages": [None, 1, {}, {"ts": 1}, {"ts": "1.0", "metadata": "x"}]},
        {"ok": True, "messages": [{"ts": "1.0", "metadata": {"event_payload": 1}}]},
        {"ok": True, "messages": [], "response_metadata": [1]},
        {"ok": True, "messages": [], "response_metadata": {"next_cursor": 1}},
    ],
)
def test_a_channel_of_any_shape_is_read(body: dict[str, object]):
    """What is no message of ours is none, and an answer without messages proves nothing."""
    with SlackServer(reading=[saying(body)]) as slack:
        if isinstance(body.get("messages"), list):
            assert found(slack) == {}
        else:
            with pytest.raises(ReceiptLost, match="not Slack's"):
                found(slack)


def test_a_receipt_of_a_slack_that_answers_too_late_is_lost(monkeypatch: pytest.MonkeyPatch):
    """A hung connection ends in an error that says the message may have arrived, and it has."""
    monkeypatch.setattr(channels, "TIMEOUT_SECONDS", 0.1)
    with SlackServer(taken_slowly(0.5)) as slack:
        with pytest.raises(ReceiptLost, match="may or may not"):
            posted(slack)
        assert len(slack.messages) == 1


def test_nobody_at_the_address_is_unreachable():
    """Nothing was posted: the line was never opened."""
    with SlackServer() as slack:
        pass
    with pytest.raises(SlackUnreachable, match=r"refused\)\. Nothing was posted"):
        posted(slack)


def test_a_certificate_that_is_not_trusted_is_its_own_reason(authority: Authority):
    """Waiting does not help: somebody opens TLS in between, or the address is wrong."""
    with SlackServer(certificate=authority.good()) as slack:
        for call in (posted, reached):
            with pytest.raises(SlackNotTrusted) as caught:
                call(slack)
            assert "soc: the certificate of 127.0.0.1 is not trusted" in caught.value.problem
            assert "SSL_CERT_FILE" in caught.value.remedy
            assert not isinstance(caught.value, TransientError)
        with pytest.raises(ReceiptLost, match=r"not trusted.*SSL_CERT_FILE"):
            found(slack)
    assert slack.tokens == set()


def test_a_name_that_cannot_be_resolved_is_unreachable():
    """Neither was anything without name resolution."""
    nowhere = Channel(soc("https://slack.invalid/api/"), SecretStr(CANARY))
    with pytest.raises(SlackUnreachable, match="Nothing was posted"):
        nowhere.post(message())


def test_a_short_wait_that_slack_asks_for_is_kept():
    """Two polite refusals, then the message arrives, once."""
    with SlackServer(too_many(0), too_many(0), ok) as slack:
        posted(slack)
    assert (slack.calls, len(slack.messages)) == (3, 1)


@pytest.mark.parametrize("behaviour", [too_many(121), too_many(86_400)])
def test_a_long_wait_is_left_to_the_next_attempt(behaviour: Behaviour):
    """A run does not sleep for a day because Slack asks it to."""
    with SlackServer(behaviour, ok) as slack:
        with pytest.raises(SlackBusy, match=r"asks to wait \d+ seconds. Nothing was posted"):
            posted(slack)
        assert slack.calls == 1


@pytest.mark.parametrize(("word", "remedy"), PERMANENT.items())
def test_a_refusal_names_its_reason_and_the_remedy(word: str, remedy: str):
    """Who reads the error knows what to change, and that trying again will not help."""
    with SlackServer(no(word)) as slack:
        with pytest.raises(SlackRefused) as refused:
            posted(slack)
        assert slack.calls == 1
    assert refused.value.problem == f"soc: Slack refuses (channel {CHANNEL}): {word}."
    assert remedy in refused.value.remedy


def test_an_unknown_refusal_is_still_named():
    """A word that Slack adds tomorrow reaches the reader."""
    behaviour = no("brand_new_reason")
    with SlackServer(behaviour) as slack, pytest.raises(SlackRefused, match="brand_new_reason"):
        posted(slack)


def test_a_block_that_slack_does_not_know_arrives_in_words():
    """Nothing of the finding is missing."""
    with SlackServer(refusing_rich_text) as slack:
        posted(slack, message("first"))
    (arrived,) = slack.messages
    assert arrived["text"] == "first"
    assert "blocks" not in arrived


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        (
            {"type": "link", "url": "https://reports.example.com/r.html#BH-0A", "text": "BH-0A"},
            "Slack refuses to show this finding: BH-0A https://reports.example.com/r.html#BH-0A",
        ),
        ({"type": "text", "text": "BH-0A"}, "Slack refuses to show this finding: BH-0A"),
        (
            {"type": "text", "text": "no finding"},
            "Slack refuses a line of this digest: the page of the day has it.",
        ),
    ],
)
def test_words_that_slack_refuses_leave_the_findings_id_and_link(
    identity: dict[str, str], shown: str
):
    """A value in an event keeps no finding out of the channel."""
    block = rich_text("poison ")
    block["elements"][0]["elements"].append(identity)
    with SlackServer(refusing("poison")) as slack:
        posted(slack, Message.of([block], message().metadata))
    assert [each["text"] for each in slack.messages] == [shown]
    assert slack.messages[0]["metadata"] == message().metadata


def test_words_that_slack_refuses_too_are_an_error():
    """When even words are refused, somebody must hear of it."""
    with SlackServer(no("invalid_blocks")) as slack, pytest.raises(SlackRefused):
        posted(slack)


# Looking up what is in the channel

BEFORE = datetime.now(UTC)


def found(slack: SlackServer, thread_ts: str | None = None) -> Mapping[int, str]:
    return at(slack).find(DIGEST, BEFORE, thread_ts)


def test_a_digest_is_found_by_its_id_with_all_of_its_thread():
    """Among other messages, other digests and other threads."""
    with SlackServer() as slack:
        others = message("another", digest="ffffffffffff"), Message("lunch?", (), {})
        ts = [posted(slack, other) for other in others]
        first = posted(slack, message())
        replies = [posted(slack, message(str(part), part=part), first) for part in (2, 3)]
        posted(slack, message("elsewhere", part=4), ts[0])
        assert found(slack) == found(slack, first) == {1: first, 2: replies[0], 3: replies[1]}


def test_what_is_not_in_the_channel_is_not_found():
    """That is an answer too: then it may be posted again."""
    with SlackServer() as slack:
        posted(slack, message(digest="ffffffffffff"))
        assert found(slack) == {}


def test_a_digest_is_found_below_hundreds_of_newer_messages(monkeypatch: pytest.MonkeyPatch):
    """A busy channel is read page by page."""
    monkeypatch.setattr(channels, "MESSAGES_PER_PAGE", 3)
    with SlackServer() as slack:
        ts = posted(slack)
        for number in range(10):
            posted(slack, message(str(number), part=2 + number), ts)
            posted(slack, Message("lunch?", (), {}))
        assert len(found(slack)) == 11


def test_what_was_posted_long_before_is_not_read():
    """A digest that was begun today is not looked for in last year's messages."""
    with SlackServer() as slack:
        posted(slack)
        assert at(slack).find(DIGEST, datetime.now(UTC) + timedelta(hours=2)) == {}


@pytest.mark.parametrize(
    "word", ["missing_scope", "not_in_channel", "channel_not_found", "access_denied"]
)
def test_a_channel_that_may_not_be_read_is_said_to_be(word: str):
    """With the scope that would help."""
    with (
        SlackServer(reading=[no(word)]) as slack,
        pytest.raises(ChannelUnreadable, match=f"{word}.*`channels:history`"),
    ):
        found(slack)


@pytest.mark.parametrize(
    "behaviour", [fault(500), not_json, half_json, is_gone, too_many(999), no("internal_error")]
)
def test_a_channel_that_cannot_be_read_now_says_nothing(behaviour: Behaviour):
    """Neither that the digest is there nor that it is not."""
    with SlackServer(reading=[behaviour]) as slack:
        with pytest.raises(ReceiptLost, match="cannot be looked up now") as fault:
            found(slack)
        assert not isinstance(fault.value, ChannelUnreadable)


def test_a_page_that_fails_is_not_the_end_of_the_channel():
    """Half of a channel read is not all of it."""
    with SlackServer(reading=[ok, fault(500)]) as slack:
        posted(slack)
        with pytest.raises(ReceiptLost):
            found(slack)


# A preflight


def reached(slack: SlackServer) -> Reach:
    return reach(soc(slack.url), SecretStr(CANARY))


def test_a_preflight_learns_whose_the_token_is_and_posts_nothing():
    """An operator sees workspace, app and channel by name."""
    with SlackServer() as slack:
        assert reached(slack) == Reach("Example", "beaconhunt", "secops", can_find=True)
        assert slack.messages == []


@pytest.mark.parametrize(
    ("methods", "named"),
    [
        ({"auth_test": no("invalid_auth")}, "token_env"),
        ({"conversations_info": no("channel_not_found")}, "`channel`"),
        ({"conversations_info": channel(is_archived=True)}, "Unarchive"),
        ({"conversations_info": channel(is_member=False)}, "/invite"),
    ],
)
def test_a_channel_that_cannot_be_posted_to_is_refused_before(methods, named):
    """With the remedy that the post would have had, a day earlier."""
    with SlackServer(**methods) as slack, pytest.raises(SlackRefused) as caught:
        reached(slack)
    assert named in caught.value.remedy


def having(scopes: str) -> Behaviour:
    """Give a token these scopes."""
    return lambda call: known(call, scopes)


def test_a_token_that_may_not_post_is_refused():
    """Slack names the scopes of a token in every answer."""
    with (
        SlackServer(auth_test=having("channels:read")) as slack,
        pytest.raises(SlackRefused, match="missing_scope") as caught,
    ):
        reached(slack)
    assert "chat:write" in caught.value.remedy


@pytest.mark.parametrize(
    ("scopes", "can_find"),
    [
        ("chat:write,channels:read", False),
        ("chat:write,channels:read,channels:history", True),
        ("chat:write,groups:read,groups:history", True),
        ("", True),
    ],
)
def test_a_preflight_learns_whether_a_lost_message_can_be_found(scopes, can_find):
    """Before one is lost; where Slack does not say, nothing is claimed."""
    with SlackServer(auth_test=having(scopes)) as slack:
        assert reached(slack).can_find is can_find


def test_without_the_scope_to_look_nothing_is_known_of_the_channel():
    """The app works with `chat:write` alone: this is no fault."""
    forbidden = no("missing_scope")
    with SlackServer(auth_test=having("chat:write"), conversations_info=forbidden) as slack:
        assert reached(slack).channel is None


@pytest.mark.parametrize("body", [{"ok": True}, {"ok": True, "channel": [1], "team": 1}])
def test_an_answer_without_a_channel_or_names_breaks_nothing(body: dict[str, object]):
    """Then nothing is known of the channel, and the preflight says so."""
    with SlackServer(auth_test=saying(body), conversations_info=saying(body)) as slack:
        assert reached(slack).channel is None


@pytest.mark.parametrize(("is_private", "refused"), [(False, False), (True, True)])
def test_some_apps_may_post_to_every_public_channel(is_private, refused):
    """Then it need not be a member."""
    outside = channel(is_member=False, is_private=is_private)
    anywhere = having("chat:write,chat:write.public,channels:read")
    with SlackServer(auth_test=anywhere, conversations_info=outside) as slack:
        if refused:
            with pytest.raises(SlackRefused, match="not_in_channel"):
                reached(slack)
        else:
            assert reached(slack).channel == "secops"


@pytest.mark.parametrize("behaviour", [fault(500), not_json, half_json, is_gone, too_many(9)])
@pytest.mark.parametrize("method", ["auth_test", "conversations_info"])
def test_a_slack_that_does_not_answer_is_said_without_a_word_of_posting(behaviour, method):
    """Nothing was posted, and the token is in no error."""
    with SlackServer(**{method: behaviour}) as slack, pytest.raises(SlackUnreachable) as caught:
        reached(slack)
    assert "posted" not in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


# Secrets


@pytest.mark.parametrize(
    "behaviour",
    [
        no("invalid_auth"),
        no(CANARY),
        fault(500),
        not_json,
        half_json,
        is_gone,
        too_many(999),
    ],
)
@pytest.mark.parametrize("ask", [posted, found])
def test_the_token_is_in_no_error(
    ask: Callable[[SlackServer], object], behaviour: Behaviour, caplog: pytest.LogCaptureFixture
):
    """Not in its text, chain, traceback or pickle, nor in the log: errors are stored and shown."""
    caplog.set_level("INFO")
    with SlackServer(behaviour, reading=[behaviour]) as slack, pytest.raises(SlackError) as caught:
        ask(slack)
    error = caught.value
    shown = (str(error), repr(error), "".join(traceback.format_exception(error)))
    assert CANARY not in "".join(shown) + caplog.text
    assert CANARY.encode() not in pickle.dumps(error)
    assert (error.__cause__, error.__context__) == (None, None)


def test_the_server_refuses_what_slack_refuses():
    """The stand-in is worth something only if it says no where Slack does."""
    too_many_blocks = message(*map(str, range(51)))
    assert violations(too_many_blocks)
    with SlackServer() as slack, pytest.raises(ContentRefused, match="invalid_blocks"):
        posted(slack, too_many_blocks)


def test_the_server_shows_metadata_only_to_those_who_ask():
    """As Slack does; a look-up that forgot to ask would find nothing."""
    with SlackServer() as slack:
        posted(slack)
        client = WebClient(CANARY, base_url=slack.url)
        (plain,) = client.conversations_history(channel=CHANNEL)["messages"]
        (whole,) = client.conversations_history(channel=CHANNEL, include_all_metadata=True)[
            "messages"
        ]
    assert ("metadata" in plain, "metadata" in whole) == (False, True)


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize(
    "call",
    [
        lambda slack: at(slack).post(message()),
        lambda slack: at(slack).find(DIGEST, BEFORE),
        lambda slack: reach(soc(slack.url), SecretStr(CANARY)),
    ],
    ids=["post", "find", "reach"],
)
def test_no_redirect_is_followed(call: Callable[[SlackServer], object], status: int):
    """The token stays with Slack's address, whatever a proxy or a sign-in page answers."""
    with SlackServer() as elsewhere:
        there = f"{elsewhere.url}log-in?{CANARY}".replace("127.0.0.1", "localhost")

        def redirect(slack_call: Call) -> None:
            slack_call.answer("", status, Location=there)

        everywhere = {"auth_test": redirect, "conversations_history": redirect}
        with (
            SlackServer(redirect, **everywhere) as slack,
            pytest.raises(SlackError) as caught,
        ):
            call(slack)
        assert elsewhere.calls == 0
    assert "redirects to localhost, which is not followed" in caught.value.problem
    assert CANARY not in str(caught.value) + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("location", ["http://[", "/log-in", ""])
def test_a_redirect_to_no_host_is_named_too(location: str):
    """Whatever stands in the header, it is an answer and no fault of ours."""

    def redirect(slack_call: Call) -> None:
        slack_call.answer("", 302, Location=location)

    with SlackServer(redirect) as slack, pytest.raises(SlackUnreachable) as caught:
        posted(slack)
    assert "redirects to an address without a host" in caught.value.problem
