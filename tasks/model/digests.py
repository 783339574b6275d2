"""What a destination hears once a day: the digest's content, and the Slack message made of it."""

from __future__ import annotations

import hashlib
import html
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

from tasks.model.acknowledgements import Acknowledgement
from tasks.model.coverage import Fault
from tasks.model.findings import Finding
from tasks.model.hunts import Nouns
from tasks.model.runs import Outcome, Run, Trend
from tasks.text import times
from tasks.text.times import Clock

DAY = timedelta(hours=24)
"""A digest's day: so long before its slot."""

EVENT_TYPE = "beaconhunt_digest"
"""Of a message's metadata: by this and the digest's id a posted digest is found again."""

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
"""What we build. Among what is not here, a button without an endpoint shows a warning."""

_RICH_TEXT_ELEMENTS = frozenset({"rich_text_section", "text", "link"})
"""What we build. What is not here can mention people (`user`, `usergroup`, `broadcast`)."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s|>)]+", re.IGNORECASE)
_LINK = re.compile(r"<([^|>]+)\|([^>]+)>")
_MARKUP_NOT_LINK = re.compile(r"<(?!https?://)", re.IGNORECASE)

_TERMINAL_COLUMNS = 100
_NO_BREAK = "\u00a0"


class Medium(StrEnum):
    """Where a digest goes. Each keeps its own ledger: what was printed is not yet in Slack."""

    SLACK = "slack"
    TERMINAL = "terminal"


class DigestStatus(StrEnum):
    """Where a digest stands in the ledger.

    Attributes:
        SENDING: written before the post; what still says so when its sender is gone is unsettled.
        SENT: it is in the channel; of its thread at least what the ledger has a receipt for.
        REFUSED: Slack said no. Nothing of it is in the channel.
        DEAD: given up. Nothing of it is in the channel.
        LOST: given up, and whether its last post is in the channel cannot be found out.
    """

    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    DEAD = "dead"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A finding that this destination has not heard of, and the run that first saw it."""

    finding: Finding
    run: Run


@dataclass(frozen=True, slots=True)
class Ended:
    """An acknowledgement that has ended while what it covered goes on.

    Attributes:
        still: what goes on, each as the newest run has it that searched everything.
    """

    acknowledgement: Acknowledgement
    still: tuple[Announcement, ...]


class CoverageGap(StrEnum):
    """Why silence about a hunt on a cluster means little, in a word.

    Attributes:
        LATE: no run in the digest's day.
        BLIND: agents there drop repeated network events.
    """

    LATE = "late"
    MISSED = "missed"
    UNREACHABLE = "unreachable"
    UNAUTHORISED = "unauthorised"
    QUERY = "query"
    SETTINGS = "settings"
    DEADLINE = "deadline"
    INTERNAL = "internal"
    NO_DATA = "no data"
    PARTIAL = "partial"
    BLIND = "blind"
    MERGED = "merged"
    NO_SIGNATURE = "no signature block"

    @property
    def searched(self) -> bool:
        """Whether something was searched all the same."""
        return self in {CoverageGap.PARTIAL, *_BY_FAULT.values()}

    @classmethod
    def of(cls, run: Run) -> CoverageGap | None:
        """Say what kept a run from searching everything; None when nothing did."""
        match run.outcome:
            case Outcome.FAILED:
                return cls(run.reason) if run.reason in set(cls) else cls.INTERNAL
            case Outcome.MISSED:
                return cls.MISSED
            case Outcome.NO_DATA:
                return cls.NO_DATA
            case Outcome.PARTIAL:
                return cls.PARTIAL
            case _:
                return None


_BY_FAULT = {
    Fault.BLIND: CoverageGap.BLIND,
    Fault.MERGED: CoverageGap.MERGED,
    Fault.NO_SIGNATURE: CoverageGap.NO_SIGNATURE,
}


@dataclass(frozen=True, slots=True)
class DayGap:
    """A day that one hunt did not see whole on one cluster: a destination is told of it once.

    Attributes:
        slot: of the day's newest run; of the digest, where there was no run.
    """

    slot: datetime
    lack: CoverageGap


def day_gaps(slot: datetime, run: Run | None, before: Run | None = None) -> Iterator[DayGap]:
    """Give what a digest's own day lacks.

    A blind cluster is said every day; of telemetry that is only judged wrong, what is new.

    Args:
        slot: of the digest.
        run: the newest one in the digest's day.
        before: the newest earlier run that searched.
    """
    if run is None:
        yield DayGap(slot, CoverageGap.LATE)
        return
    if lack := CoverageGap.of(run):
        yield DayGap(run.slot, lack)
    known = before.coverage.faulty if before and before.coverage else {}
    for fault in run.coverage.faulty if run.coverage else {}:
        if fault is Fault.BLIND or fault not in known:
            yield DayGap(run.slot, _BY_FAULT[fault])


