"""The whole way of a deployment, for real: server, pool, deploy, worker, one run, and its end.

Nobody but the user who started it may use the server.
"""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
import yaml
from prefect.client.base import PrefectHttpxSyncClient
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.prefect_server import set_up, start_process, use_prefect_server
from tasks.errors import SettingsError
from tasks.publish import event_id, event_resource
from tests.builders import SLOT, day, finding, report, run
from tests.terminal import CTRL_C, ROOT, Terminal, free_port, is_alive, without_prefect

VERSION = "/api/admin/version"
EVIL = "http://evil.example"

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Answer(NamedTuple):
    """What came back; headers are in lower case."""

    status: int
    headers: dict[str, str]


class Product:
    """`beaconhunt up` at a terminal of a user who has a Prefect of their own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.home = folder / "beaconhunt"
        self.users = folder / "user"
        self.profiles = self.users / ".prefect" / "profiles.toml"
        self.profiles.parent.mkdir(parents=True)
        self.written = (
            'active = "work"\n[profiles.work]\n'
            f'[profiles.local]\nPREFECT_API_URL = "http://127.0.0.1:{self.port}/api"\n'
        )
        self.profiles.write_text(self.written)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def login(self) -> str:
        """User and password of the newest start."""
        return (self.home / "prefect" / "login").read_text().strip()

    @cached_property
    def api(self) -> PrefectHttpxSyncClient:
        """Ask again after a 503: a busy server's SQLite is locked for a moment now and then."""
        auth = tuple(self.login.split(":"))
        return PrefectHttpxSyncClient(base_url=f"{self.url}/api", auth=auth, timeout=30)

    def ask(self, path: str, method: str = "GET", login: str = "", **headers: str) -> Answer:
        """Send a request just as it is; the underscore in a header's name is a hyphen."""
        if login:
            headers["authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()})

    def up(self, said: str, config: Path = ROOT / "prefect.yaml") -> Terminal:
        return Terminal(
            self.users / said,
            *("up", "--port", str(self.port), "--config", str(config)),
            env=without_prefect(
                HOME=str(self.users), BEACONHUNT_HOME=str(self.home), PREFECT_PROFILE="work"
            ),
        )

    def post(self, path: str, **body) -> dict:
        return self.api.post(path, json=body).json()

    def deployment(self, name: str) -> dict:
        return self.api.get(f"/deployments/name/{name}").json()

    def run(self, name: str, seconds: float = 120, **chosen) -> dict:
        """Run a deployment now and give the flow run once it has ended."""
        path = f"/deployments/{self.deployment(name)['id']}/create_flow_run"
        started = self.post(path, **chosen)
        deadline = time.monotonic() + seconds
        while True:
            flow_run = self.api.get(f"/flow_runs/{started['id']}").json()
            if flow_run["state_type"] in ENDED:
                return flow_run
            assert time.monotonic() < deadline, flow_run["state"]
            time.sleep(0.5)

    def events(self, name: str, *, until: str, seconds: float = 60) -> list[str]:
        """Give the ids of the events of a name, once the one that was sent last is among them."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.post("/events/filter", filter={"event": {"name": [name]}})
            ids = [event["id"] for event in found["events"]]
            if until in ids:
                return ids
            assert time.monotonic() < deadline, ids
            time.sleep(0.5)


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Product:
    return Product(tmp_path_factory.mktemp("up"))


@pytest.fixture(scope="module", autouse=True)
def terminal(product) -> Iterator[Terminal]:
    with product.up("said") as terminal:
        terminal.wait_for("Ready:")
        with product.api:
            yield terminal


def test_a_deployed_hunt_runs_to_its_report(product):
    """Prefect starts it, the report is on disk, and the run says in words how it ended."""
    flow_run = product.run("hunt_cluster/demo")
    state = flow_run["state"]
    assert (state["type"], state["name"]) == ("COMPLETED", "Baseline"), state
    assert state["message"].startswith("baseline: ")
    assert flow_run["name"].startswith("demo, newest event")
    reports = list(product.home.glob("archive/macos-unsigned-network/demo/*/*/*/*/report.html"))
    assert len(reports) == 1
    artifacts = product.post("/artifacts/filter", sort="KEY_ASC")
    keys = {artifact["key"] for artifact in artifacts}
    assert keys == {
        "demo-macos-unsigned-network-findings",
        "demo-macos-unsigned-network-summary",
    }
    assert any("Baseline recorded" in str(artifact["data"]) for artifact in artifacts)


def test_no_other_user_of_the_machine_can_read_what_was_written(product):
    """History with its WAL, archive, Prefect's database, the demo's events, lock files."""
    written = [product.home, *product.home.rglob("*")]
    names = {path.name for path in written}
    assert {"history.db", "report.html", "index.html", "prefect.db", "starting"} <= names
    assert {oct(path.stat().st_mode & 0o077) for path in written} == {"0o0"}


def test_cron_runs_are_created(product):
    """With a newer SQLAlchemy everything looks healthy, and no cron run is ever made."""
    deployment = product.deployment("hunt_cluster/demo")
    product.post(f"/deployments/{deployment['id']}/schedule")
    count = product.post(
        "/flow_runs/count",
        deployments={"id": {"any_": [deployment["id"]]}},
        flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}},
    )
    assert count == 3


def test_an_event_is_kept_once_by_its_id(product):
    """A slot that is run again announces its new findings once."""
    event = {
        "id": str(event_id(finding(), SLOT)),
        "event": "beaconhunt.finding.new",
        "resource": event_resource(finding(), report(run())),
        "occurred": datetime.now(UTC).isoformat(),
    }
    another = {**event, "id": str(event_id(finding(), day(1)))}
    for sent in (event, event, another):
        product.api.post("/events", json=[sent])
    kept = product.events("beaconhunt.finding.new", until=another["id"])
    assert sorted(kept) == sorted([event["id"], another["id"]])


def test_the_examples_are_deployed_and_inactive(product):
    """What nobody has set up yet does not run."""
    for name in ("hunt_cluster/prod-us", "hunt_cluster/prod-eu", "daily_digest/secops"):
        assert [schedule["active"] for schedule in product.deployment(name)["schedules"]] == [False]


def test_a_scheduled_hunt_that_fails_is_recorded_and_says_why(product):
    """Its reason stands in the final state, in the archive and in the next digest."""
    flow_run = product.run("hunt_cluster/prod-eu")
    assert flow_run["state_type"] == "FAILED"
    assert "not searched: " in flow_run["state"]["message"]
    assert "ES_PROD_EU_API_KEY" in flow_run["state"]["message"]
    assert list(product.home.glob("archive/macos-unsigned-network/prod-eu/*/*/*/*/report.html"))


def test_who_starts_a_run_chooses_neither_server_nor_process(product, tmp_path):
    """The worker's file counts: job variables name no other, and no folder or command either."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        parameters = {"cluster": {"name": "demo", "url": url, "api_key_env": "PATH"}}
        hunt = {"name": "a", "entrypoint": "flows.hunt_cluster.hunt_cluster"}
        file = tmp_path / "prefect.yaml"
        file.write_text(json.dumps({"deployments": [hunt | {"parameters": parameters}]}))
        variables = {
            "env": {"BEACONHUNT_CONFIG": str(file)},
            "working_dir": str(tmp_path),
            "command": f"touch {tmp_path}/mark",
        }
        chosen = {"parameters": parameters, "job_variables": variables}
        flow_run = product.run("hunt_cluster/demo", **chosen)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert flow_run["job_variables"] == variables
    assert flow_run["state_type"] == "FAILED"
    refused = f"A run may use only what this worker's {ROOT / 'prefect.yaml'} lists"
    assert refused in flow_run["state"]["message"]
    assert list(tmp_path.iterdir()) == [file]


def test_the_zombie_automation_is_there_once(product):
    """Deploying twice does not make two of it."""
    named = product.post("/automations/filter")
    assert [a["name"] for a in named if "heartbeat" in a["name"]] == [
        "beaconhunt: crash runs without a heartbeat"
    ]


def test_the_users_own_prefect_is_neither_asked_nor_changed(product):
    """A profile that names the same address would be switched to; ours are in our own home."""
    assert [path.name for path in product.profiles.parent.iterdir()] == ["profiles.toml"]
    assert product.profiles.read_text() == product.written
    assert (product.home / "prefect" / "prefect.db").is_file()


def test_a_second_one_is_refused_before_it_touches_the_first(product):
    """Its port is taken: it must not deploy on the server that answers there."""
    events = sorted(product.home.glob("demo-cluster/**/*"))
    with product.up("second") as second:
        assert second.end() == 1
    assert f"error: Port {product.port} is not available: " in second.said
    assert "remedy: Choose another port with --port" in second.said
    assert sorted(product.home.glob("demo-cluster/**/*")) == events


@pytest.mark.parametrize("login", ["", "beaconhunt:", "beaconhunt:guessed", "admin:pass"])
def test_without_the_login_nothing_is_answered(product, login):
    """A program of another user on this machine reads no artifact and starts no run."""
    for method, path in (
        ("GET", VERSION),
        ("POST", "/api/artifacts/filter"),
        ("POST", f"/api/deployments/{UUID(int=0)}/create_flow_run"),
        ("GET", "/api/block_documents/"),
    ):
        assert product.ask(path, method, login).status == 401


def test_with_the_login_everything_is_answered(product):
    """Whoever can read the file may use the server."""
    assert product.ask(VERSION, login=product.login).status == 200


def test_a_command_without_the_login_names_the_file(product, monkeypatch):
    """At a second terminal, the address alone is not enough."""
    monkeypatch.setenv("BEACONHUNT_HOME", str(product.home))
    address = {PREFECT_API_URL: f"{product.url}/api"}
    with temporary_settings(address), pytest.raises(SettingsError) as caught:
        use_prefect_server()
    assert caught.value.problem.endswith("does not accept the login.")
    assert "PREFECT_API_AUTH_STRING" in caught.value.remedy
    assert str(product.home / "prefect" / "login") in caught.value.remedy
    with temporary_settings({**address, PREFECT_API_AUTH_STRING: product.login}):
        use_prefect_server()


def test_the_login_is_shown_by_its_file_only(product, terminal):
    """`up` names the file, which belongs to this user; no list of processes and no log has it."""
    file = product.home / "prefect" / "login"
    assert f"Log in with the line in {file}\n" in terminal.said.replace("\r", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    password = product.login.partition(":")[2]
    assert len(password) > 40
    listed = subprocess.run(["ps", "-eo", "args="], check=True, capture_output=True, text=True)
    assert "flows.closed_server" in listed.stdout
    assert password not in listed.stdout
    kept = [path for path in product.home.rglob("*") if path.is_file()]
    holding = [path for path in kept if password.encode() in path.read_bytes()]
    assert holding == [file]
    assert password not in terminal.said


def test_a_page_of_another_origin_may_not_read(product):
    """A browser shows a page only what the server allows it to."""
    own = product.ask(VERSION, login=product.login, origin=product.url)
    assert own.headers["access-control-allow-origin"] == product.url
    for origin in (EVIL, "null", f"http://127.0.0.1:{product.port + 1}"):
        foreign = product.ask(VERSION, login=product.login, origin=origin)
        assert "access-control-allow-origin" not in foreign.headers
        asked = {"origin": origin, "access_control_request_method": "POST"}
        assert product.ask("/api/flow_runs/filter", "OPTIONS", **asked).status == 400


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:4200"])
@pytest.mark.parametrize("path", ["/", "/api/health", VERSION])
def test_another_name_for_this_machine_gets_nothing_of_prefect(product, path, host):
    """A web site that resolves its own name to loopback is refused, even with the login."""
    assert product.ask(path, login=product.login, host=host).status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example", "sec_websocket_protocol": "prefect"}, 403),
        ({"origin": EVIL}, 403),
        ({"sec_websocket_protocol": "prefect"}, 101),
    ],
    ids=["foreign host", "without the login's protocol", "to log in"],
)
def test_a_websocket_is_accepted_only_to_log_in(product, headers, status):
    """Events and logs stream only to who logs in with the first message."""
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec_websocket_version": "13",
    }
    assert product.ask("/api/events/out", **upgrade, **headers).status == status


