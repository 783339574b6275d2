from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tasks.model.findings import Effect, Reason, Scalar, Status
from tasks.model.runs import Outcome, Plan, Report, Trend, Window, minute, slot_of_newest
from tests.builders import CLUSTER, HUNT, SLOT, coverage, day, finding, report, run

SCALARS: st.SearchStrategy[Scalar] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
FIGURES = st.dictionaries(st.text(), SCALARS | st.text() | st.lists(SCALARS | st.text()).map(tuple))


def whole_report() -> Report:
    """A report in which nothing is left out."""
    return report(
        run(
            outcome=Outcome.PARTIAL,
            detail="Two shards did not answer.",
            warnings=("Two of ten shards failed.",),
            compared_with=day(-1),
            flow_run="quiet-otter",
        ),
        finding(
            "mac-a",
            changed_binary=True,
            reasons=(Reason(Effect.RAISES, "The binary changed."),),
            faults=("not enriched: no process event",),
        ),
        finding("mac-b", status=Status.QUIET, evidence=None, binary=None, priority=None),
        trend=(Trend(day(-1), Outcome.COMPLETE, new=0, known=3),),
    )


def test_a_report_is_read_back_as_it_was_written():
    """A page can be rendered again from findings.json, and says the same."""
    assert Report.from_json(whole_report().to_json()) == whole_report()


def test_the_same_report_is_the_same_bytes():
    """A hash over findings.json says whether anything changed."""
    once = whole_report().to_json()

    assert Report.from_json(once).to_json() == once
    assert once.endswith(b"\n")


@given(FIGURES, st.text())
def test_whatever_a_finding_holds_is_read_back(figures: dict[str, Scalar], hostile: str):
    """Figures keep their types, and text keeps what an attacker put into it."""
    before = report(run(), finding(figures=figures, user_name=hostile))

    [after] = Report.from_json(before.to_json()).findings

    assert (repr(after.figures), after.user_name) == (repr(figures), hostile)


def test_findings_are_asked_for_by_status():
    """In the report's order."""
    new, quiet, other = finding("a"), finding("b", status=Status.QUIET), finding("c")
    whole = report(run(), new, quiet, other)

    assert whole.having(Status.NEW) == (new, other)
    assert whole.having(Status.QUIET, Status.NEW) == (new, quiet, other)
    assert whole.having(Status.RETURNED) == ()


def test_a_runs_folder_sorts_by_slot():
    """Hunt, cluster, date, time, and the attempt: a folder that is never written twice."""
    first = run(SLOT, id="0123456789ab")

    assert first.folder == "macos-unsigned-network/demo-eu/2026/11/24/0600Z-0123456789ab"
    assert run(SLOT).folder != run(SLOT, attempt=2).folder


@pytest.mark.parametrize(
    ("outcome", "searched", "comparable"),
    [
        (Outcome.COMPLETE, True, True),
        (Outcome.BASELINE, True, True),
        (Outcome.PARTIAL, True, False),
        (Outcome.NO_DATA, False, False),
        (Outcome.FAILED, False, False),
        (Outcome.MISSED, False, False),
    ],
)
def test_only_a_whole_answer_is_a_measure(outcome: Outcome, searched: bool, comparable: bool):
    """A partial run searched, but later runs are not compared with it."""
    assert (outcome.searched, outcome.comparable) == (searched, comparable)


def test_of_a_slots_runs_the_one_that_says_most_stands():
    """A repetition may add to what is known of a slot, and never takes from it."""
    steps = [
        {Outcome.MISSED},
        {Outcome.FAILED},
        {Outcome.NO_DATA},
        {Outcome.PARTIAL},
        {Outcome.COMPLETE, Outcome.BASELINE},
    ]
    for less, more in pairwise(steps):
        for one, other in product(less, more):
            assert run(outcome=other, attempt=1).standing > run(outcome=one, attempt=2).standing
    for same in steps:
        for one, other in product(same, same):
            assert run(outcome=other, attempt=2).standing > run(outcome=one, attempt=1).standing


@pytest.mark.parametrize("attempts", [(1, 2), (2, 1)], ids=["ids in order", "ids reversed"])
def test_of_equal_runs_the_one_that_finished_last_stands(attempts):
    """Its id has no say, nor has when it started."""
    ids = [run(attempt=attempt).id for attempt in attempts]
    first, last = (
        run(id=id, started_at=SLOT - timedelta(hours=hours), finished_at=day(hours))
        for hours, id in enumerate(ids)
    )
    assert last.standing > first.standing