@dataclass(frozen=True, slots=True)
class ClusterDay:
    """One hunt on one cluster of the destination's scope, as a digest finds it.

    Attributes:
        run: the newest run within the digest's day; None when there was none.
        last_searched: slot of the newest run ever that searched it; None when never.
        gaps: what this digest has to tell of this day and of those since the digest before, oldest
            first; nothing that the destination was told already.
        trend: the newest runs up to the digest's slot, at most 30, oldest first.
    """

    cluster: str
    hunt: str
    run: Run | None
    last_searched: datetime | None
    gaps: tuple[DayGap, ...] = ()
    trend: tuple[Trend, ...] = ()

    @property
    def searched(self) -> bool:
        """Whether it was searched in the digest's day."""
        return self.run is not None and self.run.outcome.searched

    @property
    def ongoing(self) -> CoverageGap | None:
        """What has kept it from being searched since it last was, if that is to be told."""
        since = [gap for gap in self.gaps if self._is_ongoing(gap)]
        return since[-1].lack if since else None

    @property
    def today(self) -> tuple[CoverageGap, ...]:
        """What the run of the digest's day lacks, where there was one."""
        return tuple(gap.lack for gap in self.gaps if self.run and gap.slot == self.run.slot)

    @property
    def over(self) -> tuple[DayGap, ...]:
        """The gaps of earlier days that are not going on."""
        today = self.run.slot if self.run else None
        return tuple(gap for gap in self.gaps if gap.slot != today and not self._is_ongoing(gap))

    @property
    def over_words(self) -> str:
        """Those days with their lacks, for example `Sat 21 Nov, Sun 22 Nov (unreachable)`."""
        return ", ".join(
            f"{times.days(gap.slot for gap in alike)} ({lack})"
            for lack, alike in groupby(self.over, key=lambda gap: gap.lack)
        )

    def _is_ongoing(self, gap: DayGap) -> bool:
        return not gap.lack.searched and (
            self.last_searched is None or gap.slot > self.last_searched
        )


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything that one daily message and one daily page say.

    Attributes:
        id: 12 hex digits, also in Slack's message metadata.
        number: its place in the destination's ledger: of two that are composed at once both have
            the same, and only one can be sent.
        slot: the moment that the digest stands for; its day is the 24 hours before.
        announcements: new findings and changed binaries, oldest run first, highest priority first.
        baselines: findings of clusters' first runs: told as a count, then known.
        ended: acknowledgements that do not hold any more, each told once, the newest end first.
        acknowledged: how many findings of its day's runs are not told for an analyst's word.
        previous: slot of the digest that the destination was sent before this one.
        undelivered: slots of digests since then that Slack does not have, or not whole; what they
            had to tell is told by this one.
        may_repeat: slot of a digest whose receipt was lost: this one tells some of it again.
    """

    id: str
    number: int
    destination: str
    medium: Medium
    slot: datetime
    clusters: tuple[ClusterDay, ...]
    announcements: tuple[Announcement, ...] = ()
    baselines: tuple[Announcement, ...] = ()
    ended: tuple[Ended, ...] = ()
    acknowledged: int = 0
    previous: datetime | None = None
    undelivered: tuple[datetime, ...] = ()
    may_repeat: datetime | None = None

    @property
    def nouns(self) -> Nouns:
        """What its hunts call findings and hosts, where they agree; else the plain words."""
        nouns = {run.nouns for run in self._runs}
        return nouns.pop() if len(nouns) == 1 else Nouns()

    @property
    def clock(self) -> Clock:
        """How its page tells times: in the zone of its runs, where they agree."""
        zones = {run.time_zone for run in self._runs}
        return Clock(self.slot, zones.pop() if len(zones) == 1 else "UTC")

    @property
    def _runs(self) -> Iterator[Run]:
        yield from (each.run for each in (*self.announcements, *self.baselines))
        yield from (day.run for day in self.clusters if day.run)


@dataclass(frozen=True, slots=True)
class Message:
    """One `chat.postMessage`, ready to post: Slack's own words and shapes.

    Attributes:
        text: the whole message in plain words, for notifications and screen readers.
        blocks: Block Kit blocks.
        metadata: `{"event_type": ..., "event_payload": {...}}`.
        announcements: those that it tells one by one.
        replies: further messages for the thread below this one.
    """

    text: str
    blocks: tuple[Block, ...]
    metadata: Mapping[str, Any]
    announcements: tuple[Announcement, ...] = ()
    replies: tuple[Message, ...] = ()

    @classmethod
    def of(cls, blocks: Sequence[Block], metadata: Mapping[str, Any]) -> Message:
        """Make the message whose text says in words what its blocks show."""
        words = "\n".join(plain_text(block) for block in blocks)
        return cls(html.escape(words, quote=False), tuple(blocks), metadata)

    def to_json(self) -> bytes:
        """Give the message and its replies as indented JSON, in Slack's shape."""
        return json.dumps(self._document, indent=1).encode() + b"\n"

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
    """Say in plain words what a block shows, without Slack's markup."""
    match block["type"]:
        case "rich_text":
            parts = (part for section in block["elements"] for part in section["elements"])
            return "".join(part["text"] for part in parts)
        case "context":
            return " · ".join(_without_markup(element) for element in block["elements"])
        case _:
            return _without_markup(block["text"])


def readable(message: Message) -> str:
    """Show a message as it would read in Slack, for a terminal: no markup, no colours.

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
    """Check a message and its replies against every limit that Slack sets, and every one of ours.

    Args:
        message: what is about to be posted.
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
            yield f"A {part['type']} element may mention somebody."
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
        yield "A text has a `<` that is no link: it may mention somebody."
    for url in _URL.findall(text):
        yield from _link_violations(url, prefixes)


def _link_violations(url: str, prefixes: Sequence[str]) -> Iterator[str]:
    if not any(url.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes):
        yield "A link points elsewhere than to the reports."


def _without_markup(text_object: Block) -> str:
    text: str = text_object["text"]
    if text_object["type"] != "mrkdwn":
        return text
    return html.unescape(re.sub(r"[*`]", "", _LINK.sub(r"\2: \1", text)))


def _laid_out(block: Block) -> Iterator[str]:
    """Break a block's words into a terminal's lines; all but its first line stand indented."""
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
    """Let a list like `43 of 168 h · median 129/h` break only between its entries."""
    first, *more = line.split(" · ")
    return " · ".join(part.replace(" ", _NO_BREAK) for part in (first, *more)) if more else line
