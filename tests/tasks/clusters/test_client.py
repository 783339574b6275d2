from __future__ import annotations

import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clusters import (
    NOTHING_THERE_OR_NOTHING_READABLE,
    ROWS_AT_MOST,
    Answer,
    Question,
    Server,
    answers,
    ask,
    ask_about,
    client,
    connect,
    node,
)
from tasks.errors import (
    ClusterError,
    DeadlineExceeded,
    NotTrusted,
    QueryRefused,
    TransientError,
    Unauthorised,
    Unreachable,
)
from tasks.fleet.documents import NETWORK
from tasks.settings import Cluster
from tests.certificates import Authority
from tests.elasticsearch_behaviours import (
    Behaviour,
    Call,
    Request,
    another_product,
    answer,
    caused_by,
    dripping,
    dropped,
    error,
    forbidden,
    never,
    no_fields,
    page,
    root_cause,
    running,
    slow_headers,
    text,
)
from tests.elasticsearch_server import ElasticsearchServer, Release
from tests.events import network_event, write_events

CANARY = "canary-api-key-3f90"
QUERY = """\
FROM logs-endpoint.events.network-*
| WHERE host.os.famly == "macos"
"""
WITHIN = {"range": {"@timestamp": {"lt": "2026-11-24T06:00:00+00:00"}}}

QUESTION = Question("hunt", QUERY, WITHIN, {"rate": 120})

one = answer({"events": "long"}, [1])


@pytest.fixture(autouse=True)
def _api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_PROD_API_KEY", CANARY)


def cluster(url: str, **settings: object) -> Cluster:
    return Cluster(name="prod", url=url, api_key_env="ES_PROD_API_KEY", **settings)


def asked(server: ElasticsearchServer, **settings: object) -> Answer:
    """Ask through the official client, over a real socket."""
    with connect(cluster(server.url, **settings)) as client:
        return ask(client, QUESTION)


def questions(server: ElasticsearchServer) -> list[Request]:
    """What came of the question, without the one look at who answers there."""
    return [request for request in server.requests if request.path.startswith("/_query")]


def answered(*behaviours: Behaviour) -> Answer:
    with ElasticsearchServer(*behaviours) as server:
        return asked(server)


def refused(*behaviours: Behaviour) -> ClusterError:
    """What is raised, after one attempt."""
    with ElasticsearchServer(*behaviours) as server, pytest.raises(ClusterError) as caught:
        asked(server)
    assert len(server.came("POST")) == 1
    return caught.value


def test_the_question_for_the_version_is_inside_the_deadline():
    """A cluster that holds every line is given up when the run's time is over."""
    with ElasticsearchServer(one, info=never) as server:
        with pytest.raises(DeadlineExceeded, match=r"no answer in 0\.01 minutes"):
            asked(server, deadline_minutes=0.01)
        assert [request.path for request in server.requests] == ["/"]


def test_a_question_goes_out_with_its_parameters_its_window_and_the_key():
    """The window is also a filter, so that shards without events in it are skipped."""
    with ElasticsearchServer(one) as server:
        asked(server)
    (request,) = questions(server)
    assert request.path == "/_query/async"
    assert request.body["query"] == QUERY
    assert request.body["params"] == [{"rate": 120}]
    assert request.body["filter"] == WITHIN
    assert request.headers["Authorization"] == f"ApiKey {CANARY}"


def test_a_query_that_takes_long_is_polled_and_then_deleted():
    """The cluster keeps nothing of it once its answer is here."""
    with ElasticsearchServer(running, running, running, one) as server:
        assert asked(server).records() == [{"events": 1}]
        assert [request.method for request in questions(server)] == [
            *("POST", "GET", "GET", "GET", "DELETE"),
        ]
        assert len({request.path for request in questions(server)[1:]}) == 1
        assert server.kept == set()


def test_a_query_that_is_answered_at_once_is_not_deleted():
    """There is nothing to delete: no call for nothing."""
    with ElasticsearchServer(one) as server:
        asked(server)
        assert server.came("DELETE") == []


