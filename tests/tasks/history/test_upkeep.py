from __future__ import annotations

import resource
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tasks.errors import HistoryError
from tasks.history import History, upgrade_history
from tasks.history.upkeep import back_up, take_inventory
from tasks.model.findings import Status
from tests.builders import day, finding, report, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a history with two runs, closed."""
    path = tmp_path / "history.db"
    upgrade_history(f"sqlite:///{path}")
    with History.open(f"sqlite:///{path}") as history:
        history.record(report(run(day(0)), finding("mac-a"), finding("mac-b")))
        history.record(report(run(day(1)), finding("mac-a", status=Status.CONTINUING)))
    return path


def test_a_history_that_is_well_is_counted(history: History, history_url: str) -> None:
    """How much it remembers, and with which schema."""
    history.record(report(run(), finding("mac-a"), finding("mac-b")))

    inventory = take_inventory(history_url)

    assert inventory.revision == upgrade_history(history_url)
    assert {"runs": 1, "findings": 2, "sightings": 2}.items() <= inventory.rows.items()


def test_a_history_that_does_not_exist_yet_is_not_well(empty_url: str) -> None:
    """A typing error in the URL is found."""
    with pytest.raises(HistoryError, match="beaconhunt history upgrade"):
        take_inventory(empty_url)


DAMAGES = {
    "an index that is not that of its table": (
        "PRAGMA writable_schema = ON; "
        "UPDATE sqlite_master SET sql = 'CREATE INDEX ix_runs_slot ON runs (hunt)' "
        "WHERE name = 'ix_runs_slot'",
        "missing from index ix_runs_slot",
    ),
    "a sighting of no run": (
        "UPDATE sightings SET run_key = 99 WHERE run_key = 2",
        "row 3 of sightings refers to a missing row of runs",
    ),
    "a document that is not one": (
        "UPDATE findings SET document = '{}' WHERE key = 2",
        "holds a document that this beaconhunt cannot read",
    ),
    "counts that are none": (
        'UPDATE runs SET counts = \'{"new": "many"}\' WHERE key = 2',
        "holds a document that this beaconhunt cannot read",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_that_opening_does_not_show_is_found(path: Path, damage: str) -> None:
    """Each with what is wrong, and the way back."""
    statements, named = DAMAGES[damage]
    with closing(sqlite3.connect(path)) as vandal:
        vandal.executescript(statements)
    with History.open(f"sqlite:///{path}"):
        pass

    with pytest.raises(HistoryError) as refusal:
        take_inventory(f"sqlite:///{path}")

    assert named in refusal.value.problem
    assert "Restore it from a backup" in refusal.value.remedy


def test_a_backup_is_the_history_at_one_moment(path: Path, tmp_path: Path) -> None:
    """What is being written meanwhile is in it as a whole or not at all."""
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM sightings")
        back_up(f"sqlite:///{path}", copy)
        writer.execute("COMMIT")

    inventory = take_inventory(f"sqlite:///{copy}")
    assert (inventory.rows["runs"], inventory.rows["sightings"]) == (2, 3)
    with History.open(f"sqlite:///{copy}") as history:
        assert [each.run.slot for each in history.runs()] == [day(1), day(0)]


def test_runs_are_recorded_while_a_backup_is_made(path: Path, tmp_path: Path) -> None:
    """Nobody waits, and every copy is whole."""
    url, done = f"sqlite:///{path}", threading.Event()

    def record() -> None:
        with History.open(url) as history:
            for number in range(2, 30):
                history.record(report(run(day(number)), finding("mac-a", slot=day(number))))
        done.set()

    writer = threading.Thread(target=record)
    writer.start()
    copies = []
    while not done.is_set() or not copies:
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        back_up(url, copies[-1])
    writer.join()

    held = [take_inventory(f"sqlite:///{copy}").rows for copy in copies]
    assert all(rows["sightings"] == rows["runs"] + 1 for rows in held)
    assert take_inventory(url).rows["runs"] == 30


def test_a_backup_overwrites_nothing(path: Path) -> None:
    """Neither another file nor the history itself."""
    before = path.read_bytes()

    with pytest.raises(HistoryError, match=f"{path} exists already"):
        back_up(f"sqlite:///{path}", path)

    assert path.read_bytes() == before


def test_a_backup_that_fails_leaves_nothing_behind(path: Path, tmp_path: Path) -> None:
    """Half a copy could pass for one."""
    before = sorted(tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with History.open(f"sqlite:///{path}") as history:
        history.runs()  # The files beside it are there, as while a run goes on.
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))  # As if the disk were full.
        try:
            with pytest.raises(HistoryError, match="could not be copied to"):
                back_up(f"sqlite:///{path}", tmp_path / "copy.db")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(HistoryError, match="could not be copied to"):
        back_up(f"sqlite:///{path}", tmp_path / "no folder" / "copy.db")

    assert sorted(tmp_path.iterdir()) == before


def test_a_history_in_postgresql_is_for_its_own_tools(postgresql_server, tmp_path: Path) -> None:
    """The command to use is named, ready to paste."""
    url = postgresql_server.new_schema()
    upgrade_history(url)

    with pytest.raises(HistoryError) as refusal:
        back_up(url, tmp_path / "copy.dump")

    assert f"`pg_dump --format=custom --file={tmp_path}/copy.dump postgresql://" in str(
        refusal.value
    )
