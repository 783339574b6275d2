"""A Prefect server with everything deployed on it: start it, set it up, and end it cleanly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tasks.errors import SettingsError

POOL = "beaconhunt"

START_SECONDS = 120
"""How long the server may take until it is healthy; a small machine needs some 20 s."""

STOP_SECONDS = 30

HEARTBEAT_SECONDS = 60
"""The automation calls a run dead after three of these."""


def environment(port: int) -> dict[str, str]:
    """Give what the server's clients need: its address, and heartbeats for the automation."""
    return {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
        # At a terminal it would ask about profiles, and nobody would see the question.
        "PREFECT_CLI_PROMPT": "false",
    }


@contextlib.contextmanager
def running(arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a prefect command until the block ends, then interrupt it and wait.

    It gets a session of its own: a Ctrl-C at the terminal reaches only us, and we end worker and
    server in the order that loses nothing.
    """
    with subprocess.Popen(  # noqa: S603 - our own words, no shell.
        _prefect(*arguments), env=env, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _prefect(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


@contextlib.contextmanager
def server(port: int, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server on loopback, and hand it over once it is healthy.

    Raises:
        SettingsError: it ended, or was not healthy in `START_SECONDS`.
    """
    arguments = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
    with running(arguments, env) as process:
        _wait_until_healthy(process, f"{env['PREFECT_API_URL']}/health")
        yield process


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SettingsError(
                f"The Prefect server ended at once (exit code {process.returncode}).",
                "Its last lines stand above. Is the port taken? Choose another with --port.",
            )
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address.
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SettingsError(
        f"The Prefect server was not healthy within {START_SECONDS} s.",
        "Start it by hand with `prefect server start` and read what it says.",
    )


def set_up(config: Path, env: Mapping[str, str]) -> None:
    """Create the work pool, deploy every deployment and install the automation.

    Each step may be done again: nothing is made twice.
    """
    _do(env, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _do(env, "--no-prompt", "deploy", "--all", "--prefect-file", str(config))
    # In a process of its own: Prefect reads its address once, when it is imported.
    subprocess.run([sys.executable, "-m", "flows.zombie_automation"], env=env, check=True)


def _do(env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words, no shell.
        _prefect(*arguments), env=env, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SettingsError(
            f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}",
            "Correct what it names, then start again: every step may be repeated.",
        )


def serve(port: int, config: Path, say: Callable[[str], None]) -> None:
    """Run server, deployments and worker until a Ctrl-C, then end them in that order reversed.

    Args:
        port: of the server, on loopback.
        config: the prefect.yaml to deploy.
        say: told of each step.

    Raises:
        SettingsError: a step failed; what was started has been ended.
    """
    env = environment(port)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # systemd and a closed window end everything too, as a Ctrl-C does.
        signal.signal(ending, signal.default_int_handler)
    say(f"Starting the Prefect server on {env['PREFECT_API_URL']}")
    with server(port, env) as serving:
        say(f"Deploying {config}")
        set_up(config, env)
        with running(("worker", "start", "--pool", POOL), env) as worker:
            say(f"Ready: http://127.0.0.1:{port}  (Ctrl-C ends everything)")
            try:
                while serving.poll() is None and worker.poll() is None:
                    time.sleep(0.5)
            except KeyboardInterrupt:
                say("Ending worker and server")
                return
            ended = "server" if worker.poll() is None else "worker"
            raise SettingsError(
                f"The {ended} ended by itself.",
                "Its last lines stand above. Start again: every step may be repeated.",
            )