@pytest.mark.parametrize(
    "behaviour",
    [error(400, "verification_exception", "no"), error(503, "x", "later"), dropped, page()],
)
def test_a_query_that_fails_while_it_runs_is_deleted(behaviour: Behaviour):
    """What nobody waits for must not go on working the cluster."""
    with ElasticsearchServer(running, behaviour) as server:
        with pytest.raises(ClusterError):
            asked(server)
        assert len(server.came("DELETE")) == 1
        assert server.kept == set()


def test_a_query_past_its_deadline_is_deleted():
    """A hunt never hangs: it is given up in words, and the cluster is let go."""
    with ElasticsearchServer(running) as server:
        with pytest.raises(DeadlineExceeded, match="no answer in") as caught:
            asked(server, deadline_minutes=0.01)
        assert len(server.came("DELETE")) == 1
        assert server.kept == set()
    assert "window_days" in caught.value.remedy


def interrupting(call: Call) -> None:
    """End the run from outside, as cancelling it does, while it waits for this answer."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    never(call)


def test_a_query_of_a_run_that_is_cancelled_is_deleted():
    """Cancelling a flow run also ends its work on the cluster."""
    with ElasticsearchServer(running, interrupting) as server:
        with pytest.raises(KeyboardInterrupt):
            asked(server)
        assert len(server.came("DELETE")) == 1
        assert server.kept == set()


@pytest.mark.parametrize("failing", [error(500, "x", "no"), dropped, page(), text("{")])
def test_a_deletion_that_fails_hides_no_answer(failing: Behaviour):
    """The cluster forgets the query by itself, minutes later."""
    with ElasticsearchServer(running, one, delete=failing) as server:
        assert asked(server).records() == [{"events": 1}]
    with (
        ElasticsearchServer(running, error(400, "x", "no such"), delete=failing) as server,
        pytest.raises(QueryRefused, match="no such"),
    ):
        asked(server)


BUSY = error(429, "circuit_breaking_exception", "Data too large", durability="TRANSIENT")
TOO_LARGE = error(429, "circuit_breaking_exception", "Data too large", durability="PERMANENT")
NOT_SEARCHED = {
    "key not accepted": (error(401, "security_exception", "x"), Unauthorised, "ES_PROD_API_KEY"),
    "may not read": (error(403, "security_exception", "not granted"), Unauthorised, "not granted"),
    "bad query": (error(400, "parsing_exception", "mismatched input"), QueryRefused, "mismatched"),
    "query gone": (error(404, "resource_not_found_exception", "FjE3="), Unreachable, "FjE3="),
    "task cancelled": (error(400, "task_cancelled_exception", "task"), Unreachable, "task"),
    "node left": (error(500, "node_disconnected_exception", "[node-2]"), Unreachable, "[node-2]"),
    "node closed": (error(500, "node_closed_exception", "closed"), Unreachable, "closed"),
    "no way": (error(500, "connect_transport_exception", "timeout"), Unreachable, "timeout"),
    "root cause": (root_cause("receive_timeout_transport_exception"), Unreachable, "all shards"),
    "no shard": (root_cause("no_shard_available_action_exception"), Unreachable, "all shards"),
    "chain": (caused_by("x", "node_disconnected_exception"), Unreachable, "lost the query"),
    "too busy below": (caused_by("es_rejected_execution_exception"), Unreachable, "status 500"),
    "no index": (error(404, "index_not_found_exception", "no such"), QueryRefused, "no such"),
    "closed": (error(400, "index_closed_exception", "closed"), QueryRefused, "closed"),
    "no such path": (lambda c: c.answer({"error": "no handler"}, 400), QueryRefused, "no handler"),
    "a fault": (error(500, "null_pointer_exception", "it broke"), QueryRefused, "it broke"),
    "too large for ever": (TOO_LARGE, QueryRefused, "Data too large"),
    "too large for now": (BUSY, Unreachable, "status 429"),
    "bad gateway": (page(502), Unreachable, "status 502"),
    "unavailable": (error(503, "cluster_block_exception", "blocked"), Unreachable, "blocked"),
    "gateway time-out": (page(504), Unreachable, "status 504"),
    "a dropped line": (dropped, Unreachable, "cannot be reached"),
    "half an answer": (text('{"columns": ['), Unreachable, "incomplete"),
    "no answer at all": (text("{}"), Unreachable, "not from Elasticsearch"),
    "a list": (text("[]"), Unreachable, "not from Elasticsearch"),
    "a proxy's page": (page(404), QueryRefused, "a web page (status 404)"),
    "a sign-in page": (page(200), QueryRefused, "not Elasticsearch"),
    "another product": (another_product, QueryRefused, "not Elasticsearch"),
}


@pytest.mark.parametrize(("behaviour", "kind", "named"), NOT_SEARCHED.values(), ids=NOT_SEARCHED)
def test_what_a_cluster_refuses_is_named_with_its_remedy(
    behaviour: Behaviour, kind: type[ClusterError], named: str
):
    """One attempt each; only what can pass by itself is called so, and Prefect tries it again."""
    caught = refused(behaviour)
    assert type(caught) is kind
    assert isinstance(caught, TransientError) == (kind is Unreachable)
    assert caught.problem.startswith("prod: ")
    assert named in caught.problem
    assert caught.remedy


@pytest.mark.parametrize("behaviour", [case[0] for case in NOT_SEARCHED.values()], ids=NOT_SEARCHED)
def test_the_key_is_in_no_error(behaviour: Behaviour, caplog: pytest.LogCaptureFixture):
    """Not in its text, traceback or pickle, nor in the log: errors are stored and shown."""
    caplog.set_level("DEBUG")
    caught = refused(running, behaviour)
    shown = repr(caught) + "".join(traceback.format_exception(caught)) + caplog.text
    assert CANARY not in shown
    assert CANARY.encode() not in pickle.dumps(caught)


@pytest.mark.parametrize(
    "behaviour",
    [
        error(404, "index_not_found_exception", "no such index [a]"),
        error(400, "index_closed_exception", "closed"),
        error(400, "verification_exception", "Unknown index [a]"),
        caused_by("index_not_found_exception"),
        no_fields,
    ],
)
def test_a_missing_index_is_no_fault_of_the_query(behaviour: Behaviour):
    """Elasticsearch answers the same without privileges: problem and remedy name both reasons."""
    caught = refused(behaviour)
    assert type(caught) is QueryRefused
    assert (
        "no data stream matches logs-endpoint.events.network-*, or the API key may not read it"
        in (caught.problem)
    )
    assert caught.remedy == NOTHING_THERE_OR_NOTHING_READABLE


WRONG = "parsing_exception", "verification_exception", "illegal_argument_exception"


@pytest.mark.parametrize(
    ("behaviour", "remedy"),
    [
        *((error(400, kind, "line 1:1: no"), "Correct the query") for kind in WRONG),
        (error(500, "null_pointer_exception", "line 1:1: no"), "the cluster's log"),
        (error(400, "media_type_header_exception", "Invalid"), "the cluster's log"),
        (lambda call: call.answer({"error": "no handler"}, 400), "the cluster's log"),
        (TOO_LARGE, "add memory"),
    ],
)
def test_only_a_wrong_query_is_to_be_corrected(behaviour: Behaviour, remedy: str):
    """An analyst does not search the hunt for a fault of the cluster."""
    assert remedy in refused(behaviour).remedy


def test_a_query_that_a_restarting_node_lost_may_be_asked_again():
    """Also when its polls were answered before."""
    caught = refused(running, running, error(404, "resource_not_found_exception", "FjE3="))
    assert isinstance(caught, TransientError)


ECHO = f"You sent: Authorization: ApiKey {CANARY}"


@pytest.mark.parametrize(
    "behaviour",
    [
        *(page(status, ECHO) for status in (200, 401, 403, 404, 500, 502)),
        *(error(status, "proxy", ECHO) for status in (400, 401, 403, 404, 500, 503)),
        text(ECHO),
    ],
)
def test_a_page_that_repeats_the_key_is_not_repeated(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture
):
    """Proxies show what came to them; errors are logged with their causes, stored and shown."""
    caught = refused(running, behaviour)
    shown = repr(caught) + "".join(traceback.format_exception(caught)) + caplog.text
    assert CANARY not in shown
    assert CANARY.encode() not in pickle.dumps(caught)


@pytest.mark.parametrize("key", [f"{CANARY}\nsecond-line", f"{CANARY}…"])
def test_what_cannot_be_a_key_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, key: str
):
    """A key pasted with something else is not sent, and its variable is named."""
    monkeypatch.setenv("ES_PROD_API_KEY", key)
    with (
        pytest.raises(Unauthorised, match="ES_PROD_API_KEY") as caught,
        connect(cluster("https://h:1")),
    ):
        pass
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_place_of_a_fault_is_marked_below_the_query():
    """An analyst sees at once where to look."""
    reason = "Found 1 problem\nline 2:9: Unknown column [host.os.famly]"
    caught = refused(error(400, "verification_exception", reason))
    assert caught.problem.endswith('| WHERE host.os.famly == "macos"\n        ^')


def test_nobody_at_the_address_is_unreachable():
    """The address is named as the setting that it is."""
    with ElasticsearchServer() as server:
        pass
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        asked(server)
    assert "`url`" in caught.value.remedy


def test_a_cluster_that_never_answers_is_unreachable(monkeypatch: pytest.MonkeyPatch):
    """A hung connection ends in an error."""
    monkeypatch.setattr(node, "SILENCE_SECONDS", 0.1)
    with (
        ElasticsearchServer(never) as server,
        pytest.raises(Unreachable, match="did not answer in time"),
    ):
        asked(server)


def test_a_user_name_in_the_address_is_not_shown():
    """Some put a token there."""
    with ElasticsearchServer() as server:
        pass
    secretive = server.url.replace("http://", f"http://{CANARY}@")
    whom = Cluster(name="prod", url=secretive)
    with connect(whom) as client, pytest.raises(Unreachable) as caught:
        ask(client, QUESTION)
    assert "prod: 127.0.0.1:" in caught.value.problem
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://127.0.0.1"},
        {"url": f"https://{CANARY}@es.example.com:99999"},
        {"url": "http://127.0.0.1:9200", "ca_certs": "/etc/ca.pem"},
        {"url": "https://"},
    ],
)
def test_an_address_that_cannot_be_called_is_refused_with_an_example(settings: dict[str, str]):
    """The port is what people forget."""
    with pytest.raises(Unreachable) as caught, connect(cluster(**settings)):
        pass
    assert "https://es.example.com:9200" in caught.value.remedy
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["file:///no/such/folder", "file://"])
def test_a_folder_that_is_none_is_refused(url: str):
    """Also none at all: the folder that a worker happens to run in is not a cluster."""
    with pytest.raises(Unreachable, match="there is no folder"), connect(cluster(url)):
        pass


STRANGERS = {
    "unknown authority": lambda _own, stranger: stranger.good(),
    "another host": lambda own, _stranger: own.for_another_host(),
    "expired": lambda own, _stranger: own.expired(),
}


@pytest.mark.parametrize("sign", STRANGERS.values(), ids=STRANGERS)
def test_a_certificate_that_shows_nothing_is_refused_before_the_key_is_sent(
    authority: Authority, tmp_path: Path, sign: Callable[[Authority, Authority], Path]
):
    """Whoever sits in between learns nothing; the remedy is not to look away."""
    certificate = sign(authority, Authority(tmp_path, "A stranger"))
    with ElasticsearchServer(one, certificate=certificate) as server:
        with pytest.raises(NotTrusted, match="is not trusted") as caught:
            asked(server, ca_certs=str(authority.path))
        assert server.requests == []
    assert "`ca_certs`" in caught.value.remedy
    assert caught.value.reason == "unreachable"
    assert not isinstance(caught.value, TransientError)


def test_a_certificate_of_ones_own_authority_is_accepted(authority: Authority):
    """Most clusters have one that no browser knows; its fingerprint is as good as its file."""
    with ElasticsearchServer(one, certificate=authority.good()) as server:
        assert asked(server, ca_certs=str(authority.path)).is_whole
        assert asked(server, ca_fingerprint=authority.fingerprint).is_whole
        with pytest.raises(NotTrusted):
            asked(server, ca_fingerprint="00" * 32)


def test_an_authority_whose_file_cannot_be_used_is_named(tmp_path: Path):
    """A new worker that nobody gave the file, or gave something else."""
    (tmp_path / "empty.pem").touch()
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem", tmp_path):
        whom = cluster("https://127.0.0.1:1", ca_certs=str(path))
        with pytest.raises(NotTrusted) as caught, connect(whom):
            pass
        assert f"`ca_certs` {path} cannot be used: " in caught.value.problem


def read_all(tmp_path: Path, limit: str = "") -> Answer:
    """Ask a folder of 1,001 processes for their ids."""
    events = [network_event(entity_id=str(number)) for number in range(1_001)]
    write_events(tmp_path, events)
    query = f"FROM {NETWORK} | KEEP process.entity_id {limit}"
    with connect(Cluster(name="folder", url=tmp_path.as_uri())) as client:
        return ask(client, Question("query", query, {"match_all": {}}, {}))


def test_a_query_without_a_limit_that_is_full_counts_as_cut(tmp_path: Path):
    """Elasticsearch gives 1,000 rows then, any 1,000: calling that complete would invent news."""
    assert read_all(tmp_path).is_cut
    assert not read_all(tmp_path, "| LIMIT 1000").is_cut


@pytest.mark.parametrize(
    ("number", "flavor", "flags"),
    [
        ("8.15.0", "default", {}),
        ("8.18.9", "default", {}),
        ("8.19.0", "default", {"allow_partial_results": "false"}),
        ("9.0.4", "default", {}),
        ("9.1.0", "default", {"allow_partial_results": "false"}),
        ("9.4.0", "default", {"allow_partial_results": "false"}),
        ("8.11.0", "serverless", {"allow_partial_results": "false"}),
        (None, "serverless", {"allow_partial_results": "false"}),
    ],
)
def test_a_server_is_only_sent_what_it_knows(
    number: str | None, flavor: str, flags: dict[str, str]
):
    """Older ones refuse a whole request for one word that came later."""
    with ElasticsearchServer(one, release=Release(number, flavor)) as server:
        asked(server)
    assert questions(server)[0].parameters == flags


def test_what_other_shards_have_is_taken_where_it_is_asked_for():
    """The last attempt of a run is better partial than none."""
    with ElasticsearchServer(one) as server, connect(cluster(server.url)) as client:
        ask(client, QUESTION, allow_partial=True)
    assert questions(server)[0].parameters == {"allow_partial_results": "true"}


@pytest.mark.parametrize(
    ("query", "version", "said"),
    [
        ("FROM eu:logs-* | LIMIT 1", "8.19.3", True),
        ("FROM logs-*, *:logs-* | LIMIT 1", "8.16.0", True),
        ("FROM eu:logs-* | LIMIT 1", "8.15.5", None),
        ('FROM logs-* | WHERE a == "b:c"', "8.19.3", None),
    ],
)
def test_clusters_behind_a_cluster_are_asked_to_be_named(
    query: str, version: str, said: bool | None
):
    """Else a remote one that was skipped would look like one with nothing to find."""
    with (
        ElasticsearchServer(one, release=Release(version)) as server,
        connect(cluster(server.url)) as client,
    ):
        ask(client, Question("hunt", query, WITHIN, {}))
    assert questions(server)[0].body.get("include_ccs_metadata") is said


def test_who_answers_is_asked_once():
    """However many questions follow."""
    with ElasticsearchServer(one) as server, connect(cluster(server.url)) as client:
        ask(client, QUESTION)
        ask(client, QUESTION)
        assert client.server == Server("8.19.3", longest_answer=10_000)
    assert [request.path for request in server.requests] == [
        *("/", "/_cluster/settings"),
        *("/_query/async", "/_query/async"),
    ]


@pytest.mark.parametrize(
    ("server", "needed", "enough"),
    [
        (Server("8.15.0"), "8.15", True),
        (Server("8.14.3"), "8.15", False),
        (Server("9.0.0"), "8.15", True),
        (Server("8.19.1"), "9.2", False),
        (Server("8.11.0", is_serverless=True), "9.2", True),
        (Server(None), "9.2", True),
    ],
    ids=str,
)
def test_a_server_that_is_too_old_is_refused_before_it_is_asked(
    server: Server, needed: str, enough: bool
):
    """Where it may not be asked for its version, the query itself will tell."""
    with ElasticsearchServer(one) as double, connect(cluster(double.url)) as client:
        client.server = server
        if enough:
            client.require(needed, "the hunt x")
        else:
            with pytest.raises(QueryRefused, match=f"the hunt x needs Elasticsearch {needed}"):
                client.require(needed, "the hunt x")


def test_a_key_that_may_not_ask_for_the_version_can_still_hunt():
    """`info()` needs a cluster privilege that a hunt does not."""
    refusal = forbidden("cluster:monitor/main", "monitor")
    with ElasticsearchServer(one, info=refusal) as server:
        assert asked(server).records() == [{"events": 1}]
    assert questions(server)[0].parameters == {}


@pytest.mark.parametrize("behaviours", [[dripping()], [slow_headers()], [running, dripping()]])
def test_an_answer_that_drips_for_ever_ends_at_the_deadline(behaviours: list[Behaviour]):
    """A time-out between two bytes never comes; ours is for the whole answer."""
    with ElasticsearchServer(*behaviours) as server:
        with pytest.raises(DeadlineExceeded):
            asked(server, deadline_minutes=0.01)
        assert server.kept == set()


def test_what_a_question_cost_is_kept_over_its_attempts():
    """The report's footer says what the cluster gave for it."""
    figures = {"documents_found": 7, "values_loaded": 21}
    busy = error(503, "x", "later")
    fine = answer({"events": "long"}, [1], **figures)
    with ElasticsearchServer(busy, fine, one) as server, connect(cluster(server.url)) as client:
        with pytest.raises(Unreachable):
            ask(client, QUESTION)
        ask(client, QUESTION)
        ask(client, QUESTION)
    (cost,) = client.costs.values()
    assert (cost.question, cost.asked, cost.failed) == ("hunt", 3, 1)
    assert (cost.took_ms, cost.documents_found, cost.values_loaded) == (2, 7, 21)
    assert cost.bytes_received > 100


