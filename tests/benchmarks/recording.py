"""Record a run: against writing as many rows of the same documents with plain sqlite3."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tasks.history import History, upgrade_history
from tasks.model.findings import Finding
from tests.benchmarks.measurement import Measurement, timed
from tests.builders import SLOT, finding, report, run


def findings(count: int) -> tuple[Finding, ...]:
    """So many new findings, each on a Mac of its own, with a week of evidence."""
    return tuple(finding(host_id=f"mac-{number}") for number in range(count))


def measure(count: int, folder: Path) -> Measurement:
    """A first run: identities, documents and sightings in one transaction."""
    document = report(run(), *findings(count))
    url = f"sqlite:///{folder / 'history.db'}"
    upgrade_history(url)
    with History.open(url) as history:
        seconds, _ = timed(lambda: history.record(document))
    rows = [
        (each["fingerprint"], each["id"], json.dumps(each))
        for each in json.loads(document.to_json())["findings"]
    ]
    against_seconds, _ = timed(lambda: _insert(rows, folder / "plain.db"))
    return Measurement(
        what="record",
        size=count,
        unit="findings",
        cost=seconds,
        against="sqlite3 executemany of as many rows",
        against_cost=against_seconds,
    )


def _insert(rows: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Two tables as the history has, the documents as text that is there already."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE finding (fingerprint TEXT UNIQUE, id TEXT, document TEXT)")
        database.execute("CREATE TABLE sighting (finding TEXT, slot TEXT, status TEXT)")
        database.executemany("INSERT INTO finding VALUES (?, ?, ?)", rows)
        sightings = [(fingerprint, f"{SLOT:%F %T}", "new") for fingerprint, _, _ in rows]
        database.executemany("INSERT INTO sighting VALUES (?, ?, ?)", sightings)
