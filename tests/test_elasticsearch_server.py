"""The stand-in for Elasticsearch is worth something only if the real client takes it for one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    BadRequestError,
    ConnectionTimeout,
    Elasticsearch,
    NotFoundError,
    SerializationError,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch import ConnectionError as ElasticsearchConnectionError
from elasticsearch.exceptions import SSLError

from tasks.fleet.documents import NETWORK, PROCESS
from tests.certificates import Authority
from tests.elasticsearch_behaviours import (
    Behaviour,
    after,
    busy,
    cut_off,
    described,
    dripping,
    dropped,
    error,
    never,
    no_fields,
    page,
    partial_of,
    real,
    reset,
    running,
    skipping,
    slow_headers,
    too_large,
    unavailable,
    when,
)
from tests.elasticsearch_server import (
    LOCAL,
    SERVERLESS,
    V8_14,
    V8_15,
    V8_19,
    V9_1,
    Access,
    ElasticsearchServer,
    Release,
)
from tests.events import network_event, process_event, write_events

COUNT = f"FROM {NETWORK} | STATS n = COUNT(*) | LIMIT 1"
NAMES = f"FROM {NETWORK} | KEEP process.name | SORT process.name | LIMIT 10000"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three network events and a process event, and a remote cluster's network."""
    folder = tmp_path_factory.mktemp("events")
    names = ("/opt/a", "/opt/b", "/opt/c")
    write_events(folder, [network_event(executable=name) for name in names])
    write_events(folder, [process_event()], PROCESS)
    write_events(folder, [network_event(executable="/opt/far")], f"eu:{NETWORK}")
    return folder


@contextmanager
def client(server: ElasticsearchServer, **settings: Any) -> Iterator[Elasticsearch]:
    """The official client, which tries once."""
    with Elasticsearch(server.url, max_retries=0, http_compress=True, **settings) as opened:
        yield opened


def asked(server: ElasticsearchServer, query: str = COUNT, **settings: Any) -> dict[str, Any]:
    """The body of an answer to a question asked by the official client."""
    timeout = {"request_timeout": settings.pop("request_timeout", 10)}
    with client(server, **timeout) as opened:
        return dict(opened.esql.async_query(query=query, **settings))


def test_questions_are_answered_from_the_folder(events: Path):
    """Also when it is polled, and without asynchrony."""
    with ElasticsearchServer(folder=events) as server, client(server) as opened:
        assert asked(server)["values"] == [[3]]
        assert opened.esql.query(query=COUNT)["values"] == [[3]]
    with ElasticsearchServer(running, running, real, folder=events) as server:
        with client(server) as opened:
            key = opened.esql.async_query(query=COUNT)["id"]
            assert opened.esql.async_query_get(id=key)["is_running"]
            assert opened.esql.async_query_get(id=key)["values"] == [[3]]
            opened.esql.async_query_delete(id=key)
        assert server.kept == set()


def test_a_query_that_it_does_not_keep_cannot_be_polled(events: Path):
    """An id that nobody gave out, and one that was deleted."""
    with (
        ElasticsearchServer(running, folder=events) as server,
        client(server) as opened,
        pytest.raises(NotFoundError, match="resource_not_found"),
    ):
        opened.esql.async_query_get(id="query/0==")


@pytest.mark.filterwarnings("ignore:No limit")
def test_a_mistake_in_a_query_and_a_warning_come_as_elasticsearch_has_them(events: Path):
    """The engine's own words, and the version that the server pretends to be."""
    with ElasticsearchServer(folder=events, release=V9_1) as server, client(server) as opened:
        with pytest.raises(BadRequestError, match=r"line 1:50: Unknown column \[hots\]"):
            asked(server, f"FROM {NETWORK} | KEEP hots")
        said = opened.esql.query(query=f"FROM {NETWORK} | KEEP host.id")
        assert said.meta.headers["warning"].startswith("299 Elasticsearch-9.1.4-abc ")


@pytest.mark.parametrize(("at_most", "limit", "rows"), [(2, 10_000, 2), (2, 1, 1), (10, 2, 2)])
def test_rows_are_cut_silently_and_a_limit_below_holds(
    events: Path, at_most: int, limit: int, rows: int
):
    """As an administrator may have set it."""
    with ElasticsearchServer(folder=events, rows_at_most=at_most) as server:
        said = asked(server, f"FROM {NETWORK} | KEEP process.name | LIMIT {limit}")
    assert len(said["values"]) == rows
    assert not said["is_partial"]


