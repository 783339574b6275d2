from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Barrier

import pytest

from tasks.digests import Announcement, ClusterDay, Digest, DigestStatus, Medium
from tasks.errors import HistoryError, RunInProgress
from tasks.findings import Priority, Status
from tasks.history import History, Ledger
from tasks.runs import Outcome
from tasks.settings import Destination
from tests.builders import CLUSTER, HUNT, SLOT, day, finding, report, run, sha256

SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER,))


def morning(number: int) -> datetime:
    """Give the digest's slot of a day: an hour after the run's."""
    return day(number) + timedelta(hours=1)


@pytest.fixture
def ledger(history: History) -> Ledger:
    """The ledger of a destination that has heard since the first day."""
    ledger = history.ledger(SOC, Medium.SLACK)
    ledger.since(morning(0))
    return ledger


def digest(ledger: Ledger, number: int, id: str = "d00000000001") -> Digest:
    """Give the digest of a day with all that is pending."""
    pending = ledger.pending(morning(number))
    return Digest(
        id=id,
        destination=SOC.name,
        medium=Medium.SLACK,
        slot=morning(number),
        clusters=(),
        announcements=pending.announcements,
        baselines=pending.baselines,
    )


def send(ledger: Ledger, number: int) -> None:
    """Send the digest of a day."""
    sent = digest(ledger, number, id=f"d{number:011}")
    ledger.begin(sent, "hash")
    ledger.settle(sent.id, DigestStatus.SENT, "1763964000.000100")


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

    assert ledger.since(morning(2)) == morning(1)
    assert told(ledger, 2) == [finding("mac-2").id]
    assert ledger.since(morning(3)) == morning(1)
    assert told(ledger, 3) == [finding("mac-2").id, finding("mac-3").id]


def test_asking_what_is_pending_decides_nothing(history: History) -> None:
    """A dry run of a first digest leaves the ledger as it was."""
    ledger = history.ledger(SOC, Medium.SLACK)
    history.record(report(run(day(0)), finding("mac-a")))

    assert told(ledger, 0) == [finding("mac-a").id]
    assert ledger.since(morning(5)) == morning(4)


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


def test_a_crash_between_sending_and_sent_loses_nothing(history: History, ledger: Ledger) -> None:
    """The digest is found unsettled, no other begins before it is settled, all is still pending."""
    history.record(report(run(day(0)), finding("mac-a")))
    ledger.begin(digest(ledger, 0), "hash")

    unsettled = ledger.unsettled()

    assert unsettled is not None
    assert (unsettled.id, unsettled.slot, unsettled.payload_hash) == (
        "d00000000001",
        morning(0),
        "hash",
    )
    assert told(ledger, 1) == [finding("mac-a").id]
    with pytest.raises(RunInProgress, match="soc: digest d00000000001 of 2026-11-24 07:00 UTC"):
        ledger.begin(digest(ledger, 1, id="d00000000002"), "hash")
    history.ledger(SOC, Medium.TERMINAL).begin(digest(ledger, 1, id="d00000000003"), "hash")


def test_a_digest_found_in_slack_delivers_what_it_told_and_no_more(
    history: History, ledger: Ledger
) -> None:
    """Settled later as sent, it covers its own findings, not those that came since."""
    history.record(report(run(day(0)), finding("mac-a")))
    ledger.begin(digest(ledger, 0), "hash")
    history.record(report(run(day(1)), finding("mac-b")))

    ledger.settle("d00000000001", DigestStatus.SENT, "1763964000.000100")

    assert ledger.unsettled() is None
    assert told(ledger, 1) == [finding("mac-b").id]


@pytest.mark.parametrize("status", [DigestStatus.REFUSED, DigestStatus.LOST])
def test_a_digest_that_was_not_sent_delivers_nothing(
    history: History, ledger: Ledger, status: DigestStatus
) -> None:
    """What Slack refused, or what was lost, the next digest tells."""
    history.record(report(run(day(0)), finding("mac-a")))
    ledger.begin(digest(ledger, 0), "hash")

    ledger.settle("d00000000001", status)

    assert ledger.unsettled() is None
    assert told(ledger, 0) == [finding("mac-a").id]


def test_a_digest_is_settled_once(history: History, ledger: Ledger) -> None:
    """A digest that is not being sent cannot be marked as sent."""
    history.record(report(run(day(0)), finding("mac-a")))
    with pytest.raises(HistoryError, match="digest d00000000001 is not being sent"):
        ledger.settle("d00000000001", DigestStatus.SENT)
    ledger.begin(digest(ledger, 0), "hash")
    ledger.settle("d00000000001", DigestStatus.REFUSED)

    with pytest.raises(HistoryError, match="is not being sent: it is refused"):
        ledger.settle("d00000000001", DigestStatus.SENT)

    assert told(ledger, 0) == [finding("mac-a").id]


def test_of_two_digests_at_once_one_is_sent(history_url: str) -> None:
    """Two workers that post to one channel at the same moment cannot both begin."""
    together = Barrier(2)

    def attempt(number: int) -> bool:
        with History.open(history_url) as history:
            ledger = history.ledger(SOC, Medium.SLACK)
            mine = digest(ledger, 0, id=f"d{number:011}")
            together.wait()
            try:
                ledger.begin(mine, "hash")
            except RunInProgress:
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2))) == [False, True]


def test_a_flood_is_delivered_like_a_drop(history: History, ledger: Ledger) -> None:
    """Thousands of findings are told in one digest, and then known."""
    history.record(report(run(day(0)), *(finding(f"mac-{n}", evidence=None) for n in range(1500))))
    assert len(told(ledger, 0)) == 1500

    send(ledger, 0)

    assert told(ledger, 0) == []


def test_every_cluster_in_scope_has_its_day(history: History) -> None:
    """Searched, failed, or not run at all: no cluster is passed over in silence."""
    wide = SOC.model_copy(update={"clusters": ("demo-eu", "prod-us", "prod-jp")})
    ledger = history.ledger(wide, Medium.SLACK)
    searched = run(day(1))
    failed = run(day(1), Outcome.FAILED, cluster="prod-us", reason="unreachable")
    history.record(report(run(day(0))))
    history.record(report(searched))
    history.record(report(run(day(2))))
    history.record(report(run(day(-3), Outcome.PARTIAL, cluster="prod-us")))
    history.record(report(failed))

    assert ledger.cluster_days(morning(1)) == (
        ClusterDay("demo-eu", HUNT.slug, searched, day(1)),
        ClusterDay("prod-us", HUNT.slug, failed, day(-3)),
        ClusterDay("prod-jp", HUNT.slug, None, None),
    )


def test_a_digests_day_ends_with_its_slot(history: History, ledger: Ledger) -> None:
    """A run exactly at the digest's slot is in, one exactly a day before is not."""
    history.record(report(run(SLOT)))

    [at_once] = ledger.cluster_days(SLOT)
    [next_day] = ledger.cluster_days(SLOT + timedelta(hours=24))

    assert (at_once.run, next_day.run) == (run(SLOT), None)
    assert next_day.last_searched == SLOT
