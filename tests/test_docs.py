"""What the documentation says is true: commands, settings, words and numbers."""

import ast
import importlib.util
import inspect
import math
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.acknowledge import acknowledge, unacknowledge
from flows.check_cluster import check_cluster
from flows.cli import app
from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from flows.prefect_server import HEARTBEAT_SECONDS
from flows.retention import retention
from flows.zombie_automation import SILENCE
from tasks.check import try_archive, try_destination, try_history
from tasks.clusters import ROWS_AT_MOST
from tasks.errors import PipelineError
from tasks.esql.translate import DEFAULT_LIMIT, GREATEST_LIMIT
from tasks.history.ledger import LEASE
from tasks.history.pending import LOOK_BACK
from tasks.model import wording
from tasks.model.acknowledgements import LONGEST
from tasks.model.findings import CodeSignature, Disposition, Effect
from tasks.model.findings import NetworkDestination as Address
from tasks.model.hunts import Hunt, Pipeline, load_hunt, shipped_hunts
from tasks.model.runs import ANNOUNCE_RETURNED_AFTER_DAYS, Outcome
from tasks.post import MAX_ATTEMPTS
from tasks.preflight.checks import Check
from tasks.preflight.cluster import HuntSettings, try_cluster
from tasks.questions.candidates import CANDIDATES_AT_MOST
from tasks.scoring import priorities
from tasks.scoring.priorities import (
    COMMON_PORTS,
    DAY_AND_NIGHT_HOURS,
    RAISED_FOR_HIGH,
    RAISED_FOR_MEDIUM,
    STEADY,
    reasons_for,
)
from tasks.settings import KEPT_DAYS_AT_LEAST, Cluster, Destination
from tasks.slack.channel import LONGEST_WAIT_SECONDS
from tasks.slack.compose import FINDINGS_PER_MESSAGE
from tests.browser.pictures import DOCS, ROOT
from tests.builders import finding, run

README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README, **{f"docs/{p.name}": p.read_text() for p in DOCS.glob("*.md")}}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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
MODULES = sorted({m for page in PAGES.values() for m in re.findall(r"python -m ([\w.]+)", page)})


def commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The commands of the command line, by the words that call them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(commands(typer.main.get_command(app)))


