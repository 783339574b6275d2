"""The worker binds a secret to its server; whoever starts a run cannot."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from elastic_transport.client_utils import url_to_node_config
from hypothesis import example, given
from hypothesis import strategies as st

from flows.allowed import Allowed, DeployedSettings, RunSettings, use_configuration, worker_allows
from flows.deployments import Deployment, deployments
from tasks.errors import SettingsError
from tasks.settings import Cluster, Destination, origin
from tests.browser.pictures import ROOT

FILE = Path("/srv/prefect.yaml")
GOOD = "https://es.example.com:9200"
STORAGE = {"history_url": "sqlite:////srv/history.db", "archive_url": "/srv/archive"}


def deployment(name: str = "prod", **parameters: Any) -> Deployment:
    entrypoint = "flows.hunt_cluster.hunt_cluster"
    return Deployment(name=name, entrypoint=entrypoint, parameters=STORAGE | parameters)


def cluster(url: str = GOOD, **settings: str) -> dict[str, str]:
    return {"name": "prod", "url": url, **settings}


def destination(**settings: str) -> dict[str, Any]:
    return {"name": "secops", "channel": "C1", "clusters": ["prod"], **settings}


def refusal(listed: Mapping[str, Any], **parameters: Any) -> SettingsError | None:
    """Check a run's parameters against a file with one deployment."""
    try:
        Allowed.by([deployment(**listed)], FILE).check(RunSettings.model_validate(parameters))
    except SettingsError as error:
        return error
    return None


def test_what_the_file_lists_passes():
    """Also as it is shipped: no one writes anything twice."""
    listed = deployments(ROOT / "prefect.yaml")
    allowed = Allowed.by(listed, FILE)
    assert allowed.unreadable == ()
    for each in listed:
        allowed.check(each.read(DeployedSettings))


KEYS = [
    {},
    {"api_key_env": "ES_KEY"},
    {"api_key_env": "AWS_SECRET_ACCESS_KEY"},
    {"api_key_block": "ES_KEY".lower().replace("_", "-")},
]
TRUST = [{}, {"ca_certs": "/a.pem"}, {"ca_certs": "/b.pem"}, {"ca_fingerprint": "ab" * 32}]
HOSTS = [{"url": GOOD}, {"url": "https://es.example.com"}, {"url": "https://evil.example.com:9200"}]
ENDPOINTS = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items()},
    *map(st.sampled_from, (HOSTS, KEYS, TRUST)),
)


@given(st.lists(ENDPOINTS, max_size=3), ENDPOINTS)
def test_a_secret_goes_only_to_the_server_beside_it(listed, wanted):
    """Server, secret and trusted certificate stand together in one deployment."""
    allowed = Allowed.by([deployment(cluster=cluster(**each)) for each in listed], FILE)
    settings = RunSettings(cluster=Cluster(name="any", **wanted))
    if wanted in listed:
        allowed.check(settings)
    else:
        with pytest.raises(SettingsError):
            allowed.check(settings)


@pytest.mark.parametrize("listed", [destination(), destination(token_env="SLACK_BOT_TOKEN")])
def test_a_token_goes_only_to_the_server_beside_it(listed):
    """Slack's own server and variable are the defaults."""
    fits = Destination(name="other", channel="C2", clusters=("x",))
    assert refusal({"destination": listed}, destination=fits) is None
    for change in ({"api_url": "https://slack.com.evil.example"}, {"token_env": "ES_KEY"}):
        assert refusal({"destination": listed}, destination=destination(**change))


def test_a_secret_of_a_cluster_is_none_of_slack():
    """And the other way round."""
    assert refusal(
        {"cluster": cluster(api_key_env="ES_KEY")},
        destination=destination(api_url=GOOD, token_env="ES_KEY"),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://es.example.com", "https://es.example.com:443/"),
        ("https://ES.example.com:9200", "https://es.example.COM.:9200/prefix"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
        ("https://[::1]:9200", "https://[::1]:09200/"),
    ],
)
def test_a_server_is_its_scheme_host_and_port(one, other):
    """However its URL is written."""
    assert refusal({"cluster": cluster(one)}, cluster=cluster(other)) is None


@pytest.mark.parametrize(
    "url",
    [
        *("http://es.example.com:9200", "https://es.example.com", "https://es.example.com:92"),
        *("https://evil.example:9200", "https://es.example.com.evil:9200"),
        *("https://es.example.com@evil:9200", "https://evil\\@es.example.com:9200"),
        *("https://evil#@es.example.com:9200", "https://es.example.com:9200\t", "file:///srv"),
    ],
)
def test_another_server_is_refused_however_it_looks(url):
    """Libraries disagree about the host of a strange URL, so only its equal allows it."""
    assert refusal({"cluster": cluster()}, cluster=cluster(url))
    assert refusal({"cluster": cluster(url)}, cluster=cluster(url)) is None


@given(st.text("evil./\\@#?:0 \tE", max_size=12), st.text("/\\@#?:.0 \tevil", max_size=12))
@example("evil\\@", "")
@example("", ":0@evil")
def test_every_client_sends_what_counts_as_a_server_there(before, after):
    """Whatever is put around the listed host."""
    url = f"https://{before}es.example.com{after}"
    if origin(url) == "https://es.example.com:443":
        assert url_to_node_config(url).host.rstrip(".").lower() == "es.example.com"
        sent_to = urllib.request.Request(url).host
        assert sent_to.partition(":")[0].rstrip(".").lower() == "es.example.com"


