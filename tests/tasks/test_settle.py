from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks.collect import collect_digest
from tasks.errors import (
    ChannelUnreadable,
    ReceiptLost,
    RunInProgress,
    SlackBusy,
    SlackError,
    SlackRefused,
    SlackUnreachable,
)
from tasks.history import History, Ledger, Unsettled
from tasks.model.digests import Digest, DigestStatus, Medium
from tasks.settings import Destination
from tasks.settle import begin, settle, start_scope, status_after, take_over
from tasks.slack.compose import compose_message
from tests.builders import CLUSTER, SLOT, day, finding, report, run
from tests.histories import new_history

SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER,))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """The ledger of a destination that has not heard of one finding."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    with History.open(url) as history, disable_run_logger():
        history.record(report(run(), finding()))
        ledger = history.ledger(SOC, Medium.SLACK)
        start_scope.fn(ledger, SLOT)
        yield ledger


def pending(ledger: Ledger) -> Digest:
    """A digest of all that is pending."""
    return collect_digest(ledger, SOC, Medium.SLACK, SLOT)


def begun(ledger: Ledger) -> Unsettled:
    of = pending(ledger)
    return begin.fn(ledger, of, compose_message(of, report_base_url=None))


def told(ledger: Ledger) -> bool:
    return not ledger.pending(day(1)).announcements


def test_a_digest_is_in_the_ledger_before_it_is_posted(ledger: Ledger):
    """Never mark, then send: what is only begun counts as not told."""
    assert begun(ledger).missing == (1,)
    assert not told(ledger)


@pytest.mark.parametrize(
    ("fault", "in_channel", "status"),
    [
        (None, True, DigestStatus.SENT),
        (None, False, DigestStatus.DEAD),
        (SlackRefused, False, DigestStatus.REFUSED),
        (SlackRefused, True, DigestStatus.SENT),
        (SlackBusy, False, DigestStatus.DEAD),
        (SlackUnreachable, False, DigestStatus.DEAD),
        (SlackUnreachable, True, DigestStatus.SENT),
        (ChannelUnreadable, False, DigestStatus.LOST),
        (ChannelUnreadable, True, DigestStatus.LOST),
        (ReceiptLost, False, None),
        (ReceiptLost, True, None),
    ],
)
def test_how_a_digest_ends(
    fault: type[SlackError] | None, in_channel: bool, status: DigestStatus | None
):
    """Its message is there, it is not, nobody can know, or nobody knows yet."""
    assert status_after(fault and fault("A.", "B."), in_channel=in_channel) is status


def test_what_has_a_receipt_is_told(ledger: Ledger):
    """And only that."""
    sent = begun(ledger)
    ledger.posted(sent, {1: "1763964000.000100"})
    settle.fn(ledger, sent)
    assert told(ledger)
    assert take_over.fn(ledger) is None


def test_what_slack_refused_stays_pending(ledger: Ledger):
    """The next digest tells it."""
    refused = begun(ledger)
    settle.fn(ledger, refused, SlackRefused("No.", "Ask."))
    assert not told(ledger)
    assert pending(ledger).number == 2


def test_what_cannot_be_settled_yet_is_left_to_the_next_digest(ledger: Ledger):
    """At once: its sender has said that it is gone."""
    lost = begun(ledger)
    settle.fn(ledger, lost, ReceiptLost("No answer.", "Wait."))
    assert take_over.fn(ledger).id == lost.id
    with pytest.raises(RunInProgress, match=lost.id):
        take_over.fn(ledger)
