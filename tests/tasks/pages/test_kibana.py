from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clusters import Question, ask, connect
from tasks.model.findings import Finding, Host
from tasks.pages.kibana import LINKED_ENTITY_IDS, discover_url, traffic_query
from tasks.settings import Cluster
from tests.builders import finding, run
from tests.events import network_event, write_events

KIBANA = "https://kibana.example.com:5601/s/soc"
RUN = run(kibana_url=KIBANA)


def seen(*entity_ids: str, **changes: object) -> Finding:
    plain = finding(**changes)
    return replace(plain, process=replace(plain.process, entity_ids=entity_ids))


def opened(url: str) -> tuple[str, str]:
    """What a browser and Kibana make of a link: the time range, and the ES|QL text."""
    state = parse_qs(urlsplit(url).fragment.removeprefix("/?"), strict_parsing=True)
    (time,), (application,) = state["_g"], state["_a"]
    found = re.fullmatch(
        r"\(dataSource:\(type:esql\),query:\(esql:'(.*)'\)\)", application, re.DOTALL
    )
    assert found, application
    return time, re.sub(r"!(.)", r"\1", found[1], flags=re.DOTALL)


def test_the_traffic_query_asks_for_the_processes_and_the_destination():
    """An analyst pastes it into Discover and sees the traffic by hour."""
    query = "\n".join(traffic_query(finding(), RUN))
    assert query.startswith("FROM logs-endpoint.events.network-*\n| WHERE @timestamp >= ")
    assert 'AND process.entity_id IN ("mac-a-updater-1")' in query
    assert 'AND destination.address == "203.0.113.47"' in query


def test_no_value_ends_a_string_of_a_query():
    """A quotation mark in an address stays inside its ES|QL string."""
    query = "\n".join(traffic_query(finding(address='a" OR true //\\'), RUN))
    assert r'AND destination.address == "a\" OR true //\\"' in query


def test_a_value_with_hidden_characters_is_left_out_of_a_query():
    """ES|QL cannot write them, so the others alone say what is meant."""
    query = "\n".join(traffic_query(finding(address="a\u202eb"), RUN))
    assert "destination.address" not in query
    assert "process.entity_id IN" in query


def test_a_link_opens_discover_in_its_space_with_window_and_query():
    """One click from the digest to the events."""
    url = discover_url(finding(), RUN)
    assert url.startswith("https://kibana.example.com:5601/s/soc/app/discover#/?")
    time, query = opened(url)
    assert time == "(time:(from:'2026-11-17T06:00:00.000Z',to:'2026-11-24T06:00:00.000Z'))"
    assert query.splitlines() == [
        "FROM logs-endpoint.events.network-*",
        '| WHERE host.id == "mac-a"',
        '    AND process.entity_id IN ("mac-a-updater-1")',
        '    AND destination.address == "203.0.113.47"',
    ]


def test_without_kibana_there_is_no_link():
    """Nobody asked for one."""
    assert discover_url(finding(), run()) is None


@pytest.mark.parametrize(
    ("ids", "named"), [(LINKED_ENTITY_IDS, True), (LINKED_ENTITY_IDS + 1, False)]
)
def test_a_program_that_often_restarted_is_linked_by_its_path(ids: int, named: bool):
    """A link must fit into a message, and name all of the program's starts."""
    _, query = opened(discover_url(seen(*(f"e{n}" for n in range(ids))), RUN))
    assert ("process.entity_id IN" in query) == named
    assert ("process.executable ==" in query) != named


@given(st.text(min_size=1), st.text(min_size=1))
def test_whatever_a_program_is_called_a_link_is_one_address_and_opens_its_query(
    entity_id: str, address: str
):
    """No value breaks out of the query, of Rison or of the address."""
    plain = seen(entity_id, address=address)
    url = discover_url(plain, RUN)
    assert re.fullmatch(r"[!-~]+", url)
    assert not set(url) & set('<>"|`')
    _, query = opened(url)
    lines = traffic_query(plain, RUN)
    assert query.splitlines()[2:] == [line for line in lines if line.startswith("    AND")][2:]


def test_the_linked_query_finds_the_events_of_the_finding(tmp_path: Path):
    """On a real engine, and nobody else's."""
    mine = [network_event("a", "e1", destination="45.45.45.45")]
    others = [
        network_event("b", "e1"),
        network_event("a", "e2"),
        network_event("a", "e1", destination="45.45.45.46"),
    ]
    write_events(tmp_path, [*mine, *others])
    whose = replace(seen("e1", address="45.45.45.45"), host=Host(id="a", name="mac-a"))
    _, query = opened(discover_url(whose, RUN))
    with connect(Cluster(name="corp", url=tmp_path.as_uri())) as client:
        answer = ask(client, Question("check", f"{query} | STATS COUNT(*)", {"match_all": {}}, {}))
    assert answer.rows.iloc[0, 0] == 1


def test_a_link_is_never_longer_than_slack_takes():
    """Whatever an attacker calls a program."""
    longest = """!'"\\""" * 12
    whose = replace(seen(*[longest] * 3, address=longest), host=Host(id=longest, name=""))
    assert 1_500 < len(discover_url(whose, RUN)) < 3_000
    _, query = opened(discover_url(seen("e1", address="x" * 301), RUN))
    assert "destination.address" not in query
