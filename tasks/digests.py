"""What a destination hears once a day: the digest's content, and the Slack message made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.findings import Finding
from tasks.runs import Run


class Medium(StrEnum):
    """Where a digest goes. Each keeps its own ledger: what was printed is not yet in Slack."""

    SLACK = "slack"
    TERMINAL = "terminal"


class DigestStatus(StrEnum):
    """Where a digest stands in the ledger.

    `sending` is written before the post and `sent` after it. What still says `sending` later is
    ambiguous: Slack may have the message or not.
    """

    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A finding that this destination has not heard of, and the run that first saw it."""

    finding: Finding
    run: Run


@dataclass(frozen=True, slots=True)
class ClusterDay:
    """One hunt on one cluster of the destination's scope, since the digest before.

    Attributes:
        run: the newest run within the digest's day; None when there was none.
        last_searched: slot of the newest run ever that searched it; None when never.
    """

    cluster: str
    hunt: str
    run: Run | None
    last_searched: datetime | None


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything that one daily message and one daily page say.

    Attributes:
        id: 12 hex digits, also in Slack's message metadata.
        slot: the moment that the digest stands for; its day is the 24 hours before.
        announcements: new findings and changed binaries, oldest run first, highest priority first.
        baselines: findings of clusters' first runs: told as a count, then known.
        may_repeat: slot of an earlier digest whose receipt was lost: this one may repeat it.
    """

    id: str
    destination: str
    medium: Medium
    slot: datetime
    clusters: tuple[ClusterDay, ...]
    announcements: tuple[Announcement, ...] = ()
    baselines: tuple[Announcement, ...] = ()
    may_repeat: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One `chat.postMessage`, ready to post: Slack's own words and shapes.

    Attributes:
        text: the whole message in plain words, for notifications and screen readers.
        blocks: Block Kit blocks.
        metadata: `{"event_type": ..., "event_payload": {...}}`.
        replies: further messages for the thread below this one.
    """

    text: str
    blocks: tuple[Mapping[str, Any], ...]
    metadata: Mapping[str, Any]
    replies: tuple[Message, ...] = ()
