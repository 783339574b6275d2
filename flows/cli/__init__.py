"""The command line: commands run a flow, or read and write one thing, and show the result."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import traceback
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from flows.cli import (
    acknowledging,
    archive,
    history,
    hunting,
    importing,
    interruption,
    local,
    reading,
)
from flows.cli.output import complain, err
from flows.prefect_server import QUIET
from tasks.errors import PipelineError, Unexpected
from tasks.text.foreign import presentable

_interrupted = threading.Event()


def _leave() -> None:
    """After a Ctrl-C, exit before libraries warn about resources that they could not release."""
    if _interrupted.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(interruption.EXIT_CODE)


class Commands(TyperGroup):
    """The commands; a Ctrl-C ends them with one sentence and the exit code that shells expect."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer has no name for them.
        """Run the command named on the command line."""
        try:
            return super().invoke(ctx)
        except BaseException:
            # Libraries turn the signal's exception into errors of their own.
            if not interruption.was_interrupted():
                raise
        # Here the command's resources are released. The rest of the exit takes a second or two.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        err.print("Interrupted. Recorded runs are kept; run the command again to continue.")
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
for module in (hunting, importing, reading, acknowledging, local):
    app.add_typer(module.commands)
app.add_typer(history.commands, name="history")
app.add_typer(archive.commands, name="archive")


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    atexit.register(_leave)  # Registered first, called last: threads and servers have ended.
    # Prefect reads these when it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # Its warnings repeat our errors, without the remedy.
    logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)
    interruption.listen_for_interrupt()
    try:
        app()
    except PipelineError as error:
        if isinstance(error, Unexpected):  # For the report.
            lines = map(presentable, traceback.format_exc().splitlines())
            err.print(Text("\n".join(lines)), soft_wrap=True)
        complain(error)
        sys.exit(1)
