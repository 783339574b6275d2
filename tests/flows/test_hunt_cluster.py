import json
import shutil
import sqlite3
from datetime import timedelta
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from flows.daily_digest import daily_digest
from tasks.archive import verify_archive
from tasks.clusters import Question, ask, connect
from tasks.errors import ArchiveError, PipelineError, Unexpected
from tasks.fleet.documents import NETWORK, PROCESS
from tasks.history import History
from tasks.model.digests import Medium
from tasks.model.findings import Finding, Status
from tasks.model.runs import Outcome, Report, Run
from tasks.pages.kibana import traffic_query
from tasks.report import pages_of
from tasks.settings import Cluster, Destination
from tests.events import SLOT, beacon, network_event, process_event, write_events
from tests.flows.site import DAY, Site, fresh, steady
from tests.flows.worker import run_deployed


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def statuses(report: Report) -> list[Status]:
    return [finding.status for finding in report.findings]


def test_the_first_run_is_a_baseline_and_the_next_tells_what_is_new(site):
    """The path that every cluster takes: baseline, then only the difference."""
    old = steady(end=SLOT - DAY - timedelta(hours=1), entity_id="old", executable="/opt/old")
    cluster = site.cluster(*old, fresh(SLOT - DAY), *steady(), fresh())
    first = site.hunt(cluster, SLOT - DAY)
    second = site.hunt(cluster, SLOT)
    assert (first.name, first.message) == ("Baseline", "baseline: 1")
    assert (second.name, second.message) == ("Completed", "1 new, 1 continuing")
    baseline, complete = site.reports()
    assert statuses(baseline) == [Status.BASELINE]
    assert sorted(statuses(complete)) == [Status.CONTINUING, Status.NEW]


def test_a_run_leaves_its_page_its_table_and_its_documents(site):
    """Everything that a manager or a script opens later."""
    site.hunt(site.cluster(*steady(), fresh()))
    (folder,) = site.archive.glob("macos-unsigned-network/corp/2026/11/24/0600Z-*")
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        "findings.json",
        "findings.csv",
        "run.json",
    }
    assert json.loads((folder / "run.json").read_text())["run"]["outcome"] == "baseline"
    assert (site.archive / "index.html").exists()


def test_a_finding_is_described_by_its_process_events(site):
    """The hash and the parent come from the other stream, the period from the connections."""
    site.hunt(site.cluster(*steady(), fresh()))
    (finding,) = site.reports()[0].findings
    assert len(finding.process.hash_sha256) == 64
    assert finding.process.parent.name == "launchd"
    assert finding.evidence.connections == 1_501
    assert finding.evidence.period_seconds == pytest.approx(24)
    assert finding.faults == ()


@pytest.mark.parametrize("mask", [True, False])
def test_a_password_in_a_command_line_is_published_only_if_it_may_be(site, mask):
    """Archive, daily page, message and artifacts are masked; the history is whole."""
    password = f"hunter2-{mask}"
    started = {"process.command_line": f"x --password {password}"}
    cluster = site.cluster(fresh(SLOT - DAY), *steady(), fresh(), processes=False)
    write_events(site.folder / "corp", [process_event(args=("x", password), **started)], PROCESS)
    site.hunt(cluster, SLOT - DAY, mask=mask)
    site.hunt(cluster, mask=mask)
    destination = Destination(name="secops", channel="C1", clusters=("corp",))
    storage = {"history_url": site.history_url, "archive_url": str(site.archive)}
    digest = run_deployed(daily_digest, destination=destination, slot=SLOT, **storage)
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
    archived = {path.name for path in site.archive.rglob("*") if holds(path, password)}
    assert (archived == set()) is mask, archived
    assert password not in str([digest.result(), artifacts])
    assert holds(site.folder / "history.db", password)
    assert set(verify_archive(str(site.archive), pages_of)) == {()}


def holds(path: Path, text: str) -> bool:
    return path.is_file() and text.encode() in path.read_bytes()


def test_the_same_slot_twice_changes_nothing(site):
    """A retry, or an operator who is not sure, does no harm."""
    cluster = site.cluster(*steady(), fresh(), fresh(SLOT - DAY))
    site.hunt(cluster, SLOT - DAY)
    first, again = site.hunt(cluster), site.hunt(cluster)
    assert first.message == again.message == "1 new, 0 continuing"
    _, one, two = site.reports()
    assert one.findings == two.findings
    with History.open(site.history_url) as history:
        assert len(history.runs()) == 2


