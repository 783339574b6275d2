from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tasks.model.findings import Finding, Host, NetworkDestination, Priority, Process, Status
from tasks.publish import (
    CELL_AT_MOST,
    TABLE_ROWS,
    event_id,
    event_resource,
    finding_cells,
    findings_table,
)
from tests.builders import SLOT, day, finding, report, run
from tests.poison import HOSTILE, poisoned

ASCII_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def named(process: str | None = None, host: str | None = None, address: str | None = None):
    return replace(
        finding(priority=None),
        process=Process(name=process),
        host=Host(name=host),
        destination=NetworkDestination(address=address),
        why="",
    )


def test_a_row_says_what_an_analyst_reads_first():
    """Who, where to, how urgent, and why."""
    one = finding(priority=Priority.HIGH, why="No code signature.")
    assert finding_cells(one) == {
        "id": one.id,
        "status": "new",
        "priority": "high",
        "process": "updater",
        "host": "mac-a.example",
        "destination": "203.0.113[.]47",
        "why": "No code signature.",
    }


def test_what_is_not_known_is_an_empty_cell():
    """No "None" in a table that people read."""
    unknown = finding_cells(named())
    assert {unknown[column] for column in ("priority", "process", "host", "destination")} == {""}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x\u202egpj.exe", "x\\u202egpj.exe"),
        ("a\x00b\n", "a\\u0000b\\u000a"),
        ("\u3164", "\\u3164"),
    ],
)
def test_what_cannot_be_seen_is_written_out(name: str, shown: str):
    """A name that turns itself around does not deceive."""
    assert finding_cells(named(process=name))["process"] == shown


def test_an_address_is_never_a_link():
    """Not in a table, nor where an automation forwards it to."""
    assert finding_cells(named(address="c2.example.com"))["destination"] == "c2[.]example[.]com"


@pytest.mark.parametrize(("length", "shown"), [(CELL_AT_MOST, "x"), (CELL_AT_MOST + 1, "…")])
def test_a_long_cell_is_cut(length: int, shown: str):
    """A name of a megabyte does not fill the page; what is cut ends with an ellipsis."""
    cell = finding_cells(named(host="x" * length))["host"]
    assert (len(cell), cell[-1]) == (CELL_AT_MOST, shown)


def test_a_cell_stays_short_when_hidden_characters_are_written_out():
    """Six letters stand for each: it is cut after that, not before."""
    assert len(finding_cells(named(process="\u202e" * CELL_AT_MOST))["process"]) == CELL_AT_MOST


@pytest.mark.parametrize(
    "name",
    [
        "![](https://evil.example/seen.png)",
        "[Open](https://evil.example)",
        "<img src=x onerror=alert(1)>",
        "`code` *bold* __init__ | cell",
        "https://evil.example/x",
    ],
)
def test_no_name_is_markdown_in_the_table(name: str):
    """The UI would load its picture and follow its link."""
    (cells,) = findings_table(report(run(), named(process=name, host=name)))
    for column in ("process", "host"):
        assert cells[column].replace("\\", "") == name
        assert not ASCII_PUNCTUATION.search(re.sub(r"\\.", "", cells[column]))


def test_no_cell_holds_what_an_attacker_wrote_as_it_was():
    """Every field that comes from events, at once."""
    (cells,) = findings_table(poisoned(report(run(), finding())))
    for cell in cells.values():
        assert HOSTILE not in cell
        assert cell.isprintable()
        assert not ASCII_PUNCTUATION.search(re.sub(r"\\.", "", cell))


def some(count: int, status: Status = Status.NEW) -> list[Finding]:
    return [finding(f"mac-{status}-{n}", status=status) for n in range(count)]


def test_the_table_is_limited_and_keeps_the_reports_order():
    """The UI draws every row at once; what is quiet stands last and goes first."""
    findings = [*some(TABLE_ROWS - 1), *some(2, Status.QUIET)]
    rows = findings_table(report(run(), *findings))
    assert len(rows) == TABLE_ROWS
    assert [cells["status"] for cells in rows[-2:]] == ["new", "quiet"]


def test_a_run_without_findings_has_an_empty_table():
    """Nothing found is a table too."""
    assert findings_table(report(run())) == []


def test_an_event_names_its_finding_and_what_automations_choose_by():
    """The same finding is the same resource in every run."""
    one = finding(priority=Priority.HIGH)
    assert event_resource(one, report(run(), one)) == {
        "prefect.resource.id": f"beaconhunt.finding.{one.id}",
        "prefect.resource.name": one.id,
        "beaconhunt.cluster": "demo-eu",
        "beaconhunt.hunt": "macos-unsigned-network",
        "beaconhunt.priority": "high",
    }
    other = finding("mac-b", priority=None)
    assert event_resource(other, report(run(), other))["beaconhunt.priority"] == ""
    assert event_resource(other, report(run(), other)) != event_resource(one, report(run(), one))


def test_a_slot_that_is_run_again_announces_under_the_same_id():
    """A team's automation pages nobody twice for one finding of one slot."""
    again = replace(finding(), why="Said by another attempt.")
    assert event_id(finding(), SLOT) == event_id(again, SLOT)
    others = {event_id(finding(), day(1)), event_id(finding("mac-b"), SLOT)}
    assert len({event_id(finding(), SLOT), *others}) == 3
