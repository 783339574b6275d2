"""What is in a channel after any sequence of runs, repeats, faults, crashes and outages."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import cast
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import notify
from tasks.channel import Channel
from tasks.collect import collected
from tasks.digest import TOLD_SINGLY, compose
from tasks.digests import Medium, Message
from tasks.errors import (
    ChannelUnreadable,
    ReceiptLost,
    SlackError,
    SlackRefused,
    SlackUnreachable,
)
from tasks.findings import Finding
from tasks.history import History, Ledger, Unsettled, upgrade
from tasks.history import ledger as ledgers
from tasks.notify import deliver, look_up
from tasks.settings import Destination
from tasks.settle import ending
from tests.builders import CLUSTER, day, finding, report, run

SOC = Destination(name="soc", channel="C1", clusters=(CLUSTER,))


class Killed(BaseException):
    """The process is gone: nothing after this is done."""


@dataclass
class Slack:
    """A channel that does to each post what its script says; then everything is well.

    Attributes:
        posts: digest and part of each message in it.
    """

    script: list[str]
    readable: bool
    posts: list[tuple[str, Message]] = field(default_factory=list)

    def post(self, part: Message, thread_ts: str | None = None) -> str:  # noqa: ARG002
        fate = self.script.pop(0) if self.script else "taken"
        if fate == "killed before":
            raise Killed
        if fate == "refused":
            raise SlackRefused("No.", "Ask.")
        if fate == "unreachable":
            raise SlackUnreachable("Down.", "Wait.")
        if fate != "dropped":
            self.posts.append((part.metadata["event_payload"]["digest_id"], part))
        if fate == "killed after":
            raise Killed
        if fate in {"dropped", "taken and dropped"}:
            raise ReceiptLost("No answer.", "Look.")
        return f"{len(self.posts)}.0"

    def find(self, digest_id: str, since: datetime, thread_ts: str | None = None):  # noqa: ARG002
        if not self.readable:
            raise ChannelUnreadable("Not for you.", "Ask.")
        return {
            part.metadata["event_payload"]["part"]: f"{place}.0"
            for place, (id, part) in enumerate(self.posts, 1)
            if id == digest_id
        }


FATES = [
    "taken",
    "killed before",
    "killed after",
    "refused",
    "unreachable",
    "dropped",
    "taken and dropped",
]

steps = st.one_of(
    st.sampled_from([0, 1, 12]),  # So many new findings in a run: a message holds ten.
    st.just("repeat"),  # Of the last run's slot.
    st.lists(st.sampled_from(FATES), max_size=5),  # A digest, and what becomes of its posts.
)


def tell(ledger: Ledger, slack: Slack, slot: datetime) -> None:
    """Tell what is pending, as far as it comes."""
    channel = cast("Channel", slack)
    ledger.listen(slot)
    if lost := ledger.take_over():
        settle(ledger, lost, fault_of(look_up, channel, ledger, lost))
    digest = collected(ledger, SOC, Medium.SLACK, slot)
    if message := compose(digest, report_base_url=None):
        begun = ledger.begin(digest, message)
        settle(ledger, begun, fault_of(deliver, channel, ledger, begun, message))


def fault_of(step, *arguments: object) -> SlackError | None:
    try:
        step(*arguments)
    except SlackError as fault:
        return fault
    return None


def settle(ledger: Ledger, digest: Unsettled, fault: SlackError | None) -> None:
    status = ending(fault, in_channel=ledger.unsettled(digest).in_channel)
    if status:
        ledger.settle(digest, status)
    else:
        ledger.release(digest)


@cache
def empty_history() -> Path:
    """Make a history to copy: migrations take longer than all the rest."""
    path = Path(tempfile.mkdtemp(prefix="beaconhunt-tests-")) / "history.db"
    atexit.register(shutil.rmtree, path.parent)
    upgrade(f"sqlite:///{path}")
    return path


def arrived(sequence: Sequence[int | str | list[str]], *, readable: bool):
    """Do these steps, and at last a digest without faults; give what was new and the channel."""
    slack, new, last = Slack([], readable), [], report(run(day(0)))
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(notify, "SECONDS_BETWEEN_ATTEMPTS", 0),
        patch.object(ledgers, "LEASE", timedelta(0)),
    ):
        path = shutil.copy(empty_history(), folder)
        with History.open(f"sqlite:///{path}") as history:
            ledger = history.ledger(SOC, Medium.SLACK)
            ledger.listen(day(0))
            for number, step in enumerate([*sequence, []], 1):
                if isinstance(step, list):
                    slack.script = list(step)
                    with suppress(Killed):
                        tell(ledger, slack, last.run.slot + timedelta(minutes=number))
                elif step == "repeat":
                    history.record(report(run(last.run.slot, attempt=number + 1), *last.findings))
                else:
                    slot = day(number)
                    found = [finding(f"mac-{number}-{n}", slot=slot) for n in range(int(step))]
                    found = found[: TOLD_SINGLY - len(new)]
                    last = report(run(slot), *found)
                    history.record(last)
                    new += found
    return new, slack


def copies(of: Finding, slack: Slack) -> list[bool]:
    """Say of each message with a finding whether its digest says that it may repeat."""
    first = {}
    for id, part in slack.posts:
        first.setdefault(id, part)
    return [
        "may repeat" in first[id].text
        for id, part in slack.posts
        if of in [each.finding for each in part.announcements]
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=8))
def test_every_finding_arrives_exactly_once(sequence):
    """Whatever happens on the way, as long as a lost receipt can be looked up."""
    new, slack = arrived(sequence, readable=True)
    for each in new:
        assert copies(each, slack) == [False]


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=8))
def test_without_the_scope_to_look_every_finding_arrives_and_a_repetition_says_so(sequence):
    """Never one message less; each further one is marked."""
    new, slack = arrived(sequence, readable=False)
    for each in new:
        _, *again = copies(each, slack)
        assert all(again)
