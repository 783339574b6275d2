"""The archive's own pages: from the records of its runs to everything that they show."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from urllib.parse import quote

from markupsafe import Markup

from tasks.model.hunts import Nouns
from tasks.model.runs import TREND_RUNS, Outcome, Run
from tasks.model.wording import OUTCOME_WORDS
from tasks.pages import charts
from tasks.pages.explanations import Explanation, explanations
from tasks.pages.formats import number
from tasks.pages.parts import ARCHIVE_INDEX, Badge, PageView, Tile, badge, href, run_page
from tasks.pages.records import Entry, Record, Shelf, newest_first, standing, standing_runs
from tasks.text import times
from tasks.text.numbers import counted

NOT_SEARCHED_WITHIN = timedelta(days=30)
"""How far back "not searched" is counted, from the newest slot."""

RETIRED_AFTER = timedelta(days=90)
"""Who had no run for so long before the newest slot is taken to be hunted no more."""

MAX_DAYS = 60
"""So many daily pages are linked from the first page, the newest."""


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """A run as a line of the index; another one may stand for its slot instead."""

    record: Record
    badge: Badge
    folder: str
    superseded: bool


@dataclass(frozen=True, slots=True)
class Month:
    """The runs of one month, newest first."""

    name: str
    rows: tuple[ArchiveRow, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs as a table, with what they are filtered by."""

    count: str
    names: tuple[str, ...]
    hunts: tuple[str, ...]
    outcomes: tuple[str, ...]
    months: tuple[Month, ...]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """How one hunt on one cluster stands, after its newest run."""

    run: Run
    badge: Badge
    latest: str
    last_complete: str
    folder: str
    not_searched: str
    trend: Markup | None


