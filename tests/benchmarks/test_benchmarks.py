"""Every benchmark still measures something; nothing is said of how long it takes."""

import re

import pytest

from tasks.fleet.generate import Fleet
from tests.benchmarks import (
    browsing,
    generating,
    hunting,
    indexing,
    recording,
    remembering,
    reporting,
)
from tests.benchmarks.remembering import Past


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(macs=1, others=0, days=1, encoding="paired", plants=())


@pytest.fixture(scope="module")
def folder(fleet, tmp_path_factory):
    """A folder in which the fleet's events are."""
    folder = tmp_path_factory.mktemp("events") / "fleet"
    assert generating.measure(fleet, folder).size > 0
    return folder


def test_a_hunt_reads_every_event_that_plain_python_reads(fleet, folder):
    """The two halves of a ratio are about the same events."""
    measurement = hunting.measure_reading(folder, fleet.end, times=1)
    assert measurement.size > 0
    assert measurement.ratio > 0


def test_parquet_and_ndjson_hold_the_same_events(fleet, folder, tmp_path):
    """The copy has as many, and the hunt finds as much in it."""
    in_parquet = hunting.measure_parquet(folder, fleet.end, tmp_path)
    assert in_parquet.size == hunting.measure_reading(folder, fleet.end, times=1).size


def test_findings_are_recorded_and_rendered(tmp_path):
    """Each ratio is that of as many findings."""
    assert recording.measure(10, tmp_path).size == 10
    assert reporting.measure(10).size == 10


def test_a_page_is_opened_and_filtered(tmp_path):
    """With as many findings as are asked for, of which one is looked for."""
    opened, filtered = browsing.measure(110, tmp_path / "pages")
    assert (opened.size, filtered.size) == (110, 110)


def test_an_archive_is_indexed(tmp_path):
    """All of its runs, and one more."""
    anew, one_more = indexing.measure(60, tmp_path)
    assert (anew.size, one_more.size) == (60, 60)
    assert len(list(tmp_path.rglob("run.json"))) == 61


def test_a_run_is_remembered_without_reading_all_of_the_past(tmp_path):
    """Nothing that a diff or a run's transaction asks is answered by going through a table.

    But for analysts' words, of which there are as many as people write.
    """
    diff, record, pruning = remembering.measure_sqlite(
        Past(clusters=2, slots=31, arrivals=2), tmp_path
    )
    assert (diff.size, record.size, pruning.size) == (60, 62, 24)
    plans = "\n".join((diff.plans | record.plans).values())
    assert plans.count("SEARCH") > 1
    assert set(re.findall(r"SCAN (\w+)", plans)) <= {"acknowledgements"}


def test_the_past_is_the_same_in_postgresql(postgresql_server):
    """The same findings are known, and the same ones are absent."""
    past = Past(clusters=2, slots=31, arrivals=2)
    diff, record, pruning = remembering.measure(past, postgresql_server.new_schema())
    assert (diff.size, record.size, pruning.size) == (60, 62, 24)
