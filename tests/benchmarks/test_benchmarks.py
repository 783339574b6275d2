"""Every benchmark still measures something; nothing is said of how long it takes."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests import postgresql
from tests.benchmarks import run
from tests.benchmarks.measurement import Measurement


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """What one run of all benchmarks, at the smallest sizes, writes as JSON."""
    with redirect_stdout(StringIO()) as output:
        run.main(["--smoke", "--json"])
    return json.loads(output.getvalue())


def sizes(rows: list[dict], benchmark: str) -> list[int]:
    return [row["size"] for row in rows if row["benchmark"] == benchmark]


def test_every_benchmark_measures_something(rows):
    """Each gives a measurement, of some size and with a ratio; the databases that are there."""
    benchmarks = {name for name, _ in run.benchmarks(run.SMOKE, Path())}
    if postgresql.binaries() is None:
        benchmarks.remove("Remembering in PostgreSQL")
    assert {row["benchmark"] for row in rows} == benchmarks
    assert [row for row in rows if not (row["size"] > 0 and row["ratio"] > 0)] == []


def test_the_quick_form_leaves_out_no_more_than_the_large_fleet():
    """Whatever breaks in the full form is seen in three minutes."""
    quick, full = (
        [name for name, _ in run.benchmarks(size, Path())] for size in (run.QUICK, run.FULL)
    )
    assert [name for name in full if name not in quick] == [
        "Generating a large fleet",
        "Hunting a large fleet",
    ]


def test_parquet_and_ndjson_hold_the_same_events(rows):
    """The copy has as many as plain Python reads in the original."""
    assert sizes(rows, "Hunting in Parquet") == sizes(rows, "Hunting")


def test_a_flow_run_records_every_finding_that_its_events_make(rows):
    """The measured run has as many findings as its ratio is about."""
    assert sizes(rows, "Running the flow") == [1, run.SMOKE.candidates]


def test_a_run_is_remembered_without_reading_all_of_the_past(rows):
    """Nothing that a diff or a run's transaction asks is answered by going through a table.

    But for analysts' words, of which there are as many as people write.
    """
    executed = [
        plan
        for row in rows
        if row["what"] in {"diff in sqlite", "record in sqlite"}
        for plan in row["plans"].values()
    ]
    plans = "\n".join(executed)
    assert plans.count("SEARCH") > 1
    assert set(re.findall(r"SCAN (\w+)", plans)) <= {"acknowledgements"}


def test_the_past_has_the_same_size_in_both_databases(rows):
    """The same findings are known, the same ones are absent, and as much is pruned."""
    postgresql.require_binaries()
    expected = [60, 62, 24]
    assert sizes(rows, "Remembering in SQLite") == expected
    assert sizes(rows, "Remembering in PostgreSQL") == expected


def test_the_table_gives_the_ratio_before_what_it_is_to():
    """A hunt of three seconds, against one second of reading, is three times as long."""
    console = Console(file=StringIO(), width=run.PIPE_WIDTH)
    console.print(run.table([Measurement("hunt", 1_000, "events", 3.0, "reading them", 1.0)]))
    shown = " ".join(console.file.getvalue().split())
    assert "hunt 1,000 events 3.00 3,000 3.00 reading them" in shown
