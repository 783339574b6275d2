"""The command line as a person or a script uses it: what it says, and how it exits."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app, main
from tasks.history import History, upgrade
from tasks.runs import Outcome
from tests.builders import SLOT, day, finding, report, run
from tests.fleet.builders import network_event, write_events

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder with a prefect.yaml, a cluster and a history."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEACONHUNT_HOME", str(tmp_path))
    storage = {
        "history_url": f"sqlite:///{tmp_path}/history.db",
        "archive_url": f"{tmp_path}/archive",
    }
    cluster = {"name": "corp", "url": (tmp_path / "corp").as_uri()}
    destination = {"name": "secops", "channel": "C1", "clusters": ["corp"]}
    deployments = [
        {"name": "corp", "parameters": {**storage, "cluster": cluster}},
        {"name": "secops", "parameters": {**storage, "destination": destination}},
    ]
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": deployments}))
    write_events(tmp_path / "corp", [network_event(signature="developer")])
    return tmp_path


def beaconhunt(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; gives exit code, output and complaints."""
    monkeypatch.setattr(sys, "argv", ["beaconhunt", *arguments])
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture
def command(monkeypatch, capsys):
    return lambda *arguments: beaconhunt(monkeypatch, capsys, *arguments)


def test_a_first_run_needs_the_history_and_says_how_to_make_it(site, command):
    """A typo in the history's URL must not silently begin a new one."""
    code, _, complaint = command("run", "corp", "--slot", "2026-11-24T06:00Z")
    assert code == 1
    assert "beaconhunt db upgrade" in complaint
    assert not (site / "history.db").exists()


def test_run_and_digest_say_how_they_ended(site, command):
    """The path of a first morning, by hand."""
    assert command("db", "upgrade")[0] == 0
    code, said, _ = command("run", "corp", "--slot", "2026-11-24T06:00Z")
    assert code == 0
    first, second = said.splitlines()
    assert first == "corp: baseline: 0"
    assert Path(second.strip().removeprefix("file://")).is_file()
    code, said, _ = command("digest", "secops", "--slot", "2026-11-24T07:05Z", "--dry-run")
    assert code == 0
    assert said.startswith("secops: nothing to tell")


def test_a_script_learns_how_a_run_and_a_digest_ended(site, command):
    """One JSON object each, with the outcome, what is new, and where to look."""
    upgrade(f"sqlite:///{site}/history.db")
    _, said, _ = command("run", "corp", "--slot", "2026-11-24T06:00Z", "--format", "json")
    facts = json.loads(said)
    assert (facts["outcome"], facts["new"]) == ("baseline", [])
    assert facts["report"].endswith("report.html")
    _, said, _ = command("digest", "secops", "--slot", "2026-11-24T07:05Z", "--format", "json")
    assert json.loads(said)["page"].endswith(".html")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "crop"), "There is no cluster 'crop'"),
        (("digest", "secop"), "There is no destination 'secop'"),
        (("run", "corp", "--config", "no.yaml"), "no.yaml"),
        (("query", "nowhere", "FROM a"), "nowhere"),
        (("query", "corp", "FROM a"), "Unknown index [a]"),
        (("query", "corp", "FROM logs-endpoint.events.network-* | WHRE x"), "line 1:39"),
    ],
)
def test_a_mistake_is_named_with_its_remedy_and_exits_with_1(site, command, arguments, named):
    """Two lines: what is wrong, and what to do."""
    code, said, complaint = command(*arguments)
    assert (code, said) == (1, "")
    assert named in complaint
    assert "remedy: " in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("hunt",),
        ("runs", "--limit", "0"),
        ("run", "corp", "--slot", "yesterday"),
        ("run", "corp", "--slot", "2026-11-24T06:00"),
    ],
)
def test_wrong_use_exits_with_2(site, command, arguments):
    """Scripts can tell a wrong call from a failed one."""
    assert command(*arguments)[0] == 2


def test_a_mistake_in_a_query_is_marked_below_its_place(site, command):
    """An analyst sees at once which word it is."""
    _, _, complaint = command(
        "query", "corp", "FROM logs-endpoint.events.network-*\n| KEEP hots.name"
    )
    assert "| KEEP hots.name\n       ^" in complaint


def test_an_answer_comes_as_table_json_or_csv(site, command):
    """For people, and for scripts."""
    question = "FROM logs-endpoint.events.network-* | STATS n = COUNT(*) BY host.name"
    _, table, _ = command("query", "corp", question)
    assert table.split() == ["n", "host.name", "1", "MBP-a"]
    _, listed, _ = command("query", "corp", question, "--format", "json")
    assert json.loads(listed) == [{"n": 1, "host.name": "MBP-a"}]
    _, rows, _ = command("query", "corp", question, "--format", "csv")
    assert list(csv.reader(io.StringIO(rows))) == [["n", "host.name"], ["1", "MBP-a"]]


def test_hostile_names_do_nothing_to_the_terminal_or_a_spreadsheet(site, command):
    """Escape sequences are shown, formulas are text."""
    event = network_event(executable="/tmp/=cmd()\x1b[31m")
    write_events(site / "evil", [event])
    question = "FROM logs-endpoint.events.network-* | KEEP process.name"
    _, table, _ = command("query", "evil", question)
    assert "\x1b" not in table
    assert r"=cmd()\u001b[31m" in table
    _, rows, _ = command("query", "evil", question, "--format", "csv")
    assert rows.splitlines()[1].startswith("'=cmd()")


def test_runs_and_findings_are_listed(site, command):
    """What the history knows, for a terminal and for a script."""
    url = f"sqlite:///{site}/history.db"
    upgrade(url)
    with History.open(url) as history:
        history.record(report(run(), finding(executable="/opt/agentd")))
        history.record(report(run(day(1), Outcome.FAILED)))
    _, listed, _ = command("runs", "--format", "json")
    assert [(r["cluster"], r["outcome"], r["new"]) for r in json.loads(listed)] == [
        ("demo-eu", "failed", 0),
        ("demo-eu", "complete", 1),
    ]
    _, listed, _ = command("findings", "--status", "new", "--format", "json")
    assert [f["process"] for f in json.loads(listed)] == ["agentd"]
    _, listed, _ = command("findings", "--status", "quiet", "--format", "json")
    assert json.loads(listed) == []
    assert f"{SLOT:%Y-%m-%d %H:%MZ}" in command("runs")[1]


def test_every_command_has_help_with_an_example():
    """`--help` is the first thing that people try."""
    commands = [
        ["run"],
        ["digest"],
        ["check"],
        ["query"],
        ["runs"],
        ["findings"],
        ["demo"],
        ["up"],
        ["db", "upgrade"],
    ]
    for names in commands:
        shown = CliRunner().invoke(app, [*names, "--help"])
        assert shown.exit_code == 0
        assert f"Example: beaconhunt {' '.join(names)}" in " ".join(shown.output.split())


def test_the_command_is_installed():
    """`beaconhunt` works without Prefect's second of import time for its help."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    shown = subprocess.run(
        [Path(sys.executable).with_name("beaconhunt"), "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert "Hunt for unsigned macOS programs" in shown.stdout