def test_ctrl_c_ends_all_of_it(product, terminal):
    """Worker and server are gone, and nothing was lost on the way."""
    started = terminal.started()
    terminal.press(CTRL_C)
    assert terminal.end() == 0, terminal.said
    assert not any(map(is_alive, started))


@pytest.mark.parametrize(
    ("part", "command"), [("worker", "prefect worker start"), ("server", "flows.closed_server")]
)
def test_a_part_that_ends_by_itself_ends_the_rest_with_a_remedy(
    product, terminal, tmp_path, part, command
):
    """Half a product hunts nothing: better none, and a sentence. It hunts no demo either."""
    terminal.close()
    old = product.login
    with product.up(part, without_hunts(tmp_path / "prefect.yaml")) as again:
        again.wait_for("Ready:")
        assert product.ask(VERSION, login=old).status == 401, "a restart ends the old login"
        assert product.ask(VERSION, login=product.login).status == 200
        started = again.started()
        (pid,) = again.started(command)
        os.kill(pid, signal.SIGKILL)
        assert again.end() == 1
    assert f"error: The {part} ended by itself." in again.said
    assert "remedy: " in again.said
    assert not any(map(is_alive, started))
    assert "The demo cluster: " in terminal.said
    assert "demo cluster" not in again.said


def without_hunts(file: Path) -> Path:
    """Write our prefect.yaml with its weekly deployment only; give its path."""
    document = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    listed = [each for each in document["deployments"] if each["name"] == "retention"]
    file.write_text(yaml.safe_dump(document | {"deployments": listed}))
    return file


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """A Prefect that is none: `python -m prefect` does what its `__main__.py` says."""
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "__init__.py").touch()
    (tmp_path / "prefect" / "__main__.py").touch()
    return tmp_path


def test_a_worker_hears_its_end_also_where_its_parent_ignores_ctrl_c(stand_in):
    """As `beaconhunt up &` of a script does: a worker that did not hear would leave its runs."""
    (stand_in / "prefect" / "__main__.py").write_text(
        "import time; print('started', flush=True); time.sleep(600)"
    )
    env, log = without_prefect(PYTHONPATH=str(stand_in)), stand_in / "said"
    command = ("prefect",)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with (
            log.open("wb") as said,
            start_process(command, env, signal.SIGINT, said) as worker,
        ):
            while not log.read_text():
                assert worker.poll() is None
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert worker.returncode == -signal.SIGINT


def test_a_step_that_fails_is_named_with_what_it_said(stand_in):
    """Also where it is a program of ours."""
    env = without_prefect(PYTHONPATH=f"{stand_in}:{ROOT}")
    with pytest.raises(SettingsError) as caught:
        set_up(ROOT / "prefect.yaml", env)
    assert caught.value.problem.startswith("`python -m flows.work_pool` failed:")
    assert "No module named 'prefect.client'" in caught.value.problem
    assert "can be repeated" in caught.value.remedy
