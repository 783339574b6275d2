from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.clusters import client, connect
from tasks.errors import ClusterError, Unreachable
from tasks.esql.reads import usual_types
from tasks.fleet.documents import NETWORK, Document, milliseconds
from tasks.fleet.generate import write_fleet
from tasks.fleet.hosts import Fleet
from tasks.fleet.plants import plants
from tasks.model.findings import (
    NO_EVIDENCE,
    CodeSignature,
    Evidence,
    Finding,
    Host,
    Priority,
    Process,
    Status,
)
from tasks.model.hunts import load_hunt
from tasks.model.runs import Plan
from tasks.questions.connections import AGENTS_NOT_MAPPED, ask_connections
from tasks.score import HOURS_NOT_KNOWN, not_scored, scored
from tasks.settings import Cluster
from tests.builders import finding
from tests.effort import examples
from tests.elasticsearch_behaviours import answer
from tests.elasticsearch_server import ElasticsearchServer
from tests.events import SLOT, connection, network_event, write_events

ADDRESS = "45.45.45.45"
HUNT = load_hunt("macos-unsigned-network")
PLAN = Plan("abc", HUNT, "corp", SLOT, stale_after_hours=6, started_at=SLOT)
HOUR = timedelta(hours=1)
NOTHING = pd.DataFrame()


def seen(*entity_ids: str, host_id: str = "a", address: str = ADDRESS) -> Finding:
    """A finding of these processes, before anything is known of its connections."""
    return finding(host_id, address=address, process=Process(entity_ids=entity_ids), evidence=None)


def tables(cluster: Cluster, *findings: Finding) -> tuple[pd.DataFrame, pd.DataFrame]:
    with connect(cluster) as opened:
        return ask_connections(opened, PLAN, findings)


def evidence(
    folder: Path, documents: Sequence[Document], *findings: Finding
) -> list[Evidence | None]:
    """Ask the embedded cluster about these findings, of `e` by default; in the findings' order."""
    write_events(folder, documents)
    asked = findings or (seen("e"),)
    answers = tables(Cluster(name="corp", url=folder.as_uri()), *asked)
    by_id = {one.id: one.evidence for one in scored(asked, *answers, PLAN)}
    return [by_id[one.id] for one in asked]


def many(count: int, encoding: str = "paired", **traits) -> list[Document]:
    """Connections 12 s apart, each from a port of its own; the last one an hour before the slot."""
    return [
        event
        for n in range(count)
        for event in connection(
            encoding,
            at=SLOT - HOUR - timedelta(seconds=12 * (count - 1 - n)),
            **traits | {"source.port": 1_024 + n},
        )
    ]


@pytest.mark.parametrize("encoding", ["paired", "merged", "deduplicated"])
def test_a_connection_counts_once_in_every_encoding(tmp_path, encoding):
    """What the agent's policy makes of a connection changes no figure of the evidence."""
    (shown,) = evidence(tmp_path, many(5, encoding))
    assert shown.connections == 5
    assert shown.period_seconds == 12
    assert shown.last_connection == SLOT - HOUR


def test_an_attempt_and_its_disconnect_in_two_hours_are_one(tmp_path):
    """It belongs to the hour in which it began."""
    at = SLOT - HOUR - timedelta(milliseconds=50)
    (shown,) = evidence(tmp_path, connection("paired", at=at))
    assert shown.connections == 1
    assert shown.hourly[-2:] == (1, 0)
    assert shown.first_connection == shown.last_connection == at


def test_a_disconnect_without_an_attempt_is_one(tmp_path):
    """The attempt was before the window, or is lost."""
    (shown,) = evidence(tmp_path, [network_event(phase="disconnect")])
    assert shown.connections == 1


def test_a_look_up_is_none(tmp_path):
    """A program that resolves names does not thereby call anyone."""
    look_up = [network_event(phase="lookup"), network_event(phase="answer")]
    assert evidence(tmp_path, [*look_up, *connection()])[0].connections == 1


def test_a_program_that_only_resolves_has_no_evidence(tmp_path):
    """None, not zero: it was not seen connecting."""
    assert evidence(tmp_path, [network_event(phase="lookup"), network_event(phase="answer")]) == [
        None
    ]


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_port_that_is_used_again_counts_again(tmp_path, lost):
    """Ports run out within a week. Where events are lost, the more frequent kind counts."""
    events = [e for n in (1, 2, 3) for e in connection("paired", at=SLOT - n * HOUR)]
    for _ in range(lost):
        events.remove(next(e for e in events if e["event"]["action"] == "connection_attempted"))
    assert evidence(tmp_path, events)[0].connections == 3


