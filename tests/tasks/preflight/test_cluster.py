"""A preflight of a cluster, through the real client: each verdict of each check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.esql.reads import usual_types
from tasks.fleet.documents import NETWORK, PROCESS
from tasks.model.coverage import AgentCoverage
from tasks.preflight.checks import Check, Verdict
from tasks.preflight.cluster import HuntSettings, try_cluster
from tasks.preflight.telemetry import telemetry_faults
from tasks.settings import Cluster
from tests.certificates import Authority
from tests.elasticsearch_behaviours import (
    Behaviour,
    busy,
    described,
    dropped,
    error,
    never,
    page,
    partial_of,
    skipping,
    when,
)
from tests.elasticsearch_server import (
    SERVERLESS,
    V8_14,
    V8_15,
    V8_19,
    V9_1,
    Access,
    ElasticsearchServer,
    Release,
)
from tests.events import SLOT, network_event, process_event, write_events

KEY = "canary-api-key-9b31"
NETWORKS, PROCESSES = "logs-endpoint.events.network-*", "logs-endpoint.events.process-*"
OF_A_SERVER = (
    *("hunt", "settings", "connection", "API key", "version", "row limit", "privileges"),
    *("data streams", "columns", "query", "events", "telemetry"),
)
OF_A_FOLDER = ("hunt", "settings", "query", "files", "events", "telemetry")


@pytest.fixture(autouse=True)
def _api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_PROD_API_KEY", KEY)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A folder with fresh events of both kinds."""
    folder = tmp_path / "events"
    write_events(folder, [network_event(at=SLOT - timedelta(minutes=30))])
    write_events(folder, [process_event(at=SLOT - timedelta(minutes=30))], PROCESS)
    return folder


def settings(url: str, **changes: Any) -> HuntSettings:
    hunt = changes.pop("hunt", "macos-unsigned-network")
    cluster = Cluster(name="prod", url=url, **{"api_key_env": "ES_PROD_API_KEY"} | changes)
    return HuntSettings("prod", cluster, hunt, {}, stale_after_hours=6)


def checked(url: str, **changes: Any) -> list[Check]:
    """Check through the official client, over a real socket."""
    return list(try_cluster(settings(url, **changes), SLOT))


def checks_of(events: Path | None = None, *behaviours: Behaviour, **server: Any) -> list[Check]:
    with ElasticsearchServer(*behaviours, folder=events, **server) as running:
        return checked(running.url)


def verdicts(checks: list[Check]) -> dict[str, Verdict]:
    """How each check went; the worst of those with one name."""
    order = list(Verdict)
    return {
        name: max((c.verdict for c in checks if c.name == name), key=order.index)
        for name in dict.fromkeys(check.name for check in checks)
    }


def not_ok(checks: list[Check]) -> dict[str, Verdict]:
    return {name: each for name, each in verdicts(checks).items() if each is not Verdict.OK}


def said(checks: list[Check], name: str) -> str:
    return " ".join(f"{c.said} {c.remedy}" for c in checks if c.name == name)


@pytest.mark.parametrize("release", [V8_15, V8_19, V9_1, SERVERLESS])
def test_a_cluster_with_all_that_a_hunt_needs_is_ok(events: Path, release: Release):
    """Of every version, with the key of docs/operations.md, in at most ten requests."""
    access = Access(KEY, indices=("logs-endpoint.events.*", "metrics-endpoint.metadata*"))
    with ElasticsearchServer(folder=events, release=release, access=access) as server:
        checks = checked(server.url)
    # Serverless shows its limit to no key.
    assert not_ok(checks) == ({"row limit": Verdict.WARNING} if release is SERVERLESS else {})
    assert tuple(verdicts(checks)) == OF_A_SERVER
    assert len(server.requests) <= 10
    assert {check.subject for check in checks} == {"prod"}


def test_a_folder_is_checked_as_far_as_it_makes_sense(events: Path):
    """It has no key, no version and no privileges."""
    checks = checked(events.as_uri())
    assert not_ok(checks) == {}
    assert tuple(verdicts(checks)) == OF_A_FOLDER


