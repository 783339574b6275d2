import pytest

from tasks.clusters import catalogue, connect, missing_privileges
from tasks.errors import ClusterError, QueryRefused, Unauthorised, Unreachable
from tasks.fleet.documents import NETWORK, PROCESS
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import Behaviour, busy, dropped, error, page
from tests.elasticsearch_server import Access, ElasticsearchServer
from tests.events import network_event, process_event, write_events

KEY = "canary-api-key-52a7"
NETWORKS, PROCESSES = "logs-endpoint.events.network-*", "logs-endpoint.events.process-*"


@pytest.fixture(autouse=True)
def _api_key(monkeypatch):
    monkeypatch.setenv("ES_PROD_API_KEY", KEY)


def opened(server: ElasticsearchServer):
    return connect(Cluster(name="prod", url=server.url, api_key_env="ES_PROD_API_KEY"))


def test_a_key_that_may_read_everything_lacks_nothing():
    """One question for all patterns."""
    with ElasticsearchServer(access=Access(KEY)) as server, opened(server) as client:
        assert missing_privileges(client, [NETWORKS, PROCESSES]) == {}
    (request,) = server.requests
    assert request.body["index"][0]["names"] == [NETWORKS, PROCESSES]


def test_what_a_key_lacks_is_named_by_pattern():
    """So that its owner adds just that."""
    access = Access(KEY, indices=(NETWORKS,))
    with ElasticsearchServer(access=access) as server, opened(server) as client:
        assert missing_privileges(client, [NETWORKS, PROCESSES]) == {
            PROCESSES: ("read", "view_index_metadata")
        }


def test_remote_clusters_and_exclusions_are_not_asked_for():
    """Elasticsearch knows only its own privileges, and `-x` is no pattern to read."""
    with ElasticsearchServer(access=Access(KEY)) as server, opened(server) as client:
        assert missing_privileges(client, [f"eu:{NETWORKS}", "-logs-old"]) == {}
    assert server.requests[0].body["index"] == []


def test_a_cluster_without_security_has_no_privileges_to_lack():
    """It does not know the question."""
    unknown = error(400, "illegal_argument_exception", "no handler found for uri [/_security/...]")
    with ElasticsearchServer(privileges=unknown) as server, opened(server) as client:
        assert missing_privileges(client, [NETWORKS]) == {}


FAULTS: dict[str, tuple[Behaviour, type[ClusterError]]] = {
    "wrong key": (error(401, "security_exception", "x"), Unauthorised),
    "forbidden": (error(403, "security_exception", "x"), Unauthorised),
    "refused": (error(400, "parsing_exception", "x"), QueryRefused),
    "busy": (busy, Unreachable),
    "away": (dropped, Unreachable),
    "a gateway": (page(502), Unreachable),
}


@pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS)
def test_faults_come_in_our_words(fault: Behaviour, kind: type[ClusterError]):
    """As of every other question, and without the key."""
    with ElasticsearchServer(privileges=fault, fields=fault) as server, opened(server) as client:
        for ask in (missing_privileges, lambda *args: catalogue(*args, ["host.id"])):
            with pytest.raises(kind) as caught:
                ask(client, [NETWORKS])
            assert caught.value.remedy
            assert KEY not in str(caught.value)


def test_a_catalogue_names_data_streams_and_the_types_of_fields(tmp_path):
    """Not the indices behind them, which change every month."""
    write_events(tmp_path, [network_event()])
    write_events(tmp_path, [process_event()], PROCESS)
    with ElasticsearchServer(folder=tmp_path) as server, opened(server) as client:
        found = catalogue(client, [NETWORKS, PROCESSES], ["host.id", "destination.ip", "no.such"])
        nothing = catalogue(client, ["logs-other-*", "logs-concrete"], ["host.id"])
    assert found.streams == (NETWORK, PROCESS)
    assert found.types == {"host.id": {"keyword": ()}, "destination.ip": {"ip": ()}}
    assert (nothing.streams, nothing.types) == ((), {})


@pytest.mark.parametrize(
    ("index", "stream"),
    [
        (f".ds-{NETWORK}-2026.11.20-000012", NETWORK),
        (f"partial-.ds-{NETWORK}-2026.10.01-000003", NETWORK),
        (f"eu:.ds-{NETWORK}-2026.11.20-000012", f"eu:{NETWORK}"),
        (f"eu:restored-.ds-{NETWORK}-2026.11.20-000012", f"eu:{NETWORK}"),
        ("logs-plain", "logs-plain"),
    ],
)
def test_a_backing_index_is_named_by_its_data_stream(index: str, stream: str):
    """Also where it is frozen, restored or remote."""

    def fields(call):
        call.answer({"indices": [index], "fields": {}})

    with ElasticsearchServer(fields=fields) as server, opened(server) as client:
        assert catalogue(client, ["logs-*"], ["host.id"]).streams == (stream,)