NOT_SHOWN = {
    "no privilege": forbidden("cluster:monitor/settings", "monitor"),
    "serverless": error(410, "api_not_available_exception", "not available"),
    "another serverless": error(400, "illegal_argument_exception", "no handler found"),
    "a proxy": page(404),
    "not set": text("{}"),
}


@pytest.mark.parametrize("behaviour", NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_a_limit_that_is_not_shown_costs_no_hunt(behaviour: Behaviour):
    """Elasticsearch's own default holds."""
    with (
        ElasticsearchServer(one, settings=behaviour) as server,
        connect(cluster(server.url)) as client,
    ):
        assert ask(client, QUESTION).rows_at_most == ROWS_AT_MOST
        assert client.server.longest_answer is None


@pytest.mark.parametrize("level", ["transient", "persistent", "defaults"])
def test_the_limit_in_force_is_the_one_that_somebody_set(level: str):
    """In the order of Elasticsearch's own precedence."""
    below = ("transient", "persistent", "defaults")
    name = "esql.query.result_truncation_max_size"
    levels = {each: {name: "10000"} for each in below[below.index(level) :]} | {level: {name: "7"}}
    with (
        ElasticsearchServer(one, settings=lambda call: call.answer(levels)) as server,
        connect(cluster(server.url)) as client,
    ):
        assert client.server.longest_answer == 7
    (request,) = [each for each in server.requests if each.path == "/_cluster/settings"]
    assert request.parameters == {
        "flat_settings": "true",
        "include_defaults": "true",
        "filter_path": "*.esql*",
    }


@pytest.mark.parametrize("behaviour", [error(503, "x", "later"), dropped, text('{"defaults": 1}')])
def test_a_limit_that_cannot_be_read_now_is_asked_for_again(behaviour: Behaviour):
    """A guess would end a hunt too early without a warning."""
    with (
        ElasticsearchServer(one, settings=behaviour) as server,
        connect(cluster(server.url)) as client,
        pytest.raises(Unreachable),
    ):
        ask(client, QUESTION)
    assert server.came("POST") == []


@pytest.mark.parametrize(("count", "is_cut"), [(6, False), (7, True)])
def test_an_answer_that_reaches_the_servers_limit_is_cut(count: int, is_cut: bool):
    """What the server left out is not known."""
    rows = answer({"n": "long"}, *([n] for n in range(count)))
    with (
        ElasticsearchServer(rows, rows_at_most=7) as server,
        connect(cluster(server.url)) as client,
    ):
        found = ask(client, QUESTION)
    assert (found.is_cut, found.may_go_on) == (is_cut, True)


ABOUT = Question("hours", "FROM logs-* | STATS n = COUNT(*) BY host.id | SORT host.id", WITHIN, {})


def holding(*rows: Sequence[object], cut_at: int = ROWS_AT_MOST) -> Behaviour:
    """Answer with those of the rows whose first value is asked about, cut as a server cuts."""

    def behaviour(call: Call) -> None:
        *_, terms = call.request.body["filter"]["bool"]["filter"]
        wanted = set(terms["terms"]["host.id"])
        mine = [row for row in sorted(rows) if row[0] in wanted]
        answer({"host.id": "keyword", "n": "long"}, *mine[:cut_at])(call)

    return behaviour


def told(
    values: Iterable[str],
    *rows: Sequence[object],
    cut_at: int = ROWS_AT_MOST,
    shown: int = ROWS_AT_MOST,
):
    """The rows that come of asking about the values, and how many questions that took."""
    with (
        ElasticsearchServer(holding(*rows, cut_at=cut_at), rows_at_most=shown) as server,
        connect(cluster(server.url)) as client,
    ):
        table = ask_about(client, ABOUT, "host.id", values)
    return table.to_numpy().tolist(), len(server.came("POST"))


HOSTS = [f"mac-{number:04}" for number in range(2_400)]


@pytest.mark.parametrize(
    ("count", "asked_times"), [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (2_400, 3)]
)
def test_many_values_are_asked_about_by_the_thousand(count: int, asked_times: int):
    """Ten findings and a thousand cost the same number of questions."""
    rows = [[host, 1] for host in HOSTS[:count]]
    assert told(HOSTS[:count], *rows) == (rows, asked_times)


@pytest.mark.parametrize("cut_at", [1_000, 1_777, 5_000, 10_000])
@pytest.mark.parametrize("rows_each", [1, 3, 7])
def test_an_answer_that_was_cut_is_continued(cut_at: int, rows_each: int):
    """Wherever a server cuts without a word, every row comes once."""
    rows = [[host, number] for host in HOSTS[:1_300] for number in range(rows_each)]
    assert told(HOSTS[:1_300], *rows, cut_at=cut_at)[0] == rows


@pytest.mark.parametrize("limit", [3, 20, 999])
def test_a_limit_below_every_page_loses_no_row(limit: int):
    """The server shows its limit, so an answer of any length is continued."""
    rows = [[host, number] for host in HOSTS[:60] for number in range(3)]
    assert told(HOSTS[:60], *rows, cut_at=limit, shown=limit)[0] == rows


def test_one_value_that_fills_an_answer_keeps_what_it_got():
    """The newest process events of one process are enough; asking again would give the same."""
    rows = [["mac-0000", 0]] * 10_500 + [["mac-0001", 1]]
    found, _ = told(HOSTS[:2], *rows)
    assert found == [["mac-0000", 0]] * 10_000 + [["mac-0001", 1]]


@given(st.data())
def test_however_rows_are_spread_and_cut_each_comes_once(data: st.DataObject):
    """Also where values have no row, and where rows of one value are many.

    Of the last value with a row, the first of its rows are enough.
    """
    counts = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=12))
    cut_at = data.draw(st.integers(7, 20))
    rows = [[HOSTS[place], n] for place, count in enumerate(counts) for n in range(count)]
    with (
        mock.patch.object(answers, "ROWS_WITHOUT_LIMIT", 7),
        mock.patch.object(client, "VALUES_A_QUESTION", 5),
    ):
        found, _ = told(HOSTS[: len(counts)], *rows, cut_at=cut_at)
    for place, count in enumerate(counts):
        mine = [n for host, n in found if host == HOSTS[place]]
        assert mine == list(range(len(mine)))
        assert len(mine) == count or (mine and len(found) >= cut_at)
    assert found == sorted(found)


@pytest.mark.parametrize("flaw", [{"is_partial": True}, {"_clusters": {"details": {"eu": {}}}}])
def test_what_is_missing_from_an_answer_about_values_is_an_error(flaw: dict[str, Any]):
    """Counts that are too low would say that a beacon is none."""
    with (
        ElasticsearchServer(answer({"host.id": "keyword"}, **flaw)) as server,
        connect(cluster(server.url)) as client,
        pytest.raises(ClusterError, match="a part of the hours is missing"),
    ):
        ask_about(client, ABOUT, "host.id", ["mac-a"])
