"""Hunt 1 as pandas alone does it: read in chunks, keep the rows of interest, group them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd

from tasks.model.runs import Window

CHUNK = 20_000

SHORTEST = timedelta(hours=7.5)
"""Rounded, these are the hunt's eight hours."""


def hunted(stream: Path, window: Window) -> pd.DataFrame:
    """The groups that the hunt finds before addresses are tested.

    Args:
        stream: the folder of a data stream, with NDJSON files.
        window: of the run.
    """
    kept = pd.concat(_kept(stream, window), ignore_index=True)
    grouped = kept.groupby(
        ["process.entity_id", "destination.address", "process.name"], as_index=False
    )
    groups = grouped.agg(
        total_bytes_out=("source.bytes", "sum"),
        connections=("at", "size"),
        start_time=("at", "min"),
        end_time=("at", "max"),
        ips=("destination.ip", "unique"),
        users=("user.name", "unique"),
    )
    duration = groups["end_time"] - groups["start_time"]
    hours = (duration / timedelta(hours=1)).round()
    return groups[(duration >= SHORTEST) & (groups["connections"] // hours >= 120)]


def _kept(stream: Path, window: Window) -> Iterator[pd.DataFrame]:
    for path in sorted(stream.iterdir()):
        with pd.read_json(path, lines=True, chunksize=CHUNK, dtype=False) as chunks:
            for chunk in chunks:
                at = pd.to_datetime(chunk["@timestamp"])
                signature = chunk["process"].str["code_signature"]
                of_interest = (
                    (at >= window.start)
                    & (at < window.end)
                    & (chunk["host"].str["os"].str["family"] == "macos")
                    & (chunk["event"].str["category"].str[0] == "network")
                    & (
                        signature.str["exists"].eq(other=False)
                        | signature.str["trusted"].eq(other=False)
                    )
                    & chunk["destination"].str["ip"].notna()
                )
                kept = pd.json_normalize(chunk[of_interest].to_dict("records"))
                yield kept.reindex(columns=_COLUMNS).assign(at=at[of_interest].to_numpy())


_COLUMNS = [
    "process.entity_id",
    "process.name",
    "destination.address",
    "destination.ip",
    "source.bytes",
    "user.name",
]
