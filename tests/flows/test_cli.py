"""The command line as a person or a script uses it: what it says, and how it exits."""

import csv
import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent, indent

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console
from typer.testing import CliRunner

from flows.allowed import CONFIG_VARIABLE
from flows.cli import app, main
from tasks.archive import write_run
from tasks.history import History
from tasks.model.findings import Host, Process, Status
from tasks.model.runs import Outcome, minute
from tasks.report import pages_of
from tests.builders import SLOT, day, finding, report, run
from tests.events import network_event, write_events
from tests.histories import new_history
from tests.terminal import CTRL_C, ROOT, Terminal, free_port, is_alive, without_prefect

HUNT = "flows.hunt_cluster.hunt_cluster"
DIGEST = "flows.daily_digest.daily_digest"


def deploy(folder: Path, name: str, entrypoint: str, parameters: dict) -> None:
    """Add a deployment to the folder's prefect.yaml."""
    file = folder / "prefect.yaml"
    listed = yaml.safe_load(file.read_text())["deployments"] if file.exists() else []
    listed.append({"name": name, "entrypoint": entrypoint, "parameters": parameters})
    file.write_text(yaml.safe_dump({"deployments": listed}))


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
    deploy(tmp_path, "corp", HUNT, {**storage, "cluster": cluster})
    deploy(tmp_path, "secops", DIGEST, {**storage, "destination": destination})
    write_events(tmp_path / "corp", [network_event(signature="developer")])
    return tmp_path


