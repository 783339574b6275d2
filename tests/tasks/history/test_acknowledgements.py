from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tasks.errors import AcknowledgementError
from tasks.history import History, Ledger, Pending
from tasks.model.acknowledgements import Acknowledgement
from tasks.model.digests import Digest, DigestStatus, Medium
from tasks.model.findings import Finding, Status, with_acknowledgement
from tasks.model.runs import Outcome
from tasks.model.wording import withdrawal_words
from tasks.settings import Destination
from tasks.slack.compose import compose_message
from tests.builders import CLUSTER, SLOT, acknowledgement, day, finding, report, run, sha256

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
SOC = Destination(name="soc", channel="C0000000001", clusters=(CLUSTER,))
A, B = finding("mac-a"), finding("mac-b")


def ledger_of(history: History, name: str = "soc") -> Ledger:
    """Give the ledger of a destination that has heard since the first day."""
    destination = SOC.model_copy(update={"name": name})
    ledger = history.ledger(destination, Medium.SLACK)
    ledger.start_scope(SLOT + HOUR)
    return ledger


@pytest.fixture
def soc(history: History) -> Ledger:
    return ledger_of(history)


def see(history: History, slot: datetime, *found: Finding, outcome=Outcome.COMPLETE) -> None:
    """Record the run of a slot as the flow does: with the words that hold in it."""
    known = history.known(A.hunt_uuid, CLUSTER, slot, {each.fingerprint for each in found})
    marked = (with_acknowledgement(each, known.acknowledgements, slot) for each in found)
    history.record(report(run(slot, outcome), *marked))


def again(found: Finding, **changes: object) -> Finding:
    return replace(found, status=Status.CONTINUING, **changes)


def changed(found: Finding, binary: str) -> Finding:
    process = replace(found.process, hash_sha256=sha256(binary))
    return again(found, process=process, changed_binary=True)


def acknowledge(history: History, found: Finding = A, **changes: object) -> Acknowledgement:
    """Give Ada's word on a finding, by default an hour after the first run, for 30 days."""
    plain = {"by": "ada", "why": "Ours.", "until": day(30), "now": SLOT + HOUR / 2}
    word, _ = history.acknowledgements.give(found.id, **plain | changes)
    return word


def pending(ledger: Ledger, number: float) -> Pending:
    """Give what the digest of a day, an hour after its run, has to tell."""
    return ledger.pending(day(0) + timedelta(days=number) + HOUR)


def told(ledger: Ledger, number: float) -> list[str]:
    return [str(each.finding.host.id) for each in pending(ledger, number).announcements]


def ends(ledger: Ledger, number: float) -> list[list[str]]:
    """Give for each acknowledgement that ended the hosts on which it goes on."""
    return [
        sorted(str(each.finding.host.id) for each in ended.still)
        for ended in pending(ledger, number).ended
    ]


def send(ledger: Ledger, number: int, name: str = "soc") -> None:
    """Send the digest of a day, with all of its thread."""
    due, slot = pending(ledger, number), day(number) + HOUR
    digest = Digest(
        id=f"{name[0]}{number:011}",
        number=due.number,
        destination=name,
        medium=Medium.SLACK,
        slot=slot,
        clusters=due.clusters,
        announcements=due.announcements,
        ended=due.ended,
    )
    message = compose_message(digest, report_base_url=None)
    assert message
    begun = ledger.begin(digest, message.outline)
    ledger.posted(begun, dict.fromkeys(begun.missing, "1763964000.000100"))
    ledger.settle(begun, DigestStatus.SENT)


def test_a_word_is_kept_with_who_why_until_when_and_what_was_looked_at(history: History):
    """Whoever asks a year later finds all of it."""
    see(history, SLOT, A)
    given = acknowledge(history, by=" ada ", why=" Ours. ")
    assert given == acknowledgement(
        A, key=given.key, why="Ours.", given_at=SLOT + HOUR / 2, until=day(30)
    )
    ((kept, looked_at),) = history.acknowledgements.all()
    assert (kept, looked_at.fingerprint) == (given, A.fingerprint)


