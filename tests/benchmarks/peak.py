"""A fresh process that hunts a folder, or does nothing; prints its peak of memory and its CPU.

    python -m tests.benchmarks.peak [FOLDER SLOT]

Prints MB and seconds as JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import datetime
from pathlib import Path

from tests.benchmarks.hunting import Run


def peak_bytes() -> int:
    """The most memory that this process ever held, as Linux counts it.

    `getrusage` would count what the parent held when it started this process.
    """
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) << 10


if __name__ == "__main__":
    if sys.argv[1:]:
        folder, slot = sys.argv[1:]
        run = Run(Path(folder), datetime.fromisoformat(slot))
        run.answer(run.hunt)
    print(json.dumps([peak_bytes() / 1e6, time.process_time()]))  # noqa: T201 - the answer.
