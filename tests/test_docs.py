"""What the documentation says is true: commands, settings, words and numbers."""

import inspect
import re
import shlex
import tomllib

import pytest
import typer

from flows.cli import app
from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from tasks.clusters import ROWS_AT_MOST
from tasks.digest import FINDINGS_PER_MESSAGE, FLOOD
from tasks.errors import PipelineError
from tasks.hunts import Hunt, Pipeline, load, shipped
from tasks.runs import Outcome
from tasks.settings import Cluster, Destination
from tests.browser.pictures import DOCS, ROOT

README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README, **{f"docs/{p.name}": p.read_text() for p in DOCS.glob("*.md")}}
OPERATIONS = PAGES["docs/operations.md"]
HUNTS = PAGES["docs/hunts.md"]

COMMAND_LINES = sorted(
    {
        line.partition("  #")[0].strip()
        for page in PAGES.values()
        for line in re.findall(
            r"^\s*(beaconhunt [^\n]+)$|`(beaconhunt [^`\n]+)`", page, re.MULTILINE
        )
        for line in line
        if line
    }
)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_is_one(line):
    """A command that is copied from the documentation is understood."""
    root = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    command = root
    context = None
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    context = command.make_context("beaconhunt", words, resilient_parsing=True)
    unknown = [word for word in context.args if word.startswith("-")]
    assert command is not root
    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page):
    """Two commands do all the set-up, and they are there."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", PAGES[page], re.MULTILINE):
        assert "".join(block) in targets


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_a_page_names_exists(page):
    """A reader who follows a path finds something."""
    for path in re.findall(r"`(docs/[\w.]+|hunts/[\w.]+)`|\]\((docs/[^)]+)\)", PAGES[page]):
        assert (ROOT / "".join(path)).exists()


@pytest.mark.parametrize("model", [Cluster, Destination], ids=["cluster", "destination"])
def test_every_setting_is_documented(model):
    """An operator finds each setting on one page."""
    for name in model.model_fields:
        assert f"`{name}`" in OPERATIONS


@pytest.mark.parametrize("flow", [hunt_cluster, daily_digest], ids=["hunt", "digest"])
def test_every_parameter_is_documented(flow):
    """So does each parameter of a deployment."""
    for name in inspect.signature(flow.fn).parameters:
        assert f"`{name}`" in OPERATIONS


def test_every_outcome_and_reason_is_explained():
    """The words of the archive, of Slack and of Prefect are these."""
    kinds = [PipelineError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for outcome in set(Outcome) - {Outcome.MISSED}:
        assert f"`{outcome}`" in OPERATIONS
    for reason in {kind.reason for kind in kinds}:
        assert reason in OPERATIONS


def test_every_key_of_a_hunt_file_is_shown():
    """An analyst writes a hunt from one page."""
    derived = {"slug", "remarks", "pipeline"}
    for name in {*Hunt.model_fields} - derived | {*Pipeline.model_fields}:
        assert re.search(rf"^{name} =|\[pipeline.{name}\]", HUNTS, re.MULTILINE), name


def test_the_example_hunt_has_no_unknown_key():
    """What the page shows, the loader takes."""
    example = re.search(r"```toml\n(.+?)```", HUNTS, re.DOTALL).group(1)
    document = tomllib.loads(example)
    assert set(document["hunt"]) <= set(Hunt.model_fields)
    assert set(document["pipeline"]) <= set(Pipeline.model_fields)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_hunt_is_named_with_its_thresholds(name):
    """Tuning begins with what can be tuned."""
    assert f"`{name}`" in HUNTS
    for threshold, value in load(name).pipeline.thresholds.items():
        assert threshold in HUNTS
        assert threshold in README
        assert f"{value:g}" in HUNTS


def test_numbers_of_the_documentation_are_those_of_the_code():
    """A number that changes in one place changes in the other."""
    defaults = inspect.signature(hunt_cluster.fn).parameters
    assert f"{ROWS_AT_MOST:,} rows" in README
    assert f"{ROWS_AT_MOST:,} rows" in OPERATIONS
    assert f"Above {FLOOD} new findings" in README
    assert FINDINGS_PER_MESSAGE == 10
    assert "at most ten findings" in README
    assert f"`delay_minutes` ({defaults['delay_minutes'].default})" in OPERATIONS
    assert f"`stale_after_hours` ({defaults['stale_after_hours'].default})" in OPERATIONS


def test_the_changelog_names_this_version():
    """A user sees what changed."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
