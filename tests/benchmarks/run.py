"""Print what things cost: every benchmark, each against a plain thing in the same run.

    python -m tests.benchmarks.run [--quick | --smoke] [--json] [--only NAME]...

There is no limit to pass: seconds depend on the machine. Read the ratio, and compare it with its
goal, and with the ratio of an earlier version on any machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks.fleet.generate import Fleet
from tests import conftest  # noqa: F401 - sets Prefect up, before anything imports it.
from tests.benchmarks import (
    browsing,
    flow_run,
    generating,
    hunting,
    indexing,
    many_clusters,
    opening,
    recording,
    remembering,
    reporting,
    starting,
)
from tests.benchmarks.measurement import Measurement
from tests.benchmarks.remembering import Past

GROWTH_NEEDS_BYTES = 20 << 30
"""Free disk below which ten million events are left out."""

PAST_NEEDS_BYTES = 10 << 30
"""Free disk below which the history has a short past."""

PIPE_WIDTH = 150
"""Where there is no terminal to ask for its width."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.

    Attributes:
        starts: of each command.
        fleet: to generate. It has one encoding, as a column of Parquet has one type.
        copies: of the fleet's events, which are hunted in NDJSON and in Parquet.
        growth: two numbers of copies, at which the hunt's memory is compared.
        recorded: findings of a run that is recorded.
        rendered: findings of a report.
        indexed: runs of an archive.
        candidates: findings of a flow run.
        past: of the history that a run is diffed against, and recorded in.
        clusters: due at once on one worker, and how many of them fail.
    """

    starts: int
    fleet: Fleet
    copies: int
    growth: tuple[int, int] | None
    recorded: int
    rendered: int
    indexed: int
    candidates: int
    past: Past
    clusters: tuple[int, int] | None


SMOKE = Sizes(
    starts=1,
    fleet=Fleet(macs=1, others=0, days=1, encoding="paired", plants=()),
    copies=1,
    growth=None,
    recorded=20,
    rendered=110,
    indexed=60,
    candidates=20,
    past=Past(clusters=2, slots=31, arrivals=2),
    clusters=None,
)
QUICK = Sizes(
    starts=3,
    fleet=Fleet(macs=1, days=1, encoding="paired"),
    copies=1,
    growth=None,
    recorded=2_000,
    rendered=1_000,
    indexed=200,
    candidates=200,
    past=Past(clusters=2, slots=40, arrivals=20),
    clusters=(3, 2),
)
FULL = Sizes(
    starts=5,
    # 267,000 events in the days of a window and a look back: three, one and ten million.
    fleet=Fleet(macs=3, days=9, encoding="paired"),
    copies=11,
    growth=(4, 38),
    recorded=10_000,
    rendered=5_000,
    indexed=10_000,
    candidates=1_000,
    # A million findings, thirty million sightings: 9 GB, which take minutes to make.
    past=Past(clusters=10, slots=315, arrivals=334),
    clusters=(50, 5),
)

Benchmark = tuple[str, Callable[[], list[Measurement]]]
"""Its name, and what measures it."""


def benchmarks(sizes: Sizes, scratch: Path) -> list[Benchmark]:
    """List the benchmarks in their order: a fleet is generated before it is hunted.

    Args:
        sizes: how much of everything.
        scratch: an empty folder.
    """
    fleet, folder, past = sizes.fleet, scratch / "fleet", sizes.past
    return [
        ("Starting up", lambda: starting.measure(sizes.starts, scratch / "bytecode")),
        ("Generating", lambda: [generating.measure(fleet, folder)]),
        (
            "Hunting",
            lambda: hunting.measure(folder, fleet.end, sizes.copies, scratch / "hunting"),
        ),
        ("Opening", lambda: opening.measure(scratch / "hunting" / "ndjson", scratch / "opening")),
        ("Recording findings", lambda: [recording.measure(sizes.recorded, scratch)]),
        (
            "Remembering in SQLite",
            lambda: remembering.measure_sqlite(past, scratch / "past"),
        ),
        ("Remembering in PostgreSQL", lambda: remembering.measure_postgresql(past)),
        ("Rendering a report", lambda: [reporting.measure(sizes.rendered)]),
        ("Opening a report", lambda: browsing.measure(sizes.rendered, scratch / "pages")),
        ("Indexing an archive", lambda: indexing.measure(sizes.indexed, scratch / "archive")),
        ("Running the flow", lambda: flow_run.measure(sizes.candidates, scratch / "flow")),
        *_of_clusters(sizes.clusters, scratch),
        *_of_growth(sizes, scratch),
    ]


def _of_clusters(clusters: tuple[int, int] | None, scratch: Path) -> list[Benchmark]:
    if clusters is None:
        return []
    count, failing = clusters
    folder = scratch / "clusters"
    return [("Hunting many clusters", lambda: [many_clusters.measure(count, failing, folder)])]


def _of_growth(sizes: Sizes, scratch: Path) -> list[Benchmark]:
    if sizes.growth is None:
        return []
    fleet, end, copies = scratch / "fleet", sizes.fleet.end, sizes.growth
    return [
        (
            "Growing",
            lambda: hunting.measure_growth(fleet, end, copies, scratch / "growing"),
        )
    ]


NEEDS = {
    "Hunting": ("Generating",),
    "Opening": ("Generating", "Hunting"),
    "Growing": ("Generating",),
}
"""Benchmarks that use what others wrote."""


def chosen(listed: Sequence[Benchmark], only: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, and those that they need; all of them if there are no names.

    Raises:
        ValueError: no benchmark has one of the names.
    """
    names = [name for name, _ in listed]
    if unknown := sorted(set(only) - set(names)):
        raise ValueError(f"{', '.join(unknown)} is no benchmark: choose from {', '.join(names)}.")
    wanted = {*only, *(need for name in only for need in NEEDS.get(name, ()))}
    return [each for each in listed if each[0] in wanted] if only else list(listed)


