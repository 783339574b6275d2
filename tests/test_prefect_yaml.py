"""prefect.yaml is the configuration: it must deploy as it is, and mean what it says."""

import importlib
import inspect
import re
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule

from tasks.settings import deployments
from tests.browser.pictures import ROOT

FILE = ROOT / "prefect.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text())
DEPLOYMENTS = {deployment["name"]: deployment for deployment in DOCUMENT["deployments"]}

each = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


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
    inspect.signature(flow.fn).bind(**deployment["parameters"])
    flow.validate_parameters(deployment["parameters"])
    assert deployment["enforce_parameter_schema"] is True


def test_the_command_line_reads_the_same_deployments():
    """A run by hand has the parameters of the scheduled one."""
    assert set(deployments(FILE)) == set(DEPLOYMENTS)


@each
def test_a_schedule_can_be_kept(deployment):
    """The cron is one, the time zone exists, and the slug tells schedules apart."""
    for schedule in deployment["schedules"]:
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert ZoneInfo(schedule["timezone"])
        assert schedule["slug"]


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
    crons = [d["schedules"][0]["cron"] for d in DEPLOYMENTS.values()]
    assert len(set(crons)) == len(crons)


@each
def test_a_second_run_waits_for_the_first(deployment):
    """Cancelling it would lose its slot."""
    limit = deployment["concurrency_limit"]
    assert (limit["limit"], limit["collision_strategy"]) == (1, "ENQUEUE")


@each
def test_tags_name_what_it_is_for(deployment):
    """The UI is filtered by them."""
    parameters = deployment["parameters"]
    kind = "cluster" if "cluster" in parameters else "destination"
    assert f"{kind}:{parameters[kind]['name']}" in deployment["tags"]


def test_nothing_is_pulled():
    """The package is installed where the worker runs."""
    assert DOCUMENT["pull"] == []


def test_secrets_are_only_names_of_variables():
    """The file is in version control, and Prefect stores every parameter in clear."""
    for deployment in DEPLOYMENTS.values():
        for settings in deployment["parameters"].values():
            if isinstance(settings, dict):
                named = (value for key, value in settings.items() if key.endswith("_env"))
                assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in named)
    assert not re.search(r"xox[a-z]-|ApiKey|://[^/\s]*:[^/\s]*@", FILE.read_text())