def only(*failed: str, of: tuple[str, ...] = OF_A_SERVER) -> dict[str, Verdict]:
    """The first of these failed, and so all others of them were skipped."""
    first, *others = failed
    wrong = {first: Verdict.FAILED} | dict.fromkeys(others, Verdict.SKIPPED)
    return {name: wrong[name] for name in of if name in wrong}


AFTER_SETTINGS = OF_A_SERVER[2:]
AFTER_CONNECTION = OF_A_SERVER[3:]
AFTER_KEY = OF_A_SERVER[4:]
AFTER_STREAMS = OF_A_SERVER[8:]


@pytest.mark.parametrize(
    ("hunt", "named"),
    [("no-such-hunt", "Choose a shipped hunt"), ("/no/hunt.toml", "Choose a shipped hunt")],
)
def test_a_hunt_that_cannot_be_loaded_fails_and_the_key_is_checked_all_the_same(
    events: Path, hunt: str, named: str
):
    """Whoever repairs one thing learns of the other too."""
    with ElasticsearchServer(folder=events) as server:
        checks = checked(server.url, hunt=hunt)
    assert not_ok(checks) == only("hunt", *AFTER_KEY)
    assert named in said(checks, "hunt")


def test_a_secret_that_is_not_set_is_named(events: Path):
    """Nothing is sent without the key."""
    with ElasticsearchServer(folder=events) as server:
        checks = checked(server.url, api_key_env="ES_OTHER_API_KEY")
    assert not_ok(checks) == only("settings", *AFTER_SETTINGS)
    assert "ES_OTHER_API_KEY" in said(checks, "settings")
    assert server.requests == []


@pytest.mark.parametrize("url", ["https://es.example.com:99999", "file:///no/such/folder"])
def test_an_address_that_cannot_be_called_is_a_setting_to_correct(url: str):
    """Before anything is sent."""
    checks = checked(url)
    assert verdicts(checks)["settings"] is Verdict.FAILED
    assert "`url`" in said(checks, "settings")


@pytest.mark.parametrize("fault", [dropped, busy, page(502), page(200)])
def test_a_server_that_cannot_be_reached_fails_its_connection(fault: Behaviour):
    """Everything else there is skipped, and the reader sees one fault, not nine."""
    checks = checks_of(privileges=fault)
    assert not_ok(checks) == only("connection", *AFTER_CONNECTION)
    assert "127.0.0.1" in said(checks, "connection") or "unavailable" in said(checks, "connection")


def test_a_server_that_never_answers_fails_soon(monkeypatch: pytest.MonkeyPatch):
    """A check takes seconds."""
    monkeypatch.setattr("tasks.clusters.access.PATIENCE_SECONDS", 0.1)
    checks = checks_of(privileges=never)
    assert not_ok(checks) == only("connection", *AFTER_CONNECTION)


def test_a_certificate_that_is_not_trusted_fails_the_connection(authority: Authority):
    """The remedy is the authority's file, never to look away."""
    checks = checks_of(certificate=authority.good())
    assert not_ok(checks) == only("connection", *AFTER_CONNECTION)
    assert "`ca_certs`" in said(checks, "connection")


def test_a_key_that_is_not_accepted_fails_alone(events: Path):
    """The connection is fine, and that is said."""
    checks = checks_of(events, access=Access("another-key"))
    assert not_ok(checks) == only("API key", *AFTER_KEY)
    assert "ES_PROD_API_KEY" in said(checks, "API key")
    assert KEY not in str(checks)


@pytest.mark.parametrize("release", [V8_14])
def test_a_version_that_is_too_old_fails(events: Path, release: Release):
    """With both numbers; what else is wrong is told too."""
    checks = checks_of(events, release=release)
    assert not_ok(checks) == only("version", "row limit")
    assert "8.15" in said(checks, "version")
    assert "8.14.3" in said(checks, "version")