def test_an_hour_without_any_event_of_the_mac_is_no_data(tmp_path):
    """It slept: that is not the same as awake and silent, which is zero."""
    awake = network_event(at=SLOT - 3 * HOUR, entity_id="another", signature="developer")
    elsewhere = network_event("b", "another", at=SLOT - 5 * HOUR)
    (shown,) = evidence(tmp_path, [awake, elsewhere, *connection(at=SLOT - HOUR)])
    assert shown.hourly == (*[None] * 165, 0, None, 1)


def test_all_starts_of_a_program_add_up(tmp_path):
    """A restart continues the same finding; a stranger on the same Mac does not."""
    events = [
        *many(3, entity_id="before"),
        *many(2, entity_id="after"),
        *many(4, entity_id="stranger"),
        *many(5, entity_id="after", destination="45.45.45.46"),
    ]
    assert evidence(tmp_path, events, seen("before", "after"))[0].connections == 5


@pytest.mark.parametrize("encoding", ["paired", "merged", "deduplicated"])
def test_an_event_that_was_ingested_twice_counts_once(tmp_path, encoding):
    """Also where only one of the two events of a connection was."""
    events = many(5, encoding)
    assert evidence(tmp_path, [*events, *events[:7], *events[:3]])[0].connections == 5


def test_two_connections_at_one_moment_are_two(tmp_path):
    """Their ports differ: no event was ingested twice."""
    events = [each for port in (1_024, 1_025) for each in connection(**{"source.port": port})]
    assert evidence(tmp_path, events)[0].connections == 2


def test_two_instances_have_the_period_of_each(tmp_path):
    """They start ten seconds apart, and neither calls every ten seconds."""
    later = SLOT - 2 * HOUR
    events = [
        network_event(at=later + timedelta(seconds=55 * n + 10 * instance), entity_id=entity)
        for instance, entity in enumerate(("e", "f", "g"))
        for n in range(20)
    ]
    (shown,) = evidence(tmp_path, events, seen("e", "f", "g"))
    assert (shown.period_seconds, shown.regularity, shown.connections) == (55, 1, 60)


def clones(of: int) -> list[Document]:
    """Two Macs with one host.id and one entity id, of which the second calls less."""
    one, other = many(5), many(of, **{"agent.id": "agent-clone"})
    awake = network_event(at=SLOT - 3 * HOUR, entity_id="x", **{"agent.id": "agent-clone"})
    return [*one, *other, awake]


def test_the_figures_of_cloned_macs_are_those_of_one(tmp_path):
    """The busier one's, hours asleep included; what the other did is counted beside them."""
    write_events(tmp_path, clones(3))
    answers = tables(Cluster(name="corp", url=tmp_path.as_uri()), seen("e"))
    (shown,) = scored((seen("e"),), *answers, PLAN)
    assert (shown.evidence.connections, shown.evidence.period_seconds) == (5, 12)
    assert shown.evidence.hourly[-4:] == (None, None, 4, 1)
    assert shown.faults == (
        "its host.id has 1 other agent: 3 connections from there are not counted here",
    )


def test_where_agents_are_not_mapped_they_are_counted_together_and_that_is_said(tmp_path):
    """The evidence of every finding is worth more than telling clones apart."""
    write_events(tmp_path, [each | {"agent": {"version": "8.19.2"}} for each in clones(3)])
    fields = {name: {"type": str(kind)} for name, kind in usual_types(NETWORK).items()}
    del fields["agent.id"]
    (tmp_path / NETWORK / "mapping.json").write_text(json.dumps({"properties": fields}))
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as opened:
        answers = ask_connections(opened, PLAN, [seen("e")])
        assert list(opened.warnings) == [AGENTS_NOT_MAPPED]
    (shown,) = scored((seen("e"),), *answers, PLAN)
    assert (shown.evidence.connections, shown.faults) == (8, ())
    assert shown.evidence.hourly[-4:] == (None, 0, 6, 2)


def test_only_the_window_counts(tmp_path):
    """From its first moment to before the slot, as of which every question is asked."""
    window = PLAN.window
    inside = [window.start, SLOT - timedelta(milliseconds=1)]
    outside = [window.start - timedelta(milliseconds=1), SLOT]
    (shown,) = evidence(tmp_path, [network_event(at=at) for at in (*inside, *outside)])
    assert (shown.first_connection, shown.last_connection) == tuple(inside)
    assert (shown.hourly[0], shown.hourly[-1], shown.connections) == (1, 1, 2)


def test_beyond_two_thousand_connections_counts_stay_exact(tmp_path):
    """Only the times are bounded, to the newest of each process."""
    write_events(tmp_path, [*many(3_000), *many(2_500, entity_id="f")])
    both = seen("e", "f")
    connections, hours = tables(Cluster(name="corp", url=tmp_path.as_uri()), both)
    first = SLOT - HOUR - timedelta(seconds=12 * 2_999)
    newest = [milliseconds(SLOT - HOUR - timedelta(seconds=12 * n)) for n in range(2_000)]
    assert [sorted(times, reverse=True) for times in connections["times"]] == [newest, newest]
    (one,) = scored((both,), connections, hours, PLAN)
    assert one.evidence.connections == sum(filter(None, one.evidence.hourly)) == 5_500
    assert one.evidence.first_connection == first
    assert one.evidence.hourly[-11:] == (299, 399, *[600] * 8, 2)


