"""The preflight as an operator runs it: from the command line, and from Prefect's UI."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.flows import EntrypointType

from flows.check_cluster import check_cluster
from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from tasks.errors import SettingsError
from tasks.fleet.documents import NETWORK, PROCESS
from tests.elasticsearch_server import Access, ElasticsearchServer
from tests.events import network_event, process_event, write_events
from tests.flows.test_cli import beaconhunt
from tests.flows.worker import run_deployed, worker_with
from tests.histories import new_history
from tests.slack_server import SlackServer

KEY = "canary-api-key-41de"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A folder with fresh events of both kinds."""
    fresh = datetime.now(UTC) - timedelta(minutes=10)
    write_events(tmp_path / "events", [network_event(at=fresh)], NETWORK)
    write_events(tmp_path / "events", [process_event(at=fresh)], PROCESS)
    return tmp_path / "events"


@pytest.fixture
def storage(tmp_path: Path) -> dict[str, str]:
    history_url = f"sqlite:///{tmp_path}/history.db"
    new_history(history_url)
    return {"history_url": history_url, "archive_url": f"{tmp_path}/archive"}


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, events, storage):
    """Run a command beside a prefect.yaml with two clusters and a destination."""
    monkeypatch.setenv("ES_PROD_API_KEY", KEY)
    monkeypatch.setenv("SECOPS_TOKEN", "canary-token")
    monkeypatch.chdir(tmp_path)
    with ElasticsearchServer(folder=events, access=Access(KEY)) as server, SlackServer() as slack:
        destination = {
            **{"name": "secops", "channel": "C1", "clusters": ["prod", "corp"]},
            **{"token_env": "SECOPS_TOKEN", "api_url": slack.url},
        }
        prod = {"name": "prod", "url": server.url, "api_key_env": "ES_PROD_API_KEY"}
        parameters = {
            ("prod", hunt_cluster): {**storage, "cluster": prod},
            ("corp", hunt_cluster): {
                **storage,
                "cluster": {"name": "corp", "url": events.as_uri()},
            },
            ("secops", daily_digest): {**storage, "destination": destination},
            ("check", check_cluster): {},
        }
        deployments = [
            {
                "name": name,
                "entrypoint": f"{flow.fn.__module__}.{flow.fn.__name__}",
                "parameters": each,
            }
            for (name, flow), each in parameters.items()
        ]
        (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": deployments}))
        yield lambda *arguments: beaconhunt(monkeypatch, capsys, *arguments)


def test_a_site_that_is_in_order_exits_with_0(command, tmp_path):
    """Every deployment is checked, storage once, and nothing is left behind."""
    before = sorted(tmp_path.rglob("*"))
    code, said, complaint = command("check")
    assert code == 0, said + complaint
    assert [line.split()[0] for line in said.splitlines() if line[:1].isalpha()] == [
        *("subject", "prod", "corp", "storage", "secops"),
    ]
    assert said.splitlines()[-1].endswith(" ok")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cluster_can_be_checked_alone(command):
    """The first step for a cluster of one's own: Slack comes later."""
    code, said, _ = command("check", "corp", "--format", "json")
    assert code == 0
    assert {check["subject"] for check in json.loads(said)} == {"corp", "storage"}


def test_what_failed_exits_with_1_and_stands_there_with_its_remedy(command, monkeypatch):
    """A deployment script stops at it; the table shows what was not tried in one row."""
    monkeypatch.delenv("ES_PROD_API_KEY")
    code, said, complaint = command("check", "prod")
    assert (code, complaint) == (1, "")
    assert "failed   The secret ES_PROD_API_KEY (API key of prod) is not set." in said
    assert "remedy: Set the environment variable ES_PROD_API_KEY" in said
    assert "connection and 9 more" in said
    code, said, _ = command("check", "prod", "--format", "json")
    assert code == 1
    checks = json.loads(said)
    assert set(checks[0]) == {"subject", "name", "verdict", "said", "remedy"}
    assert [check["verdict"] for check in checks if check["name"] == "API key"] == ["skipped"]


def test_a_warning_exits_with_0(command, monkeypatch, tmp_path):
    """Runs work."""
    old = datetime.now(UTC) - timedelta(hours=9)
    write_events(tmp_path / "events", [network_event(at=old)], NETWORK)
    code, said, _ = command("check", "corp")
    assert code == 0
    assert said.splitlines()[-1] == "1 warning, 7 ok"


def test_the_key_is_in_nothing_that_is_shown(command):
    """Neither where all is well nor where it is not accepted."""
    assert KEY not in "".join(map(str, command("check")))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: p["corp"].update(treshold=1), "Deployment corp: The flow hunt_cluster has no"),
        (lambda p: p["corp"].update(thresholds={"min_duration_hours": "x"}), "corp: thresholds."),
    ],
)
def test_a_parameter_that_does_not_fit_names_its_deployment(command, tmp_path, change, named):
    """As the scheduled run would refuse it, but now."""
    path = tmp_path / "prefect.yaml"
    document = yaml.safe_load(path.read_text())
    change({each["name"]: each["parameters"] for each in document["deployments"]})
    path.write_text(yaml.safe_dump(document))
    code, _, complaint = command("check")
    assert code == 1
    assert named in complaint
    assert "remedy: " in complaint


