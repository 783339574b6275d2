"""Retention: from a moment to the sightings before it that nothing asks for any more."""

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
"""Looked at in one transaction, which takes about half a second."""

PAUSE_SECONDS = 0.2
"""Between transactions: whoever waits for SQLite's lock looks for it every tenth of a second."""

_OTHER = aliased(SightingRow)

Tell = Callable[[int, int], None]
"""Told how many sightings have been looked at, and of how many."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning did, or would do.

    Attributes:
        deleted: how many sightings went.
        kept: how many of those before its moment stayed.
    """

    deleted: int
    kept: int


def prune_history(
    url: str, before: datetime, *, dry_run: bool = False, tell: Tell | None = None
) -> Pruned:
    """Delete the sightings before a moment that no run or digest of a later slot asks for.

    There stay, of each finding, the first sighting, the newest, and the newest with a known hash;
    all of the newest run of each hunt on each cluster that searched, and of the newest that can be
    compared with; and news that a destination has not heard. Runs with their counts, findings,
    acknowledgements and what destinations were told stay all.

    It goes in transactions that others do not wait long for. What is interrupted is as good as
    what is whole: another one goes on.

    Args:
        url: of the history.
        before: aware UTC.
        dry_run: only count what would be deleted.
        tell: called after each transaction.

    Raises:
        HistoryError: it cannot be read or written, or does not fit this code.
    """
    with connect_database(url) as database:
        schema.require_current_schema(database)
        with database.reading() as session:
            sizes = _sizes(session, before)
            newest = _newest(session, before)
        if sizes and not dry_run:
            with database.writing() as session:
                # First of all: from now on no run is compared with what may be gone.
                session.execute(update(RunRow).where(RunRow.slot < before).values(pruned=True))
        old = {key: size for key, size in sizes.items() if key not in newest}
        looked_at, deleted = 0, 0
        for keys in _batches(old):
            deleted += _prune_runs(database, keys, before, dry_run=dry_run)
            looked_at += sum(old[key] for key in keys)
            if tell:
                tell(looked_at, sum(old.values()))
    return Pruned(deleted, kept=sum(sizes.values()) - deleted)


def _sizes(session: Session, before: datetime) -> Mapping[int, int]:
    """Count the sightings of each run before a moment, oldest run first."""
    counted = (
        select(SightingRow.run_key, func.count())
        .join(RunRow, RunRow.key == SightingRow.run_key)
        .where(RunRow.slot < before)
        .group_by(SightingRow.run_key, RunRow.slot)
        .order_by(RunRow.slot)
    )
    return dict(session.execute(counted).tuples().all())


def _newest(session: Session, before: datetime) -> frozenset[int]:
    """Give the runs before a moment with which later ones are compared, or which are listed."""
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
    """Cut runs into lists of so many that one transaction takes their sightings."""
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
    """Delete what goes of some runs' sightings, or only count it."""
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
    """Take sightings that neither tell first, last or hash as of a later slot, nor are unheard."""
    later = and_(_OTHER.slot > SightingRow.slot, _OTHER.slot < before)
    known_hash = _OTHER.hash_sha256.is_not(None)
    in_between = and_(
        _other(_OTHER.slot < SightingRow.slot),
        _other(later),
        or_(SightingRow.hash_sha256.is_(None), _other(later, known_hash)),
    )
    return and_(or_(SightingRow.status == Status.QUIET, in_between), not_(_is_unheard()))


def _other(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether there is another sighting of the finding that saw it."""
    return exists().where(
        _OTHER.finding_key == SightingRow.finding_key, _OTHER.status != Status.QUIET, *conditions
    )


def _is_unheard() -> ColumnElement[bool]:
    """Whether a sighting is news to a destination that should hear of it."""
    heard = (
        exists()
        .where(
            DeliveryRow.destination_key == ScopeRow.destination_key,
            DeliveryRow.finding_key == SightingRow.finding_key,
            DeliveryRow.news == SightingRow.news,
        )
        .correlate(ScopeRow, SightingRow)
    )
    listening = exists().where(
        RunRow.key == SightingRow.run_key,
        ScopeRow.cluster == RunRow.cluster,
        ScopeRow.hunt == RunRow.hunt,
        ScopeRow.since < RunRow.slot,
        ~heard,
    )
    return and_(SightingRow.news.is_not(None), listening)