TRACED = (
    *plants("office hours", "half by merging", "restarted", "two destinations", "dns client"),
    *(replace(plant, encoding="deduplicated") for plant in plants("jittered")),
)


def opened(times: Sequence[int], end: datetime) -> int:
    begin = milliseconds(end - timedelta(days=HUNT.pipeline.window_days))
    return sum(begin <= ms < milliseconds(end) for ms in times)


def test_evidence_counts_the_connections_that_were_really_made(tmp_path):
    """Of every planted program, in every encoding, across restarts, ports used again and sleep."""
    fleet = Fleet(macs=12, others=0, days=8, connections_per_mac_day=10, plants=TRACED)
    truth: dict[str, int] = {}
    findings: dict[str, Finding] = {}
    for planting in write_fleet(fleet, tmp_path).plantings:
        for address in planting.addresses:
            one = seen(*planting.entity_ids, host_id=planting.host.id, address=address)
            findings[one.id] = one
            truth[one.id] = sum(
                opened(group.opened, fleet.end)
                for group in planting.groups
                if group.address == address
            )
    answers = tables(Cluster(name="corp", url=tmp_path.as_uri()), *findings.values())
    shown = scored(tuple(findings.values()), *answers, PLAN)
    assert {one.id: one.evidence.connections if one.evidence else 0 for one in shown} == truth
    assert sorted(truth.values())[:2] == [0, 1], "look-ups alone, and de-duplicated"
    assert max(truth.values()) > 2_000


def test_where_the_question_fails_every_finding_stands_with_its_priority(tmp_path):
    """It says what is missing, and what is known without connection times still counts."""
    shady = replace(
        finding("mac-a", evidence=None, priority=None),
        process=Process(
            executable="/tmp/.x/agent",
            entity_ids=("e",),
            code_signature=CodeSignature(exists=False),
        ),
        faults=("not enriched: of old",),
    )
    quiet = finding("mac-b", status=Status.QUIET)
    # There is no stream of network events to ask.
    cluster = Cluster(name="corp", url=tmp_path.as_uri())
    with pytest.raises(ClusterError) as caught:
        tables(cluster, shady)
    first, last = not_scored(PLAN, (quiet, shady), caught.value)
    assert first.faults == ("not enriched: of old", f"no connection times: {caught.value.problem}")
    assert "Unknown index" in first.faults[1]
    assert (first.evidence, first.priority) == (None, Priority.HIGH)
    assert first.why.startswith("No code signature")
    assert last == quiet


def test_an_answer_that_nobody_foresaw_loses_no_other_finding_its_evidence(tmp_path, caplog):
    """It is unrated and says why; the others have their priority."""
    odd, other = (replace(seen(entity), priority=None) for entity in ("odd", "e"))
    write_events(tmp_path, many(3, entity_id="e"))
    connections, hours = tables(Cluster(name="corp", url=tmp_path.as_uri()), other)
    cells = connections.iloc[:1].assign(**{"process.entity_id": "odd", "cells": "no=hour"})
    whole, broken = scored((odd, other), pd.concat([connections, cells]), hours, PLAN)
    assert (broken.priority, broken.evidence) == (None, None)
    assert broken.faults[0].startswith("no connection times: Unexpected error: ValueError.")
    assert (whole.evidence.connections, whole.faults) == (3, ())
    assert [record.exc_info[0] for record in caplog.records] == [ValueError]


def test_a_process_whose_destinations_are_many_is_counted_once(tmp_path, monkeypatch):
    """However the questions are cut into chunks."""
    monkeypatch.setattr(client, "VALUES_A_QUESTION", 2)
    addresses = [f"45.45.45.{number}" for number in range(1, 8)]
    entities = ["e", "f", "g"]
    events = [
        event
        for entity in entities
        for address in addresses
        for event in many(4, entity_id=entity, destination=address)
    ]
    findings = [seen(*entities, address=address) for address in addresses]
    shown = evidence(tmp_path, events, *findings)
    assert [one.connections for one in shown] == [12] * 7


def test_very_many_addresses_are_not_sent():
    """Elasticsearch refuses more than 65,536 terms; what comes too much is left out by us."""
    types = {"process.entity_id": "keyword", "host.id": "keyword"}
    findings = [seen("e", address=f"host-{number}.example") for number in range(65_537)]
    with ElasticsearchServer(answer(types)) as server:
        tables(Cluster(name="corp", url=server.url), *findings)
        tables(Cluster(name="corp", url=server.url), *findings[:-1])
    sent = [str(request.body["filter"]).count("host-") for request in server.came("POST")]
    assert sent == [0, 0, 65_536, 0]


