import re
from pathlib import Path

import pytest

from flows.daily_digest import daily_digest
from flows.deployments import deployments
from flows.hunt_cluster import hunt_cluster
from tasks.errors import SettingsError
from tasks.settings import HISTORY_URL, Cluster

HUNT = "flows.hunt_cluster.hunt_cluster"
DIGEST = "flows.daily_digest.daily_digest"


def written(folder: Path, *entries: str) -> Path:
    """A prefect.yaml with these deployments, in YAML's one-line form."""
    file = folder / "prefect.yaml"
    file.write_text("deployments:\n" + "".join(f"- {{{entry}}}\n" for entry in entries))
    return file


def deployed(folder: Path, parameters: str, entrypoint: str = HUNT):
    """The only deployment of a prefect.yaml."""
    file = written(folder, f"name: prod, entrypoint: {entrypoint}, parameters: {parameters}")
    (deployment,) = deployments(file)
    return deployment


def test_a_deployment_is_read_as_its_flow_will_get_it(tmp_path):
    """The command line runs what the deployment would run."""
    deployment = deployed(tmp_path, "{cluster: {name: prod, url: 'file:///x'}, delay_minutes: 5}")
    assert (deployment.flow_name, deployment.subject) == ("hunt_cluster", "prod")
    parameters = deployment.checked(hunt_cluster)
    assert parameters["cluster"] == Cluster(name="prod", url="file:///x")
    assert parameters["delay_minutes"] == 5
    assert parameters["history_url"] == HISTORY_URL


def test_a_hunt_and_a_digest_may_have_the_same_name(tmp_path):
    """Prefect keeps them apart by their flows, and so do we."""
    file = written(
        tmp_path,
        f"name: corp, entrypoint: {HUNT}, parameters: {{cluster: {{name: a}}}}",
        f"name: corp, entrypoint: {DIGEST}, parameters: {{destination: {{name: b}}}}",
    )
    assert [(each.name, each.flow_name, each.subject) for each in deployments(file)] == [
        ("corp", "hunt_cluster", "a"),
        ("corp", "daily_digest", "b"),
    ]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ("{cluster: {name: Prod, url: 'https://es'}}", "cluster.name"),
        ("{cluster: {name: prod, url: 'ftp://es'}}", "cluster.url"),
        ("{cluster: {name: prod, url: 'https://es', api_key: x}}", "cluster.api_key"),
        ("{cluster: {name: prod, url: 'https://u:changeme@es'}}", "`url`"),
        ("{cluster: {name: prod, url: 'https://es'}, hnut: x}", "no parameter hnut"),
        ("{cluster: {name: prod, url: 'https://es'}, delay_minutes: soon}", "delay_minutes"),
        (
            "{cluster: {name: prod, url: 'https://es'}, history_url: 'postgresql://u:changeme@db'}",
            "`history_url`",
        ),
        (
            "{cluster: {name: prod, url: 'https://es'}, time_zone: Berlin}",
            "no time zone 'Berlin'; write one like Europe/Berlin",
        ),
        ("{cluster: {name: prod, url: 'https://es'}, time_zone: ../etc/passwd}", "no time zone"),
        ("{}", "cluster"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_its_deployment(tmp_path, parameters, named):
    """Before anything is deployed, and without its value, which may be a secret."""
    with pytest.raises(SettingsError) as caught:
        deployed(tmp_path, parameters).checked(hunt_cluster)
    assert caught.value.problem.startswith("Deployment prod: ")
    assert named in caught.value.problem
    assert "changeme" not in str(caught.value)


def test_every_fault_is_named_at_once(tmp_path):
    """Whoever corrects a file corrects it once."""
    with pytest.raises(SettingsError, match=r"destination\.channel.+; destination\.clusters"):
        deployed(tmp_path, "{destination: {name: secops}}", DIGEST).checked(daily_digest)


@pytest.mark.parametrize("url", ["'postgresql://u:changeme@db/x'", "7"])
def test_a_history_that_cannot_be_is_named_with_its_deployment(tmp_path, url):
    """Also for commands that run no flow."""
    deployment = deployed(tmp_path, f"{{history_url: {url}}}")
    with pytest.raises(SettingsError, match=r"^Deployment prod: `?history_url`?") as caught:
        _ = deployment.history_url
    assert "changeme" not in str(caught.value)


TEMPLATES = "{cluster: {name: prod, url: '{{ $ES_URL }}', ca_certs: '{{PEM}}'}, delay_minutes: 5}"


def test_a_placeholder_is_filled_in_from_the_environment_as_prefect_does(tmp_path, monkeypatch):
    """A command, the deployment and the worker read the same value."""
    monkeypatch.setenv("ES_URL", "https://es.example.com")
    monkeypatch.setenv("PEM", "/etc/es.pem")
    cluster = deployed(tmp_path, TEMPLATES).checked(hunt_cluster)["cluster"]
    assert (cluster.url, cluster.ca_certs) == ("https://es.example.com", "/etc/es.pem")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("$ES_URL", "Set ES_URL in the environment"),
        ("prefect.variables.es_url", "Write the value, or `{{ $NAME }}`"),
        ("prefect.blocks.secret.es-url", "Write the value, or `{{ $NAME }}`"),
    ],
)
def test_a_placeholder_that_stays_empty_is_refused_by_its_name(tmp_path, name, remedy):
    """Not as a wrong URL: the remedy says what is missing, and where."""
    parameters = f"{{cluster: {{name: prod, url: '{{{{ {name} }}}}'}}}}"
    with pytest.raises(
        SettingsError, match=re.escape(f"prod: `{{{{ {name} }}}}` is not")
    ) as caught:
        deployed(tmp_path, parameters).checked(hunt_cluster)
    assert caught.value.problem.count("prod") == 1
    assert remedy in caught.value.remedy


def test_a_placeholder_stops_only_what_uses_its_place(tmp_path):
    """The history can be upgraded before the cluster's variable is set; a schedule has its own."""
    assert deployed(tmp_path, TEMPLATES).history_url == HISTORY_URL
    schedules = "[{cron: '{{ $HUNT_CRON }}', timezone: UTC}]"
    file = written(tmp_path, f"name: prod, entrypoint: {HUNT}, schedules: {schedules}")
    (deployment,) = deployments(file)
    with pytest.raises(SettingsError, match="HUNT_CRON"):
        deployment.filled(deployment.schedules)


@pytest.mark.parametrize(
    "text",
    [
        *("", "- a", "{", "a: [b", "\x00", "deployments:", "deployments: 1", "deployments: [a]"),
        "deployments: [{name: a}]",
        "deployments: [{name: a, entrypoint: b, parameters: c}]",
    ],
)
def test_a_file_that_is_no_prefect_yaml_is_refused_by_name(tmp_path, text):
    """The error names the file."""
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"prefect\.yaml"):
        deployments(file)


def test_a_missing_prefect_yaml_is_named_with_the_option_that_helps(tmp_path):
    """Most often the command runs in the wrong folder."""
    with pytest.raises(SettingsError) as caught:
        deployments(tmp_path / "prefect.yaml")
    assert "--config" in caught.value.remedy