def test_a_restarted_process_is_not_new(site):
    """Another entity id, the same program on the same Mac to the same destination."""
    before = steady("before", SLOT - 2 * DAY)
    after = steady("after", SLOT - timedelta(hours=2))
    cluster = site.cluster(*before, fresh(SLOT - DAY), *after, fresh())
    site.hunt(cluster, SLOT - DAY)
    assert site.hunt(cluster).message == "0 new, 1 continuing"
    assert site.reports()[-1].findings[0].process.entity_ids == ("after", "before")


def test_events_that_come_a_day_late_are_found_by_the_next_run(site):
    """A Mac that was offline sends what it kept; the window still has it."""
    cluster = site.cluster(fresh(SLOT - 2 * DAY), fresh(SLOT - DAY), fresh())
    site.hunt(cluster, SLOT - 2 * DAY)
    assert site.hunt(cluster, SLOT - DAY).message == "0 new, 0 continuing"
    late = steady(end=SLOT - DAY - timedelta(hours=2))
    write_events(site.folder / "corp", late, name="late")
    assert site.hunt(cluster).message == "1 new, 0 continuing"


def test_a_finding_of_one_cluster_says_nothing_about_another(site):
    """What is known in one is new in the other."""
    site.hunt(site.cluster(*steady(), fresh(), name="one"))
    other = site.cluster(*steady(), fresh(), fresh(SLOT - DAY), name="two")
    site.hunt(other, SLOT - DAY)
    assert site.hunt(other).message == "1 new, 0 continuing"


def test_a_finding_that_stops_goes_quiet(site):
    """Its activity has left the window; the report names it once more."""
    gone = steady(end=SLOT - 6 * DAY - timedelta(hours=20))
    cluster = site.cluster(*gone, fresh(SLOT - DAY), fresh())
    site.hunt(cluster, SLOT - DAY)
    site.hunt(cluster)
    assert statuses(site.reports()[-1]) == [Status.QUIET]


@pytest.mark.parametrize(
    ("days", "said"),
    [(11, "0 new, 1 back after long, 0 continuing"), (13, "0 new, 0 continuing")],
)
def test_a_finding_that_was_away_for_longer_than_is_set_is_told_again(site, days, said):
    """Twelve days between the run that saw it last and the one in which it is back."""
    first, between = SLOT - 12 * DAY, SLOT - 2 * DAY
    before = steady("before", first - timedelta(hours=1))
    cluster = site.cluster(*before, fresh(first), fresh(between), *steady(), fresh())
    for slot in (first, between):
        site.hunt(cluster, slot)
    assert site.hunt(cluster, announce_returned_after_days=days).message == said
    assert statuses(site.reports()[-1]) == [Status.RETURNED]


def test_a_cluster_that_stopped_shipping_is_no_data_and_nothing_goes_quiet(site):
    """Silence of the telemetry is not silence of the program."""
    cluster = site.cluster(*steady(end=SLOT - 2 * DAY), fresh(SLOT - DAY))
    site.hunt(cluster, SLOT - DAY)
    state = site.hunt(cluster)
    assert (state.name, site.reports()[-1].run.outcome) == ("No data", Outcome.NO_DATA)
    assert Status.QUIET not in statuses(site.reports()[-1])


def test_a_folder_is_hunted_by_hand_as_of_its_newest_event(site):
    """Started in Prefect's UI too; the run's name promises no slot that it has not."""
    site.hunt(site.cluster(*steady(), fresh()), slot=None)
    (report,) = site.reports()
    assert report.run.slot == SLOT - timedelta(minutes=4)
    assert report.run.flow_run == "corp, newest event"
    assert report.run.outcome is Outcome.BASELINE
    assert len(report.findings) == 1
    assert "24 Nov 2026 05:56 UTC" in report.run.warnings[-1]


def test_a_cluster_without_any_event_is_no_data(site):
    """Never "nothing new"."""
    state = site.hunt(site.cluster(network_event(at=SLOT - 30 * DAY)))
    assert state.name == "No data"


