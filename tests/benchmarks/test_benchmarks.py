"""Every benchmark still measures something; nothing is said of how long it takes."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests import postgresql
from tests.benchmarks import hand_tuned, hunting, run
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


def test_the_quick_form_leaves_out_no_more_than_growth():
    """Whatever breaks in the full form is seen in three minutes."""
    quick, full = (
        [name for name, _ in run.benchmarks(size, Path())] for size in (run.QUICK, run.FULL)
    )
    assert [name for name in full if name not in quick] == ["Growing"]


def test_every_question_of_a_run_is_measured_in_both_formats(rows):
    """The hunt and each question after it, against a statement by hand of the same name."""
    measured = {row["what"] for row in rows if row["benchmark"] == "Hunting"}
    assert measured >= {
        f"{name} in {form}" for name in hand_tuned.STATEMENTS for form in ("NDJSON", "Parquet")
    }


def test_different_results_are_not_compared():
    """A cheaper statement that finds something else is no measure."""
    with pytest.raises(ValueError, match="The hunt: ours gives 1, and the other 2"):
        hunting.agree("The hunt", 1, 2)


def test_a_failure_loses_nothing_that_was_measured_before_it(capsys, monkeypatch):
    """The rows so far, then the error; and the command fails."""

    def fail() -> list[Measurement]:
        raise RuntimeError("no disk")

    row = Measurement("hunt", 1_000, "events", 3.0, "reading them", 1.0)
    listed = [("First", lambda: [row]), ("Second", fail), ("Third", fail)]
    monkeypatch.setattr(run, "benchmarks", lambda *_: listed)
    with pytest.raises(SystemExit) as ended:
        run.main(["--smoke", "--json"])
    shown = capsys.readouterr()
    assert [each["benchmark"] for each in json.loads(shown.out)] == ["First"]
    assert "Second failed" in shown.err
    assert "no disk" in shown.err
    assert ended.value.code == 1


def test_some_benchmarks_run_with_those_that_they_need():
    """A benchmark that hunts brings the one that generates; an unknown name is refused."""
    listed = run.benchmarks(run.FULL, Path())
    assert [name for name, _ in run.chosen(listed, ["Opening"])] == [
        "Generating",
        "Hunting",
        "Opening",
    ]
    assert run.chosen(listed, []) == listed
    with pytest.raises(ValueError, match="Huntng is no benchmark: choose from"):
        run.chosen(listed, ["Huntng"])


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
    measurement = Measurement("hunt", 1_000, "events", 3.0, "reading them", 1.0, goal="2x")
    console.print(run.table([measurement]))
    shown = " ".join(console.file.getvalue().split())
    assert "hunt 1,000 events 3.00 s 3.00 2x reading them" in shown
