from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from prefect.logging import disable_run_logger

from tasks.clusters import Answer
from tasks.errors import (
    DeadlineExceeded,
    HistoryError,
    HuntError,
    PipelineError,
    QueryRefused,
    SettingsError,
    Unauthorised,
    Unreachable,
)
from tasks.history import History
from tasks.model.costs import Cost
from tasks.model.coverage import Coverage
from tasks.model.findings import Finding, Process, Status
from tasks.model.hunts import Hunt
from tasks.model.runs import Outcome, Plan, Report, Window
from tasks.record import (
    build_report,
    missed_report,
    not_searched_report,
    record,
    unpublished_reports,
)
from tests.builders import CLUSTER, HUNT, SLOT, coverage, day, finding, report, run
from tests.histories import new_history

STARTED = SLOT + timedelta(minutes=15)


def plan(hunt: Hunt = HUNT) -> Plan:
    return Plan("0a1b2c3d4e5f", hunt, CLUSTER, SLOT, 6, STARTED, flow_run="prod 2026-11-24")


def answer(**flaws) -> Answer:
    return Answer(pd.DataFrame(index=range(10_000)), {}, **flaws)


def put(
    outcome: Outcome = Outcome.COMPLETE,
    said: Answer | None = None,
    seen: Coverage | None = None,
    hunt: Hunt = HUNT,
    findings: tuple[Finding, ...] = (finding(),),
) -> Report:
    """Put a run with these answers into its document."""
    return build_report(
        plan(hunt),
        outcome,
        said or answer(),
        seen or coverage(),
        findings=findings,
        compared_with=day(-1),
        costs=[Cost("hunt", asked=1)],
    )


def with_agents(*changes: dict) -> Coverage:
    """Coverage with an agent version each, of which all are blind but for the changes."""
    (healthy,) = coverage().agents
    blind = replace(healthy, version="9.1.2", events=1_000, groups=1_000, single_event_groups=1_000)
    return replace(coverage(), agents=tuple(replace(blind, **change) for change in changes))


def test_a_run_without_a_flaw_has_no_warning():
    """A warning that is always there is read by nobody."""
    whole = put()
    assert whole.run.warnings == ()
    assert whole.run.detail is None


def test_a_report_says_which_run_it_is_of():
    """Months later it is still plain what was asked, when, and by which version."""
    before = datetime.now(UTC)
    whole = put()
    assert whole.beaconhunt == version("beaconhunt")
    assert (whole.hunt, whole.findings) == (HUNT, (finding(),))
    assert replace(whole.run, finished_at=STARTED) == replace(
        run(),
        id="0a1b2c3d4e5f",
        window=Window.before(SLOT, 7),
        started_at=STARTED,
        finished_at=STARTED,
        compared_with=day(-1),
        flow_run="prod 2026-11-24",
        costs=(Cost("hunt", asked=1),),
    )
    assert before <= whole.run.finished_at <= datetime.now(UTC)


def test_a_finding_that_no_document_can_hold_is_recorded_with_its_reason():
    """It would make findings.json and the history unreadable, and lose every other."""
    odd = replace(finding("mac-odd"), user_name="\ud800")
    whole = put(findings=(finding(), odd))
    assert Report.from_json(whole.to_json()) == whole
    assert [each.id for each in whole.findings] == [finding().id, odd.id]
    assert [bool(each.unshown) for each in whole.findings] == [False, True]


def test_a_partial_answer_is_said():
    """What failed shards hold was not searched."""
    (warning,) = put(Outcome.PARTIAL, answer(is_partial=True)).run.warnings
    assert warning.startswith("Partial: some shards did not answer")


def test_coverage_that_is_partial_is_said():
    """Its counts are too low."""
    (warning,) = put(Outcome.PARTIAL, seen=replace(coverage(), is_partial=True)).run.warnings
    assert warning.startswith("Partial: some shards did not answer")


def test_each_remote_cluster_that_was_skipped_is_named():
    """The reader knows where nothing was searched, and why."""
    remotes = ("eu (no route to host)", "us (partial)")
    warnings = put(Outcome.PARTIAL, answer(skipped=remotes)).run.warnings
    assert [text.partition(" did not")[0] for text in warnings] == [
        f"Partial: the remote cluster {remote}" for remote in remotes
    ]


