from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest

from tasks.errors import RunInProgress
from tasks.history import History, Ledger, Unsettled
from tasks.history import ledger as ledgers
from tasks.model.digests import (
    Announcement,
    ClusterDay,
    CoverageGap,
    DayGap,
    Digest,
    DigestStatus,
    Medium,
)
from tasks.model.findings import Priority, Status
from tasks.model.runs import Outcome
from tasks.settings import Destination
from tasks.slack.compose import compose_message
from tasks.slack.message import Message
from tests.builders import CLUSTER, HUNT, SLOT, coverage, day, finding, report, run, sha256

SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER,))


@pytest.fixture
def no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every sender be gone as soon as it has begun."""
    monkeypatch.setattr(ledgers, "LEASE", timedelta(0))


def morning(number: int) -> datetime:
    """Give the digest's slot of a day: an hour after the run's."""
    return day(number) + timedelta(hours=1)


@pytest.fixture
def ledger(history: History) -> Ledger:
    """The ledger of a destination that has heard since the first day."""
    ledger = history.ledger(SOC, Medium.SLACK)
    ledger.start_scope(morning(0))
    return ledger


def digest(ledger: Ledger, number: int, id: str = "d00000000001") -> Digest:
    """Give the digest of a day with all that is pending."""
    pending = ledger.pending(morning(number))
    return Digest(
        id=id,
        number=pending.number,
        destination=SOC.name,
        medium=Medium.SLACK,
        slot=morning(number),
        clusters=pending.clusters,
        announcements=pending.announcements,
        baselines=pending.baselines,
    )


def message(of: Digest) -> Message:
    """Give a digest's message, also where it has nothing to say."""
    return compose_message(of, report_base_url=None) or Message("Nothing new.", (), {})


def begin(ledger: Ledger, number: int, id: str = "d00000000001") -> Unsettled:
    """Begin the digest of a day."""
    begun = digest(ledger, number, id)
    return ledger.begin(begun, message(begun).outline)


def receive(ledger: Ledger, of: Unsettled, *parts: int) -> None:
    """Write Slack's receipts for these parts."""
    ledger.posted(of, {part: f"1763964000.00010{part}" for part in parts})


def send(ledger: Ledger, number: int, id: str | None = None) -> None:
    """Send the digest of a day, with all of its thread."""
    begun = begin(ledger, number, id or f"d{number:011}")
    receive(ledger, begun, *begun.missing)
    ledger.settle(begun, DigestStatus.SENT)


def give_up(
    ledger: Ledger, number: int, status: DigestStatus, *posted: int, id: str = "d0000000000a"
) -> Unsettled:
    """Begin the digest of a day, of which only these parts are posted."""
    begun = begin(ledger, number, id)
    receive(ledger, begun, *posted)
    ledger.settle(begun, status)
    return begun


def told(ledger: Ledger, number: int) -> list[str]:
    """Give the ids of what the digest of a day would announce."""
    return [each.finding.id for each in ledger.pending(morning(number)).announcements]


def test_a_new_finding_is_told_once(history: History, ledger: Ledger) -> None:
    """Pending until its digest is sent, and never again."""
    a = finding("mac-a")
    history.record(report(run(day(0)), a))
    assert ledger.pending(morning(0)).announcements == (Announcement(a, run(day(0))),)

    send(ledger, 0)
    history.record(report(run(day(1)), replace(a, status=Status.CONTINUING)))
    history.record(report(run(day(2)), replace(a, status=Status.RETURNED)))

    assert (told(ledger, 0), told(ledger, 2)) == ([], [])


def test_a_slot_that_is_run_again_is_not_told_again(history: History, ledger: Ledger) -> None:
    """Neither when the finding is still there, nor when it comes back by a third attempt."""
    a = finding("mac-a")
    history.record(report(run(day(0)), a))
    send(ledger, 0)

    for attempt, seen in [(2, (a,)), (3, ()), (4, (a,))]:
        history.record(report(run(day(0), attempt=attempt), *seen))
        assert told(ledger, 1) == []