def beaconhunt(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; gives exit code, output and complaints."""
    monkeypatch.setattr(sys, "argv", ["beaconhunt", *arguments])
    monkeypatch.setenv(CONFIG_VARIABLE, "")  # A command that runs a flow sets it.
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
    assert "beaconhunt history upgrade" in complaint
    assert not (site / "history.db").exists()


def test_run_and_digest_say_how_they_ended(site, command):
    """The path of a first morning, by hand."""
    assert command("history", "upgrade")[0] == 0
    code, said, _ = command("run", "corp", "--slot", "2026-11-24T06:00Z")
    assert code == 0
    first, second = said.splitlines()
    assert first == "corp: baseline: 0"
    assert Path(second.strip().removeprefix("file://")).is_file()
    code, said, _ = command("digest", "secops", "--slot", "2026-11-24T07:05Z", "--dry-run")
    assert code == 0
    assert said.startswith("secops: nothing to post")


def test_an_export_is_hunted_as_of_its_newest_event_and_that_is_said(site, command):
    """By hand, without a slot: as of now it would have no data."""
    new_history(f"sqlite:///{site}/history.db")
    at = SLOT - timedelta(days=365, seconds=30)
    ahead = datetime.now(UTC) + timedelta(days=1)
    events = [network_event(at=each, signature="developer") for each in (at, ahead)]
    write_events(site / "corp", events)
    code, said, remark = command("run", "corp")
    assert (code, said.splitlines()[0]) == (0, "corp: baseline: 0 (clock ahead)")
    assert (
        "No slot was given: this run is as of the folder's newest event, 24 Nov 2025 06:00 UTC."
        in remark
    )
    (run,) = json.loads(command("runs", "--format", "json")[1])
    assert run["slot"] == "2025-11-24T06:00:00+00:00"


@pytest.mark.parametrize("events", [[], [network_event(at=datetime.now(UTC) + timedelta(days=1))]])
def test_a_folder_without_an_event_before_now_is_not_hunted_in_the_future(site, command, events):
    """Its run says what the folder lacks."""
    new_history(f"sqlite:///{site}/history.db")
    shutil.rmtree(site / "corp")
    (site / "corp").mkdir()
    if events:
        write_events(site / "corp", events)
    code, said, complaint = command("run", "corp")
    if events:
        assert (code, said.splitlines()[0]) == (
            0,
            "corp: no data: no event in 7 days (clock ahead)",
        )
        assert "the folder has no event before the time of this computer" in complaint
    else:
        assert code == 1
        assert "logs-endpoint.events.network-*" in complaint


def test_a_backfill_runs_what_no_run_has_searched_oldest_first(site, command):
    """Once: what was searched is not run again."""
    new_history(f"sqlite:///{site}/history.db")
    file = site / "prefect.yaml"
    document = yaml.safe_load(file.read_text())
    document["deployments"][0]["schedules"] = [{"cron": "15 6 * * *", "timezone": "UTC"}]
    file.write_text(yaml.safe_dump(document))
    past = [SLOT - timedelta(days=365 + number, hours=1) for number in (0, 1)]
    write_events(site / "corp", [network_event(at=at, signature="developer") for at in past])
    days = ("2025-11-23", "2025-11-24")
    code, said, _ = command("backfill", "corp", *days)
    assert code == 0
    assert [line for line in said.splitlines() if "2025-11" in line and "corp " in line] == [
        "corp 2025-11-23 06:00Z: baseline: 0",
        "corp 2025-11-24 06:00Z: 0 new, 0 continuing",
    ]
    assert command("backfill", "corp", *days)[:2] == (0, "")


def test_a_script_learns_how_a_run_and_a_digest_ended(site, command):
    """One JSON object each, with the outcome, what is new, and where to look."""
    new_history(f"sqlite:///{site}/history.db")
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


def test_a_bad_deployment_stops_no_command_about_another(site, command):
    """Only what is asked for is checked; the error names the deployment and its setting."""
    new_history(f"sqlite:///{site}/history.db")
    history = {"history_url": f"sqlite:///{site}/history.db"}
    deploy(site, "bad", HUNT, {**history, "cluster": {"name": "bad", "url": "https://u:p@es"}})
    deploy(site, "odd", HUNT, {**history, "cluster": {"name": "odd", "url": "x"}, "hnut": "x"})
    assert command("run", "corp", "--slot", "2026-11-24T06:00Z")[0] == 0
    assert command("runs")[0] == 0
    for name, named in {"bad": "`url` must not hold a password", "odd": "parameter hnut"}.items():
        code, _, complaint = command("run", name)
        assert code == 1
        assert f"Deployment {name}: " in complaint
        assert named in complaint
        assert "remedy: " in complaint


def test_a_digest_hides_no_hunt_of_the_same_name(site, command):
    """Teams name both after the place that they are for."""
    new_history(f"sqlite:///{site}/history.db")
    listed = yaml.safe_load((site / "prefect.yaml").read_text())["deployments"]
    destination = {"name": "corp", "channel": "C1", "clusters": ["corp"]}
    deploy(site, "corp", DIGEST, {**listed[1]["parameters"], "destination": destination})
    assert command("run", "corp", "--slot", "2026-11-24T06:00Z")[0] == 0
    assert command("digest", "corp", "--dry-run")[0] == 0


def test_a_prefect_server_that_is_not_there_is_named(site, command):
    """Prefect's settings name one; without them the command would start its own."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        code, said, complaint = command("run", "corp")
    assert (code, said) == (1, "")
    assert "error: The Prefect server at http://127.0.0.1:9/api cannot be used" in complaint
    assert "PREFECT_API_URL" in complaint.partition("remedy: ")[2]
    assert "Traceback" not in complaint


def test_the_clients_own_warnings_are_not_repeated(site, command, caplog):
    """Our error says it, with a remedy."""
    command("runs")
    logging.getLogger("elastic_transport.node_pool").warning("Node has failed for 1 times")
    assert caplog.records == []


def test_a_folder_that_is_none_is_not_called_a_setting(site, command):
    """Whoever asks a folder has no cluster to correct."""
    _, _, complaint = command("query", "nowhere", "FROM a")
    assert "error: There is no folder nowhere." in complaint
    assert "`url`" not in complaint


def separately(site: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own, which knows no Prefect server."""
    settings = {"BEACONHUNT_HOME": str(site), "HOME": str(site), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=site,
        env=without_prefect(**settings | environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "variable", "named"),
    [
        (("demo",), "BEACONHUNT_HOME", "prefect.yaml/below"),
        (("up", "--port", str(free_port())), "BEACONHUNT_HOME", "prefect.yaml/below"),
        (("run", "corp"), "BEACONHUNT_HOME", "prefect.yaml/below"),
        (("run", "corp"), "PREFECT_LOGGING_LEVEL", "LoggingSettings.level"),
    ],
)
def test_a_variable_that_cannot_be_is_named_with_its_remedy(site, arguments, variable, named):
    """A home below a file, a level that is none: a sentence instead of a traceback."""
    below = str(site / "prefect.yaml" / "below")
    with separately(site, *arguments, **{variable: below}) as process:
        said, complaint = process.communicate()
    assert process.returncode == 1
    assert said == ""
    problem, _, remedy = complaint.partition("error: ")[2].partition("\nremedy: ")
    assert named in problem
    assert variable.partition("_")[0] in remedy
    assert "Traceback" not in complaint


def test_two_runs_at_once_do_not_disturb_each_other(site):
    """Each has its Prefect server, and the first ones of a home make the same database."""
    new_history(f"sqlite:///{site}/history.db")
    slots = ("2026-11-24T05:00Z", "2026-11-24T06:00Z")
    processes = [separately(site, "run", "corp", "--slot", slot) for slot in slots]
    for process in processes:
        with process:
            said, complaint = process.communicate()
        assert process.returncode == 0, complaint
        assert said.startswith("corp: ")
        assert "error" not in complaint.lower()


@pytest.fixture
def used_site(site, prefect_server) -> Path:
    """The same after its first command, which makes Prefect's database in several seconds."""
    (site / "prefect").mkdir()
    shutil.copy(prefect_server, site / "prefect" / "prefect.db")
    return site


@pytest.fixture
def silent_cluster(used_site) -> Iterator[socket.socket]:
    """A deployed cluster that takes a question and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(180)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        storage = yaml.safe_load((used_site / "prefect.yaml").read_text())["deployments"][0]
        cluster = {"name": "silent", "url": url}
        deploy(used_site, "silent", HUNT, {**storage["parameters"], "cluster": cluster})
        new_history(f"sqlite:///{used_site}/history.db")
        yield listener


def at_a_terminal(site: Path, *arguments: str) -> Terminal:
    env = without_prefect(HOME=str(site), BEACONHUNT_HOME=str(site))
    return Terminal(site / "said", *arguments, env=env, folder=site)


INTERRUPTED = "Interrupted. Recorded runs are kept; run the command again to continue."


def test_ctrl_c_in_the_middle_of_a_run_ends_it_with_a_sentence(site, silent_cluster):
    """The Prefect server of the run hears no Ctrl-C: it must see the run end, then ends too."""
    with at_a_terminal(site, "run", "silent") as terminal:
        connection, _ = silent_cluster.accept()
        started = terminal.started()
        terminal.press(CTRL_C)
        assert terminal.end() == 130, terminal.said
        connection.close()
    assert terminal.said.split("\n")[-2].strip().endswith(INTERRUPTED)
    assert "Traceback" not in terminal.said
    assert len(started) >= 2, "the run, and its server"
    assert not any(map(is_alive, started))


def test_ctrl_c_in_the_middle_of_the_demo_ends_it_with_a_sentence(used_site):
    """Whoever looks at the demo may leave it."""
    with at_a_terminal(used_site, "demo") as terminal:
        terminal.wait_for("Generating")
        started = terminal.started()
        terminal.press(CTRL_C)
        assert terminal.end() == 130, terminal.said
    assert terminal.said.split("\n")[-2].strip().endswith(INTERRUPTED)
    assert "Traceback" not in terminal.said
    assert not any(map(is_alive, started))


def interrupted(library: str) -> subprocess.CompletedProcess[str]:
    """A command whose library gets the Ctrl-C, and does not only pass it on."""
    said = f"""
import os, signal, sys
from flows.cli import in_process, main, options

def library(*_):
{indent(dedent(library), "    ")}

options.deployments = library
sys.argv = ["beaconhunt", "run", "corp"]
main()
"""
    return subprocess.run(
        [sys.executable, "-c", said],
        cwd=ROOT,
        env=without_prefect(PYTHONPATH=str(ROOT), PREFECT_LOGGING_TO_API_ENABLED="false"),
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "library",
    [
        pytest.param(
            """
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                pass
            raise RuntimeError("An error of its own")
            """,
            id="makes an error of it",
        ),
        pytest.param(
            """
            import duckdb, threading, time
            keep = duckdb.connect()
            threading.Thread(target=lambda _: time.sleep(60), args=(keep,), daemon=True).start()
            os.kill(os.getpid(), signal.SIGINT)
            """,
            id="complains of what was never given back",
        ),
        pytest.param(
            """
            import logging
            with in_process.progress("Hunting"):
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                except KeyboardInterrupt:
                    pass
                logging.getLogger("prefect.task_runs").warning("The next step")
                os._exit(0)
            """,
            id="goes on as if nothing had happened",
        ),
    ],
)
def test_a_ctrl_c_is_one_whatever_a_library_makes_of_it(library):
    """The exit code is the one that shells expect, and the sentence stands alone."""
    ended = interrupted(library)
    assert (ended.returncode, ended.stderr.strip()) == (130, INTERRUPTED)


def test_a_run_that_is_terminated_ends_as_by_ctrl_c(site, silent_cluster):
    """By systemd, for example."""
    with separately(site, "run", "silent") as process:
        connection, _ = silent_cluster.accept()
        process.terminate()
        said, complaint = process.communicate()
        connection.close()
    assert (process.returncode, said) == (130, "")
    assert complaint.strip().endswith(INTERRUPTED)
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("hunt",),
        ("runs", "--limit", "0"),
        ("run", "corp", "--slot", "yesterday"),
        ("run", "corp", "--slot", "2026-11-24T06:00"),
        ("backfill", "corp", "2026-11-01"),
        ("history", "prune"),
        ("history", "prune", "--older-than", "29"),
        ("backfill", "corp", "2026-11-01T06:00Z", "2026-11-02"),
    ],
)
def test_wrong_use_exits_with_2(site, command, arguments):
    """Scripts can tell a wrong call from a failed one."""
    assert command(*arguments)[0] == 2


def test_a_flat_folder_is_imported_and_then_answers(site, command):
    """The command says where documents went, what it left out, and adds no line to a pipe."""
    export = write_events(site, [network_event()], "Downloads", compress=False).parent
    (export / "letter.pdf").write_text("%PDF")
    code, out, err = command("import", str(export), "--into", "events")
    assert (code, out) == (0, "events/logs-endpoint.events.network-default: 1 document\n")
    assert "warning: 1 file not read" in err
    code, out, _ = command("query", "events", "FROM logs-* | KEEP host.id", "--format", "csv")
    assert (code, out) == (0, '"host.id"\n"a"\n')


def test_an_import_that_fails_says_why_and_what_to_do(site, command):
    """Exit code 1 for the files, 2 for wrong use."""
    (site / "a.ndjson").write_text('{"@timestamp": "2026-11-24T00:00:00Z"}\n')
    code, _, err = command("import", "a.ndjson", "--into", "events")
    assert code == 1
    assert "do not say which data stream" in err
    assert "remedy: Name it with --stream" in err
    code, _, err = command("import", "a.ndjson", "--into", "events", "--stream", "../x")
    assert code == 2
    assert not (site / "events").exists()


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


def test_a_figure_of_a_csv_is_one_and_a_time_has_its_seconds(site, command):
    """What begins like a formula is one only in text."""
    question = 'ROW n = -5, at = TO_DATETIME("2026-11-24T06:00:59Z"), text = "-5"'
    _, rows, _ = command("query", "corp", question, "--format", "csv")
    assert rows.splitlines()[1] == """"-5","2026-11-24T06:00:59+00:00","'-5\""""


def test_hostile_names_do_nothing_to_the_terminal_or_a_spreadsheet(site, command):
    """Escape sequences are shown, formulas are text."""
    event = network_event(executable="/tmp/=cmd()\x1b[31m")
    write_events(site / "evil", [event])
    question = "FROM logs-endpoint.events.network-* | KEEP process.name"
    _, table, _ = command("query", "evil", question)
    assert "\x1b" not in table
    assert r"=cmd()\u001b[31m" in table
    _, rows, _ = command("query", "evil", question, "--format", "csv")
    assert rows.splitlines()[1].startswith("\"'=cmd()")
    assert "\x1b" not in rows


LONG = "[red]" + "very-long-name-" * 13 + "[/] \u202e"
"""A name of more than two hundred characters, with markup and a mark that turns text around."""


@pytest.fixture
def hostile(site) -> Path:
    """A history whose findings have names that are meant to break tables."""
    new_history(f"sqlite:///{site}/history.db")
    with History.open(f"sqlite:///{site}/history.db") as history:
        odd = replace(finding(), host=Host(name=LONG), process=Process(name=LONG), why=LONG)
        history.record(report(run(), odd, finding("mac-b", "/opt/agentd")))
    return site


def test_in_a_pipe_every_row_is_a_line_and_whole(hostile, command):
    """Whoever greps a list misses nothing; nothing in it is markup."""
    _, listed, _ = command("findings")
    head, *rows = listed.splitlines()
    assert head.startswith("id ")
    assert sorted(row.count(LONG.replace("\u202e", r"\u202e")) for row in rows) == [0, 3]
    assert all(row.startswith("BH-") for row in rows)


@pytest.mark.parametrize(("width", "is_table"), [(80, False), (300, True)])
def test_at_a_terminal_nothing_is_wider_and_ids_stay_whole(
    hostile, command, monkeypatch, width, is_table
):
    """Where the table does not fit, each row is told line by line; names of others stay in line."""
    shown = io.StringIO()
    terminal = Console(file=shown, width=width, highlight=False, markup=False, soft_wrap=True)
    monkeypatch.setattr("flows.cli.output.out", terminal)
    command("findings")
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert len(re.findall(r"BH-[0-9A-F]{8}\b", shown.getvalue())) == 2
    assert ("disposition" in lines[0]) == is_table
    assert ("process      agentd" in lines) != is_table


def test_runs_and_findings_are_listed(site, command):
    """What the history knows, for a terminal and for a script."""
    url = f"sqlite:///{site}/history.db"
    new_history(url)
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


def test_a_history_is_checked_and_copied(site, command):
    """An operator learns whether it is well, and has a copy for the day when it is not."""
    command("history", "upgrade")
    code, said, _ = command("history", "check")
    assert (code, said.startswith(f"{site}/history.db is whole, with schema ")) == (0, True)
    assert command("history", "backup", "copy.db")[0] == 0
    (site / "history.db").write_bytes(b"damaged")
    code, said, complaint = command("history", "check")
    assert (code, said) == (1, "")
    assert "Restore it from a backup" in complaint
    (site / "copy.db").replace(site / "history.db")
    code, said, _ = command("history", "check", "--format", "json")
    assert (code, json.loads(said)["rows"]["runs"]) == (0, 0)


def test_a_history_is_pruned_only_when_somebody_says_so(site, command):
    """A script, or a person in a hurry, first learns how much would go."""
    url = f"sqlite:///{site}/history.db"
    new_history(url)
    slots = [minute(datetime.now(UTC)) - timedelta(days=days) for days in (410, 405, 402, 401, 1)]
    with History.open(url) as history:
        for slot in slots:
            history.record(report(run(slot), finding(slot=slot, status=Status.CONTINUING)))

    prune = ("history", "prune", "--older-than", "400")
    code, said, _ = command(*prune)
    assert (code, said) == (
        0,
        "2 of 4 sightings older than 400 days would be deleted. "
        "Nothing was deleted: add --yes to delete them.\n",
    )
    for deleted, old in ((2, 4), (0, 2)):
        assert command(*prune, "--yes")[1] == (
            f"{deleted} of {old} sightings older than 400 days were deleted.\n"
        )


@pytest.fixture
def found(site) -> str:
    """Give the id of a finding that a run has found."""
    url = f"sqlite:///{site}/history.db"
    new_history(url)
    new = finding(executable="/opt/agentd\x1b[31m")
    with History.open(url) as history:
        history.record(report(run(), new))
    return new.id


def in_days(days: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def test_a_finding_is_acknowledged_listed_and_taken_back(found, command, monkeypatch):
    """Without Prefect, in a second; the list says who, also when it has ended."""
    monkeypatch.setenv("LOGNAME", "ada")
    until = in_days(30)
    code, said, _ = command("ack", found[3:7], "--why", "Ours.", "--until", until, "--everywhere")
    assert code == 0
    assert said.startswith(f"{found} is acknowledged by ada until ")
    assert r"/opt/agentd\u001b[31m on every host, calling 203.0.113[.]47, with" in said
    _, listed, _ = command("acks", "--format", "json")
    (word,) = json.loads(listed)
    assert (word["state"], word["by"], word["why"]) == ("active", "ada", "Ours.")
    assert word["until"] == f"{until}T00:00:00+00:00"
    _, findings, _ = command("findings", "--format", "json")
    assert [each["acknowledged_by"] for each in json.loads(findings)] == ["ada"]

    code, said, _ = command("unack", found, "--by", "kim")
    assert (code, said) == (0, f"{found} is not acknowledged any more (ada's reason: Ours.)\n")
    _, listed, _ = command("acks", "--format", "csv")
    (word,) = csv.DictReader(io.StringIO(listed))
    assert (word["state"], word["ended_by"]) == ("ended", "kim")
    assert f"{found}  ended" in command("acks")[1]


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        (["BH-0", "--why", "x", "--until", in_days(9)], 1, "has no finding 'BH-0'"),
        (["BH-", "--why", " ", "--until", in_days(9)], 1, "State with `why`"),
        (["BH-", "--why", "x", "--until", in_days(-1)], 1, "is in the past"),
        (["BH-", "--why", "x", "--until", in_days(367)], 1, "more than 365 days away"),
        (["BH-", "--why", "x", "--until", in_days(9)], 1, "An empty id"),
        (["BH-", "--why", "x", "--until", in_days(9), "--by", ""], 1, "needs an author"),
        (["BH-", "--why", "x", "--until", "soon"], 2, "is not a time like"),
        (["BH-", "--why", "x"], 2, "--until"),
        (["BH-", "--until", in_days(9)], 2, "--why"),
    ],
    ids=["unknown", "why", "past", "far", "empty", "nobody", "date", "no-until", "no-why"],
)
def test_a_word_that_cannot_be_given_says_why(found, command, change, code, named):
    """Nothing is acknowledged, and the next try is right."""
    ended, _, complaint = command("ack", *change)
    assert (ended, named in complaint) == (code, True)
    assert json.loads(command("acks", "--format", "json")[1]) == []


def test_who_is_not_known_is_asked(found, command, monkeypatch):
    """A container without users: the record must say who."""

    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    code, _, complaint = command("ack", found, "--why", "x", "--until", in_days(9))
    assert code == 1
    assert "--by" in complaint


def test_every_command_has_help_with_an_example():
    """`--help` is the first thing that people try."""
    commands = [
        ["run"],
        ["backfill"],
        ["digest"],
        ["check"],
        ["query"],
        ["runs"],
        ["findings"],
        ["ack"],
        ["acks"],
        ["unack"],
        ["demo"],
        ["up"],
        ["history", "upgrade"],
        ["history", "check"],
        ["history", "backup"],
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


def test_an_archive_is_verified_and_a_changed_report_is_named(site, command):
    """Exit code 1, so that a scheduled check is heard."""
    of = report(run(), finding())
    location = Path(write_run(str(site / "archive"), of, pages_of(of)).removeprefix("file://"))
    assert command("archive", "verify")[:2] == (0, "Runs read: 1. No file was changed.\n")
    location.write_text("changed")
    code, said, _ = command("archive", "verify")
    assert code == 1
    assert "report.html is not what findings.json gives" in " ".join(said.split())


@pytest.mark.parametrize(
    ("words", "option", "url"),
    [
        (["archive", "reindex"], "archive", "s3://key:changeme@reports"),
        (["serve-archive"], "archive", "s3://key:changeme@reports"),
        (["history", "check"], "history", "postgresql://beaconhunt:changeme@db/beaconhunt"),
    ],
)
def test_a_password_is_refused_on_the_command_line_too(command, words, option, url):
    """Every user of the machine sees what a command was given; the refusal repeats nothing."""
    code, said, complaint = command(*words, f"--{option}-url", url)
    assert code == 1
    assert f"`{option}_url` must not hold a password" in complaint
    assert "remedy: " in complaint
    assert "changeme" not in said + complaint


def test_the_index_is_built_anew(site, command):
    """For an archive that was copied without it."""
    of = report(run(), finding())
    write_run(str(site / "archive"), of, pages_of(of))
    assert command("archive", "reindex")[0] == 0
    assert of.run.folder in (site / "archive" / "index.html").read_text()


def test_old_reports_are_listed_and_then_removed(site, command):
    """Nothing goes before somebody has seen what would."""
    old, new = (report(run(SLOT - timedelta(days=days), finished_at=SLOT)) for days in (1_000, 999))
    for of in (old, new):
        write_run(str(site / "archive"), of, pages_of(of))
    code, said, _ = command("archive", "prune", "--older-than", "400")
    assert code == 0
    assert old.run.folder in said
    assert said.endswith("To be removed: 1. Nothing was removed: add --yes to remove them.\n")
    assert (site / "archive" / old.run.folder).exists()
    assert command("archive", "prune", "--older-than", "400", "--yes")[1].endswith("Removed: 1\n")
    assert not (site / "archive" / old.run.folder).exists()
    assert (site / "archive" / new.run.folder).exists()