def test_an_answer_that_may_have_been_cut_is_said():
    """Nobody should believe that these are all."""
    (warning,) = put(Outcome.PARTIAL, answer(is_cut=True)).run.warnings
    assert warning == "Cut at 10,000 rows: there may be more candidates."


def test_blind_agent_versions_are_said_with_the_setting_that_cures_them():
    """Where repeated events are dropped, finding nothing means nothing."""
    (warning,) = put(seen=with_agents({}, {"version": "8.17.4"})).run.warnings
    assert warning.startswith("Blind: agents of version 9.1.2, 8.17.4 drop repeated")
    assert "mac.advanced.events.deduplicate_network_events" in warning


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ({"merged_events": 500}, "Merged: agents of version 8.18.0 send an attempt and its"),
        (
            {"unsigned_unknown_events": 50},
            "No signature block: agents of version 8.18.0 send",
        ),
    ],
)
def test_telemetry_that_a_hunt_counts_wrong_is_said_with_what_to_do(flaw: dict, said: str):
    """Half the figures, or none of the signatures, are half a hunt."""
    sighted = {"version": "8.18.0", "single_event_groups": 0}
    (warning,) = put(seen=with_agents(sighted | flaw)).run.warnings
    assert warning.startswith(said)
    assert warning.count(".") > 2, "a remedy follows"


@pytest.mark.parametrize(
    "seeing",
    [
        {"version": "8.14.3"},
        {"version": None},
        {"groups": 999, "single_event_groups": 999},
        {"single_event_groups": 949},
    ],
)
def test_an_agent_that_may_see_is_not_called_blind(seeing):
    """Older than the fault, too few events to say, or enough repeated ones."""
    assert put(seen=with_agents(seeing)).run.warnings == ()


def test_a_query_of_the_present_is_not_reproducible():
    """Asked again tomorrow, it gives another answer."""
    now = HUNT.model_copy(
        update={"query": "FROM logs-* | WHERE @timestamp > NOW() - 7 days | LIMIT 10"}
    )
    assert put(hunt=now).run.warnings == ("Not reproducible as of a slot: the query uses NOW().",)
    known = HUNT.model_copy(update={"query": 'FROM logs-* | WHERE process.name == "now()"'})
    assert put(hunt=known).run.warnings == ()


def test_what_the_cluster_warns_of_is_said_word_for_word():
    """The reader judges it."""
    warnings = ("No limit defined, adding default limit of [1000]", "Line 2:3: odd date [/0]")
    assert put(said=answer(warnings=warnings)).run.warnings == warnings


def test_a_division_by_zero_is_not_said_nor_its_announcement():
    """Hunts divide first and filter then: two lines of noise each time."""
    fault = "Line 3:9: evaluation of [a / b] failed, treating result as null. Only first 20."
    cause = "Line 3:9: java.lang.ArithmeticException: / by zero"
    other = fault.replace("3:9", "4:9")
    overflow = "Line 4:9: java.lang.ArithmeticException: long overflow"
    said = answer(warnings=(fault, cause, other, overflow))
    assert put(said=said).run.warnings == (other, overflow)


def test_the_gravest_warning_comes_first():
    """Missing data before the cluster's own remarks."""
    said = answer(is_partial=True, is_cut=True, warnings=("remark",))
    kinds = [text.split(":")[0] for text in put(said=said, seen=with_agents({})).run.warnings]
    assert kinds == ["Partial", "Cut at 10,000 rows", "Blind", "remark"]


def test_no_data_says_how_old_the_newest_event_is():
    """The operator sees since when nothing has arrived."""
    old = replace(coverage(), newest_event=SLOT - timedelta(hours=31))
    assert put(Outcome.NO_DATA, seen=old).run.detail == (
        "Events have stopped coming: the newest is 31 hours older than the slot, and "
        "6 hours are allowed. Check that the agents still ship them."
    )