def test_what_was_looked_at_is_the_newest_binary_that_is_known(history: History):
    """Also where the newest run could not find out which it is."""
    see(history, SLOT, A)
    see(history, day(1), changed(A, "updater 2"))
    see(history, day(2), again(finding("mac-a", binary=None)))
    assert acknowledge(history).hash_sha256 == sha256("updater 2")


def test_a_word_ends_and_is_never_deleted(history: History):
    """The list says who ended it, and when."""
    see(history, SLOT, A)
    acknowledge(history)
    (ended,) = history.acknowledgements.end(A.id, by="kim", now=day(3)).words
    assert (ended.end, ended.ended_by, ended.until) == (day(3), "kim", day(30))
    assert [word for word, _ in history.acknowledgements.all()] == [ended]
    with pytest.raises(
        AcknowledgementError,
        match=r"is not acknowledged\. List the acknowledgements with `beaconhunt acks`",
    ):
        history.acknowledgements.end(A.id, by="kim", now=day(4))


def test_the_same_word_again_takes_the_place_of_the_first(history: History):
    """To change why or until when, it is said again: also a shorter time."""
    see(history, SLOT, A)
    acknowledge(history, until=day(300))
    acknowledge(history, by="kim", until=day(2), now=SLOT + HOUR)
    newer, older = [word for word, _ in history.acknowledgements.all()]
    assert (newer.by, newer.end) == ("kim", day(2))
    assert (older.ended_by, older.end) == ("kim", SLOT + HOUR)


def test_words_on_two_binaries_stand_beside_each_other(history: History):
    """While a roll-out goes on, both versions are there."""
    see(history, SLOT, A)
    acknowledge(history, everywhere=True)
    see(history, day(1), changed(A, "updater 2"))
    acknowledge(history, everywhere=True, now=day(1) + HOUR / 2)
    assert all(word.end == day(30) for word, _ in history.acknowledgements.all())
    see(history, day(2), B, finding("mac-c", binary="updater 2"))
    assert all(each.acknowledgement for each in history.findings())


def test_a_finding_that_another_word_covers_names_that_word(history: History):
    """Ending it would end it for every host, and that is for a person to say."""
    see(history, SLOT, A, B)
    acknowledge(history, everywhere=True)
    with pytest.raises(AcknowledgementError, match=f"acknowledgement of {A.id}.*unack {A.id}"):
        history.acknowledgements.end(B.id, by="kim", now=day(1))


def test_who_ends_a_word_hears_of_the_one_that_still_covers_it(history: History):
    """It is not announced then either; a word on another binary does not count."""
    see(history, SLOT, A, B, finding("mac-c", binary="updater 2"))
    acknowledge(history, everywhere=True)
    acknowledge(history, finding("mac-c", binary="updater 2"), everywhere=True)
    acknowledge(history, B)
    withdrawn = history.acknowledgements.end(B.id, by="kim", now=day(1))
    assert withdrawn.covered_by == (A.id,)
    assert withdrawal_words(withdrawn) == (
        f"The acknowledgement of {B.id} has ended (ada's reason: Ours.), but that of {A.id} is for "
        "every host and covers it too"
    )


def test_an_unknown_finding_changes_nothing(history: History):
    """A typing error acknowledges nothing."""
    see(history, SLOT, A)
    with pytest.raises(AcknowledgementError, match="has no finding 'BH-0000'"):
        acknowledge(history, replace(A, id="BH-0000"))
    assert history.acknowledgements.all() == ()


def test_a_run_records_what_is_acknowledged(history: History, soc: Ledger):
    """It is known, counted apart, and not news for any destination."""
    see(history, SLOT, A)
    acknowledge(history, everywhere=True)
    see(history, day(1), again(A), B, finding(address="198.51.100.9", slot=day(1)))
    recorded, _ = history.runs()
    assert (recorded.acknowledged, recorded.counts) == (2, {Status.NEW: 1})
    assert history.trend(A.hunt_uuid, CLUSTER, day(1))[-1].known == 2
    assert [each.finding.host.id for each in pending(soc, 1).announcements] == ["mac-a"]
    assert pending(soc, 1).acknowledged == 2


