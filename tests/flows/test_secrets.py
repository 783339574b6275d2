"""A planted secret, looked for everywhere that people or programs can read."""

import base64
import json
import logging
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from tasks import post
from tasks.check import PreflightScope, preflight
from tasks.errors import SettingsError, Unauthorised
from tasks.fleet.documents import PROCESS
from tasks.history import History
from tasks.model.runs import Outcome
from tasks.preflight.cluster import HuntSettings
from tasks.settings import Cluster, Destination
from tests import elasticsearch_behaviours, slack_server
from tests.builders import SLOT, finding, report, run
from tests.elasticsearch_server import Access, ElasticsearchServer
from tests.events import SLOT as EVENTS_UNTIL
from tests.events import process_event, write_events
from tests.flows.site import fresh, steady
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


# Servers that repeat what they were sent, or send it on

ECHOED = "canary-echoed-key-77c4"
ENCODED = base64.b64encode(f"canary-id:{ECHOED}/+".encode()).decode()
CANARIES = (ENCODED.rstrip("="), ECHOED, TOKEN)
SENT = f"{ENCODED} canary-id:{ECHOED}/+ {quote(ENCODED, safe='')} {TOKEN} \x1b[31m \ud800"
"""What a server that logs its requests repeats: the headers, also read and rewritten."""


def echo(monkeypatch, kind: str, elsewhere: SimpleNamespace) -> None:
    """Let both servers repeat what they were sent in every answer, or redirect every call."""
    answer, slack_answer = elasticsearch_behaviours.Call.answer, slack_server.Call.answer
    page = f"<title>{SENT.encode(errors='replace').decode()}</title>"

    def elasticsearch_says(call, body, status=200, *headers):
        product = ("X-Elastic-Product", "Elasticsearch")
        if kind == "redirects":
            call.send("", 307, ("Location", f"{elsewhere.cluster.url}/{quote(SENT[:-1])}"), product)
        elif kind == "pages":
            call.send(page, 200, ("Content-Type", "text/html"), product)
        elif kind == "errors":
            error = {"type": "parsing_exception", "reason": f"line 1:1: {SENT}"}
            answer(call, {"error": error}, 400)
        else:
            echoed = json.dumps(body).replace('"agentd"', json.dumps(f"agentd {SENT}"))
            warning = ("Warning", f'299 Elasticsearch-8.19.3-abc "{quote(SENT[:-1])}"')
            answer(call, {**json.loads(echoed), "headers": SENT}, status, *headers, warning)

    def slack_says(call, body, status=200, **headers):
        if kind == "redirects":
            slack_answer(call, "", 307, Location=f"{elsewhere.slack.url}?{quote(SENT[:-1])}")
        elif kind == "pages":
            slack_answer(call, page)
        elif kind == "errors":
            slack_answer(call, {"ok": False, "error": SENT})
        else:
            named = {key: SENT for key in ("team", "user") if isinstance(body, Mapping)}
            slack_answer(call, {**body, **named, "headers": SENT}, status, **headers)

    monkeypatch.setattr(elasticsearch_behaviours.Call, "answer", elasticsearch_says)
    monkeypatch.setattr(slack_server.Call, "answer", slack_says)


@pytest.mark.parametrize("kind", ["answers", "errors", "pages", "redirects"])
def test_what_servers_repeat_is_shown_nowhere_and_sent_nowhere(
    kind, site, tmp_path_factory, caplog, capfd, monkeypatch
):
    """Through a check, a hunt and a digest of deployments, with every log at DEBUG."""
    monkeypatch.setattr(post, "SECONDS_BETWEEN_ATTEMPTS", 0)
    monkeypatch.setenv("ES_PROD_API_KEY", ENCODED)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "0b5f2a52-3a0e-4a4f-8f5c-0b1b3c2d4e5f")
    caplog.set_level(logging.DEBUG)
    events = tmp_path_factory.mktemp("events")
    write_events(events, [*steady(), fresh()])
    write_events(events, [process_event()], PROCESS)
    with (
        ElasticsearchServer(folder=events, access=Access(ENCODED)) as server,
        SlackServer() as slack,
        ElasticsearchServer() as other_cluster,
        SlackServer() as other_slack,
    ):
        echo(monkeypatch, kind, SimpleNamespace(cluster=other_cluster, slack=other_slack))
        cluster = Cluster(name="prod", url=server.url, api_key_env="ES_PROD_API_KEY")
        destination = Destination(
            name="secops",
            channel="C1",
            clusters=("prod",),
            token_env="SECOPS_TOKEN",
            api_url=slack.url,
        )
        hunts = [HuntSettings("prod", cluster, "macos-unsigned-network", {}, 6)]
        scope = PreflightScope(hunts, {"secops": destination}, frozenset({"prod"}), (), ())
        checks = preflight(scope, EVENTS_UNTIL)
        states = [
            run_deployed(hunt_cluster, cluster=cluster, slot=EVENTS_UNTIL, **storage(site)),
            run_deployed(
                daily_digest,
                destination=destination,
                slot=EVENTS_UNTIL + timedelta(hours=1),
                **storage(site),
            ),
        ]
        assert (other_cluster.requests, other_slack.tokens) == ([], set()), "nobody else is asked"
    assert set(sent(server)) == {f"ApiKey {ENCODED}"}
    assert set(slack.tokens) == {TOKEN}
    with History.open(storage(site)["history_url"]) as history:
        (recorded,) = history.runs(cluster="prod")
    assert (recorded.run.outcome is Outcome.FAILED) == (kind != "answers")
    results = [state.result(raise_on_failure=False) for state in states]
    errors = [each for each in results if isinstance(each, Exception)]
    chains = "".join(line for error in errors for line in traceback.format_exception(error))
    printed = "".join(capfd.readouterr())
    written = b"".join(p.read_bytes() for p in site.rglob("*") if p.is_file()).decode("latin-1")
    shown = {
        "checks": repr(checks),
        "states": repr(states),
        "tracebacks": chains,
        "log": caplog.text,
        "terminal": printed,
        "history and archive": written,
        "Prefect": what_prefect_knows(),
    }
    for place, text in shown.items():
        assert [canary for canary in CANARIES if canary in text] == [], place
        assert "\x1b[31m" not in text, place
    assert "[secret]" in caplog.text, "the libraries log what they get"
    assert ("agentd [secret]" in written) == (kind == "answers"), "the answers were used"
