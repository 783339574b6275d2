from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flows.daily_digest import daily_digest
from tasks import post
from tasks.errors import (
    ArchiveError,
    ChannelUnreadable,
    HistoryError,
    ReceiptLost,
    RunInProgress,
    SlackBusy,
    SlackRefused,
    SlackUnreachable,
)
from tasks.history import Ledger
from tasks.model.digests import DigestStatus
from tasks.model.findings import Status
from tasks.model.runs import Outcome
from tasks.slack import channel
from tests.builders import SLOT, day, finding, report, run
from tests.flows.office import CANARY, Office, hosts_told, new_day
from tests.flows.worker import worker_with
from tests.slack_server import (
    Call,
    SlackServer,
    fault,
    is_gone,
    no,
    ok,
    taken_then_dropped,
    too_many,
)

UNREADABLE = (no("missing_scope"),)


@pytest.fixture
def office(tmp_path, monkeypatch) -> Office:
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    monkeypatch.setattr(channel, "SECONDS_BETWEEN_POSTS", 0)
    monkeypatch.setattr(post, "SECONDS_BETWEEN_ATTEMPTS", 0)
    return Office(tmp_path)


def error(state) -> BaseException:
    """What a flow run failed with."""
    return state.result(raise_on_failure=False)


def test_what_is_new_is_told_once(office):
    """The security team reads it in the morning, and never again."""
    office.record(new_day())
    with SlackServer(ok) as slack:
        first = office.digest(office.destination(slack))
        again = office.digest(office.destination(slack))
    assert first.message == "1 new, posted to Slack"
    assert again.message == "everything was posted before"
    assert len(slack.messages) == 1


def test_a_quiet_day_is_said_to_be_one(office):
    """Not with the words of a repeat: everything was searched, and there was nothing."""
    office.record(report(run()))
    assert (
        office.digest(office.destination()).message
        == "nothing to post: every cluster searched, nothing new"
    )


def test_a_warning_is_told_once_a_day(office):
    """A second digest of the day is silent, and does not call the cluster searched."""
    failed = run(outcome=Outcome.FAILED, reason="unauthorised", detail="No.", coverage=None)
    office.record(report(failed))
    with SlackServer(ok) as slack:
        office.digest(office.destination(slack))
        again = office.digest(office.destination(slack), SLOT + timedelta(hours=4))
    assert again.message == "everything was posted before"
    assert len(slack.messages) == 1


def test_a_cluster_that_comes_into_scope_later_does_not_tell_its_past(office):
    """Adding a cluster to a destination is no flood."""
    office.record(new_day())
    there = finding(cluster="demo-us")
    office.record(report(run(cluster="demo-us"), there), report(run(day(1))))
    again = replace(there, status=Status.CONTINUING)
    office.record(report(run(day(1), cluster="demo-us"), again))
    with SlackServer(ok) as slack:
        office.digest(office.destination(slack))
        wide = office.destination(slack, clusters=("demo-eu", "demo-us"))
        told = office.digest(wide, day(1))
    assert told.message == "nothing to post: every cluster searched, nothing new"


def test_the_day_leaves_a_page(office):
    """Also a day on which nothing is told."""
    office.record(report(run()))
    assert office.digest(office.destination()).message.startswith("nothing to post")
    (page,) = office.pages()
    assert "daily/secops/2026/11/24/0600Z-" in str(page)


def test_without_a_token_the_digest_is_printed_and_not_told_to_slack(office):
    """A demo repeats nothing either; Slack's own ledger stays empty."""
    office.record(new_day())
    printed = office.digest(office.destination())
    assert printed.message == "1 new, no token: printed, not posted"
    assert "1 new beaconing process on 1 Mac" in printed.result()["digest"]
    assert office.digest(office.destination()).result()["digest"] == ""
    with SlackServer(ok) as slack:
        office.digest(office.destination(slack))
    assert len(slack.messages) == 1


def test_a_dry_run_posts_and_writes_nothing(office):
    """What would be told, again and again."""
    office.record(new_day())
    with SlackServer(ok) as slack:
        for _ in range(2):
            shown = office.digest(office.destination(slack), dry_run=True)
            assert shown.message == "1 new, dry run"
    assert slack.messages == []
    assert office.statuses() == []
    assert office.pages() == []


