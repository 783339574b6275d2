"""A planted secret, looked for everywhere that people or programs can read."""

import logging
import traceback
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from tasks.errors import SettingsError, Unauthorised
from tasks.history import History
from tasks.settings import Cluster, Destination
from tests.builders import SLOT, finding, report, run
from tests.elasticsearch_server import Access, ElasticsearchServer
from tests.flows.worker import run_deployed
from tests.histories import new_history
from tests.slack_server import SlackServer, no

API_KEY = "canary-api-key-77c1"
TOKEN = "canary-slack-token-77c2"


def refusing_elasticsearch():
    """A cluster that accepts another key."""
    return ElasticsearchServer(access=Access("another"))


def sent(server):
    """The Authorization headers that came."""
    return [request.headers["Authorization"] for request in server.requests]


def what_prefect_knows() -> str:
    """Everything that the server tells of its runs, artifacts, logs and blocks, or stores."""
    settings = get_current_settings()
    paths = ("flow_runs", "task_runs", "artifacts", "logs", "block_documents", "events")
    with get_client(sync_client=True) as client:
        told = [client.request("POST", f"/{path}/filter", json={}).text for path in paths]
    url = settings.server.database.connection_url.get_secret_value()
    database = Path(url.removeprefix("sqlite+aiosqlite:///"))
    stored = [p.read_text(encoding="latin-1") for p in database.parent.glob(f"{database.name}*")]
    assert stored
    return "\n".join(told + stored)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("ES_PROD_API_KEY", API_KEY)
    monkeypatch.setenv("SECOPS_TOKEN", TOKEN)
    new_history(f"sqlite:///{tmp_path}/history.db")
    return tmp_path


def storage(site) -> dict:
    return {"history_url": f"sqlite:///{site}/history.db", "archive_url": str(site / "archive")}


def test_a_wrong_api_key_is_named_by_its_variable_and_nothing_is_written(site, caplog):
    """The remedy says where to put a valid one; the value is nowhere."""
    caplog.set_level(logging.DEBUG)
    before = {p: p.read_bytes() for p in site.rglob("*") if p.is_file()}
    with refusing_elasticsearch() as server:
        cluster = Cluster(name="prod", url=server.url, api_key_env="ES_PROD_API_KEY")
        state = run_deployed(hunt_cluster, cluster=cluster, slot=SLOT, **storage(site))
    error = state.result(raise_on_failure=False)
    assert sent(server) == [f"ApiKey {API_KEY}"], "one attempt, with the key"
    assert isinstance(error, Unauthorised)
    assert "ES_PROD_API_KEY" in error.problem
    assert {p: p.read_bytes() for p in site.rglob("*") if p.is_file()} == before
    shown = "".join(traceback.format_exception(error)) + repr(state) + caplog.text
    assert API_KEY not in shown + what_prefect_knows()


def test_no_secret_stands_in_logs_reports_history_or_prefect(site, caplog):
    """A digest that is refused, and the page of its day."""
    caplog.set_level(logging.DEBUG, logger="prefect")
    with History.open(f"sqlite:///{site}/history.db") as history:
        history.record(report(run(), finding()))
    with SlackServer(no("invalid_auth")) as slack:
        destination = Destination(
            name="secops",
            channel="C1",
            clusters=("demo-eu",),
            token_env="SECOPS_TOKEN",
            api_url=slack.url,
        )
        state = run_deployed(daily_digest, destination=destination, slot=SLOT, **storage(site))
    assert set(slack.tokens) == {TOKEN}
    error = state.result(raise_on_failure=False)
    written = b"".join(p.read_bytes() for p in site.rglob("*") if p.is_file()).decode("latin-1")
    shown = "".join(traceback.format_exception(error)) + repr(state) + caplog.text
    assert '"secops"' in what_prefect_knows(), "it was asked about the right run"
    assert TOKEN not in shown + what_prefect_knows() + written


def test_a_secret_block_is_read_and_never_repeated(site, caplog):
    """Key and token may be in Prefect, which keeps them encrypted and shows them to nobody."""
    caplog.set_level(logging.DEBUG)
    Secret(value=API_KEY).save("es-prod")
    Secret(value=TOKEN).save("slack-secops")
    with History.open(f"sqlite:///{site}/history.db") as history:
        history.record(report(run(), finding()))
    with refusing_elasticsearch() as server, SlackServer(no("invalid_auth")) as slack:
        cluster = Cluster(name="prod", url=server.url, api_key_block="es-prod")
        destination = Destination(
            name="secops",
            channel="C1",
            clusters=("demo-eu",),
            token_block="slack-secops",
            api_url=slack.url,
        )
        states = [
            run_deployed(hunt_cluster, cluster=cluster, slot=SLOT, **storage(site)),
            run_deployed(daily_digest, destination=destination, slot=SLOT, **storage(site)),
        ]
    assert (sent(server), set(slack.tokens)) == ([f"ApiKey {API_KEY}"], {TOKEN})
    errors = [state.result(raise_on_failure=False) for state in states]
    assert "block es-prod" in errors[0].problem
    shown = repr(states) + caplog.text
    shown += "".join(line for error in errors for line in traceback.format_exception(error))
    written = b"".join(p.read_bytes() for p in site.rglob("*") if p.is_file()).decode("latin-1")
    known = what_prefect_knows()
    assert "es-prod" in known
    assert API_KEY not in shown + known + written
    assert TOKEN not in shown + known + written


def test_a_secret_block_that_is_none_is_named(site):
    """Each Prefect server has its own blocks."""
    cluster = Cluster(name="prod", url="http://127.0.0.1:9", api_key_block="no-such-block")
    state = run_deployed(hunt_cluster, cluster=cluster, slot=SLOT, **storage(site))
    error = state.result(raise_on_failure=False)
    assert isinstance(error, Unauthorised)
    assert "The secret block no-such-block (API key of prod) is not set" in error.problem
    assert "PREFECT_API_URL" in error.remedy


def test_a_secret_block_that_holds_no_text_is_refused(site):
    """Prefect takes any JSON for a secret."""
    Secret(value={"key": API_KEY}).save("es-json")
    cluster = Cluster(name="prod", url="http://127.0.0.1:9", api_key_block="es-json")
    state = run_deployed(hunt_cluster, cluster=cluster, slot=SLOT, **storage(site))
    error = state.result(raise_on_failure=False)
    assert "es-json is not text" in error.problem
    assert API_KEY not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("url", ["https://elastic:hunter2@es.example.com", "https://:hunter2@es"])
def test_a_password_in_an_address_is_refused_without_repeating_it(site, url):
    """Parameters are stored in clear, so the flow does not even start."""
    cluster = {"name": "prod", "url": url}
    state = run_deployed(hunt_cluster, cluster=cluster, slot=SLOT, **storage(site))
    error = state.result(raise_on_failure=False)
    assert isinstance(error, SettingsError)
    assert "must not hold a password" in error.problem
    shown = "".join(traceback.format_exception(error)) + repr(state)
    assert "hunter2" not in shown
