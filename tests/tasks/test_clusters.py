from __future__ import annotations

import pickle
import signal
import subprocess
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks import clusters
from tasks.clusters import ROWS_AT_MOST, Answer, ask, connect
from tasks.errors import (
    ClusterError,
    DeadlineExceeded,
    QueryRefused,
    TransientError,
    Unauthorised,
    Unreachable,
)
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import (
    Behaviour,
    Call,
    another_product,
    answer,
    deleted,
    dropped,
    error,
    never,
    page,
    running,
    text,
)
from tests.elasticsearch_server import ElasticsearchServer
from tests.fleet.builders import network_event, write_events
from tests.fleet.documents import NETWORK

CANARY = "canary-api-key-3f90"
QUERY = """\
FROM logs-endpoint.events.network-*
| WHERE host.os.famly == "macos"
"""
WITHIN = {"range": {"@timestamp": {"lt": "2026-11-24T06:00:00+00:00"}}}

one = answer({"events": "long"}, [1])


@pytest.fixture(autouse=True)
def _api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_PROD_API_KEY", CANARY)


def cluster(url: str, **settings: object) -> Cluster:
    return Cluster(name="prod", url=url, api_key_env="ES_PROD_API_KEY", **settings)


def asked(server: ElasticsearchServer, **settings: object) -> Answer:
    """Ask through the official client, over a real socket."""
    whom = cluster(server.url, **settings)
    with connect(whom) as client:
        return ask(client, whom, QUERY, parameters={"rate": 120}, within=WITHIN)


def answered(*behaviours: Behaviour) -> Answer:
    with ElasticsearchServer(*behaviours) as server:
        return asked(server)


def refused(*behaviours: Behaviour) -> ClusterError:
    """What is raised, after one attempt."""
    with ElasticsearchServer(*behaviours) as server, pytest.raises(ClusterError) as caught:
        asked(server)
    assert len(server.came("POST")) == 1
    return caught.value


def test_a_question_goes_out_with_its_parameters_its_window_and_the_key():
    """The window is also a filter, so that shards without events in it are skipped."""
    with ElasticsearchServer(one) as server:
        asked(server)
    (request,) = server.requests
    assert request.path == "/_query/async"
    assert request.body["query"] == QUERY
    assert request.body["params"] == [{"rate": 120}]
    assert request.body["filter"] == WITHIN
    assert request.headers["Authorization"] == f"ApiKey {CANARY}"


def test_a_query_that_takes_long_is_polled_and_then_deleted():
    """The cluster keeps nothing of it once its answer is here."""
    with ElasticsearchServer(running, running, running, one) as server:
        assert asked(server).records() == [{"events": 1}]
        assert [request.method for request in server.requests] == [
            *("POST", "GET", "GET", "GET", "DELETE"),
        ]
        assert len({request.path for request in server.requests[1:]}) == 1
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


def test_a_query_past_its_deadline_is_deleted(monkeypatch: pytest.MonkeyPatch):
    """A hunt never hangs: it is given up in words, and the cluster is let go."""
    monkeypatch.setattr(clusters, "DEADLINE_SECONDS", 0)
    with ElasticsearchServer(running) as server:
        with pytest.raises(DeadlineExceeded, match="no answer in") as caught:
            asked(server)
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
    "gone": (error(404, "resource_not_found_exception", "no query"), QueryRefused, "no query"),
    "no such path": (lambda c: c.answer({"error": "no handler"}, 400), QueryRefused, "no handler"),
    "a fault": (error(500, "null_pointer_exception", "it broke"), QueryRefused, "it broke"),
    "too large for ever": (TOO_LARGE, QueryRefused, "Data too large"),
    "too large for now": (BUSY, Unreachable, "status 429"),
    "bad gateway": (page(502), Unreachable, "status 502"),
    "unavailable": (error(503, "cluster_block_exception", "blocked"), Unreachable, "blocked"),
    "gateway time-out": (page(504), Unreachable, "status 504"),
    "a dropped line": (dropped, Unreachable, "cannot be reached"),
    "half an answer": (text('{"columns": ['), Unreachable, "broken off"),
    "no answer at all": (text("{}"), Unreachable, "not Elasticsearch's"),
    "a list": (text("[]"), Unreachable, "not Elasticsearch's"),
    "a proxy's page": (page(404), QueryRefused, "a page (status 404)"),
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


@pytest.mark.parametrize("key", [f"{CANARY}\nsecond-line", f"{CANARY}…"])
def test_what_cannot_be_a_key_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, key: str
):
    """A key pasted with something else is not sent, and its variable is named."""
    monkeypatch.setenv("ES_PROD_API_KEY", key)
    with (
        pytest.raises(Unauthorised, match="ES_PROD_API_KEY") as caught,
        connect(cluster("http://h:1")),
    ):
        pass
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_unknown_index_may_also_be_one_that_the_key_may_not_read():
    """Elasticsearch says the same for both, so we say both."""
    caught = refused(error(400, "verification_exception", "Unknown index [logs-*]"))
    assert "no such data stream" in caught.remedy
    assert "key may not read" in caught.remedy


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
    monkeypatch.setattr(clusters, "REQUEST_TIMEOUT_SECONDS", 0.1)
    with ElasticsearchServer(never) as server, pytest.raises(Unreachable, match=r"in 0\.1 s"):
        asked(server)