def test_a_report_that_is_owed_and_cannot_be_left_keeps_no_other_from_the_archive(
    site, monkeypatch
):
    """A folder of somebody else's in its place is that run's own trouble, until it is gone."""
    cluster = site.cluster(fresh(SLOT - DAY), fresh())
    with monkeypatch.context() as killed:
        killed.setattr(History, "mark_published", lambda *_: None)
        site.hunt(cluster, SLOT - DAY)
    (owed,) = site.archive.glob("*/corp/2026/11/23/*")
    shutil.rmtree(owed)
    owed.touch()
    assert site.hunt(cluster).is_completed()
    assert [each.run.slot for each in site.reports()] == [SLOT]
    owed.unlink()
    site.hunt(cluster, SLOT + timedelta(hours=1))
    assert [each.run.slot for each in site.reports()][:2] == [SLOT - DAY, SLOT]


def test_a_process_event_with_several_values_in_a_field_loses_no_finding(site):
    """Whoever writes events may send a list anywhere; the history can be read all the same."""
    cluster = site.cluster(*steady(), fresh(), processes=False)
    several = {"process.command_line": ["a", "b"], "process.hash.sha256": ["1", "2"]}
    write_events(site.folder / "corp", [process_event(**several)], PROCESS)
    site.hunt(cluster)
    again = site.hunt(cluster, SLOT + timedelta(hours=1))
    assert again.message == "0 new, 1 continuing"
    assert site.reports()[0].findings[0].process.command_line == "a, b"


def test_a_finding_that_cannot_be_shown_is_told_among_the_others(site, monkeypatch):
    """In report, history and digest; its page has the reason, and its document all of it."""

    def odd(finding: Finding, of: Run) -> tuple[str, ...]:
        if finding.process.name == "odd":
            raise ZeroDivisionError
        return traffic_query(finding, of)

    monkeypatch.setattr("tasks.pages.cards.traffic_query", odd)
    others = steady(entity_id="odd", executable="/opt/odd")
    secops = Destination(name="secops", channel="C1", clusters=("corp",))
    places = {"history_url": site.history_url, "archive_url": str(site.archive)}
    cluster = site.cluster(fresh(SLOT - DAY), *steady(), *others, fresh())
    site.hunt(cluster, SLOT - DAY)
    run_deployed(daily_digest, destination=secops, slot=SLOT - DAY, **places)
    state = site.hunt(cluster)
    places |= {"destination": secops, "slot": SLOT + timedelta(hours=1)}
    told = run_deployed(daily_digest, **places).result()["digest"]
    assert state.message == "2 new, 0 continuing"
    (_, report) = site.reports()
    assert "/opt/odd" in {each.process.executable for each in report.findings}
    (page,) = site.archive.glob(f"{report.run.folder}/report.html")
    assert page.read_text().count("cannot be shown: ZeroDivisionError") == 1
    assert all(each.id in page.read_text() for each in report.findings)
    assert all(each.id in told for each in report.findings)
    assert set(verify_archive(str(site.archive), pages_of)) == {()}


def test_without_process_events_no_finding_is_lost(site):
    """The stream is missing, or may not be read: the finding says so and stands."""
    site.hunt(site.cluster(*steady(), fresh(), processes=False))
    (finding,) = site.reports()[0].findings
    assert finding.status is Status.BASELINE
    assert finding.faults[0].startswith("not enriched: corp: ")
    assert "Unknown index [logs-endpoint.events.process-*]" in finding.faults[0]
    assert finding.priority is not None


def test_a_finding_whose_events_lack_a_field_is_found_and_says_what_is_missing(site):
    """No entity id, no address or no host: it keeps its place, with what there is."""
    lacking = {
        field: steady(f"e-{field}", executable=f"/opt/{field}", **{field: None})
        for field in ("process.entity_id", "destination.address", "host.id")
    }
    site.hunt(site.cluster(*chain.from_iterable(lacking.values()), fresh()))
    found = {each.process.name: each for each in site.reports()[0].findings}
    assert {name: bool(each.evidence) for name, each in found.items()} == {
        "process.entity_id": False,
        "destination.address": False,
        "host.id": True,
    }
    for name, each in found.items():
        assert any(fault.split(", ")[0].endswith(f"no {name}") for fault in each.faults)
        assert each.priority is not None


def broken(*_: object, **__: object) -> None:
    """Be a step of ours with a fault in it."""
    raise KeyError("host.id")


