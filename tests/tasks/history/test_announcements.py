"""What a destination hears of what a cluster answers, day by day: the promises of the README."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tasks.collect import collect_digest
from tasks.history import History
from tasks.model.digests import DigestStatus, Medium
from tasks.model.findings import Finding, Status
from tasks.model.runs import Plan, new_run_id
from tasks.model.wording import FLOOD
from tasks.post import deliver
from tasks.settings import Destination
from tasks.slack.channel import Channel
from tasks.slack.compose import FINDINGS_PER_DIGEST, compose_message
from tasks.slack.message import Message
from tests.builders import CLUSTER, HUNT, day, sha256
from tests.searching import BINARY, Row, row, searched

SOC = Destination(name="soc", channel="C1", clusters=(CLUSTER,))
FIVE = [row(f"mac-{letter}") for letter in "abcde"]


class Slack:
    """A channel that takes everything."""

    def post(self, part: Message, thread_ts: str | None = None) -> str:  # noqa: ARG002 - of a Channel.
        return "1.0"


class Team:
    """A cluster that is hunted each day, and whoever hears of it an hour later."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.ledger = history.ledger(SOC, Medium.SLACK)

    def run(self, number: int, *rows: Row) -> tuple[Finding, ...]:
        """Run the slot of a day, as the flow does, and give its findings."""
        plan = Plan(new_run_id(), HUNT, CLUSTER, day(number), 6, datetime.now(UTC))
        report = searched(self.history, plan, rows)
        self.history.record(report)
        return report.findings

    def says(self, finding: Finding, number: int, until: int, *, everywhere: bool = True) -> None:
        """Acknowledge, half an hour after the run of a day, until the slot of another."""
        now = day(number) + timedelta(minutes=30)
        word = {"by": "ada", "why": "Our roll-out.", "until": day(until), "now": now}
        self.history.acknowledgements.give(finding.id, **word, everywhere=everywhere)

    def hears(self, number: int) -> str:
        """Post the digest of a day, and give what it says; nothing where there is none."""
        slot = day(number) + timedelta(hours=1)
        self.ledger.start_scope(slot)
        digest = collect_digest(self.ledger, SOC, Medium.SLACK, slot)
        message = compose_message(digest, report_base_url=None)
        if message is None:
            return ""
        begun = self.ledger.begin(digest, message.outline)
        deliver(cast("Channel", Slack()), self.ledger, begun, message)
        self.ledger.settle(begun, DigestStatus.SENT)
        return "\n".join(part.text for part in (message, *message.replies))


@pytest.fixture
def team(history: History) -> Team:
    return Team(history)


@pytest.fixture
def five_known(team: Team) -> Team:
    """Five findings of the first run, of which the team was told that they are there."""
    assert {finding.status for finding in team.run(0, *FIVE)} == {Status.BASELINE}
    said = team.hears(0)
    assert "Baseline recorded: 5 beaconing processes on 5 Macs" in said
    assert "BH-" not in said
    return team


def ids(*findings: Finding) -> list[str]:
    return sorted(finding.id for finding in findings)


def statuses(*findings: Finding) -> list[Status]:
    return [finding.status for finding in findings]


def test_the_first_run_is_told_as_a_count_and_the_same_again_not_at_all(five_known: Team):
    """What was there before beaconhunt is no news."""
    again = five_known.run(1, *FIVE)
    assert statuses(*again) == [Status.CONTINUING] * 5
    assert five_known.hears(1) == ""


def test_an_answer_in_another_order_with_other_figures_has_the_same_ids(five_known: Team):
    """A cluster gives rows and columns in no order, and counts differ every day."""
    before = five_known.run(1, *FIVE)
    shuffled = [
        dict(reversed((each | {"count_connections": number}).items()))
        for number, each in enumerate(reversed(FIVE))
    ]
    after = five_known.run(2, *shuffled)
    assert ids(*after) == ids(*before)
    assert statuses(*after) == [Status.CONTINUING] * 5
    assert five_known.hears(2) == ""


def test_a_restarted_process_is_not_new(five_known: Team):
    """Its entity id is another; two starts in one day are one finding."""
    restarted = [each | {"process.entity_id": "another"} for each in FIVE]
    assert statuses(*five_known.run(1, *FIVE, *restarted)) == [Status.CONTINUING] * 5
    assert statuses(*five_known.run(2, *restarted)) == [Status.CONTINUING] * 5
    assert five_known.hears(2) == ""


def test_one_new_among_five_known_is_exactly_the_one_that_is_told(five_known: Team):
    """The only row that anybody has to read."""
    findings = five_known.run(1, *FIVE, row("mac-f"))
    (new,) = (each for each in findings if each.status is Status.NEW)
    assert new.host.id == "mac-f"
    said = five_known.hears(1)
    assert said.startswith("1 new beaconing process on 1 Mac\n")
    assert (said.count("BH-"), new.id in said) == (1, True)
    five_known.run(2, *FIVE, row("mac-f"))
    assert five_known.hears(2) == ""