def test_a_user_name_in_the_address_is_not_shown():
    """Some put a token there."""
    with ElasticsearchServer() as server:
        pass
    secretive = server.url.replace("http://", f"http://{CANARY}@")
    whom = Cluster(name="prod", url=secretive)
    with connect(whom) as client, pytest.raises(Unreachable) as caught:
        ask(client, whom, QUERY, parameters={}, within=WITHIN)
    assert "prod: 127.0.0.1:" in caught.value.problem
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "settings",
    [
        {"url": f"http://{CANARY}@es.example.com"},
        {"url": f"https://{CANARY}@es.example.com:99999"},
        {"url": f"http://{CANARY}@es.example.com:9200", "ca_certs": "/etc/ca.pem"},
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM with a fresh self-signed certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key, signed, both = folder / "key.pem", folder / "signed.pem", folder / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=loopback"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", signed),
        ],
        check=True,
        capture_output=True,
    )
    both.write_text(key.read_text() + signed.read_text())
    return both


def test_a_certificate_of_a_stranger_is_refused_before_the_key_is_sent(certificate: Path):
    """Whoever sits in between learns nothing; the remedy is not to look away."""
    with ElasticsearchServer(one, certificate=certificate) as server:
        with pytest.raises(ClusterError, match="not to be trusted") as caught:
            asked(server)
        assert server.requests == []
    assert "`ca_certs`" in caught.value.remedy
    assert not isinstance(caught.value, TransientError)


def test_a_certificate_of_ones_own_authority_is_accepted(certificate: Path):
    """Most clusters have one that no browser knows."""
    with ElasticsearchServer(one, certificate=certificate) as server:
        assert asked(server, ca_certs=str(certificate)).is_whole


@pytest.mark.parametrize(
    ("headers", "texts"),
    [
        ((), ()),
        (('"No limit defined"',), ("No limit defined",)),
        ((r'"field [\"a\"], \"b\""',), ('field ["a"], "b"',)),
        ((r'"a back\\slash"',), (r"a back\slash",)),
        (('"one, two"', '"three"'), ("one, two", "three")),
        (('"one", 299 Elasticsearch-8.19.3-abc "two"',), ("one", "two")),
        (('"twice"', '"twice"'), ("twice",)),
        (('"50%25 of caf%C3%A9"',), ("50% of café",)),
        (('"it breaks off',), ("it breaks off",)),
    ],
)
def test_warnings_are_read_as_they_were_written(headers: tuple[str, ...], texts: tuple[str, ...]):
    """A reader of the report must know what the cluster said, word for word, once."""
    assert answered(answer({"a": "long"}, [1], warnings=headers)).warnings == texts


def test_times_are_aware_utc_and_what_is_missing_stays_none():
    """A column of times may hold none, one or several."""
    six = "2026-11-24T06:00:00.123Z"
    said = answered(answer({"at": "date"}, [six], [None], [[six, six]]))
    at = datetime(2026, 11, 24, 6, 0, 0, 123_000, tzinfo=UTC)
    assert [row["at"] for row in said.records()] == [at, None, [at, at]]
    assert said.records()[0]["at"].utcoffset().total_seconds() == 0
    assert answered(answer({"at": "date"}, [six], [None])).records()[1]["at"] is None


def test_values_stay_as_they_were_sent():
    """Numbers keep their kind, several values stay a list, no value stays none."""
    types = {"n": "long", "x": "double", "ok": "boolean", "names": "keyword"}
    rows = [[2**53 + 1, 0.5, True, ["b", "a"]], [None, None, None, None]]
    said = answered(answer(types, *rows))
    assert [list(row.values()) for row in said.records()] == rows
    assert said.types == types


def test_an_answer_without_rows_has_its_columns():
    """Nothing found is an answer."""
    said = answered(answer({"a": "long", "b": "keyword"}))
    assert (said.records(), list(said.rows.columns)) == ([], ["a", "b"])


def test_half_a_surrogate_pair_is_replaced():
    """A process name may hold one, and then nothing could be written down."""
    said = answered(answer({"a": "keyword"}, ["x\ud800y"], [["\udc00", "z"]]))
    assert [row["a"] for row in said.records()] == ["x?y", ["?", "z"]]


def test_a_partial_answer_is_not_whole():
    """Shards that failed are said, whatever the rows."""
    said = answered(answer({"a": "long"}, [1], is_partial=True))
    assert (said.is_partial, said.is_cut, said.is_whole) == (True, False, False)


@pytest.mark.parametrize(("rows", "cut"), [(ROWS_AT_MOST - 1, False), (ROWS_AT_MOST, True)])
def test_an_answer_of_ten_thousand_rows_may_have_been_cut(rows: int, cut: bool):
    """Elasticsearch cuts there and says nothing."""
    said = answered(answer({"a": "long"}, *([n] for n in range(rows))))
    assert (said.is_cut, said.is_whole) == (cut, not cut)


def test_the_server_deletes_what_it_keeps_and_nothing_else():
    """The stand-in is worth something only if it minds the ids that come back to it."""
    with ElasticsearchServer(running, delete=deleted) as server:
        with connect(cluster(server.url)) as client:
            assert client.info()["version"]["number"].startswith("8.19")
            started = client.esql.async_query(query="FROM a")["id"]
            assert server.kept == {started}
            client.esql.async_query_delete(id=started)
            with pytest.raises(Exception, match="resource_not_found"):
                client.esql.async_query_delete(id=started)
        assert server.kept == set()


def test_a_query_without_a_limit_that_is_full_counts_as_cut(tmp_path):
    """Elasticsearch gives 1,000 rows then, any 1,000: calling that complete would invent news."""
    events = [network_event(entity_id=str(number)) for number in range(1_001)]
    write_events(tmp_path, events)
    cluster = Cluster(name="folder", url=tmp_path.as_uri())
    with connect(cluster) as client:
        unlimited = clusters.answered(client, cluster, f"FROM {NETWORK} | KEEP process.entity_id")
        limited = clusters.answered(
            client, cluster, f"FROM {NETWORK} | KEEP process.entity_id | LIMIT 1000"
        )
    assert unlimited.is_cut
    assert not limited.is_cut
