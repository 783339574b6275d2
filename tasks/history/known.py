"""Known: what the runs before a slot remember, for the run of that slot to compare with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tasks.history.acknowledgements import acknowledgements_by_identity
from tasks.history.database import batches
from tasks.history.models import FindingRow, RunRow, SightingRow
from tasks.history.recorded import COMPARABLE
from tasks.history.sightings import by_priority, first_seen, last_hash, last_seen, without_figures
from tasks.model.acknowledgements import ByIdentity
from tasks.model.findings import Finding, Status, short_id


@dataclass(frozen=True, slots=True)
class Memory:
    """One finding, as known from earlier runs.

    Attributes:
        id: its id for people.
        first_seen: slot of the earliest run that saw it.
        last_seen: slot of the newest earlier run that saw it.
        hash_sha256: its binary's hash, from the newest earlier run with a hash.
    """

    id: str
    first_seen: datetime
    last_seen: datetime
    hash_sha256: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """The knowledge from the runs before a slot, for the run of that slot.

    Attributes:
        comparable: slot of the newest earlier complete or baseline run; None on the first run.
        in_comparable: fingerprints of the findings in that run.
        absent: findings in that run that are missing now, highest priority first, in the form of
            a complete run's list: quiet, described as last seen.
        memories: findings of the run that an earlier run saw, by fingerprint.
        ids: ids of the run's findings, by fingerprint: the known id, or a free one.
        acknowledgements: all acknowledgements, by the identity that they cover.
    """

    comparable: datetime | None
    in_comparable: frozenset[str]
    absent: tuple[Finding, ...]
    memories: Mapping[str, Memory]
    ids: Mapping[str, str]
    acknowledgements: ByIdentity = field(default_factory=dict)


def read_known(
    session: Session, hunt_uuid: str, cluster: str, slot: datetime, fingerprints: Collection[str]
) -> Known:
    """Read what is known from a hunt's runs on a cluster before a slot; see `History.known`."""
    comparable = session.execute(
        select(RunRow.key, RunRow.slot)
        .where(
            RunRow.cluster == cluster,
            RunRow.hunt_uuid == hunt_uuid,
            RunRow.slot < slot,
            RunRow.outcome.in_(COMPARABLE),
        )
        .order_by(RunRow.slot.desc())
        .limit(1)
    ).one_or_none()
    sighted = frozenset(
        session.scalars(
            select(FindingRow.fingerprint)
            .join(SightingRow)
            .where(SightingRow.run_key == comparable.key, SightingRow.status != Status.QUIET)
        )
        if comparable
        else ()
    )
    return Known(
        comparable=comparable.slot if comparable else None,
        in_comparable=sighted,
        absent=_absent(session, sighted.difference(fingerprints), slot),
        memories=_memories(session, fingerprints, slot),
        ids=_ids(session, fingerprints),
        acknowledgements=acknowledgements_by_identity(session),
    )


def _memories(
    session: Session, fingerprints: Collection[str], slot: datetime
) -> Mapping[str, Memory]:
    return {
        fingerprint: Memory(id, first, last, hash_sha256)
        for batch in batches(fingerprints)
        for fingerprint, id, first, last, hash_sha256 in session.execute(
            select(
                FindingRow.fingerprint,
                FindingRow.id,
                first_seen(slot),
                last_seen(slot),
                last_hash(slot),
            ).where(FindingRow.fingerprint.in_(batch))
        ).tuples()
        if first is not None
    }


def _absent(session: Session, fingerprints: Collection[str], slot: datetime) -> tuple[Finding, ...]:
    found = [
        without_figures(replace(document, id=id, first_seen=first, last_seen=last))
        for batch in batches(fingerprints)
        for document, id, first, last in session.execute(
            select(FindingRow.document, FindingRow.id, first_seen(slot), last_seen(slot)).where(
                FindingRow.fingerprint.in_(batch)
            )
        ).tuples()
    ]
    return tuple(sorted(found, key=by_priority))


def _ids(session: Session, fingerprints: Collection[str]) -> Mapping[str, str]:
    """Give every fingerprint its known id, or its shortest free one."""
    ids = {
        fingerprint: id
        for batch in batches(fingerprints)
        for fingerprint, id in session.execute(
            select(FindingRow.fingerprint, FindingRow.id).where(FindingRow.fingerprint.in_(batch))
        ).tuples()
    }
    digits = 8
    while nameless := sorted(set(fingerprints).difference(ids)):
        wanted = {fingerprint: short_id(fingerprint, digits) for fingerprint in nameless}
        taken = {
            id
            for batch in batches(wanted.values())
            for id in session.scalars(select(FindingRow.id).where(FindingRow.id.in_(batch)))
        }
        for fingerprint, id in wanted.items():
            if id not in taken:
                ids[fingerprint] = id
                taken.add(id)
        digits += 4
    return ids
