"""Sightings: from a finding in a run to a small row, and from rows back to the finding."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from tasks.history.models import FindingRow, SightingRow
from tasks.model.findings import RANKS, Disposition, Finding, Status

FOUND = "found"
"""News key: the finding exists. Delivered once, as new or as part of a baseline."""

RETURNED = "returned:"
"""Beginning of the news key: the finding is back. The slot when it was last seen follows."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_OF_FINDING = aliased(SightingRow)

_Column = TypeVar("_Column")


def news_key(finding: Finding) -> str | None:
    """Give the key for a finding's news in a run: a key is delivered once to each destination.

    Returns:
        `found` for a new or baseline finding; `changed:<sha256>` for a changed binary, so that
        another change is other news; `returned:<slot>` for a finding that was last seen at that
        slot, whichever run first sees it again; None for a finding that is no news.
    """
    match finding.disposition:
        case Disposition.BASELINE:
            return FOUND
        case Disposition.ANNOUNCED if finding.status is Status.NEW:
            return FOUND
        case Disposition.ANNOUNCED if finding.away_since and not finding.changed_binary:
            return f"{RETURNED}{finding.away_since.isoformat()}"
        case Disposition.ANNOUNCED:
            return f"changed:{_hash(finding) or ''}"
        case _:
            return None


def sighting(finding: Finding) -> dict[str, Any]:
    """Give the columns of a finding's sighting in one run."""
    acknowledgement = finding.acknowledgement
    return {
        "status": finding.status,
        "acknowledgement_key": acknowledgement.key if acknowledgement else None,
        "changed_binary": finding.changed_binary,
        "hash_sha256": _hash(finding),
        "priority": finding.priority,
        "news": news_key(finding),
        "figures": finding.figures,
    }


def restored(
    row: FindingRow, seen: SightingRow, first_seen: datetime, last_seen: datetime
) -> Finding:
    """Restore a finding from its newest document, with the status of one sighting.

    The caller sets the acknowledgement.
    """
    finding = replace(
        row.document,
        id=row.id,
        status=seen.status,
        away_since=_away_since(seen.news),
        changed_binary=seen.changed_binary,
        acknowledgement=None,
        first_seen=first_seen,
        last_seen=last_seen,
    )
    if seen.status is Status.QUIET:
        return without_figures(finding)
    if seen.hash_sha256:
        return replace(finding, process=replace(finding.process, hash_sha256=seen.hash_sha256))
    return finding


def _away_since(news: str | None) -> datetime | None:
    if news is None or not news.startswith(RETURNED):
        return None
    return datetime.fromisoformat(news.removeprefix(RETURNED))


def without_figures(finding: Finding) -> Finding:
    """Give the finding as listed by a run that did not see it: quiet, without figures."""
    return replace(
        finding,
        status=Status.QUIET,
        away_since=None,
        changed_binary=False,
        acknowledgement=None,
        figures={},
        candidates=0,
        evidence=None,
    )


def by_priority(finding: Finding) -> tuple[int, str]:
    """Give the sort key of a finding: highest priority first, unscored ones last."""
    return RANKS[finding.priority], finding.id


def first_seen(before: datetime | None = None) -> ScalarSelect[datetime]:
    """Build the subquery for the slot of a finding's first sighting."""
    return _of_one(_OF_FINDING.slot, _OF_FINDING.slot.asc(), *_earlier(before))


def last_seen(before: datetime | None = None) -> ScalarSelect[datetime]:
    """Build the subquery for the slot of a finding's newest sighting."""
    return _of_one(_OF_FINDING.slot, _OF_FINDING.slot.desc(), *_earlier(before))


def last_hash(before: datetime | None = None) -> ScalarSelect[str | None]:
    """Build the subquery for the hash from a finding's newest sighting with a hash."""
    known = _OF_FINDING.hash_sha256.is_not(None)
    return _of_one(_OF_FINDING.hash_sha256, _OF_FINDING.slot.desc(), known, *_earlier(before))


def _of_one(
    column: InstrumentedAttribute[_Column],
    order: ColumnElement[Any],
    *conditions: ColumnElement[bool],
) -> ScalarSelect[_Column]:
    """Read one sighting of a finding: with an order and a limit, one step in the index."""
    return (
        select(column)
        .where(
            _OF_FINDING.finding_key == FindingRow.key,
            _OF_FINDING.status != Status.QUIET,
            *conditions,
        )
        .order_by(order)
        .limit(1)
        .correlate(FindingRow)
        .scalar_subquery()
    )


def _earlier(before: datetime | None) -> tuple[ColumnElement[bool], ...]:
    return () if before is None else (_OF_FINDING.slot < before,)


def _hash(finding: Finding) -> str | None:
    """Give the binary's hash; a text that is not SHA-256 in hex is forged, and counts as None."""
    found = finding.process.hash_sha256
    return found if found is not None and _SHA256.fullmatch(found) else None
