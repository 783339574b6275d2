from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.collect import collect_digest
from tasks.history import History, Ledger
from tasks.model.digests import Digest, DigestStatus, Medium
from tasks.model.findings import Priority, Process, Status
from tasks.model.runs import Outcome
from tasks.settings import Destination
from tasks.slack.compose import compose_message
from tests.builders import CLUSTER, HUNT, SLOT, day, finding, report, run
from tests.histories import new_history

SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER, "demo-us"))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """A history without runs."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    with History.open(url) as history:
        yield history


@pytest.fixture
def ledger(history: History) -> Ledger:
    """The ledger of a destination that has heard since the day before."""
    ledger = history.ledger(SOC, Medium.SLACK)
    ledger.start_scope(SLOT)
    return ledger


def digest(ledger: Ledger, slot=SLOT) -> Digest:
    return collect_digest(ledger, SOC, Medium.SLACK, slot)


def end(ledger: Ledger, of: Digest, status: DigestStatus, *posted: int) -> None:
    """Send a digest, of which these parts arrive."""
    begun = ledger.begin(of, compose_message(of, report_base_url=None).outline)
    ledger.posted(begun, dict.fromkeys(posted, "1763964000.000100"))
    ledger.settle(begun, status)


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


@pytest.mark.parametrize("mask", [True, False])
def test_command_lines_are_masked_as_in_the_report_of_their_run(history, ledger, mask):
    """The daily page and Slack read the history, which has them whole."""
    process = Process(command_line="x --token hunter2")
    first = finding(cluster="demo-us", status=Status.BASELINE, process=process)
    history.record(report(run(outcome=Outcome.BASELINE, cluster="demo-us", mask=mask), first))
    history.record(report(run(mask=mask), finding(process=process)))
    gathered = digest(ledger)
    for (each,) in (gathered.announcements, gathered.baselines):
        shown = "[masked]" if mask else "hunter2"
        assert each.finding.process.command_line == f"x --token {shown}"


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
    assert ledger.take_over() is None


def test_a_digest_knows_what_became_of_those_before_it(history: History, ledger: Ledger):
    """One was sent, one is not in the channel, of one nobody knows: the next one says so."""
    history.record(report(run(), finding()))
    end(ledger, digest(ledger), DigestStatus.SENT, 1)
    history.record(report(run(day(1)), finding("mac-b", slot=day(1))))
    end(ledger, digest(ledger, day(1)), DigestStatus.DEAD)
    end(ledger, digest(ledger, day(2)), DigestStatus.LOST)
    gathered = digest(ledger, day(3))
    assert gathered.number == 4
    assert (gathered.previous, gathered.undelivered) == (SLOT, (day(1),))
    assert gathered.may_repeat == day(2)
    assert [each.finding.host.id for each in gathered.announcements] == ["mac-b"]