def test_a_word_after_the_run_and_before_the_digest_counts(history: History, soc: Ledger):
    """Who reads the report first saves the channel a line; the digest says that one is muted."""
    see(history, SLOT, A, B)
    acknowledge(history)
    assert told(soc, 0) == ["mac-b"]
    assert pending(soc, 0).acknowledged == 1


@pytest.mark.parametrize("everywhere", [False, True])
def test_one_host_is_muted_and_all_only_where_that_is_said(
    history: History, soc: Ledger, everywhere: bool
):
    """One Mac's word does not mute another's; everywhere does, also for those seen later."""
    see(history, SLOT, A)
    acknowledge(history, everywhere=everywhere)
    see(history, day(1), again(A), B)
    assert told(soc, 1) == ([] if everywhere else ["mac-b"])


@pytest.mark.parametrize(
    ("slot", "expected"), [(-SECOND, []), (timedelta(0), ["mac-b"]), (SECOND, ["mac-b"])], ids=str
)
def test_what_a_run_finds_from_the_end_on_is_told(
    history: History, soc: Ledger, slot: timedelta, expected: list[str]
):
    """The end is compared with the slot of the run that found it, not with the digest's."""
    see(history, SLOT, A)
    acknowledge(history, everywhere=True, until=day(3))
    see(history, day(3) + slot, B)
    assert told(soc, 3) == expected


@pytest.mark.parametrize(
    ("slot", "expected"),
    [(-SECOND, []), (timedelta(0), [["mac-a"]]), (SECOND, [["mac-a"]])],
    ids=str,
)
def test_an_end_is_told_from_that_moment_on(
    history: History, soc: Ledger, slot: timedelta, expected: list[list[str]]
):
    """The end is compared with the digest's slot, and what was found before is not told again."""
    see(history, SLOT, A)
    acknowledge(history, until=day(3) + HOUR)
    see(history, day(3), again(A))
    at = (slot / timedelta(days=1)) + 3
    assert (told(soc, at), ends(soc, at)) == ([], expected)


def test_an_end_is_told_once_to_each_destination(history: History, soc: Ledger):
    """Each in its next digest, and never again."""
    managers = ledger_of(history, "managers")
    see(history, SLOT, A)
    acknowledge(history, until=day(2))
    see(history, day(2), again(A))
    send(soc, 2)
    assert (ends(soc, 2), ends(soc, 3)) == ([], [])
    assert ends(managers, 3) == [["mac-a"]]
    send(managers, 3, "managers")
    assert (ends(managers, 4), told(managers, 4), told(soc, 4)) == ([], [], [])


def test_an_end_waits_for_the_first_message_however_long_no_digest_runs(
    history: History, soc: Ledger
):
    """A channel that had nothing to hear yet, and then a month of outage, still learns of it."""
    see(history, SLOT, A)
    acknowledge(history, until=day(3))
    see(history, day(30), again(A))
    assert ends(soc, 30) == [["mac-a"]]
    send(soc, 30)
    assert ends(soc, 31) == []


def test_what_has_stopped_by_the_end_is_not_told(history: History, soc: Ledger):
    """There is nothing to do; a failed run does not say that it stopped."""
    see(history, SLOT, A)
    acknowledge(history, until=day(3))
    see(history, day(1), again(A))
    see(history, day(2), outcome=Outcome.FAILED)
    assert ends(soc, 3) == [["mac-a"]]
    see(history, day(3), replace(A, status=Status.QUIET))
    assert ends(soc, 3) == []


def test_what_only_a_part_of_a_cluster_shows_goes_on(history: History, soc: Ledger):
    """A broken shard makes every run partial for weeks, and the end is told all the same."""
    see(history, SLOT)
    see(history, day(1), A, outcome=Outcome.PARTIAL)
    acknowledge(history, until=day(3), now=day(1) + HOUR / 2)
    for number in (2, 3):
        see(history, day(number), again(A), outcome=Outcome.PARTIAL)
    assert ends(soc, 3) == [["mac-a"]]
    see(history, day(4), outcome=Outcome.PARTIAL)
    assert ends(soc, 4) == [["mac-a"]]
    see(history, day(5))
    assert ends(soc, 5) == []


