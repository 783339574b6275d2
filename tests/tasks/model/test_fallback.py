from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_core import PydanticSerializationError

from tasks.history.sightings import news_key
from tasks.model.digests import Announcement, Digest, Ended, Medium
from tasks.model.fallback import as_recorded
from tasks.model.findings import Finding, NetworkDestination, Process, Status
from tasks.model.runs import Report
from tasks.publish import findings_table
from tasks.report import findings_csv, markdown_summary, render_daily, render_report
from tasks.slack.compose import compose_message
from tasks.slack.message import readable
from tests.builders import SLOT, acknowledgement, evidence, finding, report, run, sha256


def odd(**changes: Any) -> Finding:
    """A finding with something that no other finding has."""
    return finding("mac-odd", **changes)


def among_others(one: Finding) -> Report:
    """A report of a run whose readers live in a zone, with the finding among eleven others."""
    others = [finding(f"mac-{number}") for number in range(11)]
    return report(run(time_zone="Europe/Berlin"), *others[:6], one, *others[6:])


def day_of(of: Report, **changes: Any) -> Digest:
    """The digest that announces what the report finds new."""
    plain = Digest(
        id="d00000000001",
        number=1,
        destination="secops",
        medium=Medium.SLACK,
        slot=SLOT,
        clusters=(),
        announcements=tuple(Announcement(each, of.run) for each in of.findings),
    )
    return replace(plain, **changes)


def message_of(of: Report) -> str:
    message = compose_message(day_of(of), report_base_url=None)
    assert message
    return readable(message)


LAYOUTS: dict[str, Callable[[Report], str]] = {
    "page": render_report,
    "csv": lambda of: findings_csv(of).decode(),
    "table": lambda of: "\n".join(cell for row in findings_table(of) for cell in row.values()),
    "markdown": markdown_summary,
    "message": message_of,
    "day": lambda of: render_daily(day_of(of)),
}


def text_of(layout: str, of: Report) -> str:
    """What people read, without Markdown's escapes."""
    return LAYOUTS[layout](of).replace("\\", "")


NO_DESTINATION = {"destination": None}
NO_HOURS = {"evidence": replace(evidence(), hourly=())}
HUGE = {"figures": {"number_of_con_per_hour": 10**400}}
LAST = {"evidence": replace(evidence(), last_connection=datetime.max.replace(tzinfo=UTC))}

BREAKS = [
    *((layout, NO_DESTINATION, "AttributeError") for layout in LAYOUTS),
    *((layout, NO_HOURS, "ZeroDivisionError") for layout in ("page", "day")),
    *((layout, HUGE, "OverflowError") for layout in ("page", "message", "day")),
    *((layout, LAST, "OverflowError") for layout in ("page", "day")),
]
"""What cannot be laid out where, and the error that says so."""


@pytest.mark.parametrize(("layout", "changes", "error"), BREAKS)
def test_a_finding_that_breaks_a_layout_loses_no_other(layout, changes, error):
    """It stands in its place with its id and the reason; the others are as they were."""
    of = among_others(odd(**changes))
    text, whole = (text_of(layout, each) for each in (of, among_others(odd())))
    places = [text.index(each.id) for each in of.findings]
    assert places == sorted(places)
    assert text.count("cannot be shown") == 1
    assert f"cannot be shown: {error}, see the log of the flow run" in text
    assert text.count("mac-7.example") == whole.count("mac-7.example")


@pytest.mark.parametrize("changes", [NO_DESTINATION, NO_HOURS, HUGE, LAST])
def test_it_counts_in_the_headline(changes):
    """A reader sees how many there are, whatever can be shown of them."""
    for layout in ("page", "markdown", "message", "day"):
        text = text_of(layout, among_others(odd(**changes)))
        assert "12 new beaconing processes on 12 Macs" in text


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("is_acknowledged", [False, True])
def test_it_stands_in_every_part_of_the_page(status, is_acknowledged):
    """Among the cards, the known, the acknowledged and the quiet ones, with its reason."""
    word = acknowledgement(odd()) if is_acknowledged else None
    of = report(run(), finding("mac-a"), odd(**NO_DESTINATION, status=status, acknowledgement=word))
    html = render_report(of)
    assert f'id="{odd().id}"' in html
    assert html.count("cannot be shown: AttributeError") == 1