@pytest.mark.parametrize(
    ("step", "lacking"),
    [
        ("tasks.enrich.ask_processes", "not enriched"),
        ("tasks.score.ask_connections", "no connection times"),
    ],
)
def test_a_fault_of_ours_in_what_is_added_to_findings_loses_none(site, monkeypatch, step, lacking):
    """It stands beside them as a cluster's failure would, and in the log as an error.

    The traceback is in the log of the task, which Prefect writes.
    """
    logged = []
    error = SimpleNamespace(
        info=lambda *_: None,
        exception=lambda *of: logged.append(of),
        error=lambda *of: logged.append(of),
    )
    monkeypatch.setattr("flows.failures.get_run_logger", lambda: error)
    monkeypatch.setattr(step, broken)
    assert site.hunt(site.cluster(*steady(), fresh())).message == "baseline: 1"
    (finding,) = site.reports()[0].findings
    assert finding.faults == (f"{lacking}: Unexpected error: KeyError.",)
    assert finding.priority is not None
    assert logged == [("%s: %d findings", finding.faults[0], 1)]


def test_thresholds_of_the_deployment_count(site):
    """Tuned down, the hunt finds what it would not; the report says which were in force."""
    cluster = site.cluster(*beacon(601, timedelta(hours=5), phase="attempt"), fresh())
    assert site.hunt(cluster).message == "baseline: 0"
    tuned = {"min_duration_hours": 5, "min_events_per_hour": 100}
    assert site.hunt(cluster, thresholds=tuned).message == "baseline: 1"
    assert site.reports()[-1].hunt.pipeline.thresholds["min_duration_hours"] == 5


def test_the_time_zone_of_the_deployment_is_that_of_its_report(site):
    """Who reads it in Berlin reads Berlin's time beside UTC."""
    site.hunt(site.cluster(fresh()), time_zone="Europe/Berlin")
    assert site.reports()[-1].run.time_zone == "Europe/Berlin"


PUBLIC_HUNT = """
[hunt]
author = "Another team"
name = "Talkative programs"
uuid = "0c8f4f6e-6a5b-4c55-8f0e-3c6d8a0f2b11"
query = ['''
FROM logs-endpoint.events.network-*
| WHERE @timestamp > NOW() - 3650 days
| STATS events = COUNT(*), hosts = COUNT_DISTINCT(host.id) BY process.name
| WHERE events > 100
| SORT events DESC
| LIMIT 50
''']
"""


def test_a_public_hunt_file_runs_as_it_is(site):
    """Any team's hunt gets the pipeline: identity from its groups, within the slot's window."""
    file = site.folder / "talkative.toml"
    file.write_text(PUBLIC_HUNT)
    old = steady(end=SLOT - 8 * DAY, executable="/opt/before-the-window")
    state = site.hunt(site.cluster(*old, *steady(), fresh()), hunt=str(file))
    assert state.message == "baseline: 1"
    (report,) = site.reports(hunt="talkative")
    (finding,) = report.findings
    assert finding.identity == {"process.name": "agentd"}
    assert finding.figures == {"events": 1_501, "hosts": 1}
    assert "Not reproducible as of a slot: the query uses NOW()." in report.run.warnings


def test_a_hunt_over_other_data_streams_runs_too(site):
    """Process events have no destination: their telemetry is not judged, their hunt is run."""
    file = site.folder / "processes.toml"
    question = "FROM logs-endpoint.events.process-* | STATS n = COUNT(*), user.name = "
    file.write_text(
        PUBLIC_HUNT.partition("query =")[0]
        + f"query = ['{question}VALUES(process.name) BY host.id | LIMIT 10']"
    )
    write_events(site.folder / "corp", [process_event(at=SLOT - timedelta(hours=1))], PROCESS)
    cluster = Cluster(name="corp", url=(site.folder / "corp").as_uri())
    assert site.hunt(cluster, hunt=str(file)).message == "baseline: 1"


def test_several_values_of_a_name_are_one_text(site):
    """A hunt may answer with lists anywhere; the history stays readable."""
    file = site.folder / "lists.toml"
    file.write_text(
        PUBLIC_HUNT.partition("query =")[0]
        + "query = ['FROM logs-endpoint.events.network-* "
        + "| STATS n = COUNT(*), process.name = VALUES(process.name) BY host.id | LIMIT 10']"
    )
    cluster = site.cluster(*steady(), fresh())
    assert site.hunt(cluster, hunt=str(file)).message == "baseline: 1"
    with History.open(site.history_url) as history:
        (finding,) = history.findings()
    assert finding.process.name == "agentd, signed"