@pytest.mark.parametrize("release", [V8_14, V8_15, V8_19, V9_1, SERVERLESS, Release("9.0.1")])
def test_each_release_says_what_it_is_and_knows_what_it_knows(events: Path, release: Release):
    """Partial results came with 8.19 and 9.1, counted documents with 9.1."""
    knows = release in {V8_19, V9_1, SERVERLESS}
    counts = release in {V9_1, SERVERLESS}
    with ElasticsearchServer(folder=events, release=release) as server:
        with client(server) as opened:
            version = opened.info()["version"]
        said = asked(server)
        if knows:
            assert asked(server, allow_partial_results=False)["is_partial"] is False
        else:
            with pytest.raises(BadRequestError, match=r"parameter: \[allow_partial_results\]"):
                asked(server, allow_partial_results=False)
    assert (version["number"], version["build_flavor"]) == (release.number, release.flavor)
    assert ("is_partial" in said, "documents_found" in said) == (knows, counts)
    assert said["took"] >= 0


def test_a_server_may_say_no_number():
    """Some day serverless may stop pretending."""
    unnumbered = Release(None, "serverless")
    with ElasticsearchServer(release=unnumbered) as server, client(server) as opened:
        assert "number" not in opened.info()["version"]


def test_a_client_of_the_next_major_version_is_refused():
    """This is why the 8.19 client is used for both."""
    newest = {"accept": "application/vnd.elasticsearch+json; compatible-with=9"}
    with (
        ElasticsearchServer() as old,
        client(old) as opened,
        pytest.raises(BadRequestError, match="media_type_header_exception"),
    ):
        opened.perform_request("GET", "/", headers=newest)
    with ElasticsearchServer(release=V9_1) as new, client(new) as opened:
        assert opened.perform_request("GET", "/", headers=newest)["version"]["number"] == "9.1.4"
        assert opened.info()["version"]["number"] == "9.1.4"


@pytest.mark.parametrize("unknown", [{"page_size": 5}, {"is_async": True}])
def test_an_unknown_field_of_a_question_is_refused(unknown: dict[str, Any]):
    """A typing error in a request must not pass here and fail in production."""
    with (
        ElasticsearchServer() as server,
        client(server) as opened,
        pytest.raises(BadRequestError, match="unknown field"),
    ):
        opened.esql.async_query(body={"query": COUNT, **unknown})


def test_a_key_is_checked(events: Path):
    """Right, wrong and none."""
    with ElasticsearchServer(folder=events, access=Access("a-key")) as server:
        with client(server, api_key="a-key") as opened:
            assert opened.esql.query(query=COUNT)["values"] == [[3]]
        wrong = pytest.raises(AuthenticationException, match="unable to authenticate")
        with client(server, api_key="another") as opened, wrong:
            opened.esql.query(query=COUNT)
        with pytest.raises(AuthenticationException, match="missing authentication"):
            asked(server)


def test_what_a_key_may_not_read_does_not_exist(events: Path):
    """Elasticsearch says the same for both; only `/` is refused in plain words."""
    access = Access("a-key", indices=("logs-endpoint.events.network-*",), cluster=())
    names = ["logs-endpoint.events.network-*", "logs-endpoint.events.process-*"]
    wanted = ["read", "view_index_metadata"]
    with (
        ElasticsearchServer(folder=events, access=access) as server,
        client(server, api_key="a-key") as opened,
    ):
        assert opened.esql.query(query=COUNT)["values"] == [[3]]
        with pytest.raises(BadRequestError, match="Unknown index"):
            opened.esql.query(query=f"FROM {PROCESS} | LIMIT 1")
        with pytest.raises(NotFoundError, match="index_not_found"):
            opened.field_caps(index=PROCESS, fields="*")
        with pytest.raises(AuthorizationException, match="cluster:monitor/main"):
            opened.info()
        said = opened.security.has_privileges(
            cluster=["monitor"], index=[{"names": names, "privileges": wanted}]
        )
    assert said["has_all_requested"] is False
    assert said["cluster"] == {"monitor": False}
    assert said["index"] == {
        names[0]: dict.fromkeys(wanted, True),
        names[1]: dict.fromkeys(wanted, False),
    }


def backing(stream: str) -> str:
    """The index behind a data stream, which answers name instead of it."""
    return f".ds-{stream}-2026.11.20-000001"


def test_fields_are_listed_with_their_types(events: Path):
    """Also where two data streams disagree, and where nothing matches."""
    with ElasticsearchServer(folder=events) as server, client(server) as opened:
        said = opened.field_caps(index="logs-*", fields=["host.id", "process.parent.*", "no.such"])
        assert said["indices"] == [backing(NETWORK), backing(PROCESS)]
        assert said["fields"]["host.id"]["keyword"]["type"] == "keyword"
        assert "process.parent.name" in said["fields"]
        assert "no.such" not in said["fields"]
        assert opened.field_caps(index="metrics-*", fields="*").body == {
            "indices": [],
            "fields": {},
        }


