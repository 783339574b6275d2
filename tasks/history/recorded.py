"""Recorded runs: from their rows to counts of findings, and to the trend of the last runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select
from sqlalchemy.orm import Session

from tasks.history.models import RunRow
from tasks.model.findings import Status
from tasks.model.runs import TREND_RUNS, Outcome, Run, Trend

COMPARABLE = [outcome for outcome in Outcome if outcome.comparable]
SEARCHED = [outcome for outcome in Outcome if outcome.searched]

_KNOWN = (Status.CONTINUING, Status.RETURNED, Status.BASELINE)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run with the numbers of its findings.

    Attributes:
        counts: number of findings by status, without acknowledged ones.
        acknowledged: number of acknowledged findings.
    """

    run: Run
    counts: Mapping[Status, int]
    acknowledged: int


def recorded_runs(session: Session, runs: Select[tuple[RunRow]]) -> tuple[RecordedRun, ...]:
    """Read selected runs, in the order of the query."""
    return tuple(
        RecordedRun(row.document, row.counts, row.acknowledged) for row in session.scalars(runs)
    )


def read_trend(
    session: Session, runs: Select[tuple[RunRow]], slot: datetime, limit: int = TREND_RUNS
) -> tuple[Trend, ...]:
    """Read the newest of the selected runs up to a slot, oldest first."""
    newest = runs.where(RunRow.slot <= slot).order_by(RunRow.slot.desc()).limit(limit)
    return tuple(
        Trend.of(
            past.run,
            new=past.counts.get(Status.NEW, 0),
            known=sum(past.counts.get(status, 0) for status in _KNOWN) + past.acknowledged,
        )
        for past in reversed(recorded_runs(session, newest))
    )