def test_a_baseline_is_kept_apart_and_told_once(history: History, ledger: Ledger) -> None:
    """What a first run finds is a count, and afterwards not new on any older slot either."""
    a = finding("mac-a", status=Status.BASELINE)
    history.record(report(run(day(0), Outcome.BASELINE), a))

    pending = ledger.pending(morning(0))
    assert (pending.announcements, pending.baselines) == (
        (),
        (Announcement(a, run(day(0), Outcome.BASELINE)),),
    )
    send(ledger, 0)
    history.record(report(run(day(0) - timedelta(hours=12)), replace(a, status=Status.NEW)))

    assert digest(ledger, 1).baselines == ()
    assert told(ledger, 1) == []


def test_each_destination_and_each_medium_has_its_own_ledger(
    history: History, ledger: Ledger
) -> None:
    """What one channel was told, or a terminal showed, another has not heard."""
    history.record(report(run(day(0)), finding("mac-a")))
    send(ledger, 0)

    other = SOC.model_copy(update={"name": "managers"})

    assert len(told(history.ledger(other, Medium.SLACK), 0)) == 1
    assert len(told(history.ledger(SOC, Medium.TERMINAL), 0)) == 1
    assert told(ledger, 0) == []


def test_a_destination_hears_only_of_its_scope(history: History, ledger: Ledger) -> None:
    """Findings of other clusters and other hunts are for others."""
    other_hunt = HUNT.model_copy(update={"slug": "other-hunt", "uuid": "other"})
    history.record(report(run(cluster="prod-us"), finding(cluster="prod-us")))
    history.record(report(run(hunt=other_hunt), finding(hunt=other_hunt), hunt=other_hunt))

    assert told(ledger, 0) == []


@pytest.mark.parametrize("status", [Status.CONTINUING, Status.RETURNED, Status.QUIET])
def test_what_is_known_is_not_told(history: History, ledger: Ledger, status: Status) -> None:
    """Only new findings and changed binaries are worth a message."""
    history.record(report(run(day(0)), finding("mac-a", status=status)))

    assert told(ledger, 0) == []


def test_a_changed_binary_is_told_once_for_each_hash(history: History, ledger: Ledger) -> None:
    """Having announced the finding does not hide that its program was replaced."""
    history.record(report(run(day(0)), finding(binary="updater 1")))
    send(ledger, 0)
    for number, binary in [(1, "updater 2"), (2, "updater 3"), (3, "updater 2")]:
        changed = finding(binary=binary, status=Status.CONTINUING, changed_binary=True)
        history.record(report(run(day(number)), changed))

    announcements = ledger.pending(morning(3)).announcements

    assert [
        (each.run.slot, each.finding.status, each.finding.process.hash_sha256)
        for each in announcements
    ] == [
        (day(1), Status.CONTINUING, sha256("updater 2")),
        (day(2), Status.CONTINUING, sha256("updater 3")),
    ]
    send(ledger, 3)
    assert told(ledger, 3) == []


def test_what_is_back_after_long_is_told_once(history: History, ledger: Ledger) -> None:
    """Whichever run sees first that it is back; and again the next time that it was away."""
    history.record(report(run(day(0)), finding()))
    send(ledger, 0)
    back = replace(finding(), status=Status.RETURNED, away_since=day(0))
    for number in (41, 40):  # A slot that was never run is run later.
        history.record(report(run(day(number)), back))
    (announcement,) = ledger.pending(morning(41)).announcements
    assert (announcement.run.slot, announcement.finding.away_since) == (day(40), day(0))
    send(ledger, 41)
    assert told(ledger, 42) == []

    history.record(report(run(day(90)), replace(back, away_since=day(41))))
    assert len(told(ledger, 90)) == 1


def test_a_binary_that_changed_before_the_baseline_is_told(
    history: History, ledger: Ledger
) -> None:
    """A partial first run knew the program: that it was replaced is more than a count."""
    history.record(
        report(run(day(0), Outcome.PARTIAL), finding(binary="1", status=Status.BASELINE))
    )
    send(ledger, 0)
    changed = finding(binary="2", status=Status.BASELINE, changed_binary=True)
    history.record(report(run(day(1), Outcome.BASELINE), changed))

    assert told(ledger, 1) == [changed.id]
    send(ledger, 1)
    assert told(ledger, 1) == []


