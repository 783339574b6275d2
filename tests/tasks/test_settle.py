from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks.digests import Digest, DigestStatus, Medium, Message
from tasks.errors import RunInProgress
from tasks.history import History, Ledger, upgrade
from tasks.settings import Destination
from tasks.settle import begin, settle
from tests.builders import CLUSTER, SLOT, day, finding, report, run

SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER,))
MESSAGE = Message("1 new finding", (), {"event_type": "beaconhunt_digest", "event_payload": {}})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The ledger of a destination that has not heard of one finding."""
    url = f"sqlite:///{tmp_path}/history.db"
    upgrade(url)
    with History.open(url) as history, disable_run_logger():
        history.record(report(run(), finding()))
        ledger = history.ledger(SOC, Medium.SLACK)
        ledger.since(SLOT)
        yield ledger


def digest(ledger: Ledger, id: str = "d00000000001", slot=SLOT, **changes) -> Digest:
    """A digest of all that is pending."""
    pending = ledger.pending(slot)
    return Digest(
        id=id,
        destination="soc",
        medium=Medium.SLACK,
        slot=slot,
        clusters=(),
        announcements=pending.announcements,
        **changes,
    )


def told(ledger: Ledger) -> bool:
    return not ledger.pending(day(1)).announcements


def test_a_digest_is_in_the_ledger_before_it_is_posted(ledger: Ledger):
    """Never mark, then send: what is only begun counts as not told."""
    first = digest(ledger)
    begin.fn(ledger, first, MESSAGE)
    assert ledger.unsettled().id == first.id
    assert ledger.unsettled().payload_hash == MESSAGE.payload_hash
    assert not told(ledger)


@pytest.mark.parametrize("status", [DigestStatus.SENT, DigestStatus.REFUSED, DigestStatus.LOST])
def test_only_what_was_sent_is_told(ledger: Ledger, status: DigestStatus):
    """Refused or lost: the next digest tells it."""
    first = digest(ledger)
    begin.fn(ledger, first, MESSAGE)
    settle.fn(ledger, first, status, "1763964000.000100")
    assert told(ledger) == (status is DigestStatus.SENT)
    assert ledger.unsettled() is None


def test_two_senders_never_tell_the_same(ledger: Ledger):
    """The second one posts nothing and says why."""
    begin.fn(ledger, digest(ledger), MESSAGE)
    with pytest.raises(RunInProgress, match="d00000000001"):
        begin.fn(ledger, digest(ledger, "d00000000002"), MESSAGE)


def test_a_digest_whose_sender_was_lost_is_given_up(ledger: Ledger):
    """The one that repeats it takes its place, and delivers what it told."""
    begin.fn(ledger, digest(ledger), MESSAGE)
    again = digest(ledger, "d00000000002", day(1), may_repeat=SLOT)
    begin.fn(ledger, again, MESSAGE)
    assert ledger.unsettled().id == again.id
    settle.fn(ledger, again, DigestStatus.SENT)
    assert told(ledger)


def test_of_two_that_repeat_a_lost_digest_only_one_is_sent(ledger: Ledger):
    """Both saw that a sender was lost; the second must not take the first for it."""
    begin.fn(ledger, digest(ledger), MESSAGE)
    one, two = (digest(ledger, f"d0000000000{n}", day(1), may_repeat=SLOT) for n in (2, 3))
    begin.fn(ledger, one, MESSAGE)
    with pytest.raises(RunInProgress, match=one.id):
        begin.fn(ledger, two, MESSAGE)
    settle.fn(ledger, one, DigestStatus.SENT)
    assert told(ledger)


def test_a_lost_digest_that_somebody_else_settled_is_no_obstacle(ledger: Ledger):
    """Its sender came back after all, between collecting and sending."""
    lost = digest(ledger)
    begin.fn(ledger, lost, MESSAGE)
    again = digest(ledger, "d00000000002", day(1), may_repeat=SLOT)
    settle.fn(ledger, lost, DigestStatus.REFUSED)
    begin.fn(ledger, again, MESSAGE)
    assert ledger.unsettled().id == again.id
