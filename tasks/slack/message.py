"""Messages: from blocks to one `chat.postMessage`, checked against Slack's limits and ours."""

from __future__ import annotations

import hashlib
import html
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.model.digests import Announcement, MessageOutline

EVENT_TYPE = "beaconhunt_digest"
"""In a message's metadata: with it and the digest's id a posted digest is found again."""

Block = Mapping[str, Any]
"""A Block Kit block, or a part of one: a text object, an element."""

MAX_BLOCKS = 50
MAX_BLOCKS_JSON = 12_000
"""Slack refuses a whole message near 13,200 characters of blocks (`msg_blocks_too_long`)."""

MAX_MESSAGE_TEXT = 3_500
MAX_HEADER = 150
MAX_TEXT_OBJECT = 3_000
MAX_CONTEXT_ELEMENTS = 10

_BLOCK_TYPES = frozenset({"header", "context", "section", "rich_text"})
"""The blocks of a digest. No others: a button without an endpoint, say, shows a warning."""

_RICH_TEXT_ELEMENTS = frozenset({"rich_text_section", "text", "link"})
"""The elements of a digest. Others can mention people (`user`, `usergroup`, `broadcast`)."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s|>)]+", re.IGNORECASE)
_LINK = re.compile(r"<([^|>]+)\|([^>]+)>")
_MARKUP_NOT_LINK = re.compile(r"<(?!https?://)", re.IGNORECASE)

_FINDING_ID = re.compile(r"BH-[0-9A-F]+")

_TERMINAL_COLUMNS = 100
_NO_BREAK = "\u00a0"


@dataclass(frozen=True, slots=True)
class Message:
    """One `chat.postMessage`, ready to post, in Slack's own terms.

    Attributes:
        text: the whole message without markup, for notifications and screen readers.
        blocks: Block Kit blocks.
        metadata: `{"event_type": ..., "event_payload": {...}}`.
        announcements: those with a block of their own.
        before: how many blocks stand before theirs.
        replies: messages for the thread below this one.
    """

    text: str
    blocks: tuple[Block, ...]
    metadata: Mapping[str, Any]
    announcements: tuple[Announcement, ...] = ()
    before: int = 0
    replies: tuple[Message, ...] = ()

    @classmethod
    def of(cls, blocks: Sequence[Block], metadata: Mapping[str, Any]) -> Message:
        """Make a message of blocks, with their plain text as its text."""
        text = "\n".join(plain_text(block) for block in blocks)
        return cls(html.escape(text, quote=False), tuple(blocks), metadata)

    @property
    def halves(self) -> tuple[Message, Message]:
        """Give two messages with half of the blocks each, and with their announcements."""
        middle = len(self.blocks) // 2
        ahead = max(middle - self.before, 0)
        first, second = (
            Message.of(blocks, self.metadata)
            for blocks in (self.blocks[:middle], self.blocks[middle:])
        )
        return (
            replace(first, announcements=self.announcements[:ahead], before=self.before),
            replace(
                second,
                announcements=self.announcements[ahead:],
                before=max(self.before - middle, 0),
            ),
        )

    @property
    def shapes(self) -> tuple[Message, ...]:
        """Give the message, and if it has only one block, plainer shapes for a Slack that refuses.

        The first of them is its text; the last one shows no more than a finding's id and link.
        """
        if len(self.blocks) != 1:
            return (self,)
        plain = replace(self, blocks=())
        return self, plain, replace(plain, text=html.escape(_brief(self.blocks[0]), quote=False))

    def numbered(self, part: int) -> Message:
        """Give it the number of a part of its digest, by which it is found again."""
        payload = {**self.metadata["event_payload"], "part": part}
        return replace(self, metadata={**self.metadata, "event_payload": payload})

    def to_json(self) -> bytes:
        """Give the message and its replies as indented JSON, in Slack's shape."""
        return json.dumps(self._document, indent=1).encode() + b"\n"

    @property
    def outline(self) -> MessageOutline:
        """What the ledger records about it."""
        return MessageOutline(
            self.payload_hash, tuple(reply.announcements for reply in self.replies)
        )

    @property
    def _document(self) -> Mapping[str, Any]:
        return {
            "text": self.text,
            "blocks": self.blocks,
            "metadata": self.metadata,
            "replies": [reply._document for reply in self.replies],
        }

    @property
    def payload_hash(self) -> str:
        """SHA-256 in hex over text and blocks as canonical JSON."""
        canonical = json.dumps(
            {"text": self.text, "blocks": self.blocks}, sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


def plain_text(block: Block) -> str:
    """Give the text of a block without Slack's markup."""
    match block["type"]:
        case "rich_text":
            parts = (part for section in block["elements"] for part in section["elements"])
            return "".join(part["text"] for part in parts)
        case "context":
            return " · ".join(_without_markup(element) for element in block["elements"])
        case _:
            return _without_markup(block["text"])


def _brief(block: Block) -> str:
    """Give a block's finding by its id and link."""
    ids = [part for part in _parts(block) if _FINDING_ID.fullmatch(str(part.get("text")))]
    if not ids:
        return "Slack refuses a line of this digest: the page of the day has it."
    links = " ".join(f"{part['text']} {part.get('url', '')}".strip() for part in ids)
    return f"Slack refuses to show this finding: {links}"


def readable(message: Message) -> str:
    """Lay a message out for a terminal, without markup and colours.

    Replies stand indented below their message.
    """
    lines: list[str] = []
    before = ""
    for block in message.blocks:
        if not (block["type"] == "context" and before in {"header", "context"}):
            lines.append("")
        lines += _laid_out(block)
        before = block["type"]
    for reply in message.replies:
        lines += ["", *(f"  │ {line}".rstrip() for line in readable(reply).splitlines())]
    return "\n".join(lines).strip("\n")


def violations(message: Message, allowed_link_prefixes: Sequence[str] = ()) -> tuple[str, ...]:
    """Check a message and its replies against Slack's limits and ours.

    Args:
        message: the message to post.
        allowed_link_prefixes: addresses below which links may point, for example
            `https://reports.example.com/hunts`; without any, every link is a violation.

    Returns:
        One sentence for each violation; empty when the message may be posted.
    """
    return tuple(_violations(message, allowed_link_prefixes))


def _violations(message: Message, prefixes: Sequence[str]) -> Iterator[str]:
    blocks = message.blocks
    if len(blocks) > MAX_BLOCKS:
        yield f"{len(blocks)} blocks are more than {MAX_BLOCKS}."
    if (size := len(json.dumps(blocks))) > MAX_BLOCKS_JSON:
        yield f"The blocks' {size} characters of JSON are more than {MAX_BLOCKS_JSON}."
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        yield "Two blocks have the same block_id."
    if not 1 <= len(message.text) <= MAX_MESSAGE_TEXT:
        yield f"The text has {len(message.text)} characters, not 1 to {MAX_MESSAGE_TEXT}."
    yield from _markup_violations(message.text, prefixes)
    for block in blocks:
        yield from _block_violations(block, prefixes)
    for number, reply in enumerate(message.replies, 1):
        for violation in _violations(reply, prefixes):
            yield f"Reply {number}: {violation}"


def _block_violations(block: Block, prefixes: Sequence[str]) -> Iterator[str]:
    kind = block["type"]
    if kind not in _BLOCK_TYPES:
        yield f"A digest has no {kind} block."
    if kind == "header" and len(block["text"]["text"]) > MAX_HEADER:
        yield f"The header has more than {MAX_HEADER} characters."
    if kind == "context" and not 1 <= len(block["elements"]) <= MAX_CONTEXT_ELEMENTS:
        yield f"A context block has {len(block['elements'])} elements, not 1 to 10."
    *parts, _ = _parts(block)  # The block itself comes last.
    for part in parts:
        if kind == "rich_text" and part["type"] not in _RICH_TEXT_ELEMENTS:
            yield f"An element of type {part['type']} may mention people."
        if "text" in part and not 1 <= len(part["text"]) <= MAX_TEXT_OBJECT:
            yield f"A text has {len(part['text'])} characters, not 1 to {MAX_TEXT_OBJECT}."
        if "url" in part:
            yield from _link_violations(part["url"], prefixes)
        if part["type"] == "mrkdwn":
            yield from _markup_violations(part["text"], prefixes)


def _parts(value: object) -> Iterator[Block]:
    """Give every typed object in a block, innermost first."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _parts(inner)
        if "type" in value:
            yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _parts(inner)


def _markup_violations(text: str, prefixes: Sequence[str]) -> Iterator[str]:
    if _MARKUP_NOT_LINK.search(text):
        yield "A text has a `<` without a link: it may mention people."
    for url in _URL.findall(text):
        yield from _link_violations(url, prefixes)


def _link_violations(url: str, prefixes: Sequence[str]) -> Iterator[str]:
    if not any(url.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes):
        yield "A link does not point to the reports."


def _without_markup(text_object: Block) -> str:
    text: str = text_object["text"]
    if text_object["type"] != "mrkdwn":
        return text
    return html.unescape(re.sub(r"[*`]", "", _LINK.sub(r"\2: \1", text)))


def _laid_out(block: Block) -> Iterator[str]:
    """Break a block's text into lines for a terminal, all but the first one indented."""
    for number, line in enumerate(plain_text(block).splitlines()):
        indent = "    " if number else ""
        for wrapped in textwrap.wrap(
            _kept_together(line),
            _TERMINAL_COLUMNS,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            yield wrapped.replace(_NO_BREAK, " ")


def _kept_together(line: str) -> str:
    """Let a list like `43 of 168 h · 136 events/h` break only between its entries."""
    first, *more = line.split(" · ")
    return " · ".join(part.replace(" ", _NO_BREAK) for part in (first, *more)) if more else line