@pytest.mark.parametrize(
    ("uncounted", "stale", "whole", "first", "outcome"),
    [
        (False, False, True, False, Outcome.COMPLETE),
        (False, False, True, True, Outcome.BASELINE),
        (False, False, False, False, Outcome.PARTIAL),
        (False, False, False, True, Outcome.PARTIAL),
        (False, True, True, False, Outcome.NO_DATA),
        (False, True, True, True, Outcome.NO_DATA),
        (False, True, False, False, Outcome.NO_DATA),
        (False, True, False, True, Outcome.NO_DATA),
        (True, False, True, False, Outcome.PARTIAL),
        (True, False, True, True, Outcome.PARTIAL),
        (True, True, True, False, Outcome.PARTIAL),
        (True, True, False, True, Outcome.PARTIAL),
    ],
)
def test_how_a_run_ends_follows_from_four_facts(uncounted, stale, whole, first, outcome):
    """Events that were not counted may be the newest; old ones say that nothing was searched."""
    plan = Plan("0123456789ab", HUNT, CLUSTER, SLOT, stale_after_hours=6, started_at=SLOT)
    newest = SLOT - timedelta(hours=6, seconds=stale)
    seen = replace(coverage(), newest_event=newest, is_partial=uncounted)
    assert plan.outcome(seen, whole=whole, first=first) is outcome


@pytest.mark.parametrize(
    ("newest_event", "slot"),
    [
        ("05:30:00.000", "05:31"),
        ("05:30:00.001", "05:31"),
        ("05:59:58", "06:00"),
        ("06:00", "06:00"),
    ],
)
def test_the_slot_of_the_newest_event_has_it_in_its_window_and_is_not_in_the_future(
    newest_event: str, slot: str
):
    """A window ends before its slot; and as of a minute to come, events may still arrive."""
    newest, expected = (
        datetime.fromisoformat(f"2026-11-24T{each}Z") for each in (newest_event, slot)
    )
    assert slot_of_newest(newest, SLOT + timedelta(seconds=1)) == expected


def test_a_window_ends_with_its_slot():
    """Seven days are 168 hours, also over a change of the clocks."""
    slot = datetime(2026, 3, 30, 6, tzinfo=UTC)

    window = Window.before(slot, days=7)

    assert window == Window(slot - timedelta(hours=168), slot)
    assert window.hours == 168
    assert replace(window, end=slot - timedelta(minutes=1)).hours == 167


def test_a_plan_for_another_slot_is_another_run_that_starts_now():
    """All else stays: the same question, as of another moment."""
    plan = Plan("0123456789ab", HUNT, CLUSTER, SLOT, 6, SLOT, flow_run="quiet-otter")
    before = datetime.now(UTC)
    other = plan.at(day(-1))
    assert before <= other.started_at <= datetime.now(UTC)
    assert (other.slot, other.window.end) == (day(-1), day(-1))
    assert other.run_id not in {plan.run_id, plan.at(day(-1)).run_id}
    assert (other.hunt, other.flow_run) == (plan.hunt, plan.flow_run)


def test_a_slot_is_a_plain_time_whatever_class_the_start_has():
    """Prefect's own times subtract to something that does not divide."""
    start = pendulum.datetime(2026, 11, 24, 7, 15, 59, tz="Europe/Berlin")
    assert type(minute(start)) is datetime
    assert minute(start) == datetime(2026, 11, 24, 6, 15, tzinfo=UTC)


PUBLISHED = Path(__file__).parents[2] / "data" / "findings-1.json"
"""The schema as programs know it: add to it what is added, and take nothing away."""


def promises(schema: dict[str, Any]) -> dict[str, Any]:
    """Give what a schema promises of each field, by its path in a document: `.run.hunt`."""

    def walk(part: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        if reference := part.get("$ref"):
            part = schema["$defs"][reference.rpartition("/")[2]]
        inner = {
            **{f"{path}.{name}": field for name, field in part.get("properties", {}).items()},
            **{f"{path}|{number}": one for number, one in enumerate(part.get("anyOf", ()))},
            **{f"{path}[]": part[key] for key in ("items",) if isinstance(part.get(key), dict)},
        }
        yield path, {key: value for key, value in part.items() if key not in IN_WORDS | IN_PATHS}
        for below, field in inner.items():
            yield from walk(field, below)

    return dict(walk(schema, ""))


IN_WORDS = frozenset({"title", "description", "default"})
IN_PATHS = frozenset({"$defs", "properties", "anyOf", "items"})


def test_no_field_of_findings_json_goes_away_or_changes():
    """Programs that read it go on working; what breaks them needs another `schema_version`."""
    known, now = (promises(json.loads(text)) for text in (PUBLISHED.read_text(), Report.schema()))
    assert {path: now.get(path) for path in known} == known


def test_every_report_keeps_to_the_schema():
    """With everything in it, and with nothing."""
    validator = Draft202012Validator(json.loads(Report.schema()))
    for of in (whole_report(), report(run(outcome=Outcome.MISSED))):
        validator.validate(json.loads(of.to_json()))
