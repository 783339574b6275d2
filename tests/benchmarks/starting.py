"""Start up: the CPU seconds of a fresh process, against one that imports no more than Prefect."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.measurement import Measurement

PREFECT = "from prefect import flow, task"

STARTS = {
    "import flows.hunt_cluster": ("-c", "import flows.hunt_cluster"),
    "beaconhunt --help": ("-m", "flows.cli", "--help"),
    "beaconhunt runs --help": ("-m", "flows.cli", "runs", "--help"),
}
"""What a worker imports for every flow run, and what a person waits for; by Python's arguments."""


def measure(times: int, folder: Path) -> list[Measurement]:
    """CPU seconds, which other processes disturb less than those of a clock; the fewest count.

    Args:
        times: how often to start each; the first time also compiles, if nothing else did.
        folder: for the bytecode, where Python may not leave it beside the source.
    """
    against_seconds = _least_cpu_seconds(("-c", PREFECT), times, folder)
    return [
        Measurement(
            what=f"CPU of {what}",
            size=1,
            unit="start",
            cost=_least_cpu_seconds(arguments, times, folder),
            against=PREFECT,
            against_cost=against_seconds,
        )
        for what, arguments in STARTS.items()
    ]


def _least_cpu_seconds(arguments: Sequence[str], times: int, bytecode: Path) -> float:
    return min(_cpu_seconds(arguments, bytecode) for _ in range(times))


def _cpu_seconds(arguments: Sequence[str], bytecode: Path) -> float:
    """Run Python to its end, and give what it and its children worked, in user and in kernel."""
    elsewhere = {"PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **(elsewhere if sys.dont_write_bytecode else {})},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
