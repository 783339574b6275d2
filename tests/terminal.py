"""A command at a terminal of its own: real processes, real keys.

```python
with Terminal(log, "run", "prod", env=env) as terminal:
    terminal.wait_for("Hunting")
    terminal.press(CTRL_C)
    assert terminal.end() == 130
```
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
CTRL_C = b"\x03"

_AT_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""


class Terminal:
    """`beaconhunt`, started at a terminal; ended with the block, if it has not ended before."""

    def __init__(
        self, log: Path, *arguments: str, env: Mapping[str, str], folder: Path = ROOT
    ) -> None:
        self._log = log
        command = [sys.executable, "-m", "flows.cli", *arguments]
        with log.open("wb") as said:
            self._window = subprocess.Popen(
                [sys.executable, "-c", _AT_A_TERMINAL, *command],
                cwd=folder,
                env={**env, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                umask=0o022,  # As most users have it: others may read what is not closed.
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Press Ctrl-C if it still runs, and wait; again is fine."""
        if self._window.poll() is None:
            self.press(CTRL_C)
            self.end()
        self._window.stdin.close()

    @property
    def said(self) -> str:
        """What stands at the terminal, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._log.read_text(errors="replace"))

    def wait_for(self, text: str, seconds: float = 180) -> None:
        """Wait until it says this; `seconds` only ends a test that would never end."""
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert self._window.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def press(self, key: bytes) -> None:
        self._window.stdin.write(key)
        self._window.stdin.flush()

    def end(self, seconds: float = 60) -> int:
        """Wait for the end, and give the exit code."""
        return self._window.wait(seconds)

    def started(self, words: str = "") -> list[int]:
        """Ids of the processes that it has started, directly or not, with these words in them."""
        listed = subprocess.run(
            ["ps", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True
        )
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
        below = {self._window.pid}
        while more := {int(pid) for pid, parent, _ in rows if int(parent) in below} - below:
            below |= more
        return [int(pid) for pid, _, args in rows if int(pid) in below and words in args]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def without_prefect(**more: str) -> dict[str, str]:
    """The environment of a user who has never heard of the tests' Prefect."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | more