def test_a_version_that_may_not_be_asked_for_is_a_warning(events: Path):
    """Runs work; the privilege is named."""
    checks = checks_of(events, access=Access(KEY, cluster=()))
    assert not_ok(checks) == dict.fromkeys(("version", "row limit"), Verdict.WARNING)
    assert "`monitor`" in said(checks, "version")
    assert "10,000 rows are assumed" in said(checks, "row limit")
    assert "`monitor`" in said(checks, "row limit")


def test_a_lowered_limit_is_a_warning_with_its_number(events: Path):
    """Runs cost more questions, and some are partial: the administrator learns why."""
    checks = checks_of(events, rows_at_most=500)
    assert not_ok(checks) == {"row limit": Verdict.WARNING}
    assert "cuts every answer at 500 rows" in said(checks, "row limit")
    assert "`esql.query.result_truncation_max_size`" in said(checks, "row limit")


def test_a_key_that_may_not_read_the_network_events_fails(events: Path):
    """By pattern and privilege; then there is nothing to search either."""
    checks = checks_of(events, access=Access(KEY, indices=(PROCESSES,)))
    wrong = only("data streams", *AFTER_STREAMS) | {"privileges": Verdict.FAILED}
    assert not_ok(checks) == wrong
    assert f"lacks `read` on {NETWORKS}" in said(checks, "privileges")
    assert "The API key of a cluster" in said(checks, "privileges")


def test_a_key_that_may_not_read_process_events_is_a_warning(events: Path):
    """Findings are described less, and runs work."""
    checks = checks_of(events, access=Access(KEY, indices=(NETWORKS,)))
    assert not_ok(checks) == dict.fromkeys(("privileges", "data streams"), Verdict.WARNING)
    assert f"lacks `read` on {PROCESSES}" in said(checks, "privileges")


def test_a_cluster_without_network_events_fails(tmp_path: Path):
    """A typing error and a missing privilege look the same to Elasticsearch: both are named."""
    write_events(tmp_path, [process_event()], PROCESS)
    checks = checks_of(tmp_path)
    assert not_ok(checks) == only("data streams", *AFTER_STREAMS)
    assert "the data stream exists" in said(checks, "data streams")
    assert "the API key may read it" in said(checks, "data streams")


def with_mapping(folder: Path, stream: str, changes: Mapping[str, str | None]) -> None:
    """Give a data stream the usual mapping with other types; None takes a field out."""
    fields = {name: str(kind) for name, kind in usual_types(stream).items()} | changes
    properties = {name: {"type": kind} for name, kind in fields.items() if kind}
    (folder / stream / "mapping.json").write_text(json.dumps({"properties": properties}))


def test_columns_that_are_missing_or_of_another_type_fail_by_name(events: Path):
    """All of them at once; Elasticsearch's own words follow in the check of the query."""
    fresh = SLOT - timedelta(minutes=30)
    write_events(events, [network_event(at=fresh, **{"destination.address": None})])
    with_mapping(events, NETWORK, {"destination.address": None, "destination.ip": "keyword"})
    checks = checks_of(events)
    assert verdicts(checks)["columns"] is Verdict.FAILED
    assert f"{NETWORKS}: no destination.address." in said(checks, "columns")
    assert "destination.ip is keyword, not ip." in said(checks, "columns")
    assert verdicts(checks)["query"] is Verdict.FAILED
    assert "first argument of [CIDR_MATCH(destination.ip," in said(checks, "query")


def test_a_column_of_two_types_names_the_data_stream_that_is_wrong(events: Path):
    """That is where somebody has to look."""
    other = "logs-endpoint.events.network-other"
    write_events(events, [network_event(at=SLOT - timedelta(hours=1))], other)
    with_mapping(events, other, {"source.bytes": "keyword"})
    checks = checks_of(events)
    assert f"{other}: source.bytes is keyword, not long." in said(checks, "columns")


