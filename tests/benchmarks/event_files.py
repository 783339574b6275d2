"""A generated fleet in; the same events as NDJSON of many such fleets, and as Parquet, out."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import duckdb


def write_copies(fleet: Path, folder: Path, copies: Iterable[int]) -> None:
    """Write a fleet's events, not compressed, once for every number, as those of other computers.

    Generating costs more than reading: this way millions of events take seconds.

    Args:
        fleet: an embedded cluster of compressed NDJSON.
        folder: an embedded cluster, which may have other copies already.
        copies: numbers, which become a part of every id.
    """
    numbers = tuple(copies)
    for path in sorted(fleet.glob("*/*.ndjson.gz")):
        day = path.name.removesuffix(".ndjson.gz")
        lines = gzip.decompress(path.read_bytes())
        stream = folder / path.parent.name
        stream.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            copied = lines
            for key in (b'"id":"', b'"entity_id":"'):
                copied = copied.replace(key, b"%s%d-" % (key, number))
            (stream / f"{day}-{number}.ndjson").write_bytes(copied)


def write_parquet(folder: Path, copy: Path) -> None:
    """Write every NDJSON file of an embedded cluster as Parquet, in the types that DuckDB finds."""
    with duckdb.connect() as database:
        for path in sorted(folder.glob("*/*.ndjson")):
            stream = copy / path.parent.name
            stream.mkdir(parents=True, exist_ok=True)
            documents = database.read_json(
                str(path), format="newline_delimited", sample_size=-1, hive_partitioning=False
            )
            documents.write_parquet(str(stream / f"{path.stem}.parquet"))


def count_events(stream: Path) -> int:
    """The number of events in a data stream's NDJSON files."""
    return sum(path.read_bytes().count(b"\n") for path in stream.iterdir())
