"""Index an archive: against reading every record as JSON."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

from tasks.archive import write_index, write_run
from tasks.pages.html import RenderedReport
from tests.benchmarks.measurement import Measurement, timed
from tests.builders import day, report, run

CLUSTERS = 50
"""Each with a run a day: 10,000 are 200 days."""


def measure(runs: int, folder: Path) -> list[Measurement]:
    """All pages of an archive of so many runs, and those that change with one run more."""
    write(folder, runs)
    anew, _ = timed(lambda: write_index(str(folder), anew=True))
    plain, _ = timed(lambda: [json.loads(each.read_bytes()) for each in folder.rglob("run.json")])
    write_run(str(folder), report(run(day(1))), RenderedReport("", b""))
    one_more, _ = timed(lambda: write_index(str(folder)))
    tracemalloc.start()
    write_index(str(folder), anew=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    against = {"against": "json.loads of every run.json", "against_cost": plain}
    return [
        Measurement(f"index anew, {peak >> 20} MiB", runs, "runs", anew, **against),
        Measurement("index with one run more", runs, "runs", one_more, **against),
    ]


def write(folder: Path, runs: int) -> None:
    """Make an archive whose pages are empty, and whose records are not."""
    for number in range(runs):
        when, which = divmod(number, CLUSTERS)
        write_run(
            str(folder), report(run(day(-when), cluster=f"c-{which}")), RenderedReport("", b"")
        )