def parse(line: str) -> None:
    """Take a command line as the program does, and run nothing; stand-ins get a value."""
    words = shlex.split(line.replace(" TIME", " 2026-11-24T06:00Z"), comments=True)[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("beaconhunt", words).close()


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_is_one(line):
    """A command that is copied from the documentation is understood."""
    parse(line)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_an_example(path):
    """Its help ends with a line of it that can be copied."""
    (example,) = re.findall("`(.+)`", COMMANDS[path].epilog)
    assert example.startswith(f"beaconhunt {path}")
    parse(example)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_that_is_run_exists(module):
    """`python -m` finds what the documentation runs."""
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page):
    """Two commands do all the set-up, and they are there."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", PAGES[page], re.MULTILINE):
        assert "".join(block) in targets


@pytest.mark.parametrize("page", PAGES)
def test_everything_that_a_page_names_exists(page):
    """A reader who follows a path, a link or a picture finds something."""
    named = re.findall(r"`((?:docs|hunts|flows|tasks|templates)/[\w./-]*)`", PAGES[page])
    linked = re.findall(r"\]\((?!https?://|#)([^)#]+)", PAGES[page])
    missing = [path for path in named if not (ROOT / path).exists()]
    missing += [path for path in linked if not (ROOT / page).parent.joinpath(path).exists()]
    assert missing == []


@pytest.mark.parametrize("model", [Cluster, Destination], ids=["cluster", "destination"])
def test_every_setting_is_documented(model):
    """An operator finds each setting on one page."""
    for name in model.model_fields:
        assert f"`{name}`" in OPERATIONS


@pytest.mark.parametrize(
    "flow",
    [hunt_cluster, daily_digest, check_cluster, retention, acknowledge, unacknowledge],
    ids=lambda flow: flow.name,
)
def test_every_parameter_is_documented(flow):
    """So does each parameter of a deployment."""
    for name in inspect.signature(flow.fn).parameters:
        assert f"`{name}`" in OPERATIONS


def test_every_check_is_explained(tmp_path):
    """Its name is what a reader of a table looks up; the page has no other."""
    page = OPERATIONS.partition("## Check first")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([\w ]+)` \|", page, re.MULTILINE)
    remote, folder = "https://es.example.com:9200", tmp_path.as_uri()
    made = [
        *check_cluster_of("x", remote, api_key_env="NO_SUCH_API_KEY"),
        *check_cluster_of("x", folder),
        *try_history(f"sqlite:///{tmp_path}/history.db"),
        *try_archive(str(tmp_path)),
        *try_destination("x", Destination(name="x", channel="C1", clusters=("x",)), ["x"]),
    ]
    assert set(told) == {each.name for each in made}


def check_cluster_of(name: str, url: str, **settings: str) -> tuple[Check, ...]:
    cluster = Cluster(name=name, url=url, **settings)
    hunt = HuntSettings(name, cluster, "macos-unsigned-network", {}, stale_after_hours=6)
    return try_cluster(hunt, datetime.now(UTC))


def test_every_outcome_and_reason_is_explained():
    """The words of the archive, of Slack and of Prefect are these."""
    kinds = [PipelineError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for outcome in set(Outcome) - {Outcome.MISSED}:
        assert f"`{outcome}`" in OPERATIONS
    for reason in {kind.reason for kind in kinds}:
        assert reason in OPERATIONS


def test_every_disposition_is_explained():
    """What comes of a finding is looked up on one page."""
    for disposition in Disposition:
        assert f"| `{disposition}` |" in OPERATIONS


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


@pytest.mark.parametrize("name", shipped_hunts())
def test_every_shipped_hunt_is_named_with_its_thresholds(name):
    """Tuning begins with what can be tuned."""
    assert f"`{name}`" in HUNTS
    for threshold, value in load_hunt(name).pipeline.thresholds.items():
        assert threshold in HUNTS
        assert threshold in README
        assert f"{value:g}" in HUNTS


def cells(table_head: str, column: int) -> str:
    """A column of the table below a heading of a page on hunts, as one text."""
    table = HUNTS.partition(f"{table_head}\n")[2].partition("\n\n")[0]
    return " ".join(row.split("|")[column] for row in table.splitlines())


SUSPECT = finding(
    executable="/tmp/Downloads/.x/\u202eagentd",
    destination=Address(address="45.45.45.45", ip="45.45.45.45", ports=(8443,)),
)
PLACES = ("/Users/Shared/agentd", "/Applications/agentd", "/opt/homebrew/agentd", "/Xcode.app/ld")
EXPIRED = replace(SUSPECT.process, code_signature=CodeSignature(status="errorExpired"))
REASONS = {
    reason.text: reason.effect
    for each in (
        SUSPECT,
        *(finding(executable=path) for path in PLACES),
        replace(SUSPECT, process=EXPIRED),
    )
    for reason in reasons_for(each, run().window)
}


def test_this_page_knows_every_reason_that_the_code_can_give():
    """The next test is about all of them."""
    source = ast.parse(Path(priorities.__file__).read_text())
    written = set()
    for node in ast.walk(source):
        match node:
            case ast.Yield(value=ast.Constant(value=str(text))):
                written.add(text)
            case ast.Yield(value=ast.JoinedStr(values=[ast.Constant(value=str(text)), *_])):
                written.add(text)
            case ast.Tuple(elts=[ast.Call(), ast.Constant(value=str(text))]):
                written.add(text)
    assert [text for text in written if not any(r.startswith(text) for r in REASONS)] == []
    assert len(written) == len(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_for_a_priority_stands_in_the_table(reason):
    """An analyst looks up why a finding is high, under what it does."""
    column = cells("| raises | lowers |", 1 if REASONS[reason] is Effect.RAISES else 2)
    words = set(re.findall(r"[A-Za-z/]{3,}", reason)) - {"folder"}
    assert words <= set(re.findall(r"[A-Za-z/]+", column))


DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(hunt_cluster.fn).parameters.items()
}
WINDOW_DAYS = Pipeline.model_fields["window_days"]
AT_LEAST, AT_MOST = WINDOW_DAYS.metadata
BY_CHANCE = 1 - math.asinh(0.5) / math.log(2)
"""Gaps of chance are exponential: with a mean of 1 their median is ln 2, their MAD asinh 1/2."""
WORDS = {2: "two", 3: "three", 4: "four", 10: "ten"}


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("README.md", f"at most {CANDIDATES_AT_MOST:,} candidates"),
        ("README.md", f"Above {wording.FLOOD} at once"),
        ("README.md", f"at most {WORDS[FINDINGS_PER_MESSAGE]} findings"),
        ("README.md", f"the {24 * WINDOW_DAYS.default} hours of the window"),
        ("README.md", f"1 for a clock and {BY_CHANCE:.2f} for chance"),
        ("docs/operations.md", f"{ROWS_AT_MOST:,} rows"),
        ("docs/operations.md", f"`delay_minutes` ({DEFAULTS['delay_minutes']})"),
        ("docs/operations.md", f"`stale_after_hours` ({DEFAULTS['stale_after_hours']:g})"),
        ("docs/operations.md", f"Crashed after {SILENCE.seconds // 60} minutes"),
        ("docs/operations.md", f"PREFECT_FLOWS_HEARTBEAT_FREQUENCY={HEARTBEAT_SECONDS}"),
        ("docs/operations.md", f"{MAX_ATTEMPTS} times in all"),
        ("docs/operations.md", f"in {MAX_ATTEMPTS} attempts"),
        ("docs/operations.md", f"at most {LOOK_BACK.days} days"),
        ("docs/operations.md", f"Until {LEASE.seconds // 60} minutes after its last step"),
        ("docs/operations.md", f"up to {LONGEST_WAIT_SECONDS} s"),
        ("docs/operations.md", f"at most {LONGEST.days} days from now"),
        ("docs/operations.md", f"`announce_returned_after_days` ({ANNOUNCE_RETURNED_AFTER_DAYS})"),
        ("docs/operations.md", f"above {wording.FLOOD} at once in groups"),
        ("docs/operations.md", f"at least {KEPT_DAYS_AT_LEAST} days"),
        ("README.md", f"at most {LONGEST.days} days"),
        ("docs/esql.md", f"there are {DEFAULT_LIMIT:,} rows"),
        ("docs/esql.md", f"above {GREATEST_LIMIT:,} rows"),
        ("docs/hunts.md", f"LIMIT {ROWS_AT_MOST}"),
        ("docs/hunts.md", f"window_days = {WINDOW_DAYS.default} "),
        ("docs/hunts.md", f"{AT_LEAST.ge} to {AT_MOST.le}"),
        ("docs/hunts.md", f"{WORDS[RAISED_FOR_HIGH]} or more make `high`"),
        (
            "docs/hunts.md",
            f"{WORDS[RAISED_FOR_MEDIUM]} or {WORDS[RAISED_FOR_HIGH - 1]} `medium`",
        ),
        ("docs/hunts.md", f"a port other than {' and '.join(map(str, sorted(COMMON_PORTS)))}"),
        ("docs/hunts.md", f"regularity of {STEADY} or more"),
        ("docs/hunts.md", f"{DAY_AND_NIGHT_HOURS} or more different hours"),
        ("docs/hunts.md", f"1 is a clock, {BY_CHANCE:.3f} is random"),
    ],
)
def test_a_number_of_the_documentation_is_that_of_the_code(page, said):
    """A number that changes in one place changes in the other."""
    assert said in " ".join(PAGES[page].split())


def test_the_python_versions_of_the_documentation_are_those_of_the_package():
    """A user with another one is told before an installer is."""
    least, below = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert f"Python 3.{least} to 3.{int(below) - 1}" in README


def test_the_changelog_names_this_version():
    """A user sees what changed."""
    assert f"## {PROJECT['version']} " in (ROOT / "CHANGELOG.md").read_text()
