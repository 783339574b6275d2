"""The archive's first page: from the records of its runs to everything that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from urllib.parse import quote

from pydantic import TypeAdapter

from tasks import moments, verdicts
from tasks.findings import Status
from tasks.runs import Outcome, Report, Run
from tasks.verdicts import counted
from tasks.views.cards import NOTHING
from tasks.views.parts import ARCHIVE_INDEX, Badge, Tile, badge

RECENT = timedelta(days=30)
"""How far back "not searched" is counted, from the newest slot."""

MAX_DAYS = 60
"""So many daily pages are linked, the newest."""


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
            headline=verdicts.summary(report),
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


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


@dataclass(frozen=True, slots=True)
class RunRow:
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
    rows: tuple[RunRow, ...]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """How one hunt on one cluster stands."""

    cluster: str
    hunt: str
    badge: Badge
    newest: str
    last_complete: str
    folder: str
    not_searched: str


@dataclass(frozen=True, slots=True)
class Day:
    """A link to a daily page."""

    name: str
    link: str


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
    months: tuple[Month, ...]
    count: str
    names: tuple[str, ...]
    outcomes: tuple[str, ...]
    days: tuple[Day, ...]
    unreadable: tuple[str, ...]


def index_view(
    records: Mapping[str, Record], days: Sequence[str], unreadable: Sequence[str]
) -> IndexView:
    """Lay an archive out.

    Args:
        records: by the folder in which each stands, relative to the archive.
        days: relative paths of the daily pages.
        unreadable: relative paths of run records that cannot be read.
    """
    newest_first = sorted(records.items(), key=lambda entry: _age(entry[1].run), reverse=True)
    current = _current(records.values())
    shown = [(folder, record) for folder, record in newest_first if record.run.id in current]
    states = tuple(_states(shown))
    outcomes = [record.run.outcome for _, record in newest_first]
    missing = sum(not outcome.searched for outcome in _recent(shown))
    return IndexView(
        title="Archive · beaconhunt",
        archive=ARCHIVE_INDEX,
        badge=Badge(f"{missing:,} not searched", "warn") if missing else Badge("complete", "ok"),
        eyebrow="Archive",
        headline=counted(len(records), "run", "runs")
        + f" of {counted(len({state.cluster for state in states}), 'cluster', 'clusters')}",
        window=_window(newest_first),
        tiles=tuple(_tiles(shown, missing)),
        clusters=states,
        months=tuple(
            Month(name, tuple(_row(folder, record, current) for folder, record in group))
            for name, group in groupby(newest_first, key=lambda entry: _month(entry[1].run.slot))
        ),
        count=f"{len(records):,}",
        names=tuple(sorted({record.run.cluster for record in records.values()})),
        outcomes=tuple(
            verdicts.OUTCOME_WORDS[outcome] for outcome in Outcome if outcome in outcomes
        ),
        days=tuple(Day(_day_name(path), quote(path)) for path in _newest(days)),
        unreadable=tuple(sorted(unreadable)),
    )


def _age(run: Run) -> tuple[datetime, str, str, datetime, str]:
    return run.slot, run.cluster, run.hunt, run.finished_at, run.id


def _current(records: Iterable[Record]) -> frozenset[str]:
    """Give the ids of the runs that stand for their slots, as in the history."""
    standing: dict[tuple[str, str, datetime], Run] = {}
    for run in sorted((record.run for record in records), key=lambda run: run.standing):
        standing[run.hunt, run.cluster, run.slot] = run
    return frozenset(run.id for run in standing.values())


def _recent(shown: Sequence[tuple[str, Record]]) -> list[Outcome]:
    """Give the outcomes of the last days, newest first."""
    runs = [record.run for _, record in shown]
    return [run.outcome for run in runs if runs[0].slot - run.slot < RECENT]


def _states(shown: Sequence[tuple[str, Record]]) -> Iterator[ClusterState]:
    def hunted(entry: tuple[str, Record]) -> tuple[str, str]:
        return entry[1].run.cluster, entry[1].run.hunt

    for (cluster, hunt), group in groupby(sorted(shown, key=hunted), key=hunted):
        runs = list(group)
        newest = runs[0][1].run
        complete = next((entry for entry in runs if entry[1].run.outcome.comparable), None)
        recent = _recent(runs)
        yield ClusterState(
            cluster=cluster,
            hunt=hunt,
            badge=badge(newest.outcome),
            newest=moments.full(newest.slot),
            last_complete=moments.full(complete[1].run.slot) if complete else "never",
            folder=quote(complete[0]) if complete else "",
            not_searched=f"{sum(not outcome.searched for outcome in recent):,} of {len(recent):,}",
        )


def _tiles(shown: Sequence[tuple[str, Record]], missing: int) -> Iterator[Tile]:
    recent = _recent(shown)
    new = sum(record.new for _, record in shown[: len(recent)])
    yield Tile("Runs", f"{len(recent):,}", f"in {RECENT.days} days")
    yield Tile("Not searched", f"{missing:,}", "missed, failed or without data", hot=bool(missing))
    yield Tile("New findings", f"{new:,}", f"in {RECENT.days} days")


def _row(folder: str, record: Record, current: frozenset[str]) -> RunRow:
    run = record.run
    counts = (record.new, record.known, record.quiet)
    new, known, quiet = (f"{n:,}" if run.outcome.searched else NOTHING for n in counts)
    return RunRow(
        slot=moments.short(run.slot),
        cluster=run.cluster,
        hunt=run.hunt,
        badge=badge(run.outcome),
        headline=record.headline,
        new=new,
        known=f"{record.recorded:,}" if run.outcome is Outcome.BASELINE else known,
        quiet=quiet,
        folder=quote(folder),
        superseded=run.id not in current,
    )


def _window(newest_first: Sequence[tuple[str, Record]]) -> str:
    if not newest_first:
        return "No run yet."
    newest, oldest = newest_first[0][1].run.slot, newest_first[-1][1].run.slot
    return f"{moments.full(oldest)} to {moments.full(newest)}"


def _month(slot: datetime) -> str:
    return f"{moments.MONTHS[slot.month - 1]} {slot.year}"


def _newest(days: Sequence[str]) -> list[str]:
    """Sort daily pages by their date, which stands behind `daily/<destination>/`."""
    return sorted(days, key=lambda path: (path.split("/")[2:], path), reverse=True)[:MAX_DAYS]


def _day_name(path: str) -> str:
    _, destination, year, month, day, page = path.split("/")
    return (
        f"{int(day)} {moments.MONTHS[int(month) - 1]} {year} {page[:2]}:{page[2:4]}, {destination}"
    )
