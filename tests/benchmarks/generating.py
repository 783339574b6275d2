"""Generate a fleet: against compressing the same lines, with nothing to think."""

from __future__ import annotations

import gzip
from pathlib import Path

from tasks.fleet.generate import Fleet, write_fleet
from tests.benchmarks.measurement import Measurement, timed


def measure(fleet: Fleet, folder: Path) -> Measurement:
    """Write the fleet into the folder, which stays for others to hunt."""
    seconds, truth = timed(lambda: write_fleet(fleet, folder))
    return Measurement(
        what="generate",
        size=sum(truth.documents.values()),
        unit="events",
        cost=seconds,
        against="gzip.compress of the same lines",
        against_cost=sum(map(_compressing_seconds, sorted(folder.glob("*/*.gz")))),
    )


def _compressing_seconds(path: Path) -> float:
    lines = gzip.decompress(path.read_bytes())
    return timed(lambda: gzip.compress(lines, compresslevel=1))[0]
