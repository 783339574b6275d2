"""The archive's own pages: from the records of its runs to everything that they show."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, groupby
from urllib.parse import quote

from markupsafe import Markup
from pydantic import TypeAdapter

from tasks.model import wording
from tasks.model.findings import Status
from tasks.model.hunts import Nouns
from tasks.model.runs import TREND_RUNS, Outcome, Report, Run, Trend
from tasks.pages import charts
from tasks.pages.cards import NOTHING
from tasks.pages.explanations import Explanation, explanations
from tasks.pages.parts import ARCHIVE_INDEX, Badge, Tile, badge, href
from tasks.text import times
from tasks.text.numbers import counted
from tasks.text.untrusted import visible

NOT_SEARCHED_WITHIN = timedelta(days=30)
"""How far back "not searched" is counted, from the newest slot."""

RETIRED_AFTER = timedelta(days=90)
"""Who had no run for so long before the newest slot is taken to be hunted no more."""

MAX_DAYS = 60
"""So many daily pages are linked from the first page, the newest."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the index knows of a run: run.json is this.

    Attributes:
        headline: the report's verdict.
        known: findings that continued or returned, or are acknowledged.
        recorded: findings of a baseline.
    """

    run: Run
    headline: str
    new: int
    known: int
    quiet: int
    recorded: int

    @classmethod
    def of(cls, report: Report) -> Record:
        """Count a report's findings."""
        return cls(
            run=report.run,
            headline=wording.headline(report),
            new=len(report.having(Status.NEW)),
            known=len(report.having(Status.CONTINUING, Status.RETURNED) + report.acknowledged),
            quiet=len(report.having(Status.QUIET)),
            recorded=len(report.having(Status.BASELINE)),
        )

    def to_json(self) -> bytes:
        """Give the record as indented UTF-8 JSON."""
        return _RECORD.dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, document: bytes) -> Record:
        """Read what `to_json` wrote."""
        return _RECORD.validate_json(document)

    @property
    def trend(self) -> Trend:
        """What charts show of the run."""
        return Trend.of(self.run, new=self.new, known=self.known + self.recorded)


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)

Entry = tuple[str, Record]
"""The folder in which a record stands, relative to the archive, and the record."""


@dataclass(frozen=True, slots=True)
class ArchiveRow:
    """A run as a line of the index."""

    slot: str
    cluster: str
    hunt: str
    badge: Badge
    headline: str
    new: str
    known: str
    quiet: str
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
    """How one hunt on one cluster stands."""

    cluster: str
    hunt: str
    badge: Badge
    newest: str
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


@dataclass(frozen=True, slots=True)
class IndexView:
    """The archive's first page, from top to bottom."""

    title: str
    archive: str
    badge: Badge
    eyebrow: str
    headline: str
    window: str
    tiles: tuple[Tile, ...]
    clusters: tuple[ClusterState, ...]
    gone: tuple[Link, ...]
    runs: Runs
    days: tuple[Link, ...]
    months: tuple[Link, ...]
    unreadable: tuple[str, ...]
    explained: Mapping[str, Explanation]


@dataclass(frozen=True, slots=True)
class MonthView:
    """The page of a month, from top to bottom.

    Attributes:
        stamp: tells whether the page shows what is there.
    """

    title: str
    archive: str
    badge: Badge
    eyebrow: str
    headline: str
    window: str
    tiles: tuple[Tile, ...]
    runs: Runs
    days: tuple[Link, ...]
    unreadable: tuple[str, ...]
    stamp: str