@pytest.mark.parametrize("stream", [NETWORK, "own-network"])
def test_times_in_nanoseconds_fail_in_words(events: Path, tmp_path: Path, stream: str):
    """Of Elastic Defend's data streams and of any other: the hunt would find nothing there."""
    write_events(events, [network_event(at=SLOT - timedelta(minutes=30))], stream)
    hunt = hunt_file(tmp_path, f"FROM {stream} | STATS n = COUNT(*) BY host.id | LIMIT 5")
    types = {"@timestamp": {"date_nanos": {}}, "host.id": {"keyword": {}}}
    body = {"indices": [stream], "fields": types}
    with ElasticsearchServer(folder=events, fields=lambda call: call.answer(body)) as server:
        checks = checked(server.url, hunt=hunt)
    assert verdicts(checks)["columns"] is Verdict.FAILED
    assert f"{stream}: @timestamp is date_nanos, not date." in said(checks, "columns")


def test_a_column_that_only_describes_findings_is_a_warning(events: Path):
    """The hunt itself does not need it."""
    write_events(events, [process_event(parents=())], PROCESS)
    with_mapping(events, PROCESS, {"process.parent.name": None})
    checks = checks_of(events)
    assert not_ok(checks) == {"columns": Verdict.WARNING}
    assert f"{PROCESSES}: no process.parent.name." in said(checks, "columns")


def hunt_file(folder: Path, query: str) -> str:
    path = folder / "own.toml"
    path.write_text(
        f"[hunt]\nname = 'Our own'\nuuid = 'a1'\nauthor = 'us'\nquery = ['''{query}''']\n"
    )
    return str(path)


def test_a_query_that_the_cluster_refuses_is_marked_at_its_place(events: Path, tmp_path: Path):
    """Nothing is searched for that: it is asked for no rows."""
    hunt = hunt_file(tmp_path, f"FROM {NETWORKS}\n| WHERE host.is == 1\n| LIMIT 5")
    with ElasticsearchServer(folder=events) as server:
        checks = checked(server.url, hunt=hunt)
    assert verdicts(checks)["query"] is Verdict.FAILED
    assert "| WHERE host.is == 1\n        ^" in said(checks, "query")
    assert server.asked("host.is")[0].query.endswith("\n| LIMIT 0")


def test_a_query_that_only_the_cluster_can_read_is_left_to_it(events: Path, tmp_path: Path):
    """Newer servers know more than we do."""
    hunt = hunt_file(tmp_path, f"FROM {NETWORKS} | CHANGE_POINT x ON y | LIMIT 5")
    unknown = error(400, "parsing_exception", "line 1:40: mismatched input 'CHANGE_POINT'")
    with ElasticsearchServer(unknown, folder=events) as server:
        checks = checked(server.url, hunt=hunt)
    assert verdicts(checks)["columns"] is Verdict.OK
    assert "Only the cluster can parse" in said(checks, "columns")
    assert "CHANGE_POINT" in said(checks, "query")


def test_a_hunt_that_does_not_say_what_it_reads_fails(events: Path, tmp_path: Path):
    """Nobody could say what it could have seen."""
    checks = checked(events.as_uri(), hunt=hunt_file(tmp_path, "ROW a = 1"))
    assert not_ok(checks) == only("hunt", *OF_A_FOLDER[2:], of=OF_A_FOLDER)


def test_a_day_without_events_fails_on_a_server_and_is_a_warning_for_a_folder(tmp_path: Path):
    """An export of an incident is old, and is hunted as of its own time."""
    for stream, event in ((NETWORK, network_event), (PROCESS, process_event)):
        write_events(tmp_path, [event(at=SLOT - timedelta(days=3))], stream)
    remote, folder = checks_of(tmp_path), checked(tmp_path.as_uri())
    assert not_ok(remote) == only("events", "telemetry")
    assert "Elastic Defend ships" in said(remote, "events")
    assert not_ok(folder)["events"] is Verdict.WARNING
    assert "`beaconhunt run prod --slot 2026-11-21T06:01Z`" in said(folder, "events")
    assert "Elastic Defend" not in said(folder, "events")


