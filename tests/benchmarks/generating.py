"""Generate a fleet: against encoding and compressing the same documents, with nothing to think."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.benchmarks.measurement import Measurement, timed
from tests.fleet.generate import Fleet, write


def measure(fleet: Fleet, folder: Path) -> Measurement:
    """Write the fleet into the folder, which stays for others to hunt."""
    seconds, truth = timed(lambda: write(fleet, folder))
    return Measurement(
        what="generate",
        size=sum(truth.documents.values()),
        unit="events",
        seconds=seconds,
        against="json.dumps and gzip of them",
        against_seconds=sum(map(_encoding_seconds, sorted(folder.glob("*/*.gz")))),
    )


def _encoding_seconds(path: Path) -> float:
    """One file at a time, so that the documents of a large fleet fit into memory."""
    with gzip.open(path) as lines:
        documents = [json.loads(line) for line in lines]
    seconds, _ = timed(
        lambda: gzip.compress("\n".join(map(json.dumps, documents)).encode(), compresslevel=1)
    )
    return seconds