def test_an_announcement_shows_the_finding_as_it_was_last_seen(
    history: History, ledger: Ledger
) -> None:
    """With the run that makes it news, the newest description, and when it was seen."""
    history.record(report(run(day(0)), finding(user_name="ada")))
    history.record(
        report(run(day(1)), finding(user_name="grace", status=Status.CONTINUING, slot=day(1)))
    )

    [announcement] = ledger.pending(morning(1)).announcements

    assert announcement.run == run(day(0))
    assert announcement.finding == finding(
        user_name="grace", slot=day(1), first_seen=day(0), last_seen=day(1)
    )


def test_a_destination_that_is_added_later_starts_from_now(history: History) -> None:
    """Its first digest covers a day, not the past; its later ones miss nothing since."""
    ledger = history.ledger(SOC, Medium.SLACK)
    for number in range(4):
        history.record(report(run(day(number)), finding(f"mac-{number}")))

    ledger.start_scope(morning(2))
    assert told(ledger, 2) == [finding("mac-2").id]
    ledger.start_scope(morning(3))
    assert told(ledger, 3) == [finding("mac-2").id, finding("mac-3").id]


OTHER_HUNT = HUNT.model_copy(update={"slug": "other-hunt", "uuid": "other"})


@pytest.mark.parametrize(
    ("added", "where"),
    [
        ({"clusters": (CLUSTER, "prod-us")}, {"cluster": "prod-us"}),
        ({"hunts": (HUNT.slug, "other-hunt")}, {"hunt": OTHER_HUNT}),
    ],
    ids=["cluster", "hunt"],
)
def test_what_comes_into_a_scope_later_starts_from_now(
    history: History, ledger: Ledger, added: dict[str, Any], where: dict[str, Any]
) -> None:
    """Its past is not told, and nothing of what the destination heard already is lost."""
    hunt = where.get("hunt", HUNT)
    for number in range(4):
        history.record(report(run(day(number)), finding(f"mac-{number}")))
        there = finding(f"mac-{number}", **where)
        history.record(report(run(day(number), **where), there, hunt=hunt))
    wide = history.ledger(SOC.model_copy(update=added), Medium.SLACK)

    wide.start_scope(morning(3))

    expected = [finding(f"mac-{number}").id for number in range(3)]
    expected += sorted([finding("mac-3").id, finding("mac-3", **where).id])
    assert told(wide, 3) == expected


def test_what_leaves_a_scope_for_a_while_is_told_when_it_is_back(
    history: History, ledger: Ledger
) -> None:
    """A cluster that was taken out by mistake costs no finding."""
    without = history.ledger(SOC.model_copy(update={"clusters": ("prod-us",)}), Medium.SLACK)
    history.record(report(run(day(1)), finding("mac-a")))
    without.start_scope(morning(1))
    assert told(without, 1) == []

    ledger.start_scope(morning(3))

    assert told(ledger, 3) == [finding("mac-a").id]


def test_asking_what_is_pending_decides_nothing(history: History) -> None:
    """A dry run of a first digest leaves the ledger as it was."""
    ledger = history.ledger(SOC, Medium.SLACK)
    history.record(report(run(day(0)), finding("mac-a")))
    assert told(ledger, 0) == [finding("mac-a").id]

    ledger.start_scope(morning(5))

    assert told(ledger, 5) == []


def test_a_run_after_the_digest_waits_for_the_next(history: History, ledger: Ledger) -> None:
    """A digest stands for its slot, also when it is sent late."""
    history.record(report(run(day(1)), finding("mac-a")))

    assert (told(ledger, 0), len(told(ledger, 1))) == ([], 1)


def test_a_slot_that_is_run_late_is_told_by_the_next_digest(
    history: History, ledger: Ledger
) -> None:
    """What a caught-up run finds is not lost, though its day's digest is long sent."""
    history.record(report(run(day(2)), finding("mac-a")))
    send(ledger, 2)

    history.record(report(run(day(1)), finding("mac-b")))

    assert told(ledger, 3) == [finding("mac-b").id]


def test_nothing_expires_while_slack_is_down(history: History, ledger: Ledger) -> None:
    """On return one digest has it all: oldest run first, most urgent first within a run."""
    low = finding("mac-a", priority=Priority.LOW)
    high = finding("mac-b", priority=Priority.HIGH)
    late = finding("mac-c", priority=Priority.HIGH)
    history.record(report(run(day(1)), low, high))
    history.record(report(run(day(40)), late))

    assert told(ledger, 40) == [high.id, low.id, late.id]


