"""Generate a fleet's events: a seed in, an embedded cluster's folder of Elastic Defend events out.

    python -m tasks.fleet.generate FOLDER --macs 60 --days 9 --seed 1 --end 2026-11-24T06:00Z

The model. A fleet is a number of Macs and a few Windows and Linux hosts, seen for some days.
Laptops are awake on working days and a few weekends; one Mac in eight without a plant never
sleeps. On a host run the ambient programs of `programs.py`, and on half of the Macs the plants. One
life of a program is a session: a process with the times at which it connects. A connection becomes
events by the policy of the host: `paired` (two events), `merged` (one, with arrays) or
`deduplicated` (one a process, address and port, until a connection moves 1 MiB). A `mixed` fleet
has Macs of each, under agents that can. The connections are the same whatever the encoding.

What it leaves out: a host keeps its address, a connection lasts below a second, and nothing
arrives late, twice or out of order.

Same fleet, same bytes: every choice is drawn from a generator seeded with the fleet's seed and the
name of what is chosen.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from gzip import GzipFile
from io import BufferedWriter
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tasks.fleet.documents import NETWORK, STREAMS, Document, from_millis
from tasks.fleet.hosts import Fleet
from tasks.fleet.plan import FleetPlan
from tasks.fleet.truth import Truth

__all__ = ["Fleet", "events", "main", "write_fleet"]


def events(fleet: Fleet, stream: str = NETWORK) -> Iterator[Document]:
    """One data stream's documents, in order of time."""
    plan = FleetPlan(fleet)
    for day in plan.days:
        for of, line in plan.lines(day):
            if of == stream:
                yield json.loads(line)


def write_fleet(
    fleet: Fleet, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Truth:
    """Write a fleet's events as an embedded cluster: `folder/<data stream>/<UTC day>.ndjson.gz`.

    Args:
        fleet: what to generate.
        folder: made if missing.
        progress: called after each day with the number of days done and of all days.

    Returns:
        What was planted, with the figures of what was written.

    Raises:
        FileExistsError: the folder already holds one of the data streams.
    """
    for stream in STREAMS:
        if (folder / stream).exists():
            raise FileExistsError(f"{folder / stream} has events already. Choose another folder.")
    for stream in STREAMS:
        (folder / stream).mkdir(parents=True)
    plan = FleetPlan(fleet)
    for done, day in enumerate(plan.days, start=1):
        with ExitStack() as stack:
            files = {
                stream: _open(folder / stream / f"{from_millis(day):%Y-%m-%d}.ndjson.gz", stack)
                for stream in STREAMS
            }
            for stream, line in plan.lines(day):
                files[stream].write(line.encode())
        if progress is not None:
            progress(done, len(plan.days))
    return plan.truth()


def _open(path: Path, stack: ExitStack) -> BufferedWriter:
    """A compressed file whose bytes depend on its content alone: no name, no time."""
    raw = stack.enter_context(path.open("wb"))
    packed = stack.enter_context(GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0))
    return stack.enter_context(BufferedWriter(packed, 1 << 20))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    default = Fleet()
    parser = argparse.ArgumentParser(
        prog="python -m tasks.fleet.generate",
        description="Generate Elastic Defend events of a fleet of Macs as an embedded cluster.",
        epilog="example: python -m tasks.fleet.generate /tmp/corp --macs 20 --days 9 --seed 3",
    )
    parser.add_argument("folder", type=Path, help="where the data streams' folders go")
    parser.add_argument("--macs", type=int, default=default.macs, help="Macs (%(default)s)")
    parser.add_argument(
        "--others", type=int, default=default.others, help="other hosts (%(default)s)"
    )
    parser.add_argument("--days", type=int, default=default.days, help="days (%(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed (%(default)s)")
    parser.add_argument(
        "--end",
        type=datetime.fromisoformat,
        default=default.end,
        help="the first moment without events, with its zone (%(default)s)",
    )
    parser.add_argument(
        "--encoding",
        choices=("mixed", "paired", "merged", "deduplicated"),
        default=default.encoding,
        help="how connections are shipped (%(default)s)",
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=default.connections_per_mac_day,
        help="ambient connections of a Mac on a working day (%(default)s)",
    )
    parser.add_argument("--hostile", action="store_true", help="with hostile names")
    chosen = parser.parse_args(arguments)
    try:
        fleet = Fleet(
            macs=chosen.macs,
            others=chosen.others,
            days=chosen.days,
            seed=chosen.seed,
            end=chosen.end,
            encoding=chosen.encoding,
            connections_per_mac_day=chosen.connections,
            hostile=chosen.hostile,
        )
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("Writing days", total=None)
            truth = write_fleet(
                fleet,
                chosen.folder,
                lambda done, days: progress.update(task, completed=done, total=days),
            )
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")
    Console().print(_summary(truth, fleet.end))


def _summary(truth: Truth, slot: datetime) -> Table:
    """What was written, and which plants hunt 1 must find as of the fleet's end."""
    total = sum(truth.documents.values())
    table = Table("plant", "kind", "host", "events", "hunt 1", title=f"{total:,} documents")
    for planting in truth.plantings:
        table.add_row(
            planting.label,
            planting.plant.kind,
            planting.host.name,
            f"{planting.events:,}",
            "found" if planting.found(slot) else "-",
        )
    return table


if __name__ == "__main__":
    main()