def test_it_stands_among_the_acknowledgements_that_ended():
    """The page of the day names it although nothing is new about it."""
    still = (Announcement(odd(**NO_DESTINATION), run()),)
    ended = Ended(acknowledgement(odd()), still)
    html = render_daily(day_of(report(run()), ended=(ended,)))
    assert odd().id in html
    assert "cannot be shown: AttributeError" in html


def test_the_log_has_the_traceback_once(caplog):
    """Its id leads from the page to what is wrong."""
    caplog.set_level(logging.ERROR)
    findings_csv(among_others(odd(**NO_DESTINATION)))
    (entry,) = caplog.records
    assert odd().id in entry.getMessage()
    assert entry.exc_info[0] is AttributeError


def test_the_log_of_a_value_that_no_document_holds_has_no_value(caplog):
    """It may be a command line with a password."""
    caplog.set_level(logging.ERROR)
    process = Process(name="odd", command_line=["x", "--password", "hunter2"])
    assert as_recorded(odd(process=process)).unshown
    assert "process.command_line" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_is_wrong_with_the_run_is_no_finding_s_fault():
    """Its page fails, instead of findings that cannot be shown."""
    of = report(run(time_zone="Nowhere/At_all"), finding())
    with pytest.raises(Exception, match="Nowhere"):
        render_report(of)


UNREADABLE: dict[str, dict[str, Any]] = {
    "half a character": {"user_name": "\ud800"},
    "a number for a text": {"user_name": 501},
    "no host": {"host": None},
    "a list for a text": {"process": Process(name="odd", command_line=["a", "b"])},
    "a word for a port": {"destination": NetworkDestination(ports=("https",))},
    "no finite figure": {"evidence": replace(evidence(), median_per_hour=float("inf"))},
}
"""What no document can hold."""


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_finding_without_a_document_is_recorded_as_far_as_it_can_be(kind):
    """History and findings.json hold it with its reason, and can be read again."""
    kept = as_recorded(odd(**UNREADABLE[kind]))
    of = among_others(kept)
    assert kept.unshown.startswith("cannot be shown: ")
    assert Report.from_json(of.to_json()) == of
    for layout in LAYOUTS:
        text = text_of(layout, of)
        assert kept.id in text
        assert text.count(kept.unshown) == 1
    assert "12 new beaconing processes on 12 Macs" in render_report(of)


def test_what_is_news_about_it_is_still_news():
    """A changed binary is announced as this change and as no other, and stays acknowledged."""
    process = Process(hash_sha256=sha256("2"), command_line=["a"])
    changed = odd(process=process, changed_binary=True, status=Status.CONTINUING)
    kept = as_recorded(changed)
    assert kept.unshown
    assert news_key(kept) == news_key(changed) == f"changed:{sha256('2')}"
    muted = replace(changed, acknowledgement=acknowledgement(odd()))
    assert as_recorded(muted).disposition is muted.disposition
    for name in ("id", "fingerprint", "identity", "anywhere", "first_seen", "priority"):
        assert getattr(kept, name) == getattr(changed, name)


def test_a_whole_finding_is_recorded_as_it_is():
    """Nothing is taken from what can be read again."""
    assert as_recorded(odd()) == odd()


def test_what_a_finding_is_cannot_be_left_out():
    """A history that nobody can read would be worse than a run that fails."""
    with pytest.raises(PydanticSerializationError):
        as_recorded(odd(cluster="\ud800"))


def test_a_flood_with_it_is_still_posted_in_groups():
    """All are counted; it is a group of its own, without what breaks."""
    others = [finding(f"mac-{number}", evidence=None) for number in range(201)]
    text = message_of(report(run(), *others, odd(**NO_DESTINATION)))
    assert "202 new" in text
    assert "201 × " in text


def test_its_ended_acknowledgement_is_still_posted():
    """With its id, so that an analyst can look it up."""
    one = odd(**NO_DESTINATION)
    given = acknowledgement(finding("mac-odd"), SLOT)
    of = day_of(report(run()), ended=(Ended(given, (Announcement(one, run()),)),))
    message = compose_message(of, report_base_url=None)
    assert message
    assert one.id in readable(message)