@pytest.mark.parametrize("change", [{"channel": "C2"}, {"name": "trial"}])
def test_a_digest_for_another_channel_is_a_rehearsal(office, change):
    """It says so, and the channel of the worker's prefect.yaml still gets the news."""
    office.record(new_day())
    with SlackServer(ok) as slack:
        listed = office.destination(slack)
        parameters = {"history_url": office.history_url, "archive_url": str(office.archive)}
        with worker_with((daily_digest, {"destination": listed, **parameters})):
            parameters |= {"destination": listed.model_copy(update=change), "slot": SLOT}
            rehearsed = daily_digest(**parameters, return_state=True)
        assert (office.statuses(), office.pages()) == ([], [])
        told = office.digest(listed)
    rehearsal, real = slack.messages
    note = "This is a rehearsal: the worker's prefect.yaml does not have this channel for "
    assert note + change.get("name", "secops") in rehearsal["text"]
    assert rehearsal["channel"] == change.get("channel", "C1")
    if change == {"channel": "C2"}:
        assert hosts_told(slack) == ["mac-a", "mac-a"]
    assert "rehearsal" not in real["text"]
    assert "as a rehearsal, which does not count as delivered" in rehearsed.message
    assert told.message == "1 new, posted to Slack"


def test_a_cluster_that_was_not_searched_is_named(office):
    """Silence must not look like safety."""
    failed = run(outcome=Outcome.FAILED, reason="unauthorised", detail="No.", coverage=None)
    office.record(report(failed))
    with SlackServer(ok) as slack:
        office.digest(office.destination(slack, clusters=("demo-eu", "demo-us")))
    (message,) = slack.messages
    assert "demo-eu was never searched (unauthorised" in message["text"]
    assert "demo-us was never searched (late" in message["text"]


def test_a_refused_digest_fails_with_the_remedy_and_stays_pending(office):
    """After somebody invited the app, all of it is told."""
    office.record(new_day())
    with SlackServer(no("not_in_channel"), ok) as slack:
        refused = office.digest(office.destination(slack))
        error = refused.result(raise_on_failure=False)
        assert isinstance(error, SlackRefused)
        assert "invite" in error.remedy.lower()
        office.record(new_day(day(1), "mac-b"))
        told = office.digest(office.destination(slack), day(1))
    assert told.message == "2 new, posted to Slack"
    assert office.statuses() == [DigestStatus.REFUSED, DigestStatus.SENT]


def test_a_busy_slack_is_told_later_without_a_word_of_repeating(office):
    """Slack said that it took nothing."""
    office.record(new_day())
    with SlackServer(too_many(999), ok) as slack:
        busy = office.digest(office.destination(slack))
        assert isinstance(busy.result(raise_on_failure=False), SlackBusy)
        office.digest(office.destination(slack))
    assert "may repeat" not in slack.messages[-1]["text"]


# A lost receipt


def test_slack_accepts_and_the_line_drops(office):
    """The message is found in the channel by its id: one message, and no word of repeating."""
    office.record(new_day())
    with SlackServer(taken_then_dropped, ok) as slack:
        told = office.digest(office.destination(slack))
    assert told.message == "1 new, posted to Slack"
    assert office.statuses() == [DigestStatus.SENT]
    (message,) = slack.messages
    assert "may repeat" not in message["text"]


@pytest.mark.parametrize("first", [taken_then_dropped, is_gone])
def test_without_the_scope_to_look_a_lost_message_is_told_once_more_and_says_so(office, first):
    """At most one message more, never one less, and at once: not a day later."""
    office.record(new_day())
    with SlackServer(first, ok, reading=UNREADABLE) as slack:
        told = office.digest(office.destination(slack))
        again = office.digest(office.destination(slack))
    assert told.message == "1 new, posted to Slack"
    assert again.message == "everything was posted before"
    assert "may repeat" in slack.messages[-1]["text"]
    assert len(slack.messages) == (2 if first is taken_then_dropped else 1)
    assert office.statuses() == [DigestStatus.LOST, DigestStatus.SENT]


