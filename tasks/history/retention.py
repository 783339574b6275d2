"""Retention: from a moment to the earlier sightings that are no longer needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from tasks.history import schema
from tasks.history.database import BATCH, Database, connect_database
from tasks.history.models import DeliveryRow, RunRow, ScopeRow, SightingRow
from tasks.model.findings import Status

SIGHTINGS_AT_ONCE = 50_000
"""Sightings for one transaction, which takes about half a second."""

PAUSE_SECONDS = 0.2
"""Pause between transactions: processes waiting for SQLite's lock try every tenth of a second."""

_OTHER = aliased(SightingRow)

ReportProgress = Callable[[int, int], None]
"""Called with the number of sightings looked at so far, and their total."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning did, or would do.

    Attributes:
        deleted: number of sightings that were deleted.
        kept: number of sightings from before the moment that were kept.
    """

    deleted: int
    kept: int


def prune_history(
    url: str, before: datetime, *, dry_run: bool = False, progress: ReportProgress | None = None
) -> Pruned:
    """Delete the sightings before a moment that no run or digest for a later slot needs.

    Kept are every finding's first sighting, its newest, and its newest with a known hash; for each
    hunt and cluster, all sightings in the newest run that searched and in the newest comparable
    run; and news that is not yet delivered to a destination. All runs with their counts, findings,
    acknowledgements and deliveries are kept.

    Transactions are short, so other processes do not wait long. An interrupted pruning leaves a
    valid history, and the next one goes on from there.

    Args:
        url: of the history.
        before: aware UTC.
        dry_run: only count what would be deleted.
        progress: called after each transaction.

    Raises:
        HistoryError: it cannot be read or written, or has another version's schema.
    """
    with connect_database(url) as database:
        schema.require_current_schema(database)
        with database.reading() as session:
            sizes = _sizes(session, before)
            newest = _newest(session, before)
        if sizes and not dry_run:
            with database.writing() as session:
                # First, so that no later run is compared with sightings that may be gone.
                session.execute(update(RunRow).where(RunRow.slot < before).values(pruned=True))
        old = {key: size for key, size in sizes.items() if key not in newest}
        looked_at, deleted = 0, 0
        for keys in _batches(old):
            deleted += _prune_runs(database, keys, before, dry_run=dry_run)
            looked_at += sum(old[key] for key in keys)
            if progress:
                progress(looked_at, sum(old.values()))
    return Pruned(deleted, kept=sum(sizes.values()) - deleted)


def _sizes(session: Session, before: datetime) -> Mapping[int, int]:
    """Count the sightings in the runs before a moment, by run, oldest run first."""
    counted = (
        select(SightingRow.run_key, func.count())
        .join(RunRow, RunRow.key == SightingRow.run_key)
        .where(RunRow.slot < before)
        .group_by(SightingRow.run_key, RunRow.slot)
        .order_by(RunRow.slot)
    )
    return dict(session.execute(counted).tuples().all())


def _newest(session: Session, before: datetime) -> frozenset[int]:
    """Give the runs before a moment that are still compared with, or listed."""
    runs = (
        select(RunRow.key, RunRow.cluster, RunRow.hunt_uuid, RunRow.hunt, RunRow.outcome)
        .where(RunRow.slot < before)
        .order_by(RunRow.slot)
    )
    newest = {}
    for key, cluster, hunt_uuid, hunt, outcome in session.execute(runs).tuples():
        if outcome.searched:
            newest[cluster, hunt_uuid, hunt, "searched"] = key
        if outcome.comparable:
            newest[cluster, hunt_uuid, hunt, "comparable"] = key
    return frozenset(newest.values())


def _batches(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Split runs into batches whose sightings fit one transaction."""
    batch: list[int] = []
    held = 0
    for key, size in sizes.items():
        if batch and (held + size > SIGHTINGS_AT_ONCE or len(batch) == BATCH):
            yield batch
            batch, held = [], 0
        batch.append(key)
        held += size
    if batch:
        yield batch


def _prune_runs(database: Database, keys: list[int], before: datetime, *, dry_run: bool) -> int:
    """Delete the superfluous sightings in some runs, or only count them."""
    going = and_(SightingRow.run_key.in_(keys), _is_superfluous(before))
    if dry_run:
        with database.reading() as session:
            return session.scalars(select(func.count()).where(going)).one()
    with database.writing() as session:
        going_now = delete(SightingRow).where(going)
        deleted = session.connection().execute(going_now).rowcount
    time.sleep(PAUSE_SECONDS)
    return deleted


def _is_superfluous(before: datetime) -> ColumnElement[bool]:
    """Match sightings that give no finding's first slot, last slot or hash, and no pending news."""
    later = and_(_OTHER.slot > SightingRow.slot, _OTHER.slot < before)
    known_hash = _OTHER.hash_sha256.is_not(None)
    in_between = and_(
        _other(_OTHER.slot < SightingRow.slot),
        _other(later),
        or_(SightingRow.hash_sha256.is_(None), _other(later, known_hash)),
    )
    return and_(or_(SightingRow.status == Status.QUIET, in_between), not_(_is_undelivered()))


def _other(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the finding has another sighting, in a run that saw it."""
    return exists().where(
        _OTHER.finding_key == SightingRow.finding_key, _OTHER.status != Status.QUIET, *conditions
    )


def _is_undelivered() -> ColumnElement[bool]:
    """Whether a sighting's news is still to be delivered to a destination with it in scope."""
    delivered = (
        exists()
        .where(
            DeliveryRow.destination_key == ScopeRow.destination_key,
            DeliveryRow.finding_key == SightingRow.finding_key,
            DeliveryRow.news == SightingRow.news,
        )
        .correlate(ScopeRow, SightingRow)
    )
    in_scope = exists().where(
        RunRow.key == SightingRow.run_key,
        ScopeRow.cluster == RunRow.cluster,
        ScopeRow.hunt == RunRow.hunt,
        ScopeRow.since < RunRow.slot,
        ~delivered,
    )
    return and_(SightingRow.news.is_not(None), in_scope)