def test_fields_of_two_types_name_the_indices_of_each(tmp_path: Path):
    """So that a reader knows where to look."""
    write_events(tmp_path, [network_event()])
    write_events(tmp_path, [{"source": {"bytes": "12"}}], "logs-odd")
    with ElasticsearchServer(folder=tmp_path) as server, client(server) as opened:
        kinds = opened.field_caps(index="logs-*", fields="source.bytes")["fields"]["source.bytes"]
    assert {kind: said["indices"] for kind, said in kinds.items()} == {
        "long": [backing(NETWORK)],
        "keyword": [backing("logs-odd")],
    }


def test_a_remote_cluster_takes_part_and_can_be_skipped(events: Path):
    """With what Elasticsearch says of each cluster, where the question asks for it."""
    both = f"FROM {NETWORK},eu:{NETWORK} | STATS n = COUNT(*) | LIMIT 1"
    with ElasticsearchServer(folder=events) as server:
        assert "_clusters" not in asked(server, both)
        said = asked(server, both, include_ccs_metadata=True)
        assert said["values"] == [[4]]
        assert (said["_clusters"]["successful"], said["is_partial"]) == (2, False)
    with ElasticsearchServer(skipping("eu"), folder=events) as server:
        said = asked(server, both, include_ccs_metadata=True)
        assert (said["values"], said["is_partial"]) == ([[3]], True)
        assert (said["_clusters"]["total"], said["_clusters"]["skipped"]) == (2, 1)
        assert said["_clusters"]["details"][LOCAL]["status"] == "successful"
        far = said["_clusters"]["details"]["eu"]
        assert (far["status"], far["indices"]) == ("skipped", NETWORK)
        assert far["failures"][0]["reason"]["type"] == "connect_transport_exception"
        only = asked(server, f"FROM eu:{NETWORK} | STATS n = COUNT(*) | LIMIT 1")
        assert only["columns"] == [{"name": "<no-fields>", "type": "null"}]


@pytest.mark.parametrize(("rows", "left"), [(None, 3), (0, 0), (2, 2)])
def test_a_partial_answer_has_as_many_rows_as_it_is_told(events: Path, rows: int | None, left: int):
    """Some shards failed, some did not."""
    with ElasticsearchServer(partial_of(rows), folder=events) as server:
        said = asked(server, NAMES)
    assert (said["is_partial"], len(said["values"])) == (True, left)


def test_a_pattern_that_matches_nothing_may_come_without_fields():
    """As newer servers answer it."""
    with ElasticsearchServer(no_fields) as server:
        said = asked(server)
    assert (said["columns"][0]["name"], said["values"]) == ("<no-fields>", [])


FAULTS: dict[str, tuple[Behaviour, type[Exception], int | None]] = {
    "rejected": (busy, ApiError, 429),
    "too large": (too_large("PERMANENT"), ApiError, 429),
    "no master": (unavailable, ApiError, 503),
    "bad gateway": (page(502), ApiError, 502),
    "in its own words": (error(504, "timeout_exception", "x"), ApiError, 504),
    "dropped": (dropped, ElasticsearchConnectionError, None),
    "torn": (reset, ElasticsearchConnectionError, None),
    "cut off": (cut_off, ElasticsearchConnectionError, None),
    "no answer": (never, ConnectionTimeout, None),
}