def test_a_cluster_that_nobody_deployed_is_refused_with_those_that_are(command):
    """A typing error is no clean check."""
    code, _, complaint = command("check", "prdo")
    assert code == 1
    assert "No deployment hunts prdo." in complaint
    assert "corp, prod" in complaint


def test_other_commands_take_the_history_of_those_that_have_one(command):
    """The check's own deployment names none, and is no second history."""
    assert command("runs")[0] == 0


@pytest.fixture
def deployed(events, storage):
    """Deployments on the Prefect server of these tests."""
    made, listed = [], []

    def deploy(flow, name, **parameters):
        listed.append((flow, storage | parameters))
        deployment = flow.to_deployment(
            name, parameters=storage | parameters, entrypoint_type=EntrypointType.MODULE_PATH
        )
        made.append(deployment.apply())

    corp = {"name": "corp", "url": events.as_uri()}
    gone = {"name": "gone", "url": (events / "none").as_uri()}
    deploy(hunt_cluster, "corp", cluster=corp)
    deploy(hunt_cluster, "gone", cluster=gone)
    deploy(daily_digest, "secops", destination={"name": "s", "channel": "C", "clusters": ["corp"]})
    with worker_with(*listed):
        yield
    with get_client(sync_client=True) as client:
        for identity in made:
            client.delete_deployment(identity)


def artifact() -> str:
    """The newest table that Prefect's UI shows of a check."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["check"]))
    with get_client(sync_client=True) as client:
        (found,) = client.read_artifacts(artifact_filter=wanted, limit=1)
    return found.data


def test_the_flow_checks_the_deployments_of_its_prefect_server(deployed):
    """What really runs is checked, also where somebody changed it in the UI."""
    state = check_cluster(clusters=["corp"], return_state=True)
    assert (state.is_completed(), state.message) == (True, "8 ok")
    assert "1 event from 1 Mac in the last 24 hours" in artifact()


def test_a_check_that_failed_fails_the_flow_run_and_names_it(deployed):
    """Its state is what an automation sees."""
    state = check_cluster(return_state=True)
    assert state.is_failed()
    assert "2 failed" in state.message
    assert "(gone: settings; secops: token)" in state.message


def test_a_deployment_that_the_worker_does_not_list_is_named(deployed, events):
    """Somebody changed it on the server; nothing is tried."""
    with worker_with((hunt_cluster, {"cluster": {"name": "corp", "url": events.as_uri()}})):
        state = check_cluster(clusters=["gone"], return_state=True)
    assert state.is_failed()
    assert "Deployment gone may use only what this worker's /" in state.message
    assert f'does not list cluster: {{"url": "{(events / "none").as_uri()}"}}' in state.message


def test_a_server_without_deployments_is_no_clean_check():
    """Nothing was checked, so nothing is ok."""
    state = run_deployed(check_cluster)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, SettingsError)
    assert "prefect --no-prompt deploy --all" in error.remedy
