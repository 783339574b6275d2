from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_core import PydanticSerializationError

from tasks.history.sightings import news_key
from tasks.model.digests import Announcement, Digest, Medium
from tasks.model.findings import Finding, NetworkDestination, Process, Status
from tasks.model.runs import Report
from tasks.publish import findings_table
from tasks.rehearse import rehearsed, rehearsed_day
from tasks.report import markdown_summary, pages_of, render_daily
from tasks.slack.compose import compose_message
from tasks.slack.message import readable
from tests.builders import SLOT, evidence, finding, report, run, sha256

ODD: dict[str, dict[str, Any]] = {
    "evidence": {"evidence": replace(evidence(), hourly=())},
    "evidence (OverflowError)": {
        "evidence": replace(evidence(), last_connection=datetime.max.replace(tzinfo=UTC))
    },
    "evidence (ValidationError)": {"evidence": replace(evidence(), median_per_hour=float("inf"))},
    "figures (OverflowError)": {"figures": {"number_of_con_per_hour": 10**400}},
    "destination": {"destination": NetworkDestination(address="198.51.100.7", ports=("https",))},
    "process": {"process": Process(name="odd", command_line=["a", "b"])},
    "user name (PydanticSerializationError)": {"user_name": "\ud800"},
    "host, user name": {"host": None, "user_name": 501},
}
"""What no page, no table or no document can be made of, by what is said of it."""


def odd(**changes: Any) -> Finding:
    """A finding of which something is not as it is anywhere else."""
    return finding("mac-odd", priority=None, **changes)


def among_others(one: Finding) -> Report:
    """A report of a run whose readers live in a zone, with the finding among eleven others."""
    others = [finding(f"mac-{number}") for number in range(11)]
    return report(run(time_zone="Europe/Berlin"), *others[:6], one, *others[6:])


@pytest.mark.parametrize("said", ODD)
def test_a_finding_that_cannot_be_shown_loses_no_other(said: str):
    """The others are as they were; it stands in its place, with its id, and says why."""
    of = among_others(odd(**ODD[said]))

    shown = rehearsed(of)

    told = shown.findings[6]
    assert shown.findings[:6] + shown.findings[7:] == of.findings[:6] + of.findings[7:]
    assert told.unshown.startswith(f"cannot be shown: {said}")
    assert (told.id, told.fingerprint) == (of.findings[6].id, of.findings[6].fingerprint)
    pages = pages_of(shown)
    html, csv = pages.html, pages.csv.decode()
    markdown = (
        cell
        for row in (*findings_table(shown), {"": markdown_summary(shown)})
        for cell in row.values()
    )
    for page in (html, csv, "".join(markdown).replace("\\", "")):
        assert told.id in page
        assert "cannot be shown" in page
    assert "12 new" in html
    assert csv.count("\n") == 13
    assert pages_of(Report.from_json(shown.to_json())) == pages


@pytest.mark.parametrize("said", ODD)
def test_what_can_be_shown_of_it_is_shown(said: str):
    """Only the part that is named is left out."""
    whole = odd()
    (told,) = rehearsed(report(run(time_zone="Europe/Berlin"), odd(**ODD[said]))).findings
    parts = {"host", "user_name", "process", "destination", "figures", "evidence", "why"}
    assert {part for part in parts if getattr(told, part) != getattr(whole, part)} == {
        part for part in parts if part.replace("_", " ") in told.unshown
    }


def test_what_is_news_of_it_is_still_news():
    """A changed binary that cannot be shown is announced as this change, and as no other."""
    process = Process(hash_sha256=sha256("2"), command_line=["a"])
    changed = odd(process=process, changed_binary=True, status=Status.CONTINUING)
    (told,) = rehearsed(report(run(), changed)).findings
    assert news_key(told) == news_key(changed) == f"changed:{sha256('2')}"


@pytest.mark.parametrize("status", Status)
def test_it_stands_whatever_its_status_is(status: Status):
    """In cards, in the table of what is known and among what went quiet."""
    of = report(run(), finding("mac-a"), odd(status=status, user_name=501))
    shown = rehearsed(of)
    assert Counter(each.status for each in shown.findings) == Counter([Status.NEW, status])
    assert shown.findings[1].id in pages_of(shown).html


def test_a_whole_report_stays_as_it_is():
    """Nothing is taken from findings that can be shown."""
    of = among_others(odd())
    assert rehearsed(of) == of


def test_what_is_wrong_with_the_run_is_no_finding_s_fault():
    """Nothing is taken from its findings: they are recorded and told, and making its page fails."""
    of = report(run(time_zone="Nowhere/At_all"), finding("mac-a"), finding("mac-b"))
    assert rehearsed(of) == of


def test_nothing_is_recorded_of_which_nothing_can_be_shown():
    """What a finding is cannot be left out: a history that nobody can read would be worse."""
    with pytest.raises(PydanticSerializationError):
        rehearsed(report(run(), odd(cluster="\ud800")))


def test_a_digest_tells_the_others_and_that_one_is_there():
    """Message and page of the day, with the counts of all."""
    findings = [finding("mac-a"), odd(evidence=replace(evidence(), hourly=())), finding("mac-b")]
    digest = Digest(
        id="d00000000001",
        number=1,
        destination="secops",
        medium=Medium.SLACK,
        slot=SLOT,
        clusters=(),
        announcements=tuple(Announcement(each, run()) for each in findings),
    )

    shown = rehearsed_day(digest, None)

    message = compose_message(shown, report_base_url=None)
    assert message
    for text in (readable(message), render_daily(shown)):
        assert "3 new" in text
        assert all(each.id in text for each in findings)
        assert text.count("cannot be shown: evidence (ZeroDivisionError)") == 1
    assert rehearsed_day(shown, None) == shown