def test_a_message_that_is_lost_twice_fails_the_run_and_is_told_by_the_next(office):
    """Nobody can know; the next day's digest says that it may repeat."""
    office.record(new_day())
    with SlackServer(is_gone, is_gone, ok, reading=UNREADABLE) as slack:
        lost = office.digest(office.destination(slack))
        assert isinstance(error(lost), ChannelUnreadable)
        told = office.digest(office.destination(slack), day(1))
    assert told.message == "1 new, posted to Slack"
    assert "may repeat the one for 24 Nov 06:00 UTC" in slack.messages[0]["text"]
    assert office.statuses() == [DigestStatus.LOST, DigestStatus.LOST, DigestStatus.SENT]


@pytest.mark.parametrize(("first", "status"), [(taken_then_dropped, "sent"), (is_gone, "dead")])
def test_what_cannot_be_looked_up_now_is_looked_up_by_the_next_digest(office, first, status):
    """Before anything else is told, and without waiting: its sender said that it is gone."""
    office.record(new_day())
    with SlackServer(first, ok, reading=(fault(500), ok)) as slack:
        lost = office.digest(office.destination(slack))
        assert isinstance(error(lost), ReceiptLost)
        assert office.statuses() == [DigestStatus.SENDING]
        office.digest(office.destination(slack))
    assert office.statuses()[0] == status
    assert hosts_told(slack) == ["mac-a"]
    assert "may repeat" not in slack.messages[-1]["text"]


def test_a_lost_digest_is_settled_also_when_there_is_nothing_to_tell(office):
    """It told only that a cluster was late, and today the cluster is there."""
    with SlackServer(is_gone, ok, reading=(fault(500), *UNREADABLE)) as slack:
        office.digest(office.destination(slack))
        assert office.statuses() == [DigestStatus.SENDING]
        office.record(report(run(day(1))))
        quiet = office.digest(office.destination(slack), day(1))
    assert quiet.message == "nothing to post: every cluster searched, nothing new"
    assert office.statuses() == [DigestStatus.LOST]


def test_nothing_is_posted_while_an_earlier_digest_cannot_be_settled(office):
    """Slack may have it: more on top of that would be guessing."""
    office.record(new_day())
    with SlackServer(is_gone, ok, reading=(fault(500),)) as slack:
        for number in range(3):
            state = office.digest(office.destination(slack), day(number))
            assert isinstance(error(state), ReceiptLost)
    assert slack.calls == 1


def test_two_digests_at_once_do_not_both_post(office):
    """The other one says that it let the first one go on."""
    office.record(new_day())
    others = []

    def meanwhile(call: Call) -> None:
        others.append(office.digest(office.destination(slack)))
        ok(call)

    with SlackServer(meanwhile) as slack:
        told = office.digest(office.destination(slack))
    assert told.message == "1 new, posted to Slack"
    assert isinstance(error(others[0]), RunInProgress)
    assert len(slack.messages) == 1


# Slack is down, or says no


NO_SUCH_HOST = {"api_url": "https://slack.invalid/api/"}


@pytest.mark.parametrize(
    ("behaviour", "wrong"),
    [(fault(500), {}), (too_many(999), {}), (is_gone, {}), (ok, NO_SUCH_HOST)],
    ids=["HTTP 500", "busy", "line drops", "no such host"],
)
def test_five_days_of_outage_end_in_one_digest_with_all_of_it(office, behaviour, wrong):
    """Oldest first, with dates, and it says first which days were silent."""
    with SlackServer(behaviour) as slack:
        for number in range(5):
            office.record(new_day(day(number), f"mac-{number}"))
            state = office.digest(office.destination(slack, **wrong), day(number))
            assert isinstance(error(state), SlackBusy | SlackUnreachable)
        slack.posting[0] = ok
        office.record(new_day(day(5), "mac-5"))
        told = office.digest(office.destination(slack), day(5))
    assert told.message == "6 new, posted to Slack"
    (message,) = slack.messages
    assert hosts_told(slack) == [f"mac-{number}" for number in range(6)]
    assert (
        "The digest for 5 days from Tue 24 Nov to Sat 28 Nov was not delivered" in message["text"]
    )
    for number in range(24, 29):
        assert f"from the run of {number} Nov 06:00" in message["text"]
    assert office.statuses() == [*[DigestStatus.DEAD] * 5, DigestStatus.SENT]
    assert len(office.pages()) == 6


def test_a_dead_digest_fails_with_the_remedy(office):
    """Who sees the failed run knows that nothing is lost, and what to do."""
    office.record(new_day())
    with SlackServer(fault(500)) as slack:
        dead = error(office.digest(office.destination(slack)))
    assert isinstance(dead, SlackUnreachable)
    assert "stays pending" in dead.remedy


def test_two_faults_and_then_none_give_one_message(office):
    """A hiccup of Slack does not cost a day."""
    office.record(new_day())
    with SlackServer(fault(500), fault(503), ok) as slack:
        told = office.digest(office.destination(slack))
    assert told.message == "1 new, posted to Slack"
    assert len(slack.messages) == 1


def test_a_destination_that_is_down_costs_another_nothing(office):
    """The other gets exactly one; the first gets its own after recovery."""
    office.record(new_day())
    with SlackServer(fault(500)) as down, SlackServer() as up:
        first, second = (
            office.destination(down, name="first"),
            office.destination(up, name="second"),
        )
        office.digest(first)
        for _ in range(2):
            office.digest(second)
        down.posting[0] = ok
        office.digest(first, day(1))
        office.digest(second, day(1))
    assert hosts_told(down) == hosts_told(up) == ["mac-a"]


def test_a_thread_that_breaks_off_is_ended_by_the_next_digest(office):
    """Every finding is told once: those of the missing reply a day later, with the reason."""
    office.record(new_day(SLOT, *(f"mac-{number:02}" for number in range(25))))
    with SlackServer(ok, ok, no("is_archived"), ok) as slack:
        broken = office.digest(office.destination(slack))
        assert isinstance(error(broken), SlackRefused)
        office.record(report(run(day(1))))
        told = office.digest(office.destination(slack), day(1))
    assert told.message == "5 new, posted to Slack"
    assert (
        "The digest for Tue 24 Nov was not delivered, or only in part" in slack.messages[-1]["text"]
    )
    assert sorted(hosts_told(slack)) == [f"mac-{number:02}" for number in range(25)]


# History and archive


def test_an_unreadable_history_posts_nothing(office):
    """Who does not know what was told says nothing, and leaves the file as it is."""
    office.record(new_day())
    path = Path(office.history_url.removeprefix("sqlite:///"))
    path.write_bytes(b"not a database" * 1000)
    before = path.read_bytes()
    with SlackServer(ok) as slack:
        state = office.digest(office.destination(slack))
    assert isinstance(error(state), HistoryError)
    assert (slack.calls, path.read_bytes()) == (0, before)


def test_a_history_that_cannot_be_written_posts_nothing(office, monkeypatch):
    """Never send, then mark: without an entry nothing leaves."""
    office.record(new_day())

    def full(*_: object) -> None:
        raise HistoryError("The disk is full.", "Make room.")

    monkeypatch.setattr(Ledger, "begin", full)
    with SlackServer(ok) as slack:
        state = office.digest(office.destination(slack))
    assert isinstance(error(state), HistoryError)
    assert slack.calls == 0


def test_an_archive_that_cannot_be_written_does_not_silence_the_team(office):
    """The run fails for its page; the message is out, and counts as told."""
    office.record(new_day())
    office.archive.write_text("in the way")
    with SlackServer(ok) as slack:
        state = office.digest(office.destination(slack))
    assert isinstance(error(state), ArchiveError)
    assert hosts_told(slack) == ["mac-a"]
    assert office.statuses() == [DigestStatus.SENT]


def test_each_destination_hears_its_own(office):
    """One channel's failure costs the other nothing."""
    office.record(new_day())
    with SlackServer(no("channel_not_found"), ok) as slack:
        office.digest(office.destination(slack, name="first"))
        told = office.digest(office.destination(slack, name="second"))
    assert told.message == "1 new, posted to Slack"


def test_the_token_stands_in_no_file_and_no_error(office):
    """A secret goes to Slack and nowhere else."""
    office.record(new_day())
    with SlackServer(no("invalid_auth"), ok) as slack:
        state = office.digest(office.destination(slack))
        office.digest(office.destination(slack))
    assert set(slack.tokens) == {CANARY}
    assert CANARY not in f"{state!r}{state.result(raise_on_failure=False)!r}"
    held = [
        p for p in office.folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()
    ]
    assert held == []


def test_a_slot_without_a_zone_is_refused(office):
    """Every worker would read another moment."""
    state = office.digest(office.destination(), SLOT.replace(tzinfo=None))
    assert state.is_failed()
    assert "`slot` is not a time with its zone. Write it like 2026-11-24T06:00Z" in state.message