def test_everywhere_ends_in_one_line_for_what_it_covered(history: History, soc: Ledger):
    """What is first seen after the end is new, and told as such."""
    see(history, SLOT, A)
    acknowledge(history, everywhere=True, until=day(3))
    see(history, day(2), again(A), B)
    late = finding("mac-c", slot=day(3))
    see(history, day(3), again(A), again(B), late)
    assert ends(soc, 3) == [["mac-a", "mac-b"]]
    assert told(soc, 3) == ["mac-c"]


def test_a_word_taken_back_at_once_loses_nothing(history: History, soc: Ledger):
    """The finding was never told: the end of the word tells it."""
    see(history, SLOT, A)
    acknowledge(history)
    history.acknowledgements.end(A.id, by="ada", now=SLOT + HOUR * 3 / 4)
    assert (told(soc, 0), ends(soc, 0)) == ([], [["mac-a"]])


def test_a_word_that_another_follows_does_not_end(history: History, soc: Ledger):
    """Renewed in time, or covered everywhere: nothing to tell. Then the last end is told, once."""
    see(history, SLOT, A)
    acknowledge(history, until=day(2))
    acknowledge(history, everywhere=True, until=day(4))
    see(history, day(2), again(A))
    assert ends(soc, 2) == []
    see(history, day(4), again(A))
    assert ends(soc, 4) == [["mac-a"]]
    send(soc, 4)
    assert ends(soc, 5) == []


def test_a_changed_binary_of_an_acknowledged_finding_is_told(history: History, soc: Ledger):
    """The word is of what was looked at. When it ends, the new binary is not told again."""
    see(history, SLOT, A)
    acknowledge(history, until=day(3))
    see(history, day(1), changed(A, "updater 2"))
    assert told(soc, 1) == ["mac-a"]
    send(soc, 1)
    see(history, day(3), again(A, process=changed(A, "updater 2").process))
    assert (told(soc, 3), ends(soc, 3)) == ([], [])


def test_an_acknowledged_change_is_not_told(history: History, soc: Ledger):
    """Who looked at the new binary before the digest says so once more."""
    see(history, SLOT, A)
    acknowledge(history)
    see(history, day(1), changed(A, "updater 2"))
    acknowledge(history, now=day(1) + HOUR / 2)
    assert told(soc, 1) == []


def test_an_older_binary_that_comes_to_light_later_hides_no_other(history: History, soc: Ledger):
    """A backfilled run found the one that is harmless; the one that is new today is told."""
    see(history, day(1), finding("mac-a", binary="updater 2"), B)
    see(history, SLOT, A)
    acknowledge(history, B, everywhere=True, now=day(1) + HOUR / 2)
    assert told(soc, 1) == ["mac-a"]


def test_a_slot_that_is_run_again_knows_the_words_given_since(history: History, soc: Ledger):
    """The record is what the run of that slot would say now."""
    see(history, SLOT, A)
    acknowledge(history)
    see(history, SLOT, A)
    ((recorded),) = history.runs()
    assert (recorded.acknowledged, recorded.counts) == (1, {})


def test_a_list_of_findings_says_what_is_acknowledged_now(history: History):
    """Not what was when they were recorded."""
    see(history, SLOT, A)
    word = acknowledge(history, until=day(2))
    words = [history.findings(now=day(n))[0].acknowledgement for n in (1, 2)]
    assert words == [word, None]


def test_a_destination_that_came_later_does_not_hear_of_ends_before_it(history: History):
    """Its past is not told, in whatever words."""
    see(history, SLOT, A)
    acknowledge(history, until=day(2))
    see(history, day(5), again(A))
    late = history.ledger(SOC, Medium.SLACK)
    late.start_scope(day(5) + HOUR)
    assert ends(late, 5) == []


def test_a_dry_run_of_a_destination_that_never_heard_knows_todays_ends(history: History):
    """It sees what its first digest would tell."""
    see(history, SLOT, A)
    acknowledge(history, until=day(2))
    see(history, day(2), again(A))
    assert ends(history.ledger(SOC, Medium.SLACK), 2) == [["mac-a"]]