@pytest.mark.parametrize(
    ("mine", "foreign"),
    [
        ({"history_url": STORAGE["history_url"]}, {"history_url": "postgresql://db/beaconhunt"}),
        ({"archive_url": STORAGE["archive_url"]}, {"archive_url": "s3://another/archive"}),
        ({"cluster": cluster("file:///srv/events")}, {"cluster": cluster("file:///etc")}),
        ({"cluster": cluster("file:///srv/a%20b")}, {"cluster": cluster("file:///srv/a/../b")}),
        ({"cluster": cluster("file:///srv/a")}, {"cluster": cluster("file:///srv/a#b")}),
        ({"cluster": cluster("file:///srv/a")}, {"cluster": cluster("file:///srv/a?b")}),
        ({"hunt": "/srv/mine.toml"}, {"hunt": "/srv/secrets.toml"}),
        ({"hunt": "/srv/mine.toml#2"}, {"hunt": "../../pyproject"}),
        ({"hunt": "~/mine.toml"}, {"hunt": "mine.toml"}),
    ],
)
def test_a_place_is_bound_too(mine, foreign):
    """What a run reads, writes or connects to with the worker's rights."""
    assert refusal(mine, **mine) is None
    assert refusal(mine, **foreign)


def test_the_home_is_filled_in_on_both_sides(monkeypatch):
    """A run may name the place as the file does, or in full."""
    monkeypatch.setenv("BEACONHUNT_HOME", "/srv/beaconhunt")
    listed = {
        "archive_url": "$BEACONHUNT_HOME/archive",
        "cluster": cluster("file://$BEACONHUNT_HOME/events"),
    }
    full = {
        "archive_url": "/srv/beaconhunt/archive",
        "cluster": cluster("file:///srv/beaconhunt/events"),
    }
    assert refusal(listed, **full) is None
    assert refusal(full, **listed) is None


@pytest.mark.parametrize("hunt", ["macos-unsigned-network", "macos-unsigned-network#2"])
def test_a_shipped_hunt_is_free(hunt):
    """It is no path."""
    assert refusal({}, hunt=hunt) is None


def test_a_place_that_the_file_leaves_out_is_the_default_one():
    """As for the deployment's own runs."""
    allowed = Allowed.by([Deployment(name="a", entrypoint="flows.retention.retention")], FILE)
    allowed.check(RunSettings(history_url="sqlite:///$BEACONHUNT_HOME/history.db"))


@given(ENDPOINTS)
def test_the_remedy_is_the_line_that_allows_it(wanted):
    """Pasted into a deployment it works, and it names the file."""
    error = refusal({}, cluster=cluster(**wanted))
    assert error
    assert str(FILE) in error.remedy
    line = yaml.safe_load(error.problem.partition("does not list ")[2].removesuffix("."))
    line["cluster"]["name"] = "new"
    assert refusal(line, cluster=cluster(**wanted)) is None


def test_a_deployment_that_cannot_be_used_allows_nothing_and_is_named(monkeypatch):
    """It is most often the one that was meant: its variable is not set for the worker."""
    monkeypatch.delenv("ES_URL", raising=False)
    error = refusal({"cluster": cluster("{{ $ES_URL }}")}, cluster=cluster())
    assert error
    assert "Deployment prod: `{{ $ES_URL }}` is not filled in. Set ES_URL" in error.remedy


def test_a_destination_has_its_channel_by_its_name():
    """Another channel of the same workspace is a rehearsal."""
    allowed = Allowed.by([deployment(destination=destination())], FILE)
    assert allowed.lists_channel(Destination(**destination(clusters=["more"])))
    for change in ({"channel": "C2"}, {"name": "other"}, {"api_url": "https://slack-gov.com/api/"}):
        assert not allowed.lists_channel(Destination(**destination(**change)))


# Which file it is


@pytest.fixture
def worker(tmp_path, monkeypatch) -> Path:
    """A worker's folder, with its home below; neither has a prefect.yaml."""
    monkeypatch.setenv("BEACONHUNT_CONFIG", "")
    monkeypatch.setenv("BEACONHUNT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path


def write(file: Path, *names: str) -> Path:
    listed = [deployment(name).model_dump() for name in names or ("prod",)]
    file.write_text(json.dumps({"deployments": listed}))
    return file


def test_the_file_is_the_named_one_else_in_the_folder_else_in_the_home(worker):
    """The first that is there."""
    home = write(worker / "home" / "prefect.yaml")
    assert worker_allows().file == home
    folder = write(worker / "prefect.yaml")
    assert worker_allows().file == folder
    named = write(worker / "named.yaml")
    use_configuration(Path("named.yaml"))
    assert worker_allows().file == named


def test_a_named_file_that_is_not_there_is_no_other(worker, monkeypatch):
    """A typing error must not widen what is allowed."""
    write(worker / "prefect.yaml")
    monkeypatch.setenv("BEACONHUNT_CONFIG", str(worker / "none.yaml"))
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        worker_allows()


def test_without_a_file_the_error_has_the_one_step(worker):
    """It names where it looked."""
    with pytest.raises(SettingsError) as caught:
        worker_allows()
    assert str(worker / "prefect.yaml") in caught.value.problem
    assert str(worker / "home" / "prefect.yaml") in caught.value.problem
    assert "Set BEACONHUNT_CONFIG to the path of your prefect.yaml" in caught.value.remedy


def test_a_changed_file_counts_from_the_next_run(worker):
    """The worker need not be started again."""
    write(worker / "prefect.yaml")
    before = worker_allows()
    (worker / "prefect.yaml").write_text(
        json.dumps({"deployments": [deployment(hunt="/srv/new.toml").model_dump()]})
    )
    assert worker_allows().uses - before.uses == {'hunt: "/srv/new.toml"'}