def is_same(taken: Unsettled | None, begun: Unsettled) -> bool:
    """Whether a digest is the one that was begun, in other hands."""
    return (
        taken is not None
        and taken.sender != begun.sender
        and replace(taken, sender="") == replace(begun, sender="")
    )


def test_a_crash_between_sending_and_sent_loses_nothing(
    history: History, ledger: Ledger, no_lease: None
) -> None:
    """The digest is found unsettled, no other begins before it is settled, all is still pending."""
    history.record(report(run(day(0)), finding("mac-a")))
    begun = begin(ledger, 0)

    assert is_same(ledger.take_over(), begun)
    assert (begun.id, begun.slot, begun.missing, begun.thread_ts) == (
        "d00000000001",
        morning(0),
        (1,),
        None,
    )
    assert told(ledger, 1) == [finding("mac-a").id]
    with pytest.raises(RunInProgress, match=r"soc: .* digest d00000000001 for 2026-11-24 07:00"):
        begin(ledger, 1, "d00000000002")
    begin(history.ledger(SOC, Medium.TERMINAL), 1, "d00000000003")


def test_a_digest_belongs_to_its_sender_while_that_is_at_it(
    history: History, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes after its last step it counts as gone; the error says when that is."""
    history.record(report(run(day(0)), finding("mac-a")))
    begun = begin(ledger, 0)
    with pytest.raises(RunInProgress, match=r"is sending .* run again after \d\d:\d\d UTC"):
        ledger.take_over()
    monkeypatch.setattr(ledgers, "LEASE", -timedelta(minutes=1))
    ledger.renew(begun)
    assert ledger.take_over() is not None


def test_a_sender_that_gives_up_leaves_its_digest_to_the_next(
    history: History, ledger: Ledger
) -> None:
    """Nobody waits for a sender that said that it is gone."""
    history.record(report(run(day(0)), finding("mac-a")))
    begun = begin(ledger, 0)
    ledger.release(begun)
    assert is_same(ledger.take_over(), begun)


def test_a_digest_found_in_slack_delivers_what_it_told_and_no_more(
    history: History, ledger: Ledger, no_lease: None
) -> None:
    """Settled later as sent, it covers its own findings, not those that came since."""
    history.record(report(run(day(0)), finding("mac-a")))
    begun = begin(ledger, 0)
    history.record(report(run(day(1)), finding("mac-b")))

    receive(ledger, begun, 1)
    ledger.settle(begun, DigestStatus.SENT)

    assert ledger.take_over() is None
    assert told(ledger, 1) == [finding("mac-b").id]


@pytest.mark.parametrize("status", [DigestStatus.REFUSED, DigestStatus.DEAD, DigestStatus.LOST])
def test_a_digest_that_was_not_sent_delivers_nothing(
    history: History, ledger: Ledger, status: DigestStatus
) -> None:
    """What Slack refused, did not take or may have taken, the next digest tells."""
    history.record(report(run(day(0)), finding("mac-a")))

    give_up(ledger, 0, status)

    assert ledger.take_over() is None
    assert told(ledger, 0) == [finding("mac-a").id]


@pytest.mark.parametrize("step", ["settle", "renew", "release", "unsettled"])
@pytest.mark.parametrize("taken", [True, False], ids=["taken over", "settled"])
def test_who_took_too_long_has_no_say_any_more(
    history: History, ledger: Ledger, no_lease: None, step: str, taken: bool
) -> None:
    """A sender that slept for an hour neither goes on nor undoes what others found out."""
    history.record(report(run(day(0)), finding("mac-a")))
    slow = begin(ledger, 0)
    other = ledger.take_over()
    assert other is not None
    if not taken:
        ledger.settle(other, DigestStatus.DEAD)

    with pytest.raises(RunInProgress, match="has it now" if taken else "settled it"):
        getattr(ledger, step)(slow, *([DigestStatus.SENT] if step == "settle" else []))

    assert told(ledger, 0) == [finding("mac-a").id]


def of_two_at_once(history_url: str, step: Callable[[Ledger, int], object]) -> list[bool]:
    """Let two processes do the same at the same moment, and say which of them could."""
    together = Barrier(2)

    def attempt(number: int) -> bool:
        with History.open(history_url) as history:
            together.wait()
            try:
                step(history.ledger(SOC, Medium.SLACK), number)
            except RunInProgress:
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        return sorted(pool.map(attempt, range(2)))


def test_of_two_digests_at_once_one_is_sent(history_url: str) -> None:
    """Two workers that post to one channel at the same moment cannot both begin."""
    with History.open(history_url) as history:
        one = digest(history.ledger(SOC, Medium.SLACK), 0)

    def step(ledger: Ledger, number: int) -> None:
        mine = replace(one, id=f"d{number:011}")
        ledger.begin(mine, message(mine).outline)

    assert of_two_at_once(history_url, step) == [False, True]


def test_of_two_that_find_a_lost_digest_one_takes_it_over(
    history_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see that its sender is gone; the other one says that somebody is at it."""
    with History.open(history_url) as history, monkeypatch.context() as then:
        then.setattr(ledgers, "LEASE", timedelta(0))
        begin(history.ledger(SOC, Medium.SLACK), 0)

    assert of_two_at_once(history_url, lambda ledger, _: ledger.take_over()) == [False, True]


def test_what_was_composed_before_another_digest_was_sent_is_not_posted(
    history: History, ledger: Ledger
) -> None:
    """Two collected the same; when the second wants to post it, the first has told it."""
    history.record(report(run(day(0)), finding("mac-a")))
    late = digest(ledger, 0, "d0000000000b")
    send(ledger, 0)

    with pytest.raises(RunInProgress, match="another process sent a digest while this one"):
        ledger.begin(late, message(late).outline)


# What became of a digest's parts


@pytest.fixture
def thread(history: History, ledger: Ledger) -> list[str]:
    """The ids of 25 pending findings: a message and two replies, in the order of their telling."""
    history.record(report(run(day(0)), *(finding(f"mac-{n}", evidence=None) for n in range(25))))
    return told(ledger, 0)


@pytest.mark.parametrize(("posted", "heard"), [((), 0), ((1,), 10), ((1, 2), 20), ((1, 2, 3), 25)])
def test_what_a_part_tells_is_heard_once_it_has_a_receipt(
    ledger: Ledger, thread: list[str], no_lease: None, posted: tuple[int, ...], heard: int
) -> None:
    """A crash between two parts of a thread neither loses nor repeats a finding."""
    begun = begin(ledger, 0)
    assert begun.missing == (1, 2, 3)
    receive(ledger, begun, *posted)

    left = ledger.take_over()

    assert left is not None
    assert left.missing == (1, 2, 3)[len(posted) :]
    assert left.thread_ts == ("1763964000.000101" if posted else None)
    assert told(ledger, 0) == thread[heard:]


def test_a_receipt_counts_also_when_it_comes_late(ledger: Ledger, thread: list[str]) -> None:
    """A sender that slept, was given up and then got its answer: what is in the channel is told."""
    given_up = give_up(ledger, 0, DigestStatus.DEAD)

    receive(ledger, given_up, 1, 2, 3)

    assert told(ledger, 0) == []
    assert ledger.pending(morning(1)).undelivered == ()


def test_a_sender_that_was_replaced_prolongs_no_lease(
    history: History, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its late receipt counts, and keeps the digest from nobody."""
    history.record(report(run(day(0)), finding("mac-a")))
    monkeypatch.setattr(ledgers, "LEASE", timedelta(0))
    replaced = begin(ledger, 0)
    assert ledger.take_over() is not None
    monkeypatch.undo()
    receive(ledger, replaced, 1)
    assert ledger.take_over() is not None


def test_a_receipt_that_is_written_again_changes_nothing(ledger: Ledger, thread: list[str]) -> None:
    """Who looks into the channel may find what is known."""
    begun = begin(ledger, 0)
    for _ in range(2):
        receive(ledger, begun, 1)
    assert told(ledger, 0) == thread[10:]


def test_a_finding_that_is_new_and_changed_is_told_in_its_two_parts(
    history: History, ledger: Ledger
) -> None:
    """While Slack was down it was found, and then replaced: two things to tell, each once."""
    history.record(report(run(day(0)), *(finding(f"mac-{n}") for n in range(10))))
    again = finding("mac-0", binary="2", status=Status.CONTINUING, changed_binary=True)
    history.record(report(run(day(1)), again))
    begun = begin(ledger, 1)
    assert begun.missing == (1, 2)
    receive(ledger, begun, 1)

    (left,) = ledger.pending(morning(1)).announcements

    assert (left.finding.id, left.finding.changed_binary) == (again.id, True)


# What the next digest has to say of the ones before


@pytest.mark.parametrize("status", [DigestStatus.REFUSED, DigestStatus.DEAD])
def test_digests_that_are_not_in_the_channel_are_named_until_one_is(
    history: History, ledger: Ledger, status: DigestStatus
) -> None:
    """After an outage the reader learns which days were silent, once."""
    for number in range(4):
        history.record(report(run(day(number)), finding(f"mac-{number}")))
        if number in {1, 2}:
            give_up(ledger, number, status, id=f"d0000000000{number}")

    assert ledger.pending(morning(3)).undelivered == (morning(1), morning(2))
    send(ledger, 3)
    assert ledger.pending(morning(4)).undelivered == ()


def test_a_digest_that_is_tried_again_does_not_speak_of_itself(
    history: History, ledger: Ledger
) -> None:
    """The same slot told after all is not a day that was silent."""
    history.record(report(run(day(0)), finding("mac-a")))
    give_up(ledger, 0, DigestStatus.DEAD)

    assert ledger.pending(morning(0)).undelivered == ()


def test_a_thread_that_broke_off_is_named_by_the_next_digest(
    ledger: Ledger, thread: list[str]
) -> None:
    """Who reads its findings a day later learns why."""
    give_up(ledger, 0, DigestStatus.SENT, 1, 2)

    assert ledger.pending(morning(1)).undelivered == (morning(0),)
    assert told(ledger, 1) == thread[20:]


def test_a_digest_may_repeat_a_lost_one_until_its_findings_are_told(
    history: History, ledger: Ledger
) -> None:
    """It may be in the channel: whoever tells some of it again says so, once."""
    history.record(report(run(day(0)), finding("mac-a")))
    give_up(ledger, 0, DigestStatus.LOST)

    assert ledger.pending(morning(1)).may_repeat == morning(0)
    send(ledger, 1)
    history.record(report(run(day(2)), finding("mac-b")))
    assert ledger.pending(morning(2)).may_repeat is None


@pytest.mark.parametrize(("posted", "repeats"), [((1,), 20), ((1, 2), 25)])
def test_only_the_first_part_without_a_receipt_may_be_repeated(
    ledger: Ledger, thread: list[str], posted: tuple[int, ...], repeats: int
) -> None:
    """Parts are posted one after the other: those after it never were."""
    lost = give_up(ledger, 0, DigestStatus.LOST, *posted)
    assert ledger.pending(morning(1)).may_repeat == morning(0)

    receive(ledger, lost, len(posted) + 1)

    assert told(ledger, 1) == thread[repeats:]
    assert ledger.pending(morning(1)).may_repeat == (morning(0) if repeats == 20 else None)


def test_a_reply_that_was_never_posted_is_not_repeated(
    history: History, ledger: Ledger, thread: list[str]
) -> None:
    """Of two replies without a receipt only the first may be there, and it holds no news."""
    give_up(ledger, 0, DigestStatus.LOST, 1)
    given = {"by": "ada", "why": "Ours.", "until": day(9), "now": morning(0)}
    for finding_id in thread[10:20]:
        history.acknowledgements.give(finding_id, **given)

    assert told(ledger, 1) == thread[20:]
    assert ledger.pending(morning(1)).may_repeat is None


def test_a_warning_may_be_repeated_too(history: History, ledger: Ledger) -> None:
    """A lost digest that told only that a cluster failed is not forgotten."""
    history.record(report(run(day(0), Outcome.FAILED, reason="unreachable")))
    give_up(ledger, 0, DigestStatus.LOST)

    assert ledger.pending(morning(0)).may_repeat == morning(0)


def test_a_flood_is_delivered_like_a_drop(history: History, ledger: Ledger) -> None:
    """Thousands of findings are told in one digest, and then known."""
    history.record(report(run(day(0)), *(finding(f"mac-{n}", evidence=None) for n in range(1500))))
    assert len(told(ledger, 0)) == 1500

    send(ledger, 0)

    assert told(ledger, 0) == []


# How the days went


FAILED = {"outcome": Outcome.FAILED, "reason": "unreachable"}
UNREACHABLE = CoverageGap.UNREACHABLE


def gaps(ledger: Ledger, number: int) -> list[tuple[datetime, CoverageGap]]:
    """Give slots and lacks of what the digest of a day has to say of the one cluster in scope."""
    (cluster,) = ledger.pending(morning(number)).clusters
    return [(gap.slot, gap.lack) for gap in cluster.gaps]


def test_every_cluster_in_scope_has_its_day(history: History) -> None:
    """Searched, failed, or not run at all: no cluster is passed over in silence."""
    wide = SOC.model_copy(update={"clusters": ("demo-eu", "prod-us", "prod-jp")})
    ledger = history.ledger(wide, Medium.SLACK)
    searched, failed = run(day(1)), run(day(1), cluster="prod-us", **FAILED)
    history.record(report(run(day(0))))
    history.record(report(searched))
    history.record(report(run(day(2))))
    history.record(report(run(day(-3), Outcome.PARTIAL, cluster="prod-us")))
    history.record(report(failed))

    clusters = ledger.pending(morning(1)).clusters
    assert tuple(replace(each, trend=()) for each in clusters) == (
        ClusterDay("demo-eu", HUNT.slug, searched, day(1)),
        ClusterDay("prod-us", HUNT.slug, failed, day(-3), (DayGap(day(1), UNREACHABLE),)),
        ClusterDay("prod-jp", HUNT.slug, None, None, (DayGap(morning(1), CoverageGap.LATE),)),
    )


def test_every_cluster_in_scope_has_its_trend(history: History, ledger: Ledger) -> None:
    """The runs up to the digest, oldest first; not those after it, and none of other clusters."""
    history.record(
        report(run(day(0), Outcome.BASELINE), replace(finding(), status=Status.BASELINE))
    )
    history.record(report(run(day(1), **FAILED)))
    history.record(report(run(day(2))))
    history.record(report(run(day(1), cluster="prod-us")))
    (cluster,) = ledger.pending(morning(1)).clusters
    assert [(each.slot, each.found) for each in cluster.trend] == [(day(0), 1), (day(1), 0)]


def test_a_digests_day_ends_with_its_slot(history: History, ledger: Ledger) -> None:
    """A run exactly at the digest's slot is in, one exactly a day before is not."""
    history.record(report(run(SLOT)))

    [at_once] = ledger.pending(SLOT).clusters
    [next_day] = ledger.pending(SLOT + timedelta(hours=24)).clusters

    assert (at_once.run, next_day.run) == (run(SLOT), None)
    assert next_day.last_searched == SLOT


def test_a_digest_after_a_weekend_names_saturdays_failure(history: History, ledger: Ledger) -> None:
    """Slack hears on weekdays; what failed in between is told though Monday is fine."""
    history.record(report(run(day(0))))
    send(ledger, 0)
    history.record(report(run(day(1), **FAILED)))
    history.record(report(run(day(2), Outcome.NO_DATA)))
    history.record(report(run(day(3))))

    assert gaps(ledger, 3) == [(day(1), UNREACHABLE), (day(2), CoverageGap.NO_DATA)]
    send(ledger, 3)
    assert gaps(ledger, 3) == []


def test_a_week_of_outage_is_told_whole_when_slack_is_back(
    history: History, ledger: Ledger
) -> None:
    """Neither the days nor the warnings of digests that did not arrive are lost."""
    history.record(report(run(day(0))))
    for number in range(1, 6):
        history.record(report(run(day(number), **FAILED)))
        give_up(ledger, number, DigestStatus.DEAD, id=f"d0000000000{number}")

    assert gaps(ledger, 6)[:-1] == [(day(number), UNREACHABLE) for number in range(1, 6)]
    [cluster] = ledger.pending(morning(6)).clusters
    assert cluster.last_searched == day(0)


def test_a_day_that_was_searched_in_the_end_is_no_gap(history: History, ledger: Ledger) -> None:
    """The first try failed and one later that day did not, also after the digest's hour."""
    history.record(report(run(day(1), **FAILED)))
    history.record(report(run(day(1) + timedelta(hours=4))))
    history.record(report(run(day(2))))

    assert gaps(ledger, 2) == []


def test_a_warning_is_told_once(history: History, ledger: Ledger) -> None:
    """A second digest of the day, and the next day's, do not repeat it."""
    history.record(report(run(day(0), **FAILED)))
    assert gaps(ledger, 0) == [(day(0), UNREACHABLE)]
    send(ledger, 0)

    later = ledger.pending(morning(0) + timedelta(hours=4))
    assert later.clusters[0].gaps == ()
    history.record(report(run(day(1))))
    assert gaps(ledger, 1) == []


def test_telemetry_that_gets_worse_is_told_when_it_does(history: History, ledger: Ledger) -> None:
    """What a hunt judges wrong every day is news once; that it is blind is said every day."""

    def record(number: int, **sent: int) -> None:
        (agent,) = coverage().agents
        agents = (replace(agent, version="9.1.2", **sent),)
        seen = replace(coverage(day(number)), agents=agents)
        history.record(report(run(day(number), coverage=seen)))

    blind = {"groups": 1_000, "single_event_groups": 1_000}
    record(0)
    record(1, merged_events=300_000)
    assert gaps(ledger, 1) == [(day(1), CoverageGap.MERGED)]
    record(2, merged_events=300_000, unsigned_unknown_events=300_000)
    assert gaps(ledger, 2) == [(day(2), CoverageGap.NO_SIGNATURE)]
    record(3, **blind)
    record(4, **blind)
    assert gaps(ledger, 4) == [(day(4), CoverageGap.BLIND)]


def test_another_reason_is_another_warning(history: History, ledger: Ledger) -> None:
    """The slot was run again and failed in another way: somebody has to know."""
    history.record(report(run(day(0), **FAILED)))
    send(ledger, 0)
    history.record(report(run(day(0), Outcome.FAILED, reason="unauthorised", attempt=2)))

    assert gaps(ledger, 0) == [(day(0), CoverageGap.UNAUTHORISED)]


@pytest.mark.parametrize(
    ("later", "said"), [(timedelta(hours=5), 0), (timedelta(hours=23), 1), (timedelta(hours=24), 1)]
)
def test_the_same_lack_of_a_run_is_told_once_a_day(
    history: History, ledger: Ledger, later: timedelta, said: int
) -> None:
    """Every day again, also on the day that clocks make an hour shorter."""
    send(ledger, 0)

    [cluster] = ledger.pending(morning(0) + later).clusters

    assert [gap.lack for gap in cluster.gaps] == [CoverageGap.LATE] * said


def test_a_warning_that_did_not_arrive_is_told_again(history: History, ledger: Ledger) -> None:
    """Only what is in the channel is told."""
    history.record(report(run(day(0), **FAILED)))
    give_up(ledger, 0, DigestStatus.REFUSED)

    assert gaps(ledger, 0) == [(day(0), UNREACHABLE)]


def test_each_destination_is_warned_for_itself(history: History, ledger: Ledger) -> None:
    """What one channel was told of a cluster, another has not heard."""
    history.record(report(run(day(0), **FAILED)))
    send(ledger, 0)
    other = history.ledger(SOC.model_copy(update={"name": "managers"}), Medium.SLACK)

    assert gaps(other, 0) == [(day(0), UNREACHABLE)]


def test_a_new_destination_is_not_told_of_last_weeks_failures(history: History) -> None:
    """It starts from now with warnings, as with findings."""
    history.record(report(run(day(0), **FAILED)))
    history.record(report(run(day(3))))
    ledger = history.ledger(SOC, Medium.SLACK)
    ledger.start_scope(morning(3))

    assert gaps(ledger, 3) == []


def test_failures_of_a_month_ago_are_not_told(history: History, ledger: Ledger) -> None:
    """Two weeks back at most: what was before is in the archive."""
    history.record(report(run(day(1), **FAILED)))
    history.record(report(run(day(2), **FAILED)))
    history.record(report(run(day(15))))
    history.record(report(run(day(16))))

    assert gaps(ledger, 15) == [(day(2), UNREACHABLE)]
    assert gaps(ledger, 16) == []


def test_a_digest_knows_the_one_before_it(history: History, ledger: Ledger) -> None:
    """The newest that is in the channel, by the order in which they were sent."""
    assert ledger.pending(morning(0)).previous is None
    send(ledger, 0)
    give_up(ledger, 1, DigestStatus.DEAD)
    pending = ledger.pending(morning(2))
    assert (pending.number, pending.previous) == (3, morning(0))
