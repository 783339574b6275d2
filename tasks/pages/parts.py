"""Parts that more than one page has, and the words and limits that go with them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

from tasks.model import wording
from tasks.model.fallback import laid_out
from tasks.model.findings import Finding, Status
from tasks.model.hunts import Nouns
from tasks.model.runs import SCHEMA_VERSION, Outcome, Run
from tasks.pages import cards
from tasks.pages.cards import Card, ListedRow, TableRow
from tasks.pages.formats import number
from tasks.text import times
from tasks.text.numbers import capitalised
from tasks.text.untrusted import visible

MAX_CARDS = 100
FILTERED_CARDS = 6
"""From so many cards on there is a filter above them."""

MAX_ROWS = 5000
MAX_SPARKLINES = 500
MAX_LISTED = 200

ARCHIVE_INDEX = "index.html"
SCHEMA = f"schema/findings-{SCHEMA_VERSION}.json"
"""Where the archive keeps the JSON Schema of its findings.json."""

_Row = TypeVar("_Row", Card, TableRow, ListedRow)


@dataclass(frozen=True, slots=True)
class Tile:
    """A number for the first screen; `about` is the key of its explanation."""

    label: str
    value: str
    note: str = ""
    hot: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Badge:
    """A run's outcome in a word, and the class that gives it its colour."""

    word: str
    css: str


@dataclass(frozen=True, slots=True)
class PageView:
    """What every page has around its own parts.

    Attributes:
        archive: relative link to the archive's index.
        eyebrow: what the page is.
        window: the time that it is about.
    """

    title: str
    archive: str
    badge: Badge
    eyebrow: str
    headline: str
    window: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What a reader must know before believing the figures."""

    title: str
    text: str
    css: str = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup(Generic[_Row]):
    """Findings in one form, with the words around them.

    Attributes:
        count: of all, those too that have no row here; `more` says where they stand.
    """

    title: str
    count: str
    note: str = ""
    rows: tuple[_Row, ...]
    more: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(FindingGroup[TableRow]):
    """Findings as rows.

    Attributes:
        host: what the hunt calls one.
        events: whether the hunt counts events an hour.
        scored: whether connections are counted.
    """

    host: str
    events: bool
    scored: bool
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards(FindingGroup[Card]):
    """Findings at full length, many of them with a filter."""

    filter: bool
    nothing: str


_BADGES = {
    outcome: Badge(wording.OUTCOME_WORDS[outcome], css)
    for outcome, css in (
        (Outcome.COMPLETE, "ok"),
        (Outcome.BASELINE, "base"),
        (Outcome.PARTIAL, "warn"),
        (Outcome.NO_DATA, "fail"),
        (Outcome.FAILED, "fail"),
        (Outcome.MISSED, "fail"),
    )
}


def href(folder: str, target: str) -> str:
    """Give the relative link from a page in a folder of the archive to a file of it."""
    return posixpath.relpath(target, folder)


def page_title(headline: str, about: str, slot: datetime) -> str:
    """Give what a browser shows as the name of a page."""
    return visible(f"{headline} · {about} · {times.full(slot)}")


def run_page(run: Run, headline: str, here: str, *, eyebrow: str, window: str) -> PageView:
    """Lay out what is around a page about one run, in a folder of the archive."""
    return PageView(
        title=page_title(headline, run.cluster, run.slot),
        archive=href(here, ARCHIVE_INDEX),
        badge=badge(run.outcome, run),
        eyebrow=eyebrow,
        headline=headline,
        window=window,
    )


def badge(outcome: Outcome, run: Run | None = None) -> Badge:
    """Give the outcome's word and colour; nothing is green that is blind."""
    plain = _BADGES[outcome]
    if run and outcome.searched and wording.is_blind(run):
        return Badge(f"{plain.word}, blind", "warn")
    return plain


def news_title(announced: Sequence[Finding]) -> str:
    """Name the kinds of news, for example `New findings and changed binaries`."""
    kinds = {
        "new findings": any(each.status is Status.NEW for each in announced),
        "changed binaries": any(map(wording.is_changed, announced)),
        "programs that are back": any(map(wording.is_back, announced)),
    }
    *some, last = [kind for kind, is_told in kinds.items() if is_told] or ["new findings"]
    return capitalised(f"{', '.join(some)} and {last}" if some else last)


def news_tiles(announced: Sequence[Finding]) -> Iterator[Tile]:
    """Count every kind of news: new findings always, the other kinds where there are any."""
    new = [finding for finding in announced if finding.status is Status.NEW]
    changed, back = (
        list(filter(kind, announced)) for kind in (wording.is_changed, wording.is_back)
    )
    for label, about, these in (
        ("New", "new", new),
        ("Changed binaries", "changed", changed),
        ("Back after long", "back", back),
    ):
        if these or these is new:
            priorities = wording.priorities_words(these)
            yield Tile(label, f"{len(these):,}", priorities, hot=bool(these), about=about)


def cards_of(
    shown: Sequence[Card], count: int, *, title: str, nothing: str, counted: bool = True
) -> Cards:
    """Put cards together.

    Args:
        shown: at most `MAX_CARDS`.
        count: how many there would be without a limit.
        title: above them.
        nothing: what to say where there is none.
        counted: whether anybody counted; none of zero is not none.
    """
    return Cards(
        title=title,
        count=number(count) if counted else "",
        rows=tuple(shown),
        filter=len(shown) >= FILTERED_CARDS,
        nothing="" if shown else nothing,
        more=more(count - len(shown), "the table below"),
    )


def table_of(
    findings: tuple[Finding, ...],
    slot: datetime,
    nouns: Nouns,
    *,
    title: str,
    note: str,
    scored: bool = True,
) -> Table:
    """Lay findings out as rows."""
    rows = tuple(
        laid_out(partial(cards.table_row, slot=slot, spark=place < MAX_SPARKLINES), finding)
        for place, finding in enumerate(findings[:MAX_ROWS])
    )
    return Table(
        title=title,
        count=number(len(findings)),
        note=note,
        host=capitalised(nouns.host[0]),
        events=any(row.events for row in rows),
        scored=scored,
        rows=rows,
        statuses=tuple(sorted({row.status for row in rows})),
        more=more(len(findings) - len(rows), "findings.csv"),
    )


def listing(
    findings: Sequence[Finding],
    lay_out: Callable[[Finding], ListedRow],
    *,
    title: str,
    note: str,
) -> FindingGroup[ListedRow]:
    """Lay findings out as entries of a list."""
    rows = tuple(laid_out(lay_out, finding) for finding in findings[:MAX_LISTED])
    return FindingGroup(
        title=title,
        count=number(len(findings)),
        note=note,
        rows=rows,
        more=more(len(findings) - len(rows), "findings.csv"),
    )


def more(count: int, where: str) -> str:
    """Say how many are not shown here, or nothing."""
    return f"{count:,} more in {where}." if count > 0 else ""
