from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from tasks.history import Known, Memory
from tasks.mark import marked
from tasks.model.acknowledgements import Acknowledgement, by_identity
from tasks.model.findings import Finding, Process, Status
from tasks.model.runs import Plan
from tests.builders import HUNT, SLOT, day, finding

PLAN = Plan("run", HUNT, "prod", SLOT, stale_after_hours=6, started_at=SLOT)


def known(of: Finding, hash_sha256: str | None, *words: Acknowledgement) -> Known:
    """What earlier slots know of one finding: the hash of its binary, and acknowledgements."""
    seen = Memory(of.id, first_seen=day(-9), last_seen=day(-1), hash_sha256=hash_sha256)
    return Known(
        comparable=day(-1),
        in_comparable=frozenset(),
        absent=(),
        memories={of.fingerprint: seen},
        ids={of.fingerprint: of.id},
        acknowledgements=by_identity(words),
    )


def acknowledged(of: Finding, until: datetime, hash_sha256: str) -> Acknowledgement:
    """An analyst's acknowledgement of this finding with this binary."""
    return Acknowledgement(
        key=1,
        finding=of.id,
        fingerprint=of.fingerprint,
        anywhere=None,
        hash_sha256=hash_sha256,
        by="kim",
        why="our agent",
        given_at=day(-2),
        until=until,
    )


def running(hash_sha256: str | None, **traits: object) -> Finding:
    """A finding whose process has this hash."""
    return replace(finding(**traits), process=Process(hash_sha256=hash_sha256))


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [("a", "b", True), ("a", "a", False), (None, "b", False), ("a", None, False)],
)
def test_another_sha256_is_a_changed_binary(before, now, changed):
    """Only two known and different hashes show it."""
    seen = running(now)
    assert marked((seen,), known(seen, before), PLAN)[0].changed_binary is changed


def test_a_quiet_finding_has_no_changed_binary():
    """Its hash is that of an earlier run."""
    seen = running("b", status=Status.QUIET)
    assert marked((seen,), known(seen, "a"), PLAN)[0].changed_binary is False


@pytest.mark.parametrize(("until", "covered"), [(day(1), True), (SLOT, False)])
def test_an_acknowledgement_covers_a_finding_until_it_ends(until, covered):
    """The plan's slot decides, not the clock: a backfilled slot is judged as it was."""
    seen = running("a")
    (one,) = marked((seen,), known(seen, "a", acknowledged(seen, until, "a")), PLAN)
    assert (one.acknowledgement is not None) is covered


def test_a_changed_binary_is_not_acknowledged():
    """The hash is compared before the acknowledgement is looked up."""
    seen = running("b")
    (one,) = marked((seen,), known(seen, "a", acknowledged(seen, day(1), "a")), PLAN)
    assert (one.changed_binary, one.acknowledgement) == (True, None)
