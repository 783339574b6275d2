"""prefect.yaml is the configuration: it must deploy as it is, and mean what it says."""

import base64
import importlib
import inspect
import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule

from flows.deployments import deployments
from tasks.model.hunts import load_hunt
from tests.browser.pictures import ROOT

FILE = ROOT / "prefect.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text())
DEPLOYMENTS = {deployment["name"]: deployment for deployment in DOCUMENT["deployments"]}
CLUSTERS = {
    deployment["parameters"]["cluster"]["name"]
    for deployment in DEPLOYMENTS.values()
    if "cluster" in deployment["parameters"]
}

SECRET = re.compile(
    r"xox[a-z]-|://[^/\s]*:[^/\s]*@|-----BEGIN|(?i:\b(api ?key|bearer|basic) )"
    r"|(?=[\w+/=-]*\d)(?=[\w+/=-]*[a-z])(?=[\w+/=-]*[A-Z])[\w+/=-]{20,}"
)
"""Tokens, passwords in URLs, private keys, headers, and long words of mixed characters."""

WORD = {"finding": "BH-24A3C0CA", "by": "ada"}
BY_HAND = {
    "check": {},
    "acknowledge": {**WORD, "why": "Ours.", "until": "2026-12-24T00:00:00Z"},
    "unacknowledge": WORD,
}
"""What somebody runs by hand, with what Prefect's UI asks that person for."""

SCHEDULED = {name: each for name, each in DEPLOYMENTS.items() if name not in BY_HAND}

each = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
scheduled = pytest.mark.parametrize("deployment", SCHEDULED.values(), ids=SCHEDULED)


def flow_of(deployment: dict) -> Flow:
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


@each
def test_an_entrypoint_is_a_module_path_to_a_flow(deployment):
    """A file path would load the file twice, and its classes would differ."""
    assert ".py" not in deployment["entrypoint"]
    assert isinstance(flow_of(deployment), Flow)


@each
def test_parameters_fit_the_flow(deployment):
    """A typo is found here, not at six in the morning."""
    flow = flow_of(deployment)
    parameters = deployment["parameters"] | BY_HAND.get(deployment["name"], {})
    inspect.signature(flow.fn).bind(**parameters)
    flow.validate_parameters(parameters)
    assert deployment["enforce_parameter_schema"] is True


@each
def test_thresholds_are_those_of_the_hunt(deployment):
    """A threshold of another name would stop the run."""
    parameters = deployment["parameters"]
    hunt = load_hunt(parameters.get("hunt", "macos-unsigned-network"))
    assert hunt.with_thresholds(parameters.get("thresholds", {}))


@each
def test_a_destination_hears_of_clusters_that_are_hunted(deployment):
    """A misspelt name would stay silent for ever."""
    heard = deployment["parameters"].get("destination", {}).get("clusters", [])
    assert set(heard) <= CLUSTERS


def test_no_two_deployments_share_a_name():
    """People, and the tests above, know them by it."""
    assert len(DEPLOYMENTS) == len(DOCUMENT["deployments"])


def test_the_command_line_reads_the_same_deployments():
    """A run by hand has the parameters of the scheduled one."""
    read = deployments(FILE)
    assert {each.name: each.parameters for each in read} == {
        name: deployment["parameters"] for name, deployment in DEPLOYMENTS.items()
    }
    assert all(
        each.checked(flow_of(SCHEDULED[each.name])) for each in read if each.name in SCHEDULED
    )


@scheduled
def test_a_schedule_can_be_kept(deployment):
    """The cron is one, the time zone exists, and the slug tells schedules apart."""
    schedules = deployment["schedules"]
    for schedule in schedules:
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert ZoneInfo(schedule["timezone"])
    assert len({schedule["slug"] for schedule in schedules}) == len(schedules) > 0


def test_only_the_demo_is_active():
    """What nobody has set up yet does not run."""
    active = {
        name
        for name, deployment in DEPLOYMENTS.items()
        if any(schedule.get("active", True) for schedule in deployment["schedules"])
    }
    assert active == {"demo"}


def test_hunts_start_at_different_minutes():
    """Clusters that fall due together wait for each other."""
    crons = [d["schedules"][0]["cron"] for d in SCHEDULED.values()]
    assert len(set(crons)) == len(crons)


@each
def test_a_second_run_waits_for_the_first(deployment):
    """Cancelling it would lose its slot."""
    assert deployment["concurrency_limit"] == {
        "limit": 1,
        "collision_strategy": "ENQUEUE",
        "grace_period_seconds": 120,
    }


@scheduled
def test_tags_name_what_it_is_for(deployment):
    """The UI is filtered by them."""
    parameters = deployment["parameters"]
    kinds = {"hunt": "cluster", "digest": "destination"}
    tags = [
        [kind, f"{whose}:{parameters[whose]['name']}"]
        for kind, whose in kinds.items()
        if whose in parameters
    ]
    assert [deployment["tags"]] == (tags or [["retention"]])


def test_nothing_is_pulled():
    """The package is installed where the worker runs."""
    assert DOCUMENT["pull"] == []


def values(tree: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every plain value of a document, with the key under which it stands."""
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield from values(below, name)
    elif isinstance(tree, list):
        for below in tree:
            yield from values(below, key)
    else:
        yield key, tree


def test_secrets_are_only_names_of_variables():
    """The file is in version control, and Prefect stores every parameter in clear."""
    written = list(values(DOCUMENT))
    names = [str(value) for key, value in written if key.endswith("_env")]
    assert names
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in names)
    assert [value for _, value in written if SECRET.search(str(value))] == []
    keys = {key for key, _ in written}
    assert [key for key in keys if re.search(r"(password|passwd|secret|token|key)$", key)] == []


@pytest.mark.parametrize(
    "value",
    [
        "xo" + "xb-1",
        "https://elastic:" + "changeme@es.example.com",
        "ApiKey " + "abc",
        base64.b64encode(bytes(range(30, 60))).decode(),
    ],
    ids=["slack", "url", "header", "encoded"],
)
def test_a_secret_would_be_noticed(value):
    """The test above can fail."""
    assert SECRET.search(value)