COLUMNS = ("process.entity_id", "destination.address", "agent.id", "cells", "first_at", "times")
ROWS = st.builds(
    lambda entity, address, agent: (entity, address, agent, "3=1", 5, 5),
    *(st.sampled_from(each) for each in (["e", "f"], [ADDRESS, "45.2.2.2"], ["x", "y", None])),
)


@settings(max_examples=examples(60))
@given(
    entities=st.sets(st.sampled_from(["e", "f"])),
    address=st.sampled_from([ADDRESS, None]),
    host_id=st.sampled_from(["a", None]),
    asks=st.booleans(),
    answer=st.none() | st.lists(ROWS, max_size=3, unique=True),
)
def test_a_finding_without_evidence_says_why(entities, address, host_id, asks, answer):
    """Whatever its events lack, and however the question ends."""
    pipeline = HUNT.pipeline.model_copy(update={"score": asks})
    plan = replace(PLAN, hunt=HUNT.model_copy(update={"pipeline": pipeline}))
    given = replace(seen(*sorted(entities), address=address), host=Host(id=host_id))
    if answer is None:
        (shown,) = not_scored(plan, (given,), Unreachable("corp: away.", "Wait."))
    else:
        rows = pd.DataFrame(answer, columns=COLUMNS, dtype=object)
        (shown,) = scored((given,), rows, NOTHING, plan)
    missing = [fault for fault in shown.faults if fault.startswith(f"{NO_EVIDENCE}: ")]
    assert len(missing) == (shown.evidence is None)
    assert (HOURS_NOT_KNOWN in shown.faults) == (shown.evidence is not None)
    assert shown.priority is not None


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        (seen(), "its events have no process.entity_id"),
        (seen("e", address=None), "its events have no destination.address"),
        (seen("unknown"), "none found (DNS lookups do not count)"),
    ],
)
def test_what_is_missing_is_named_and_asked_for_no_more(tmp_path, lacking, reason):
    """The analyst sees whether the events, the hunt or the cluster is to blame."""
    write_events(tmp_path, many(3))
    cluster = Cluster(name="corp", url=tmp_path.as_uri())
    (shown,) = scored((lacking,), *tables(cluster, lacking), PLAN)
    assert (shown.evidence, shown.faults) == (None, (f"{NO_EVIDENCE}: {reason}",))


def test_without_a_host_id_it_is_not_known_when_the_mac_was_silent(tmp_path):
    """Its connections are counted all the same."""
    homeless = replace(seen("e"), host=Host())
    write_events(tmp_path, many(3))
    cluster = Cluster(name="corp", url=tmp_path.as_uri())
    (shown,) = scored((homeless,), *tables(cluster, homeless), PLAN)
    assert (shown.evidence.connections, shown.faults) == (3, (HOURS_NOT_KNOWN,))


def placed(host_id: str, executable: str, **changes) -> Finding:
    """A finding with no evidence, whose place and signature make its priority."""
    signature = CodeSignature(exists=not executable.startswith("/tmp"), trusted=False)
    process = Process(executable=executable, code_signature=signature)
    return replace(finding(host_id, executable, evidence=None, **changes), process=process)


RANKED = (
    placed("mac-a", "/tmp/.x/agent"),
    placed("mac-b", "/tmp/.x/agent"),
    placed("mac-a", "/tmp/agent"),
    placed("mac-a", "/Applications/Agent.app/agent"),
    placed("mac-c", "/tmp/.x/agent", status=Status.QUIET, priority=Priority.HIGH),
    placed("mac-d", "/tmp/.x/agent", status=Status.QUIET, priority=None),
)


@given(st.permutations(RANKED))
def test_the_highest_priority_comes_first_and_what_is_quiet_last(findings):
    """Whatever the order of the answer, an analyst reads the same report, top down."""
    ranked = scored(tuple(findings), NOTHING, NOTHING, PLAN)
    assert [one.priority for one in ranked] == [
        *(Priority.HIGH, Priority.HIGH, Priority.MEDIUM, Priority.LOW),
        *(Priority.HIGH, None),
    ]
    assert [one.status is Status.QUIET for one in ranked] == [False] * 4 + [True] * 2
    assert ranked == scored(RANKED, NOTHING, NOTHING, PLAN)


def test_what_is_quiet_keeps_what_the_history_knows():
    """It has no connections in this run; its old evidence is not replaced by none."""
    quiet = finding(status=Status.QUIET)
    assert scored((quiet,), NOTHING, NOTHING, PLAN) == (quiet,)
    error = Unreachable("prod: away.", "Wait.")
    assert not_scored(PLAN, (quiet,), error) == (quiet,)