@dataclass(frozen=True, slots=True)
class LatestView:
    """The page that leads to the newest report of a hunt on a cluster."""

    title: str
    archive: str
    badge: Badge
    eyebrow: str
    headline: str
    window: str
    report: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a page of the archive speaks of.

    Attributes:
        records: by the folder in which each stands, relative to the archive.
        days: relative paths of the daily pages.
        unreadable: relative paths of run records that cannot be read.
    """

    records: Mapping[str, Record]
    days: Sequence[str] = ()
    unreadable: Sequence[str] = ()

    @classmethod
    def of(cls, shelves: Iterable[Shelf]) -> Shelf:
        """Put shelves together."""
        each = tuple(shelves)
        return cls(
            dict(chain.from_iterable(shelf.records.items() for shelf in each)),
            tuple(chain.from_iterable(shelf.days for shelf in each)),
            tuple(chain.from_iterable(shelf.unreadable for shelf in each)),
        )


def index_view(recent: Shelf, silent: Mapping[str, Record], months: Mapping[str, int]) -> IndexView:
    """Lay the archive's first page out.

    Args:
        recent: of the last two months.
        silent: the newest records of the clusters that have none in them, as in a shelf.
        months: how many runs each month has, the newest first, as `2026-11`.
    """
    newest_first = _newest_first(recent.records)
    current = _standing(newest_first)
    lately = _within(current)
    known = [*current, *_newest_first(silent)]
    hunted = [entry for entry in known if known[0][1].run.slot - entry[1].run.slot < RETIRED_AFTER]
    return IndexView(
        title="Archive · beaconhunt",
        archive=ARCHIVE_INDEX,
        badge=_searched_badge(lately),
        eyebrow="Archive",
        headline=_headline(sum(months.values()), {record.run.cluster for _, record in known}),
        window=_window(recent.records),
        tiles=tuple(_tiles(lately, f"in {NOT_SEARCHED_WITHIN.days} days")),
        clusters=tuple(_states(hunted, lately)),
        gone=tuple(_latest_link(*entry) for entry in known[len(hunted) :]),
        runs=_runs(newest_first, current, root=""),
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
    newest_first = _newest_first(shelf.records)
    current = _standing(newest_first)
    runs = [record for _, record in current]
    root = f"{href(posixpath.dirname(month_page(month)), '.')}/"
    return MonthView(
        title=f"{_month_name(month)} · Archive · beaconhunt",
        archive=root + ARCHIVE_INDEX,
        badge=_searched_badge(runs),
        eyebrow=f"Archive · {_month_name(month)}",
        headline=_headline(len(shelf.records), {record.run.cluster for record in runs}),
        window=_window(shelf.records),
        tiles=tuple(_tiles(runs, "in this month")),
        runs=_runs(newest_first, current, root),
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


def standing_runs(records: Mapping[str, Record]) -> list[Entry]:
    """Give the runs that stand for their slots, as in the history, newest first.

    Args:
        records: as in a shelf.
    """
    return _standing(_newest_first(records))


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
    run = record.run
    return LatestView(
        title=visible(f"{record.headline} · {run.cluster} · {times.full(run.slot)}"),
        archive=href(here, ARCHIVE_INDEX),
        badge=badge(run.outcome, run),
        eyebrow=f"Newest run · {run.cluster} · {run.hunt}",
        headline=record.headline,
        window=times.full(run.slot),
        report=quote(href(here, f"{folder}/report.html")),
    )


def _latest_link(folder: str, record: Record) -> Link:
    run = record.run
    return Link(
        f"{run.cluster} · {run.hunt}",
        quote(latest_page(folder)),
        f"last run {times.full(run.slot)}",
    )


def _newest_first(records: Mapping[str, Record]) -> list[Entry]:
    return sorted(records.items(), key=_age, reverse=True)


def _age(entry: Entry) -> tuple[datetime, str, str, datetime, str]:
    run = entry[1].run
    return run.slot, run.cluster, run.hunt, run.finished_at, run.id


def _standing(newest_first: Iterable[Entry]) -> list[Entry]:
    """Give of each slot the run that stands for it: those of one follow each other."""
    return [
        max(runs, key=lambda entry: entry[1].run.standing)
        for _, runs in groupby(newest_first, key=lambda entry: _age(entry)[:3])
    ]


def _within(current: Sequence[Entry]) -> list[Record]:
    """Give the runs of the last days, newest first."""
    records = [record for _, record in current]
    return [each for each in records if records[0].run.slot - each.run.slot < NOT_SEARCHED_WITHIN]


def _states(current: Sequence[Entry], lately: Sequence[Record]) -> Iterator[ClusterState]:
    def hunted(entry: Entry) -> tuple[str, str]:
        return entry[1].run.cluster, entry[1].run.hunt

    for (cluster, hunt), group in groupby(sorted(current, key=hunted), key=hunted):
        runs = list(group)
        newest = runs[0][1].run
        complete = next((entry for entry in runs if entry[1].run.outcome.comparable), None)
        mine = [each for each in lately if (each.run.cluster, each.run.hunt) == (cluster, hunt)]
        trend = [record.trend for _, record in reversed(runs[:TREND_RUNS])]
        yield ClusterState(
            cluster=cluster,
            hunt=hunt,
            badge=badge(newest.outcome, newest) if mine else _NO_RUN,
            newest=times.full(newest.slot),
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


def _headline(runs: int, clusters: Collection[str]) -> str:
    return f"{counted(runs, 'run', 'runs')} of {counted(len(clusters), 'cluster', 'clusters')}"


def _tiles(records: Sequence[Record], when: str) -> Iterator[Tile]:
    missing = _missing(records)
    yield Tile("Runs", f"{len(records):,}", when)
    yield Tile("Not searched", f"{missing:,}", "missed, failed or without data", hot=bool(missing))
    yield Tile("New findings", f"{sum(record.new for record in records):,}", when)


def _runs(newest_first: Sequence[Entry], current: Iterable[Entry], root: str) -> Runs:
    runs, stand = [record.run for _, record in newest_first], {folder for folder, _ in current}
    outcomes = {run.outcome for run in runs}
    return Runs(
        count=f"{len(runs):,}",
        names=tuple(sorted({run.cluster for run in runs})),
        hunts=tuple(sorted({run.hunt for run in runs})),
        outcomes=tuple(
            wording.OUTCOME_WORDS[outcome] for outcome in Outcome if outcome in outcomes
        ),
        months=tuple(
            Month(
                _month_name(month),
                tuple(
                    _row(quote(root + folder), record, superseded=folder not in stand)
                    for folder, record in group
                ),
            )
            for month, group in groupby(
                newest_first, key=lambda entry: f"{entry[1].run.slot:%Y-%m}"
            )
        ),
    )


def _row(folder: str, record: Record, *, superseded: bool) -> ArchiveRow:
    run = record.run
    counts = (record.new, record.known, record.quiet)
    new, known, quiet = (f"{n:,}" if run.outcome.searched else NOTHING for n in counts)
    return ArchiveRow(
        slot=times.short(run.slot),
        cluster=run.cluster,
        hunt=run.hunt,
        badge=badge(run.outcome),
        headline=record.headline,
        new=new,
        known=f"{record.recorded:,}" if run.outcome is Outcome.BASELINE else known,
        quiet=quiet,
        folder=folder,
        superseded=superseded,
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