def test_the_same_binary_to_a_second_destination_is_new(five_known: Team):
    """Where a program calls is part of what it is."""
    elsewhere = row("mac-a", address="198.51.100.7")
    (new,) = (each for each in five_known.run(1, *FIVE, elsewhere) if each.status is Status.NEW)
    said = five_known.hears(1)
    assert (said.count("BH-"), new.id in said) == (1, True)
    assert "198.51.100[.]7" in said


ALIKE = [
    row(address=None),
    row(address="null"),
    row(address="None"),
    row(address=""),
    row(address=["x, y", "z"]),
    row(address=["x", "y, z"]),
    row(address="x, y, z"),
    row("x, y", "z"),
    row("x", "y, z"),
]


def test_identities_that_only_read_alike_are_different(team: Team):
    """Nobody hides behind another's name: each is a finding of its own, and is told."""
    team.run(0)
    team.hears(0)
    new = team.run(1, *ALIKE)
    assert statuses(*new) == [Status.NEW] * len(ALIKE)
    assert len(set(ids(*new))) == len(ALIKE)
    said = team.hears(1)
    assert all(each.id in said for each in new)
    assert ids(*team.run(2, *ALIKE)) == ids(*new)
    assert team.hears(2) == ""


def test_flapping_around_the_threshold_is_not_told(five_known: Team):
    """Rates are averages: a program at the threshold is there one day and not the next."""
    flapping, *steady = FIVE
    for number in range(1, 6):
        findings = five_known.run(number, *steady, *([] if number % 2 else [flapping]))
        (status,) = (each.status for each in findings if each.host.id == "mac-a")
        assert status is (Status.QUIET if number % 2 else Status.RETURNED)
        assert five_known.hears(number) == ""


def test_a_changed_binary_is_told_as_such_and_once(team: Team):
    """The same path on the same Mac, and another program in it."""
    for number, binary in enumerate(["agent 1", "agent 2", "agent 2"]):
        (finding,) = team.run(number, row(binary=sha256(binary)))
        said = team.hears(number)
        assert finding.changed_binary is (number == 1)
        assert ("changed binary" in said, finding.id in said) == ((number == 1,) * 2)


def test_late_events_are_found_once(team: Team):
    """By the next day's run, whose window has them too; a repeated slot tells nothing anew."""
    team.run(0)
    assert team.run(1) == ()
    assert team.hears(1) == ""
    (found,) = team.run(2, row())
    assert found.id in team.hears(2)

    (late,) = team.run(1, row())
    (after,) = team.run(2, row())
    assert (late.status, after.status) == (Status.NEW, Status.CONTINUING)
    assert late.id == after.id == found.id
    assert after.first_seen == day(1)
    assert found.id not in team.hears(3)


ROLL_OUT = [
    row(f"mac-{number}", "/opt/tool", binary=sha256("agent 1")) for number in range(FLOOD + 1)
]


def test_one_word_mutes_a_roll_out_and_its_end_is_one_line(five_known: Team):
    """Who knows what 201 Macs were given says so once."""
    first, *_ = (each for each in five_known.run(1, *FIVE, *ROLL_OUT) if each.status is Status.NEW)
    five_known.says(first, 1, until=3)
    assert five_known.hears(1) == ""
    five_known.run(2, *FIVE, *ROLL_OUT)
    assert five_known.hears(2) == ""
    five_known.run(3, *FIVE, *ROLL_OUT)
    said = five_known.hears(3)
    assert said.count("Acknowledgement ended, still active: /opt/tool on 201 Macs") == 1
    assert said.count("BH-") == 1
    five_known.run(4, *FIVE, *ROLL_OUT)
    assert five_known.hears(4) == ""


def test_what_is_acknowledged_does_not_make_a_flood(five_known: Team):
    """Without it they are 200, which are told one by one; the count says what is left out."""
    new = [each for each in five_known.run(1, *FIVE, *ROLL_OUT) if each.status is Status.NEW]
    five_known.says(new[0], 1, until=9, everywhere=False)
    said = five_known.hears(1)
    assert said.startswith("200 new beaconing processes on 200 Macs\n")
    assert " · 1 acknowledged · " in said
    assert new[0].id not in said
    assert said.count("BH-") == FINDINGS_PER_DIGEST


def test_an_update_of_an_acknowledged_roll_out_is_a_flood_until_somebody_looks(five_known: Team):
    """The word is of the binary that was looked at; the next one is a word of its own."""
    first, *_ = (each for each in five_known.run(1, *FIVE, *ROLL_OUT) if each.status is Status.NEW)
    five_known.says(first, 1, until=9)
    update = [each | {BINARY: sha256("agent 2")} for each in ROLL_OUT]
    updated = [each for each in five_known.run(2, *FIVE, *update) if each.changed_binary]
    assert five_known.hears(2).startswith("201 known programs with a changed binary: more than")
    five_known.says(updated[0], 2, until=9)
    five_known.run(3, *FIVE, *update[1:], row("mac-new", "/opt/tool", binary=sha256("agent 2")))
    assert five_known.hears(3) == ""
