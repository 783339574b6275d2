"""Records: from a run's report to what the archive's own pages know of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby

from pydantic import TypeAdapter

from tasks.model import wording
from tasks.model.findings import Status
from tasks.model.runs import Outcome, Report, Run, Trend


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
    def listed(self) -> int:
        """How many findings it has that are not new."""
        return self.recorded if self.run.outcome is Outcome.BASELINE else self.known

    @property
    def trend(self) -> Trend:
        """What charts show of the run."""
        return Trend.of(self.run, new=self.new, known=self.known + self.recorded)


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)

Entry = tuple[str, Record]
"""The folder in which a record stands, relative to the archive, and the record."""


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


def standing_runs(records: Mapping[str, Record]) -> list[Entry]:
    """Give the runs that stand for their slots, as in the history, newest first.

    Args:
        records: as in a shelf.
    """
    return standing(newest_first(records))


def newest_first(records: Mapping[str, Record]) -> list[Entry]:
    """Sort the records of a shelf."""
    return sorted(records.items(), key=_age, reverse=True)


def _age(entry: Entry) -> tuple[datetime, str, str, datetime, str]:
    run = entry[1].run
    return run.slot, run.cluster, run.hunt, run.finished_at, run.id


def standing(entries: Iterable[Entry]) -> list[Entry]:
    """Give of each slot the run that stands for it: those of one follow each other."""
    return [
        max(runs, key=lambda entry: entry[1].run.standing)
        for _, runs in groupby(entries, key=lambda entry: _age(entry)[:3])
    ]