def test_the_query_to_check_a_finding_shows_its_events(site):
    """An analyst pastes it and sees what the finding is made of."""
    cluster = site.cluster(*steady(), fresh())
    site.hunt(cluster)
    (report,) = site.reports()
    query = "\n".join(traffic_query(report.findings[0], report.run))
    with connect(cluster) as client:
        answer = ask(client, Question("query", query, {"match_all": {}}, {}))
    assert answer.rows["events"].sum() == 1_501


def a_hunt_with(site: Site, change: tuple[str, str]) -> str:
    shipped = Path(__file__).parents[2] / "hunts" / "macos-unsigned-network.toml"
    mine = site.folder / "mine.toml"
    mine.write_text(shipped.read_text().replace(*change))
    return str(mine)


def broken_line(site: Site) -> dict:
    cluster = site.cluster(fresh())
    (site.folder / "corp" / NETWORK / "z.ndjson").write_text(
        '{"@timestamp": "2026-11-24T01:00Z"}\n{"a\n'
    )
    return {"cluster": cluster}


def newer_history(site: Site) -> dict:
    with sqlite3.connect(site.folder / "history.db") as database:
        database.execute("UPDATE beaconhunt_version SET version_num = '9999'")
    database.close()
    return {"cluster": site.cluster(fresh())}


def archive_in_the_way(site: Site) -> dict:
    site.archive.write_text("a file where the folder should be")
    return {"cluster": site.cluster(fresh())}


BAD_INPUT = {
    "a missing folder": (
        lambda _: {"cluster": Cluster(name="corp", url="file:///nowhere/at/all")},
        "/nowhere/at/all",
    ),
    "a broken line": (broken_line, "z.ndjson:2"),
    "a typo in the hunt file": (
        lambda site: {
            "cluster": site.cluster(fresh()),
            "hunt": a_hunt_with(site, ("window_days", "windows_days")),
        },
        "windows_days",
    ),
    "an unknown column": (
        lambda site: {
            "cluster": site.cluster(fresh()),
            "hunt": a_hunt_with(site, ("host.os.family ==", "host.os.famly ==")),
        },
        "Unknown column [host.os.famly]",
    ),
    "a history from a newer version": (newer_history, "newer"),
    "an archive that cannot be written": (archive_in_the_way, "archive"),
    "no such hunt": (
        lambda site: {"cluster": site.cluster(fresh()), "hunt": "mcos-unsigned"},
        "There is no hunt 'mcos-unsigned'",
    ),
    "no such threshold": (
        lambda site: {"cluster": site.cluster(fresh()), "thresholds": {"min_hours": 8}},
        "no threshold 'min_hours'",
    ),
    "a missing secret": (
        lambda _: {
            "cluster": Cluster(name="corp", url="https://127.0.0.1:1", api_key_env="NO_SUCH_KEY")
        },
        "NO_SUCH_KEY",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_named_with_its_remedy_and_nothing_is_written(site, name):
    """Whoever starts a run by hand learns what to do; the site is as it was."""
    prepare, named = BAD_INPUT[name]
    parameters = prepare(site)
    before = site.contents()
    state = site.hunt(**parameters)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, PipelineError)
    assert named in error.problem
    assert error.remedy
    assert site.contents() == before


@pytest.fixture
def deployed(monkeypatch):
    """Let a run think that a deployment started it."""
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "0b5f2a52-3a0e-4a4f-8f5c-0b1b3c2d4e5f")
    return monkeypatch


def slug_of(parameters: dict) -> str:
    return Path(parameters.get("hunt", "macos-unsigned-network")).stem


