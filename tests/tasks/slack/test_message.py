from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.slack.message import Message, plain_text, readable, violations

REPORTS = "https://reports.example.com/hunts"


def text(words: str, kind: str = "plain_text") -> dict[str, Any]:
    """Give a text object."""
    return {"type": kind, "text": words}


def section(words: str = "words", kind: str = "plain_text") -> dict[str, Any]:
    """Give a section block."""
    return {"type": "section", "text": text(words, kind)}


def context(*words: str) -> dict[str, Any]:
    """Give a context block with an element for each of the words."""
    return {"type": "context", "elements": [text(word) for word in words]}


def rich_text(*elements: dict[str, Any]) -> dict[str, Any]:
    """Give a rich text block with one section of these elements."""
    inner = {"type": "rich_text_section", "elements": list(elements)}
    return {"type": "rich_text", "elements": [inner]}


def message(*blocks: dict[str, Any]) -> Message:
    """Give a message of these blocks."""
    return Message.of(blocks, {})


LARGEST = {
    "50 blocks": message(*[section()] * 50),
    "a header of 150": message({"type": "header", "text": text("x" * 150)}),
    "a text of 3,000": message(section("x" * 3_000)),
    "10 elements": message(context(*["x"] * 10)),
    "a link to a report": message(section(f"<{REPORTS}/a.html|a>", "mrkdwn")),
    "an escaped mention": message(section("&lt;!channel&gt; @here", "mrkdwn")),
    "a mention as data": message(rich_text(text("<!channel> <@U1>", "text"))),
}

TOO_MUCH = {
    "51 blocks": message(*[section()] * 51),
    "12,000 characters of blocks": replace(message(*[section("x" * 2_950)] * 4), text="short"),
    "a text of 3,501": Message("x" * 3_501, (section(),), {}),
    "no text": Message("", (section(),), {}),
    "a header of 151": message({"type": "header", "text": text("x" * 151)}),
    "an empty text": message(section("x"), rich_text(text("", "text"))),
    "a text object of 3,001": message(section("x" * 3_001)),
    "a context without elements": replace(message(context()), text="x"),
    "11 elements": message(context(*["x"] * 11)),
    "one id twice": message({**section(), "block_id": "a"}, {**section(), "block_id": "a"}),
    "a button": Message("x", ({"type": "actions", "elements": []},), {}),
    "an image": Message("x", ({"type": "image", "image_url": f"{REPORTS}/x.png"},), {}),
    "a video": Message("x", ({"type": "video"},), {}),
    "a mention of a channel": message(section("<!channel>", "mrkdwn")),
    "a mention of a person": message(section("<@U012AB3CD>", "mrkdwn")),
    "a mention in the text": Message("<!here> 3 new", (section(),), {}),
    "a person in rich text": replace(
        message(rich_text(text("x", "text"))),
        blocks=(rich_text({"type": "user", "user_id": "U012AB3CD"}),),
    ),
    "a broadcast in rich text": replace(
        message(section()), blocks=(rich_text({"type": "broadcast", "range": "channel"}),)
    ),
    "a link elsewhere": message(rich_text({"type": "link", "url": "ftp://x.example", "text": "x"})),
    "a link in markup": message(section("<https://x.example/|x>", "mrkdwn")),
    "a bare address": message(section("see http://x.example/", "mrkdwn")),
    "a look-alike host": message(section(f"<{REPORTS}.x.example/|x>", "mrkdwn")),
    "an address in the text": Message("HTTPS://x.example/", (section(),), {}),
}


@pytest.mark.parametrize("what", LARGEST)
def test_a_message_at_a_limit_may_be_posted(what: str):
    """The check does not cost us what Slack allows."""
    assert violations(LARGEST[what], [REPORTS]) == ()


@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_message_beyond_a_limit_is_named(what: str):
    """Slack refuses a whole digest for one excess: we see it first, and see only that."""
    assert len(set(violations(TOO_MUCH[what], [REPORTS]))) == 1


def test_without_a_report_address_no_link_is_allowed():
    """Where people cannot open reports, every link would come from somewhere else."""
    assert violations(LARGEST["a link to a report"])


def test_replies_are_checked_too():
    """A thread can be refused like its message."""
    whole = replace(message(section()), replies=(message(section()), TOO_MUCH["51 blocks"]))
    assert violations(whole) == ("Reply 2: 51 blocks are more than 50.",)


def test_the_text_says_what_the_blocks_show():
    """Who hears the notification read aloud knows what the others see."""
    link = {"type": "link", "url": f"{REPORTS}/a.html#BH-1", "text": "BH-1"}
    said = message(
        section("*prod-eu* & `x`", "mrkdwn"),
        rich_text(text("<b>", "text"), link),
        context("a", "b"),
        section(f"<{REPORTS}/a.html|report>", "mrkdwn"),
    )
    assert said.text.splitlines() == [
        "prod-eu &amp; x",
        "&lt;b&gt;BH-1",
        "a · b",
        f"report: {REPORTS}/a.html",
    ]


def test_data_that_looks_like_markup_stays_as_it_is():
    """A process that is called `*x*` is shown so; only our own markup is taken away."""
    assert plain_text(rich_text(text("*x* `y` &amp;", "text"))) == "*x* `y` &amp;"


def test_the_hash_changes_with_the_words_and_with_nothing_else():
    """The ledger tells by the hash whether the message that it finds is the one it meant."""
    one, same = message(section("a")), replace(message(section("a")), metadata={"part": 2})
    assert one.payload_hash == same.payload_hash
    assert one.payload_hash != message(section("b")).payload_hash


def test_a_terminal_shows_the_digest_as_slack_would():
    """Who has no Slack yet sees the same digest, laid out in lines, replies below and indented."""
    finding = rich_text(
        text("HIGH ", "text"), text("updater", "text"), text("\nno signature · 43 of 168 h", "text")
    )
    whole = replace(
        message(
            {"type": "header", "text": text("2 new findings")},
            context("Tue 24 Nov 2026", "4 of 4 clusters"),
            finding,
            section("*1 more in the thread*", "mrkdwn"),
        ),
        replies=(message(context("Findings 2 to 2 of 2"), finding),),
    )
    assert (
        readable(whole)
        == """\
2 new findings
Tue 24 Nov 2026 · 4 of 4 clusters

HIGH updater
    no signature · 43 of 168 h

1 more in the thread

  │ Findings 2 to 2 of 2
  │
  │ HIGH updater
  │     no signature · 43 of 168 h"""
    )


def test_long_lines_break_between_the_entries_of_a_list():
    """A figure is not torn from its unit at the end of a line."""
    entries = [f"entry {number} of 20" for number in range(20)]
    lines = readable(message(context(*entries))).splitlines()
    assert max(map(len, lines)) <= 100
    assert [entry for line in lines for entry in line.strip(" ·").split(" · ")] == entries