def test_events_that_are_stale_are_a_warning(tmp_path: Path):
    """A run now would have no data."""
    for stream, event in ((NETWORK, network_event), (PROCESS, process_event)):
        write_events(tmp_path, [event(at=SLOT - timedelta(hours=9))], stream)
    checks = checks_of(tmp_path)
    assert not_ok(checks) == {"events": Verdict.WARNING}
    assert "1 event from 1 Mac in the last 24 hours, the newest 9 hours old" in said(
        checks, "events"
    )
    assert "`stale_after_hours`" in said(checks, "events")
    folder = checked(tmp_path.as_uri())
    assert not_ok(folder) == {"events": Verdict.WARNING}
    assert "`beaconhunt run prod --slot 2026-11-23T21:01Z`" in said(folder, "events")
    assert "`stale_after_hours`" not in said(folder, "events")


def test_a_folder_with_events_of_the_future_only_is_a_warning_without_a_command(tmp_path: Path):
    """No slot finds them before their time comes."""
    write_events(tmp_path, [network_event(at=SLOT + timedelta(days=1))])
    checks = checked(tmp_path.as_uri())
    assert verdicts(checks)["events"] is Verdict.WARNING
    assert "this computer's clock" in said(checks, "events")
    assert "--slot" not in said(checks, "events")


def test_events_that_are_all_outside_the_population_fail_with_the_values_that_came(tmp_path: Path):
    """On a server and in a folder: the remedy is the hunt, not the agents."""
    fresh = {"at": SLOT - timedelta(minutes=30)}
    write_events(tmp_path, [network_event(**fresh, **{"host.os.family": "macOS"})])
    write_events(tmp_path, [process_event(**fresh)], PROCESS)
    for checks in (checks_of(tmp_path), checked(tmp_path.as_uri())):
        assert not_ok(checks) == {"events": Verdict.FAILED, "telemetry": Verdict.SKIPPED}
        came = '1 event came, none with host.os.family == "macos" (macOS: 1): runs find nothing.'
        assert came in said(checks, "events")
        assert "correct `population`" in said(checks, "events")


def test_events_that_cannot_be_trusted_are_a_warning_each(tmp_path: Path):
    """With the remedy, before the first run; a Mac that sleeps is counted beside the events."""
    copy = network_event("a", at=SLOT - timedelta(minutes=30))
    ahead = network_event("b", at=SLOT + timedelta(days=2))
    asleep = network_event("c", at=SLOT - timedelta(hours=9))
    write_events(tmp_path, [copy, copy, ahead, asleep])
    write_events(tmp_path, [process_event(at=SLOT - timedelta(minutes=30))], PROCESS)
    checks = checked(tmp_path.as_uri())
    assert not_ok(checks) == {"telemetry": Verdict.WARNING}
    assert "less than an hour old, 1 of 2 Macs silent for over 6 hours." in said(checks, "events")
    told = said(checks, "telemetry")
    assert "Clock ahead: 1 event of 1 Mac (MBP-b) came with a time that is still in the" in told
    assert "Ingested twice: 1 of 3 events (33%; " in told
    assert "Look for a second way into the data stream" in told


def test_shards_that_do_not_answer_are_a_warning(events: Path):
    """The figures are those of the others."""
    checks = checks_of(events, partial_of())
    assert verdicts(checks)["events"] is Verdict.WARNING
    assert "failed shards" in said(checks, "events")


def test_a_remote_cluster_that_does_not_answer_is_a_warning(events: Path, tmp_path: Path):
    """Runs will be partial."""
    write_events(events, [network_event(at=SLOT - timedelta(minutes=30))], f"eu:{NETWORK}")
    query = f"FROM {NETWORKS},eu:{NETWORKS} | STATS n = COUNT(*) BY host.id | LIMIT 5"
    hunt = hunt_file(tmp_path, query)
    with ElasticsearchServer(folder=events) as server:
        assert not_ok(checked(server.url, hunt=hunt)) == {}
    with ElasticsearchServer(skipping("eu"), folder=events) as server:
        checks = checked(server.url, hunt=hunt)
    assert verdicts(checks)["query"] is Verdict.WARNING
    assert "remote cluster eu" in said(checks, "query")


