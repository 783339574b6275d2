from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tasks.errors import AcknowledgementError
from tasks.model.acknowledgements import (
    Acknowledgement,
    by_identity,
    id_prefix,
    resolve_id,
    validate_acknowledgement,
)
from tasks.model.findings import Finding, Status, with_acknowledgement
from tests.builders import SLOT, acknowledgement, day, finding, sha256

SECOND = timedelta(seconds=1)
A = finding("mac-a")


def word_on(found: Finding, *words: Acknowledgement, slot: datetime = SLOT) -> str | None:
    """Give who keeps a finding from being announced in the run of a slot."""
    word = with_acknowledgement(found, by_identity(words), slot).acknowledgement
    return word.by if word else None


def changed(found: Finding, binary: str) -> Finding:
    """Give the finding with another binary than before."""
    process = replace(found.process, hash_sha256=sha256(binary))
    return replace(found, process=process, changed_binary=True, status=Status.CONTINUING)


@pytest.mark.parametrize(
    ("slot", "word"), [(-SECOND, "ada"), (timedelta(0), None), (SECOND, None)], ids=str
)
def test_what_a_run_says_before_the_end_is_acknowledged(slot: timedelta, word: str | None):
    """The end is compared with the run's slot, and is itself not covered."""
    assert word_on(A, acknowledgement(A, until=day(3)), slot=day(3) + slot) == word


def test_an_end_before_its_time_is_the_end():
    """Somebody took the word back."""
    ended = acknowledgement(A, until=day(30), ended_at=day(3), ended_by="kim")
    assert word_on(A, ended, slot=day(3) - SECOND) == "ada"
    assert word_on(A, ended, slot=day(3)) is None


def test_a_run_of_an_older_slot_is_covered_too():
    """The word is about the finding: a backfill does not announce what is known to be harmless."""
    assert word_on(A, acknowledgement(A, given_at=day(5)), slot=day(-90)) == "ada"


@pytest.mark.parametrize("everywhere", [False, True])
def test_one_host_is_muted_and_all_only_where_that_is_said(everywhere: bool):
    """One Mac's word does not mute another's, in whatever cluster."""
    word = acknowledgement(A, everywhere=everywhere)
    others = [finding("mac-b"), finding("mac-b", cluster="demo-us")]
    assert [word_on(other, word) for other in others] == ["ada" if everywhere else None] * 2


@pytest.mark.parametrize(
    "other",
    [finding(executable="/tmp/agentd"), finding(address="198.51.100.9")],
    ids=["program", "destination"],
)
def test_everywhere_is_the_same_program_and_destination(other: Finding):
    """Neither another program nor another destination is harmless for that."""
    assert word_on(other, acknowledgement(A, everywhere=True)) is None


def test_another_hunts_finding_is_not_covered():
    """What is harmless to one question may matter to another."""
    assert word_on(replace(A, hunt_uuid="other"), acknowledgement(A, everywhere=True)) is None


def test_a_changed_binary_is_not_covered():
    """The word is of what was looked at; the new binary can be looked at and acknowledged too."""
    other = changed(A, "updater 2")
    assert word_on(other, acknowledgement(A)) is None
    assert word_on(replace(other, changed_binary=False), acknowledgement(A)) is None
    assert word_on(other, acknowledgement(A), acknowledgement(other, by="kim")) == "kim"


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_binary_that_is_not_known_may_be_the_same(everywhere: bool):
    """A day without process events announces nothing that is known to be harmless."""
    unknown = finding("mac-a", binary=None)
    assert word_on(unknown, acknowledgement(A, everywhere=everywhere)) == "ada"
    assert word_on(A, acknowledgement(unknown, everywhere=everywhere)) == "ada"


def test_a_change_is_told_where_nobody_knew_what_was_looked_at():
    """That it is another binary is certain."""
    word = acknowledgement(finding("mac-a", binary=None))
    assert word_on(changed(A, "updater 2"), word) is None


def test_of_several_words_the_one_that_ends_last_stands():
    """A report says until when nothing is announced."""
    words = [acknowledgement(A, until=day(n), by=f"until {n}") for n in (5, 9, 2)]
    assert word_on(A, *words) == "until 9"


def test_what_is_not_there_is_not_acknowledged():
    """A finding that went quiet says nothing that could be muted."""
    assert word_on(replace(A, status=Status.QUIET), acknowledgement(A)) is None


def test_a_finding_that_is_a_host_has_nothing_in_common_with_others():
    """Else a word on one host would mute all."""
    assert replace(A, identity={"host.id": "mac-a", "agent.id": "1"}).anywhere is None
    assert A.anywhere == finding("mac-b").anywhere


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        ({"by": " "}, "needs an author", "`by`"),
        ({"why": "\n"}, "needs a reason", "`why`"),
        ({"until": SLOT}, "2026-11-24 06:00 UTC, is in the past", "beaconhunt unack"),
        ({"until": day(365) + SECOND}, "more than 365 days away", "2027-11-24 or earlier"),
    ],
    ids=["who", "why", "past", "too-long"],
)
def test_a_word_needs_who_why_and_an_end(changes: dict[str, object], problem: str, remedy: str):
    """Each refusal says what to write instead."""
    word = {"by": "ada", "why": "Ours.", "until": day(365), "now": SLOT}
    validate_acknowledgement(**word)
    with pytest.raises(AcknowledgementError) as refused:
        validate_acknowledgement(**word | changes)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("named", ["BH-24A3C0CA", "bh-24a3c0ca", "24a3c0ca", " 24A3C0CA\n"])
def test_an_id_is_understood_as_people_type_it(named: str):
    """Copied from Slack, or from memory."""
    assert id_prefix(named) == "BH-24A3C0CA"


def test_a_whole_id_is_meant_though_another_begins_with_it():
    """Ids grow where two would be the same."""
    assert resolve_id("BH-24A3C0CA", ["BH-24A3C0CA", "BH-24A3C0CA1234"]) == "BH-24A3C0CA"
    assert resolve_id("24a3", ["BH-24A3C0CA"]) == "BH-24A3C0CA"


@pytest.mark.parametrize("named", ["", " ", "BH-", "bh-"])
def test_an_empty_id_names_nothing(named: str):
    """Also where there is only one finding."""
    with pytest.raises(AcknowledgementError, match="An empty id names no finding"):
        resolve_id(named, ["BH-24A3C0CA"])


@pytest.mark.parametrize(
    ("ids", "problem", "remedy"),
    [
        ([], "has no finding '24'", "`beaconhunt findings`"),
        (["BH-24B", "BH-24A"], "'24' is ambiguous: it may be BH-24A, BH-24B.", "whole id"),
        ([f"BH-24{n}" for n in range(6)], "BH-243, BH-244 or another.", "whole id"),
    ],
    ids=["unknown", "ambiguous", "many"],
)
def test_an_id_that_is_not_one_finding_is_refused(ids: list[str], problem: str, remedy: str):
    """Nothing is acknowledged by accident."""
    with pytest.raises(AcknowledgementError) as refused:
        resolve_id("24", ids)
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy
