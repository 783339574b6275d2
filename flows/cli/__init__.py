"""The command line: each command calls a flow or a noun, and shows what came of it."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from typing import Any

import typer
from typer.core import TyperGroup

from flows.cli import (
    acknowledging,
    archive,
    history,
    hunting,
    interruption,
    local,
    reading,
)
from flows.cli.output import complain, err
from flows.prefect_server import QUIET
from tasks.errors import PipelineError, Unexpected

_interrupted = threading.Event()


def _leave() -> None:
    """After a Ctrl-C, end before libraries tell what it kept them from giving back."""
    if _interrupted.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(interruption.EXIT_CODE)


class Commands(TyperGroup):
    """The commands; a Ctrl-C ends each with a sentence and the exit code that shells expect."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer has no name for them.
        """Run the command that the words name."""
        try:
            return super().invoke(ctx)
        except BaseException:
            # Libraries turn what the signal raised into errors of their own.
            if not interruption.was_interrupted():
                raise
        # Out here nothing holds on to what the command had open. The rest takes a second or two.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        err.print("Interrupted. What was recorded stays; run the command again to go on.")
        _interrupted.set()
        raise typer.Exit(interruption.EXIT_CODE)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Hunt for unsigned macOS programs that keep calling one public address.",
)
for module in (hunting, reading, acknowledging, local):
    app.add_typer(module.commands)
app.add_typer(history.commands, name="history")
app.add_typer(archive.commands, name="archive")


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    atexit.register(_leave)  # The first is called last: threads and servers have ended by then.
    # Prefect reads these when it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # It warns of what our errors say with a remedy.
    logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)
    interruption.listen_for_interrupt()
    try:
        app()
    except Unexpected:
        raise  # With its traceback, for the report.
    except PipelineError as error:
        complain(error)
        sys.exit(1)