@dataclass(slots=True)
class Results:
    """The measurements by benchmark, and the traceback of the benchmark that failed."""

    measurements: dict[str, list[Measurement]] = field(default_factory=dict)
    failure: str = ""


def measured(listed: Sequence[Benchmark], console: Console) -> Results:
    """Run benchmarks in turn until one fails, and show on a terminal which one runs."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    results = Results()
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=len(listed))
        for name, measure in listed:
            progress.update(task, description=name)
            try:
                results.measurements[name] = measure()
            except Exception:  # noqa: BLE001 - it must not lose what was measured before.
                results.failure = f"{name} failed:\n{traceback.format_exc()}"
                break
            progress.advance(task)
    return results


def table(measurements: list[Measurement]) -> Table:
    """Give the measurements as people read them, the ratio before what it is to."""
    shown = Table(
        title=f"beaconhunt {version('beaconhunt')} on {os.cpu_count()} cores: "
        f"Python {platform.python_version()}, DuckDB {version('duckdb')}, "
        f"Prefect {version('prefect')}",
        box=box.SIMPLE,
    )
    shown.add_column("what", no_wrap=True)
    for heading in ("size", "cost", "ratio", "goal"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("against")
    for each in measurements:
        shown.add_row(
            each.what,
            f"{each.size:,} {each.unit}",
            f"{each.cost:.2f} {each.of_cost}",
            f"{each.ratio:.2f}",
            each.goal,
            each.against,
        )
    return shown


def plans(measurements: list[Measurement]) -> str:
    """Give the query plans of those that have some, as their databases tell them."""
    return "\n\n".join(
        "\n\n".join((each.what, *map("\n".join, each.plans.items())))
        for each in measurements
        if each.plans
    )


def _full(console: Console) -> Sizes:
    """The full sizes, but for what the machine has no room for."""
    sizes = FULL
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < GROWTH_NEEDS_BYTES:
        console.print(f"Growing needs {GROWTH_NEEDS_BYTES >> 30} GiB of disk: left out.")
        sizes = replace(sizes, growth=None)
    if free < PAST_NEEDS_BYTES:
        console.print(f"A long past needs {PAST_NEEDS_BYTES >> 30} GiB of disk: a short one it is.")
        sizes = replace(sizes, past=QUICK.past)
    return sizes


def main(arguments: list[str] | None = None) -> None:
    """The command line; exits with 1 if a benchmark fails, behind what was measured before it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__)
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument("--quick", action="store_true", help="small sizes, three minutes at most")
    smaller.add_argument("--smoke", action="store_true", help="tiny sizes, as the tests run them")
    parser.add_argument("--json", action="store_true", help="write the measurements as JSON")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="run this benchmark, and those that it needs; may be repeated",
    )
    options = parser.parse_args(arguments)
    errors = Console(stderr=True)
    sizes = SMOKE if options.smoke else QUICK if options.quick else _full(errors)
    with tempfile.TemporaryDirectory(prefix="beaconhunt-bench-") as scratch:
        try:
            listed = chosen(benchmarks(sizes, Path(scratch)), options.only)
        except ValueError as error:
            parser.error(str(error))
        results = measured(listed, errors)
    _print(results.measurements, as_json=options.json)
    if results.failure:
        errors.print(results.failure, markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def _print(measurements: dict[str, list[Measurement]], *, as_json: bool) -> None:
    out = Console()
    if as_json:
        out.print_json(
            data=[
                {"benchmark": name, **asdict(each), "ratio": each.ratio}
                for name, those in measurements.items()
                for each in those
            ]
        )
        return
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    shown = [each for those in measurements.values() for each in those]
    out.print(table(shown))
    out.print(plans(shown), markup=False, highlight=False)


if __name__ == "__main__":
    main()