@pytest.mark.parametrize("newest_event", [SLOT - timedelta(days=3), None])
def test_no_data_of_a_folder_gives_the_command_that_hunts_it(newest_event):
    """An export is in the past, and its agents are none of the reader's business."""
    export = replace(plan(), of_folder=True)
    seen = replace(coverage(), newest_event=newest_event)
    detail = build_report(export, Outcome.NO_DATA, answer(), seen, (), None, ()).run.detail
    assert detail.endswith(
        f"`beaconhunt run {CLUSTER}`, without `--slot`, hunts an export as of its newest event."
    )
    assert "agents" not in detail
    known = replace(export, remarks=("No slot was given, ...",))
    run = build_report(known, Outcome.NO_DATA, answer(), seen, (), None, ()).run
    assert "beaconhunt run" not in run.detail  # That is the run that has no data.
    assert run.warnings[-1] == "No slot was given, ..."


def test_no_data_says_when_there_was_no_event_at_all():
    """An empty window is not a quiet one."""
    empty = Coverage(events=0, macs=0, newest_event=None)
    detail = put(Outcome.NO_DATA, seen=empty).run.detail
    assert detail == (
        "The window holds no event that the hunt could have seen. Check that the agents ship "
        "them to this cluster, and that the API key may read them."
    )


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.NO_DATA, Outcome.FAILED}))
def test_only_no_data_and_failure_need_a_detail(outcome):
    """The other outcomes say enough."""
    assert put(outcome, seen=Coverage(0, 0, None)).run.detail is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Unreachable, "unreachable"),
        (Unauthorised, "unauthorised"),
        (QueryRefused, "query"),
        (HuntError, "settings"),
        (SettingsError, "settings"),
        (DeadlineExceeded, "deadline"),
        (HistoryError, "internal"),
    ],
)
def test_a_run_that_was_not_searched_says_why_and_what_to_do(
    kind: type[PipelineError], reason: str
):
    """One word for the archive, and problem and remedy for whoever reads on."""
    failed = not_searched_report(plan(), kind("prod: it did not work.", "Do this."))
    assert failed.run.outcome is Outcome.FAILED
    assert failed.run.reason == reason
    assert failed.run.detail == "prod: it did not work. Do this."
    assert (failed.run.coverage, failed.findings) == (None, ())
    assert failed.beaconhunt == version("beaconhunt")


def test_a_missed_slot_says_how_to_run_it():
    """Nobody takes it for a quiet day, and whoever wants to know runs it by hand."""
    gone = missed_report(plan())
    assert gone.run.outcome is Outcome.MISSED
    assert "`beaconhunt run demo-eu --slot 2026-11-24T06:00Z`" in gone.run.detail
    assert (gone.run.coverage, gone.findings) == (None, ())


def test_a_run_says_whether_a_schedule_asked_for_it():
    """Only between such runs a slot can be missing."""
    assert not put().run.scheduled
    assert missed_report(replace(plan(), scheduled=True)).run.scheduled


def test_a_recorded_report_brings_the_runs_before_it(tmp_path: Path):
    """The trend is of the history, and this run is its last."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    with History.open(url) as history, disable_run_logger():
        record.fn(history, report(run(day(-1)), finding(slot=day(-1))))
        recorded = record.fn(history, report(run(), finding("mac-b")))
    assert [trend.slot for trend in recorded.trend] == [day(-1), SLOT]
    assert recorded.findings == (finding("mac-b"),)


def test_a_report_is_recorded_whole_and_published_masked(tmp_path: Path):
    """Also the report of a run that was killed before it was archived, which a later run reads."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    line = "x --password hunter2"
    killed = report(run(day(-1)), finding(slot=day(-1), process=Process(command_line=line)))
    with History.open(url) as history, disable_run_logger():
        first = record.fn(history, killed)
        (kept,) = history.findings()
        (again,) = unpublished_reports.fn(history, record.fn(history, report(run())))
    for each in (first, again):
        assert each.findings[0].process.command_line == "x --password [masked]"
    assert kept.process.command_line == line


def test_a_slot_that_was_searched_stands_when_its_repetition_fails(tmp_path: Path):
    """A later failure takes nothing back of what is known."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    with History.open(url) as history, disable_run_logger():
        record.fn(history, report(run(), finding(status=Status.NEW)))
        record.fn(history, not_searched_report(plan(), Unreachable("prod: away.", "Wait.")))
        (stands,) = history.runs()
    assert stands.run.outcome is Outcome.COMPLETE
