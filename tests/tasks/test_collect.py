from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.collect import LONGEST_POST, collected
from tasks.digests import Digest, DigestStatus, Medium
from tasks.findings import Priority, Status
from tasks.history import History, Ledger, upgrade
from tasks.runs import Outcome
from tasks.settings import Destination
from tests.builders import CLUSTER, HUNT, SLOT, day, finding, report, run

SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER, "demo-us"))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """A history without runs."""
    url = f"sqlite:///{tmp_path}/history.db"
    upgrade(url)
    with History.open(url) as history:
        yield history


@pytest.fixture
def ledger(history: History) -> Ledger:
    """The ledger of a destination that has heard since the day before."""
    ledger = history.ledger(SOC, Medium.SLACK)
    ledger.since(SLOT)
    return ledger


def digest(ledger: Ledger, slot=SLOT, now=SLOT) -> Digest:
    return collected(ledger, SOC, Medium.SLACK, slot, now=now)


def test_a_digest_holds_what_is_new_and_how_every_cluster_went(history: History, ledger: Ledger):
    """The most urgent first; a cluster without a run is named too."""
    low, high = finding("mac-a", priority=Priority.LOW), finding("mac-b", priority=Priority.HIGH)
    searched = run()
    history.record(report(searched, high, low, finding("mac-c", status=Status.CONTINUING)))
    gathered = digest(ledger)
    assert [each.finding.id for each in gathered.announcements] == [high.id, low.id]
    assert [(each.cluster, each.hunt, each.run) for each in gathered.clusters] == [
        (CLUSTER, HUNT.slug, searched),
        ("demo-us", HUNT.slug, None),
    ]
    assert (gathered.destination, gathered.medium, gathered.slot) == ("soc", Medium.SLACK, SLOT)


def test_a_first_run_is_told_apart_from_what_is_new(history: History, ledger: Ledger):
    """A baseline is a count, not news."""
    first = finding(status=Status.BASELINE)
    history.record(report(run(outcome=Outcome.BASELINE), first))
    gathered = digest(ledger)
    assert [each.finding.id for each in gathered.baselines] == [first.id]
    assert gathered.announcements == ()


def test_collecting_changes_nothing(history: History, ledger: Ledger):
    """A dry run may collect as often as it likes; only the digest's own id is another."""
    history.record(report(run(), finding()))
    once, again = digest(ledger), digest(ledger)
    assert replace(once, id="") == replace(again, id="")
    assert once.id != again.id
    assert ledger.unsettled() is None


def test_a_digest_that_is_being_sent_is_not_lost_yet(history: History, ledger: Ledger):
    """For ten minutes another process may still be at it."""
    history.record(report(run(), finding()))
    ledger.begin(digest(ledger), "hash")
    begun_at = ledger.unsettled().begun_at
    for since in (timedelta(0), timedelta(minutes=10)):
        assert digest(ledger, day(1), begun_at + since).may_repeat is None


def test_a_digest_whose_sender_was_lost_is_told_again_and_says_so(history: History, ledger: Ledger):
    """Nobody knows whether it arrived: rather twice than never."""
    history.record(report(run(), finding()))
    ledger.begin(digest(ledger), "hash")
    later = ledger.unsettled().begun_at + LONGEST_POST + timedelta(microseconds=1)
    history.record(report(run(day(1)), finding("mac-b", slot=day(1))))
    gathered = digest(ledger, day(1), later)
    assert gathered.may_repeat == SLOT
    assert [each.finding.host.id for each in gathered.announcements] == ["mac-a", "mac-b"]


def test_a_settled_digest_is_not_repeated(history: History, ledger: Ledger):
    """What was delivered is known, however long ago."""
    history.record(report(run(), finding()))
    sent = digest(ledger)
    ledger.begin(sent, "hash")
    ledger.settle(sent.id, DigestStatus.SENT, "1763964000.000100")
    gathered = digest(ledger, day(1), day(30))
    assert (gathered.may_repeat, gathered.announcements) == (None, ())