@pytest.mark.parametrize("name", sorted(set(BAD_INPUT) - {"a history from a newer version"}))
def test_a_deployed_run_with_bad_input_is_recorded_and_named_in_the_digest(site, name, deployed):
    """Nobody sees its error, so the history and the next digest say that nothing was searched."""
    prepare, named = BAD_INPUT[name]
    parameters = prepare(site)
    state = site.hunt(**parameters)
    assert state.is_failed()
    with History.open(site.history_url) as history:
        (recorded,) = history.runs(cluster="corp", hunt=slug_of(parameters))
        destination = Destination(
            name="secops", channel="C1", clusters=("corp",), hunts=(slug_of(parameters),)
        )
        (told,) = history.ledger(destination, Medium.TERMINAL).pending(SLOT).clusters
    assert (recorded.run.outcome, recorded.run.slot) == (Outcome.FAILED, SLOT)
    assert named in recorded.run.detail
    assert told.run == recorded.run


def test_a_fault_of_ours_without_which_nothing_is_new_fails_the_run(site, deployed):
    """Recorded, with a report, and named in the digest: nobody takes it for nothing new."""
    deployed.setattr("tasks.diff.identified", broken)
    assert site.hunt(site.cluster(*steady(), fresh())).is_failed()
    (report,) = site.reports()
    assert (report.run.outcome, report.run.reason) == (Outcome.FAILED, "internal")
    assert report.run.detail.startswith("Unexpected error: KeyError. Please report it")
    secops = Destination(name="secops", channel="C1", clusters=("corp",))
    places = {"history_url": site.history_url, "archive_url": str(site.archive)}
    deployed.delenv("PREFECT__RUNTIME__DEPLOYMENT__ID")  # Without a token it prints by hand only.
    places |= {"destination": secops, "slot": SLOT + timedelta(hours=1)}
    told = run_deployed(daily_digest, **places).result()["digest"]
    assert "corp was never searched (internal: the run broke off" in told


def test_a_fault_of_ours_in_a_run_by_hand_is_raised_whole(site, monkeypatch):
    """Who started it can report it, and nothing is left behind."""
    monkeypatch.setattr("tasks.diff.identified", broken)
    cluster = site.cluster(*steady(), fresh())
    before = site.contents()
    error = site.hunt(cluster).result(raise_on_failure=False)
    assert isinstance(error, Unexpected)
    assert isinstance(error.__cause__, KeyError)
    assert site.contents() == before


def test_a_deployed_run_without_an_archive_fails_with_the_remedy(site, deployed):
    """The history says that nothing was searched; the flow run says what to do."""
    state = site.hunt(**archive_in_the_way(site))
    with pytest.raises(ArchiveError) as error:
        state.result()
    assert "archive_url" in error.value.remedy


def test_a_hunt_keeps_its_runs_when_its_file_breaks_and_is_repaired(site, deployed):
    """Before its file could be read once, its slug names it; afterwards its uuid always does."""
    cluster, file = site.cluster(fresh(), fresh(SLOT - DAY)), site.folder / "talkative.toml"

    def hunted(text: str, slot=SLOT) -> list[tuple[str, Outcome]]:
        file.write_text(text)
        site.hunt(cluster, slot, hunt=str(file))
        with History.open(site.history_url) as history:
            return [(each.run.hunt_uuid, each.run.outcome) for each in history.runs()]

    uuid = "0c8f4f6e-6a5b-4c55-8f0e-3c6d8a0f2b11"
    assert hunted("broken", SLOT - DAY) == [("talkative", Outcome.FAILED)]
    assert hunted(PUBLIC_HUNT, SLOT - DAY) == [(uuid, Outcome.BASELINE)]
    assert hunted("broken") == [(uuid, Outcome.FAILED), (uuid, Outcome.BASELINE)]
    assert hunted(PUBLIC_HUNT) == [(uuid, Outcome.COMPLETE), (uuid, Outcome.BASELINE)]
    rows = (site.archive / "index.html").read_text()
    assert rows.count("Superseded.") == 2


def test_a_slot_without_a_zone_is_refused(site):
    """Every worker would read another moment."""
    state = site.hunt(site.cluster(fresh()), SLOT.replace(tzinfo=None))
    assert state.is_failed()
    assert "`slot` is not a time with its zone. Write it like 2026-11-24T06:00Z" in state.message


def test_bad_lines_can_be_skipped_and_are_counted(site):
    """An export that broke off is still worth hunting, and the report says what is missing."""
    cluster = broken_line(site)["cluster"].model_copy(update={"skip_bad_lines": True})
    assert site.hunt(cluster).message == "baseline: 0"
    assert any(
        "1" in warning and "skipped" in warning for warning in site.reports()[0].run.warnings
    )
