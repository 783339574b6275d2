"""Hunt a folder of events: against reading it in plain Python, and as Parquet against NDJSON."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from tasks.clusters import connect
from tasks.fleet.documents import NETWORK
from tasks.model.hunts import load_hunt
from tasks.model.runs import Plan
from tasks.questions.candidates import ask_candidates
from tasks.questions.coverage import ask_coverage
from tasks.settings import Cluster
from tests.benchmarks.measurement import Measurement, timed


def measure_reading(folder: Path, slot: datetime, *, times: int) -> Measurement:
    """The shipped hunt and its coverage, on a client that has read nothing yet.

    Args:
        folder: an embedded cluster.
        slot: of the run.
        times: how often; the first hunt of a process also loads what is loaded once.
    """
    seconds, _ = timed(lambda: hunted(folder, slot), times=times)
    against_seconds, events = timed(lambda: _parsed(folder / NETWORK), times=times)
    return Measurement(
        what="hunt in NDJSON",
        size=events,
        unit="events",
        seconds=seconds,
        against="gzip and json.loads of them",
        against_seconds=against_seconds,
    )


def measure_parquet(folder: Path, slot: datetime, copy: Path) -> Measurement:
    """The same hunt on the same events in Parquet, as which the copy is written first."""
    events = write_parquet(folder / NETWORK, copy / NETWORK)
    seconds, in_parquet = timed(lambda: hunted(copy, slot), times=2)
    against_seconds, in_ndjson = timed(lambda: hunted(folder, slot), times=2)
    if in_parquet != in_ndjson:
        raise ValueError(f"Parquet gives {in_parquet} candidates, and NDJSON {in_ndjson}.")
    return Measurement(
        what="hunt in Parquet",
        size=events,
        unit="events",
        seconds=seconds,
        against="hunt in NDJSON",
        against_seconds=against_seconds,
    )


def hunted(folder: Path, slot: datetime) -> int:
    """Ask the hunt's question and what could have been seen; gives the number of candidates."""
    cluster = Cluster(name="bench", url=folder.absolute().as_uri())
    plan = Plan(
        run_id="bench",
        hunt=load_hunt("macos-unsigned-network"),
        cluster=cluster.name,
        slot=slot,
        stale_after_hours=6,
        started_at=datetime.now(UTC),
    )
    with connect(cluster) as client:
        answer = ask_candidates(client, plan)
        ask_coverage(client, plan, plan.started_at)
    return len(answer.rows)


def write_parquet(stream: Path, copy: Path) -> int:
    """Write each NDJSON file of a data stream as Parquet; gives the number of events."""
    copy.mkdir(parents=True)
    with duckdb.connect() as database:
        for path in sorted(stream.glob("*.ndjson.gz")):
            documents = database.read_json(
                str(path), format="newline_delimited", sample_size=-1, hive_partitioning=False
            )
            documents.write_parquet(str(copy / path.name.replace(".ndjson.gz", ".parquet")))
        return len(database.read_parquet(str(copy / "*.parquet"), union_by_name=True))


def _parsed(stream: Path) -> int:
    """Read every document of a data stream and keep none; gives their number."""
    events = 0
    for path in sorted(stream.glob("*.ndjson.gz")):
        with gzip.open(path) as lines:
            events += sum(1 for _ in map(json.loads, lines))
    return events