def test_a_query_that_takes_too_long_fails(events: Path, monkeypatch: pytest.MonkeyPatch):
    """It is given up, in words."""
    monkeypatch.setattr("tasks.preflight.cluster.PATIENCE_MINUTES", 0.002)
    checks = checks_of(events, never)
    assert verdicts(checks)["query"] is Verdict.FAILED
    assert "deadline_minutes" in said(checks, "query")


def test_events_that_take_long_to_count_are_a_warning(
    events: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run has more time, and looks at more days."""
    monkeypatch.setattr("tasks.preflight.cluster.PATIENCE_MINUTES", 0.05)
    checks = checks_of(events, when("events = COUNT(*)", never))
    assert not_ok(checks) == {"events": Verdict.WARNING, "telemetry": Verdict.SKIPPED}
    assert "`deadline_minutes` for a query about 7 days" in said(checks, "events")


def test_a_fault_at_the_version_is_that_of_the_version(events: Path):
    """What was asked before and after stands."""
    checks = checks_of(events, info=error(500, "x", "it broke"))
    assert verdicts(checks)["version"] is Verdict.FAILED
    assert verdicts(checks)["privileges"] is Verdict.OK
    assert not_ok(checks_of(events, info=described)) == {}


def agent(version: str = "8.15.0", **changes: int) -> AgentCoverage:
    healthy = {
        "events": 10_000,
        "groups": 2_000,
        "single_event_groups": 100,
        "merged_events": 0,
        "unsigned_unknown_events": 0,
    }
    return AgentCoverage(version, **healthy | changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"single_event_groups": 1_950}, ["deduplicate_network_events"]),
        ({"merged_events": 6_000}, ["60% of the events"]),
        ({"unsigned_unknown_events": 500}, ["5% of the events"]),
        ({"merged_events": 100, "unsigned_unknown_events": 100}, []),
        ({"merged_events": 101, "unsigned_unknown_events": 101}, ["1% of", "1% of"]),
    ],
)
def test_telemetry_that_blinds_or_halves_a_hunt_is_a_warning(
    changes: dict[str, int], named: list[str]
):
    """Each with the setting or threshold that helps."""
    faults = list(telemetry_faults([agent(**changes)]))
    assert len(faults) == len(named)
    for fault, words in zip(faults, named, strict=True):
        assert words in f"{fault.text} {fault.remedy}"
        assert fault.verdict is Verdict.WARNING


def test_agents_that_drop_events_are_named_by_version():
    """The others see."""
    blind = agent("8.18.2", single_event_groups=2_000)
    (fault,) = telemetry_faults([agent("8.14.3"), blind])
    assert "agents 8.18.2 drop" in fault.text


def test_merged_events_name_the_versions_that_send_more_than_a_few():
    """The operator sees whose events count half, not every version that ever merged one."""
    few, many = agent("8.14.3", merged_events=1), agent("8.18.2", merged_events=9_000)
    (fault,) = telemetry_faults([few, many])
    assert "agents 8.18.2 send" in fault.text
    assert "(45% of the events)" in fault.text


def test_telemetry_of_other_data_streams_is_not_judged(events: Path, tmp_path: Path):
    """They have no connections."""
    hunt = hunt_file(tmp_path, f"FROM {PROCESSES} | STATS n = COUNT(*) BY host.id | LIMIT 5")
    checks = checked(events.as_uri(), hunt=hunt)
    assert verdicts(checks)["telemetry"] is Verdict.SKIPPED


def test_what_a_folder_holds_besides_documents_is_named(events: Path):
    """A check says what runs will not see, and how much they will."""
    assert said(checked(events.as_uri()), "files").startswith("All files are read: 1 document.")
    (events / NETWORK / "notes.txt").write_text("call Ann")
    checks = checked(events.as_uri())
    assert verdicts(checks)["files"] is Verdict.WARNING
    assert "notes.txt" in said(checks, "files")