@pytest.mark.parametrize(("fault", "kind", "status"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_faults_are_those_that_the_client_sees(
    fault: Behaviour, kind: type[Exception], status: int | None, secure: bool, authority: Authority
):
    """Each in the client's own terms, over plain and over encrypted lines."""
    certificate = authority.good() if secure else None
    trusted = {"ca_certs": str(authority.path)} if secure else {}
    with (
        ElasticsearchServer(fault, certificate=certificate) as server,
        client(server, request_timeout=0.5, **trusted) as opened,
        pytest.raises(kind) as caught,
    ):
        opened.esql.async_query(query=COUNT)
    assert getattr(caught.value, "status_code", None) == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("endless", [dripping(0.01), slow_headers(0.01)])
def test_what_drips_outlives_the_time_out_of_a_read(endless: Behaviour):
    """Only a clock of the client's own bounds it."""
    with ElasticsearchServer(endless) as server:
        asking = threading.Thread(target=_asked_in_vain, args=(server,))
        asking.start()
        asking.join(1.0)
        assert asking.is_alive()
    asking.join(10)
    assert not asking.is_alive()


def _asked_in_vain(server: ElasticsearchServer) -> None:
    with contextlib.suppress(TransportError, SerializationError, UnsupportedProductError):
        asked(server, request_timeout=0.2)


def test_a_fault_comes_when_it_is_its_turn(events: Path):
    """The first question, the second, and from then on."""
    with ElasticsearchServer(real, busy, busy, real, folder=events) as server:
        codes = [_status(server) for _ in range(5)]
    assert codes == [200, 429, 429, 200, 200]


def test_a_fault_may_be_for_certain_questions_only(events: Path):
    """By a word in their text, also while they are polled."""
    turns = when(PROCESS, running, busy, real)
    with ElasticsearchServer(turns, folder=events) as server, client(server) as opened:
        started = opened.esql.async_query(query=f"FROM {PROCESS} | LIMIT 1")
        assert started["is_running"]
        assert _status(server) == 200
        with pytest.raises(ApiError, match="429"):
            opened.esql.async_query_get(id=started["id"])
        assert len(server.asked(PROCESS)) == 1
        assert len(server.asked()) == 2


def test_faults_may_be_elsewhere_than_in_questions():
    """At `/`, for example."""
    with (
        ElasticsearchServer(info=unavailable) as server,
        client(server) as opened,
        pytest.raises(ApiError, match="503"),
    ):
        opened.info()
    with ElasticsearchServer(info=after(0.01, described)) as server, client(server) as opened:
        assert opened.info()["tagline"] == "You Know, for Search"


def _status(server: ElasticsearchServer) -> int:
    with client(server) as opened:
        try:
            return opened.esql.async_query(query=COUNT).meta.status
        except ApiError as refusal:
            return refusal.status_code


def test_queries_that_run_at_once_are_counted(events: Path):
    """One that was given up without a word goes on; one that was deleted does not."""
    with ElasticsearchServer(running, folder=events) as server, client(server) as opened:
        first = opened.esql.async_query(query=COUNT)["id"]
        opened.esql.async_query_delete(id=first)
        opened.esql.async_query(query=COUNT)
        assert server.most_running == 1
        opened.esql.async_query(query=COUNT)
        assert server.most_running == 2


def test_a_query_that_was_answered_or_hung_up_on_runs_no_longer(events: Path):
    """Elasticsearch cancels what nobody waits for, unless it gave its id away."""
    with ElasticsearchServer(never, reset, busy, running, real, folder=events) as server:
        with pytest.raises(ConnectionTimeout):
            asked(server, request_timeout=0.1)
        with pytest.raises(ElasticsearchConnectionError):
            asked(server)
        with pytest.raises(ApiError):
            asked(server)
        with client(server) as opened:
            opened.esql.async_query_get(id=opened.esql.async_query(query=COUNT)["id"])
        asked(server)
        assert server.most_running == 1


def test_requests_come_with_their_time_and_their_answers_with_their_size(events: Path):
    """For pauses between attempts, and for what crosses the network."""
    with ElasticsearchServer(folder=events) as server:
        for _ in range(3):
            asked(server)
    assert all(a.at < b.at for a, b in pairwise(server.requests))
    assert server.bytes_sent > 0


def test_a_fault_of_the_stand_in_itself_fails_the_test():
    """A test that passes because of it would mean nothing."""

    def broken(_: object) -> None:
        raise LookupError("a bug in a test")

    with (
        pytest.raises(LookupError, match="a bug in a test"),
        ElasticsearchServer(broken) as server,
        contextlib.suppress(ElasticsearchConnectionError),
    ):
        asked(server)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("stranger", "certificate verify failed"),
        ("for_another_host", "doesn't match 'es.example.com'"),
        ("expired", "certificate has expired"),
    ],
)
def test_a_bad_certificate_is_refused(kind: str, said: str, authority: Authority, tmp_path: Path):
    """Before anything is sent."""
    stranger = Authority(tmp_path, "Stranger")
    bad = stranger.good() if kind == "stranger" else getattr(authority, kind)()
    with (
        ElasticsearchServer(certificate=bad) as server,
        client(server, ca_certs=str(authority.path)) as opened,
        pytest.raises(SSLError) as caught,
    ):
        opened.info()
    assert said in caught.value.message
    assert server.requests == []


def test_a_good_certificate_is_accepted(authority: Authority, events: Path):
    """Over it, everything is as without."""
    with (
        ElasticsearchServer(folder=events, certificate=authority.good()) as server,
        client(server, ca_certs=str(authority.path)) as opened,
    ):
        assert opened.esql.query(query=COUNT)["values"] == [[3]]
