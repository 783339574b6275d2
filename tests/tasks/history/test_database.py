from __future__ import annotations

import os
import re
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.exc import StatementError

from tasks.errors import HistoryError
from tasks.history import History, upgrade_history
from tests.builders import HUNT, SLOT, finding, report, run
from tests.postgresql import Server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a history with one run, closed."""
    path = tmp_path / "history.db"
    upgrade_history(f"sqlite:///{path}")
    with History.open(f"sqlite:///{path}") as history:
        history.record(report(run(), finding()))
    return path


def refused(url: str) -> str:
    """Open a history that must be refused, and give what the reader is told."""
    with pytest.raises(HistoryError) as refusal, History.open(url):
        pass
    return str(refusal.value)


def test_a_missing_history_is_not_made_by_opening_it(tmp_path: Path) -> None:
    """A typing error in the URL must not pass for a history that has seen nothing."""
    missing = tmp_path / "folder" / "history.db"

    said = refused(f"sqlite:///{missing}")

    assert str(missing) in said
    assert "`beaconhunt history upgrade`" in said
    assert not missing.parent.exists()


def test_the_home_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped URL works on every machine, and the folder is made with the history."""
    monkeypatch.setenv("BEACONHUNT_HOME", str(tmp_path / "new home"))

    upgrade_history("sqlite:///$BEACONHUNT_HOME/history.db")

    assert (tmp_path / "new home" / "history.db").exists()
    with History.open("sqlite:///$BEACONHUNT_HOME/history.db") as history:
        assert history.runs() == ()


@pytest.mark.parametrize("name", ["100%25.db", "a b#c.db", "ü?mode=memory.db"])
def test_a_path_is_taken_as_it_is_written(tmp_path: Path, name: str) -> None:
    """Only what stands behind a question mark is not the path."""
    upgrade_history(f"sqlite:///{tmp_path}/{name}")

    assert [each.name for each in tmp_path.iterdir()] == [name.partition("?")[0]]


@pytest.mark.parametrize("damage", ["not a database", "torn", "bent"])
def test_a_corrupt_history_is_refused_and_left_as_it_is(path: Path, damage: str) -> None:
    """The message names the file and what to do; not one byte of it changes."""
    whole = path.read_bytes()
    path.write_bytes(
        {
            "not a database": b"{}" * 4096,
            "torn": whole[: len(whole) // 2],
            "bent": whole[:100] + b"\xff" * 4000 + whole[4100:],
        }[damage]
    )
    damaged = path.read_bytes()

    said = refused(f"sqlite:///{path}")
    with pytest.raises(HistoryError, match="left as it is"):
        upgrade_history(f"sqlite:///{path}")

    assert re.search(rf"{path} is (corrupt|not a database)\. .*Restore it from a backup", said)
    assert path.read_bytes() == damaged


def test_an_unreadable_document_is_not_repeated(path: Path) -> None:
    """A damaged document stops the reader with the path; what it holds may be a whole event."""
    with closing(sqlite3.connect(path)) as vandal, vandal:
        vandal.execute("UPDATE runs SET document = replace(document, 'cluster', 'PRIVATE')")

    with History.open(f"sqlite:///{path}") as history, pytest.raises(HistoryError) as refusal:
        history.runs()

    assert f"{path} holds a document" in str(refusal.value)
    assert "PRIVATE" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_locked_history_says_so(path: Path) -> None:
    """A writer that waits in vain has written nothing, and can run again."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            History.open(f"sqlite:///{path}?timeout=0.1") as history,
            pytest.raises(
                HistoryError, match=r"is locked by another process\. Nothing was written"
            ),
        ):
            history.record(report(run(attempt=2)))


def test_a_reader_does_not_wait_for_a_writer(path: Path) -> None:
    """While a run is recorded, digests and commands read what was there before."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM sightings")
        with History.open(f"sqlite:///{path}?timeout=0.1") as history:
            assert len(history.findings()) == 1


def test_a_history_that_may_not_be_written_says_so(path: Path) -> None:
    """The message names the file and the right that is missing."""
    path.chmod(0o444)
    program = (
        "import sys; from tasks.history import History; from tests.builders import *\n"
        "try:\n"
        "    with History.open(sys.argv[1]) as history: history.record(report(run(attempt=2)))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    # Root may write anything, unless it is started without that right.
    as_others = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []

    said = subprocess.run(
        [*as_others, sys.executable, "-c", program, f"sqlite:///{path}"],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert said.startswith(f"HistoryError The history {path} cannot be written. Nothing was")


def test_a_disk_that_fails_is_not_taken_for_a_corrupt_history(path: Path) -> None:
    """Nobody is told to restore a history that is whole."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    flood = report(run(attempt=2), *(finding(f"mac-{number}") for number in range(100)))
    with History.open(f"sqlite:///{path}") as history:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
        try:
            with pytest.raises(HistoryError, match=r"disk I/O error\. Nothing was written\."):
                history.record(flood)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert history.runs()[0].run == run()


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A history below a file is a mistake in the URL."""
    (tmp_path / "file").touch()

    with pytest.raises(HistoryError, match=f"The folder {tmp_path}/file/deeper cannot be created"):
        upgrade_history(f"sqlite:///{tmp_path}/file/deeper/history.db")


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://host/history", "sqlite://", "sqlite:///:memory:", "history.db", ""),
        "postgresql://host:port/history",
    ],
)
def test_another_kind_of_url_is_refused(url: str) -> None:
    """The message says what a URL looks like."""
    assert "Write `sqlite:///` and a path, or `postgresql://host/database`." in refused(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hunter:canary@127.0.0.1:1/history",
        "postgresql+psycopg://hunter@127.0.0.1:1/history?password=canary",
        "postgresql//hunter:canary@127.0.0.1:1/history",
        "postgresql://hunter:canary@127.0.0.1:port/history",
    ],
)
def test_a_password_in_a_url_is_never_repeated(url: str) -> None:
    """Whatever is wrong with the URL, its secret stays out of the message."""
    said = refused(url)

    assert "canary" not in said


def test_an_unreachable_server_is_named(postgresql_server: Server) -> None:
    """Host and database, and what to check."""
    server = f"{postgresql_server.host}:{postgresql_server.port}"

    assert "postgresql://127.0.0.1:1/history failed: connection" in refused(
        "postgresql://hunter@127.0.0.1:1/history"
    )
    assert f"postgresql://{server}/no_such" in refused(postgresql_server.url("no_such"))


def test_the_driver_for_postgresql_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only SQLite was installed for, the message has the command to install the rest."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    assert 'pip install "beaconhunt[postgresql]"' in refused("postgresql://host/history")


def test_a_time_without_a_zone_is_refused(history: History) -> None:
    """It would mean another moment on another machine."""
    naive = datetime(2026, 11, 24, 6)  # noqa: DTZ001 - that is the mistake

    with pytest.raises(StatementError, match="has no time zone"):
        history.known(HUNT.uuid, "demo-eu", naive, [])


def test_a_time_is_the_same_moment_in_every_zone(history: History) -> None:
    """A slot that is given in local time is the slot."""
    tokyo = datetime.fromisoformat("2026-11-24T15:00:00+09:00")

    history.record(report(run(tokyo)))

    assert [each.slot for each in history.trend(HUNT.uuid, "demo-eu", SLOT)] == [SLOT]