@dataclass(frozen=True, slots=True)
class Link:
    """A link to another page of the archive, and what is there."""

    name: str
    link: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsView:
    """What the pages with a table of runs have in common."""

    page: PageView
    tiles: tuple[Tile, ...]
    runs: Runs
    days: tuple[Link, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexView(RunsView):
    """The archive's first page, from top to bottom."""

    clusters: tuple[ClusterState, ...]
    gone: tuple[Link, ...]
    months: tuple[Link, ...]
    explained: Mapping[str, Explanation]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthView(RunsView):
    """The page of a month, from top to bottom.

    Attributes:
        stamp: of the records that the page shows; another stamp means that it is out of date.
    """

    stamp: str


@dataclass(frozen=True, slots=True)
class LatestView:
    """The page that leads to the newest report of a hunt on a cluster."""

    page: PageView
    report: str


def index_view(recent: Shelf, silent: Mapping[str, Record], months: Mapping[str, int]) -> IndexView:
    """Lay the archive's first page out.

    Args:
        recent: of the last two months.
        silent: the newest records of the clusters that have none in them, as in a shelf.
        months: how many runs each month has, the newest first, as `2026-11`.
    """
    entries = newest_first(recent.records)
    current = standing(entries)
    lately = _within(current)
    known = [*current, *newest_first(silent)]
    hunted = [entry for entry in known if known[0][1].run.slot - entry[1].run.slot < RETIRED_AFTER]
    return IndexView(
        page=PageView(
            title="Archive · beaconhunt",
            archive=ARCHIVE_INDEX,
            badge=_searched_badge(lately),
            eyebrow="Archive",
            headline=_headline(sum(months.values()), known),
            window=_window(recent.records),
        ),
        tiles=tuple(_tiles(lately, f"in {NOT_SEARCHED_WITHIN.days} days")),
        clusters=tuple(_states(hunted, lately)),
        gone=tuple(_latest_link(*entry) for entry in known[len(hunted) :]),
        runs=_runs(entries, current, root=""),
        days=_days(recent.days, root="")[:MAX_DAYS],
        months=tuple(
            Link(_month_name(month), month_page(month), counted(runs, "run", "runs"))
            for month, runs in months.items()
        ),
        unreadable=tuple(sorted(recent.unreadable)),
        explained=explanations(Nouns()),
    )


def month_view(month: str, shelf: Shelf, stamp: str) -> MonthView:
    """Lay the page of a month out.

    Args:
        month: as `2026-11`.
        shelf: of the month.
        stamp: of what is there.
    """
    entries = newest_first(shelf.records)
    current = standing(entries)
    runs = [record for _, record in current]
    root = f"{href(posixpath.dirname(month_page(month)), '.')}/"
    return MonthView(
        page=PageView(
            title=f"{_month_name(month)} · Archive · beaconhunt",
            archive=root + ARCHIVE_INDEX,
            badge=_searched_badge(runs),
            eyebrow=f"Archive · {_month_name(month)}",
            headline=_headline(len(shelf.records), current),
            window=_window(shelf.records),
        ),
        tiles=tuple(_tiles(runs, "in this month")),
        runs=_runs(entries, current, root),
        days=_days(shelf.days, root),
        unreadable=tuple(sorted(shelf.unreadable)),
        stamp=stamp,
    )


def latest_views(records: Mapping[str, Record]) -> Mapping[str, LatestView]:
    """Lay out, by their paths, the pages that lead to the newest report of each cluster.

    Args:
        records: as in a shelf.
    """
    newest = {latest_page(folder): (folder, each) for folder, each in standing_runs(records)[::-1]}
    return {path: _latest(posixpath.dirname(path), *entry) for path, entry in newest.items()}


def month_page(month: str) -> str:
    """Give where the page of a month (`2026-11`) stands below the archive."""
    return f"months/{month}.html"


def latest_page(folder: str) -> str:
    """Give where the page stands that leads to the newest report of a hunt on a cluster.

    Args:
        folder: of any of its runs.
    """
    hunt, cluster, *_ = folder.split("/")
    return f"{hunt}/{cluster}/latest.html"


def _latest(here: str, folder: str, record: Record) -> LatestView:
    run, eyebrow = record.run, f"Newest run · {record.run.cluster} · {record.run.hunt}"
    return LatestView(
        page=run_page(run, record.headline, here, eyebrow=eyebrow, window=times.full(run.slot)),
        report=quote(href(here, f"{folder}/report.html")),
    )


def _latest_link(folder: str, record: Record) -> Link:
    run = record.run
    return Link(
        f"{run.cluster} · {run.hunt}",
        quote(latest_page(folder)),
        f"last run {times.full(run.slot)}",
    )


def _within(current: Sequence[Entry]) -> list[Record]:
    """Give the runs of the last days, newest first."""
    records = [record for _, record in current]
    return [each for each in records if records[0].run.slot - each.run.slot < NOT_SEARCHED_WITHIN]


def _states(current: Sequence[Entry], lately: Sequence[Record]) -> Iterator[ClusterState]:
    def hunted(entry: Entry) -> tuple[str, str]:
        return entry[1].run.cluster, entry[1].run.hunt

    late = {record.run.id for record in lately}
    for _, group in groupby(sorted(current, key=hunted), key=hunted):
        runs = list(group)
        newest = runs[0][1].run
        complete = next((entry for entry in runs if entry[1].run.outcome.comparable), None)
        mine = [record for _, record in runs if record.run.id in late]
        trend = [record.trend for _, record in reversed(runs[:TREND_RUNS])]
        yield ClusterState(
            run=newest,
            badge=badge(newest.outcome, newest) if mine else _NO_RUN,
            latest=quote(latest_page(runs[0][0])),
            last_complete=times.full(complete[1].run.slot) if complete else _NOT_LATELY,
            folder=quote(complete[0]) if complete else "",
            not_searched=f"{_missing(mine):,} of {len(mine):,}" if mine else "no run",
            trend=charts.small_trend(trend),
        )


_NO_RUN = Badge("no run lately", "fail")
_NOT_LATELY = "none lately"


def _missing(records: Iterable[Record]) -> int:
    return sum(not record.run.outcome.searched for record in records)


def _searched_badge(records: Sequence[Record]) -> Badge:
    missing = _missing(records)
    return Badge(f"{missing:,} not searched", "warn") if missing else Badge("complete", "ok")


def _headline(runs: int, entries: Iterable[Entry]) -> str:
    clusters = {record.run.cluster for _, record in entries}
    return f"{counted(runs, 'run')} of {counted(len(clusters), 'cluster')}"


def _tiles(records: Sequence[Record], when: str) -> Iterator[Tile]:
    missing = _missing(records)
    yield Tile("Runs", f"{len(records):,}", when)
    yield Tile("Not searched", f"{missing:,}", "missed, failed or without data", hot=bool(missing))
    yield Tile("New findings", f"{sum(record.new for record in records):,}", when)


def _runs(entries: Sequence[Entry], current: Iterable[Entry], root: str) -> Runs:
    runs, stand = [record.run for _, record in entries], {folder for folder, _ in current}

    def row(folder: str, record: Record) -> ArchiveRow:
        link, outcome = quote(root + folder), record.run.outcome
        return ArchiveRow(record, badge(outcome), link, superseded=folder not in stand)

    by_month = groupby(entries, key=lambda entry: f"{entry[1].run.slot:%Y-%m}")
    outcomes = {run.outcome for run in runs}
    return Runs(
        count=number(len(runs)),
        names=tuple(sorted({run.cluster for run in runs})),
        hunts=tuple(sorted({run.hunt for run in runs})),
        outcomes=tuple(OUTCOME_WORDS[outcome] for outcome in Outcome if outcome in outcomes),
        months=tuple(
            Month(_month_name(month), tuple(row(*entry) for entry in group))
            for month, group in by_month
        ),
    )


def _window(records: Mapping[str, Record]) -> str:
    slots = [record.run.slot for record in records.values()]
    return f"{times.full(min(slots))} to {times.full(max(slots))}" if slots else "No run yet."


def _month_name(month: str) -> str:
    year, number = month.split("-")
    return f"{times.MONTHS[int(number) - 1]} {year}"


def _days(paths: Sequence[str], root: str) -> tuple[Link, ...]:
    """Link daily pages, the newest first: dates stand behind `daily/<destination>/`."""
    newest = sorted(paths, key=lambda path: (path.split("/")[2:], path), reverse=True)
    return tuple(Link(_day_name(path), quote(root + path)) for path in newest)


def _day_name(path: str) -> str:
    _, destination, year, month, day, page = path.split("/")
    return f"{int(day)} {times.MONTHS[int(month) - 1]} {year} {page[:2]}:{page[2:4]}, {destination}"
