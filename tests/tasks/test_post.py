from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks import post
from tasks.collect import collect_digest
from tasks.errors import (
    ChannelUnreadable,
    ReceiptLost,
    RunInProgress,
    SlackBusy,
    SlackError,
    SlackRefused,
    SlackUnreachable,
    Unexpected,
)
from tasks.history import History, Ledger, Unsettled
from tasks.model.digests import DigestStatus, Medium
from tasks.post import MAX_ATTEMPTS, look_up_digest, post_digest, print_digest
from tasks.settings import Destination
from tasks.slack import channel
from tasks.slack.compose import compose_message
from tests.builders import CLUSTER, SLOT, finding, report, run
from tests.histories import new_history
from tests.slack_server import (
    Behaviour,
    Call,
    SlackServer,
    fault,
    is_gone,
    no,
    not_json,
    ok,
    refusing,
    taken_then_dropped,
    too_many,
)

UNREADABLE = (no("missing_scope"),)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "SECONDS_BETWEEN_POSTS", 0)
    monkeypatch.setattr(post, "SECONDS_BETWEEN_ATTEMPTS", 0)
    monkeypatch.setenv("CANARY_TOKEN", "canary-5d1f")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """A history with 25 new findings: a message and two replies."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    with History.open(url) as history, disable_run_logger():
        history.record(report(run(), *(finding(f"mac-{number}") for number in range(25))))
        yield history


class Sender:
    """A digest of all that is pending, begun, and where it goes."""

    def __init__(self, history: History, slack: SlackServer) -> None:
        self.destination = Destination(
            name="soc",
            channel="C1",
            clusters=(CLUSTER,),
            token_env="CANARY_TOKEN",
            api_url=slack.url,
        )
        self.ledger: Ledger = history.ledger(self.destination, Medium.SLACK)
        digest = collect_digest(self.ledger, self.destination, Medium.SLACK, SLOT)
        message = compose_message(digest, report_base_url=None)
        assert message is not None
        self.message = message
        self.begun: Unsettled = self.ledger.begin(digest, message.outline)

    def send(self) -> None:
        post_digest.fn(self.ledger, self.begun, self.message, self.destination)

    def recover(self) -> None:
        look_up_digest.fn(self.ledger, self.ledger.unsettled(self.begun), self.destination)

    @property
    def missing(self) -> tuple[int, ...]:
        """The parts of which the ledger has no receipt."""
        return self.ledger.unsettled(self.begun).missing


def parts(slack: SlackServer) -> list[int]:
    """Give the numbers of the parts in the channel, in their order."""
    return [each["metadata"]["event_payload"]["part"] for each in slack.messages]


def test_each_part_has_its_receipt_in_the_ledger(history: History):
    """The message, then its thread."""
    with SlackServer() as slack:
        sender = Sender(history, slack)
        sender.send()
    first, *thread = slack.messages
    assert parts(slack) == [1, 2, 3]
    assert {each["thread_ts"] for each in thread} == {first["ts"]}
    assert (sender.missing, sender.ledger.unsettled(sender.begun).thread_ts) == ((), first["ts"])


def test_a_receipt_is_written_before_the_next_part_is_posted(history: History):
    """A crash leaves at most one part of which nobody knows."""
    missing: list[tuple[int, ...]] = []

    def looked_at(call: Call) -> None:
        missing.append(sender.missing)
        ok(call)

    with SlackServer(looked_at) as slack:
        sender = Sender(history, slack)
        sender.send()
    assert missing == [(1, 2, 3), (2, 3), (3,)]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("misbehaviour", "in_channel"),
    [
        (taken_then_dropped, True),
        (is_gone, False),
        (fault(500), False),
        (not_json, False),
        (no("internal_error"), False),
    ],
)
def test_a_part_whose_receipt_is_lost_is_looked_up_and_posted_only_if_it_is_not_there(
    history: History, place: int, misbehaviour: Behaviour, in_channel: bool
):
    """Slack accepts and the line drops: one message in all."""
    with SlackServer(*[ok] * place, misbehaviour, ok) as slack:
        sender = Sender(history, slack)
        sender.send()
    assert parts(slack) == [1, 2, 3]
    assert slack.calls == (3 if in_channel else 4)
    assert sender.missing == ()


def test_two_faults_of_slack_and_then_none_give_one_message(history: History):
    """Twice 500, each looked up, and the third attempt arrives."""
    with SlackServer(fault(500), fault(500), ok) as slack:
        sender = Sender(history, slack)
        sender.send()
    assert parts(slack) == [1, 2, 3]


def test_a_digest_that_slack_does_not_take_is_given_up(history: History):
    """After so many attempts, each looked up, the error says what becomes of it."""
    with SlackServer(fault(500)) as slack:
        sender = Sender(history, slack)
        with pytest.raises(
            SlackUnreachable, match=rf"in {MAX_ATTEMPTS} attempts\. .*500.*stays pending\. Run"
        ):
            sender.send()
    assert slack.calls == MAX_ATTEMPTS


def test_a_slack_that_cannot_be_reached_is_tried_again(
    history: History, monkeypatch: pytest.MonkeyPatch
):
    """A line that was down for a moment costs nothing; nothing has to be looked up."""
    waits: list[float] = []
    with SlackServer() as slack:
        pass
    sender = Sender(history, slack)
    monkeypatch.setattr(post.time, "sleep", waits.append)
    with pytest.raises(SlackUnreachable, match=f"in {MAX_ATTEMPTS} attempts.*reached"):
        sender.send()
    assert len(waits) == MAX_ATTEMPTS - 1


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (no("not_in_channel"), SlackRefused),
        (no("invalid_auth"), SlackRefused),
        (no("brand_new_reason"), SlackRefused),
        (too_many(999), SlackBusy),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    history: History, behaviour: Behaviour, kind: type[SlackError]
):
    """Slack said no, or: much later."""
    with SlackServer(behaviour) as slack:
        sender = Sender(history, slack)
        with pytest.raises(kind):
            sender.send()
    assert slack.calls == 1


def test_a_part_of_which_nobody_can_know_is_not_posted_again(history: History):
    """Without the scope to look, that is for another digest, which says so."""
    with SlackServer(taken_then_dropped, reading=UNREADABLE) as slack:
        sender = Sender(history, slack)
        with pytest.raises(ChannelUnreadable, match="missing_scope"):
            sender.send()
    assert slack.calls == 1


def test_a_part_that_cannot_be_looked_up_now_is_not_posted_again(history: History):
    """Slack is down for readers too: whether it is there has to be found out first."""
    with SlackServer(fault(500), reading=(fault(500),)) as slack:
        sender = Sender(history, slack)
        with pytest.raises(ReceiptLost) as error:
            sender.send()
    assert not isinstance(error.value, ChannelUnreadable)
    assert slack.calls == 1


def test_a_sender_that_was_given_up_stops(history: History):
    """It slept for an hour; somebody else settled its digest and tells the rest."""

    def slept(call: Call) -> None:
        sender.ledger.settle(sender.begun, DigestStatus.DEAD)
        ok(call)

    with SlackServer(slept, ok) as slack:
        sender = Sender(history, slack)
        with pytest.raises(RunInProgress, match="another process settled it"):
            sender.send()
    assert parts(slack) == [1]
    assert len(sender.ledger.pending(SLOT).announcements) == 15


# What Slack refuses for what it says


def texts(slack: SlackServer) -> str:
    return "\n".join(each["text"] for each in slack.messages)


def delivered(sender: Sender) -> int:
    """How many findings need no further digest."""
    return 25 - len(sender.ledger.pending(SLOT).announcements)


def test_a_message_that_slack_finds_too_long_arrives_in_halves(history: History):
    """Each half is a part with a receipt of its own, and the thread stays in order."""
    with SlackServer(no("msg_blocks_too_long"), ok) as slack:
        sender = Sender(history, slack)
        sender.send()
    first, *thread = slack.messages
    assert parts(slack) == [1, 4, 2, 3]
    assert {each["thread_ts"] for each in thread} == {first["ts"]}
    assert [block for each in slack.messages[:2] for block in each["blocks"]] == [
        dict(block) for block in sender.message.blocks
    ]
    assert (sender.missing, delivered(sender)) == ((), 25)


@pytest.mark.parametrize("number", [3, 12, 24])
def test_a_finding_that_slack_refuses_is_shown_by_its_id(history: History, number: int):
    """The other 24 are posted as they are, wherever it stands."""
    with SlackServer() as slack:
        sender = Sender(history, slack)
        slack.posting[0] = refusing(f"mac-{number}")
        sender.send()
    refused = [each for each in slack.messages if "Slack refuses to show" in each["text"]]
    assert len(refused) == 1
    assert "blocks" not in refused[0]
    assert len(re.findall("BH-[0-9A-F]{8}", texts(slack))) == 25
    assert (sender.missing, delivered(sender)) == ((), 25)


@pytest.mark.parametrize(
    ("misbehaviour", "in_channel"), [(taken_then_dropped, True), (is_gone, False)]
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_half_whose_receipt_is_lost_is_looked_up_like_any_part(
    history: History, place: int, misbehaviour: Behaviour, in_channel: bool
):
    """Neither half comes twice."""
    script = [no("invalid_blocks"), *[ok] * place, misbehaviour, ok]
    with SlackServer(*script) as slack:
        sender = Sender(history, slack)
        sender.send()
    assert parts(slack) == [1, 4, 2, 3]
    assert slack.calls == (5 if in_channel else 6)
    assert sender.missing == ()


def test_a_half_that_was_posted_counts_where_the_other_was_not(history: History):
    """The next digest contains only what is missing."""
    with SlackServer(no("invalid_blocks"), ok, no("not_in_channel")) as slack:
        sender = Sender(history, slack)
        with pytest.raises(SlackRefused, match="soc: Slack refuses"):
            sender.send()
    assert parts(slack) == [1]
    assert delivered(sender) == texts(slack).count("BH-") > 0
    assert sender.missing == (2, 3, 4)


def test_a_slack_that_refuses_every_line_is_an_error(history: History):
    """When not even a link is taken, somebody must learn of it."""
    with SlackServer(no("invalid_blocks")) as slack:
        sender = Sender(history, slack)
        with pytest.raises(SlackRefused, match="invalid_blocks"):
            sender.send()
    assert delivered(sender) == 0


# After the sender is gone


@pytest.mark.parametrize(("arrived", "missing"), [(0, (1, 2, 3)), (1, (2, 3)), (3, ())])
def test_a_lost_digest_is_looked_up_in_the_channel(
    history: History, arrived: int, missing: tuple[int, ...]
):
    """What of it is there gets its receipt."""
    with SlackServer(*[ok] * arrived, is_gone, reading=(fault(500), ok)) as slack:
        sender = Sender(history, slack)
        if arrived < 3:
            with pytest.raises(ReceiptLost):
                sender.send()
        else:
            sender.send()
        sender.recover()
    assert sender.missing == missing


def test_a_message_that_was_taken_before_the_crash_is_found(
    history: History, monkeypatch: pytest.MonkeyPatch
):
    """Killed between the post and its entry in the ledger."""
    with SlackServer() as slack:
        sender = Sender(history, slack)
        with monkeypatch.context() as crash:
            crash.setattr(Ledger, "posted", lambda *_: 1 / 0)
            with pytest.raises(Unexpected):
                sender.send()
        sender.recover()
    assert sender.missing == (2, 3)


def test_a_terminal_shows_everything(history: History):
    """There is no receipt to wait for."""
    with SlackServer() as slack:
        sender = Sender(history, slack)
    print_digest.fn(sender.ledger, sender.begun)
    assert sender.missing == ()
