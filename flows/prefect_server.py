"""Prefect servers of our own: one with everything deployed on it, or one for a command's flows."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from flows.loopback import ADDRESS, bind_loopback
from tasks.errors import SettingsError
from tasks.settings import home, writing_home

POOL = "beaconhunt"

START_SECONDS = 120
"""How long the server may take until it is healthy; a small machine needs some 20 s."""

STOP_SECONDS = 30

RUNS_A_CORE = 2
"""How many runs a worker takes at once: they wait for their clusters half of the time."""

HEARTBEAT_SECONDS = 60
"""The automation calls a run dead after three of these."""

QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": "CRITICAL",
}
"""For a command's own process: the server gets every line, a person at a terminal gets ours."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_LAST_LINES = 10


def own_prefect(port: int, folder: Path) -> dict[str, str]:
    """Turn this process away from the user's own Prefect, before it imports Prefect.

    Args:
        port: of the server that it will start, on loopback; 0 for any free one.
        folder: Prefect's home: its database, and its profiles, which it may switch.

    Returns:
        The environment of what it starts; this process says less than that at the terminal.

    Raises:
        SettingsError: the port is taken.
    """
    with bind_loopback(port) as free:
        api_url = f"http://{ADDRESS}:{free.getsockname()[1]}/api"
    quiet = {name: os.environ.pop(name) for name in QUIET}
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": api_url,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
        # At a terminal it would ask about profiles, and nobody would see the question.
        "PREFECT_CLI_PROMPT": "false",
        **_past_proxies(),
    }
    started = dict(os.environ)
    os.environ |= quiet
    return started


def _past_proxies() -> dict[str, str]:
    """Where the environment names a proxy, it is not for the server on this machine."""
    named = urllib.request.getproxies_environment()
    past = ",".join(filter(None, (named.get("no"), ADDRESS)))
    return {"no_proxy": past, "NO_PROXY": past} if named else {}


def _is_prefects(variable: str) -> bool:
    return variable.startswith("PREFECT_")


def prefect_home() -> Path:
    """Where the Prefect of `up`, and of a run by hand without a server, keeps its files."""
    return home() / "prefect"


@contextlib.contextmanager
def start_process(
    arguments: Sequence[str],
    env: Mapping[str, str],
    ending: signal.Signals,
    output: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a prefect command until the block ends, then signal its end and wait.

    It gets a session of its own: a Ctrl-C at the terminal reaches only us, and we end worker and
    server in the order that loses nothing.
    """
    with _heard_by_children(ending):
        process = subprocess.Popen(  # noqa: S603 - our own words, no shell.
            _python("prefect", *arguments),
            env=env,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )
    with process:
        try:
            yield process
        finally:
            process.send_signal(ending)
            try:
                process.wait(STOP_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):  # A second Ctrl-C: at once.
                process.kill()


@contextlib.contextmanager
def _heard_by_children(ending: signal.Signals) -> Iterator[None]:
    """Let no child ignore a signal because this process does, as a job in the background."""
    before = signal.getsignal(ending)
    if before is signal.SIG_IGN:
        signal.signal(ending, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(ending, before)


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


@contextlib.contextmanager
def start_server(
    env: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server on loopback, and hand it over once it is healthy.

    Args:
        env: from `own_prefect`.
        output: where its lines go; by default to ours.

    Raises:
        SettingsError: it ended, or was not healthy in `START_SECONDS`.
    """
    url = env["PREFECT_API_URL"]
    arguments = ("server", "start", "--host", ADDRESS, "--port", str(urlsplit(url).port))
    with contextlib.ExitStack() as starting:
        starting.enter_context(_alone(Path(env["PREFECT_HOME"])))
        with start_process(arguments, env, signal.SIGTERM, output) as process:
            _wait_until_healthy(process, f"{url}/health")
            starting.close()
            yield process


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one server start at a time: of two that make the same database, one would fail."""
    with writing_home():
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "starting").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SettingsError(
                f"The Prefect server ended at once (exit code {process.returncode}).",
                "Its last lines stand above.",
            )
        try:
            with _DIRECT.open(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SettingsError(
        f"The Prefect server was not healthy within {START_SECONDS} s.",
        "Start it by hand with `prefect server start` and read what it says.",
    )


def use_prefect_server() -> None:
    """Have a server for the flows of this process: the one of Prefect's settings, else our own.

    Raises:
        SettingsError: there is none.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - Prefect takes a second.
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415

    url = PREFECT_API_URL.value()
    if url is None:
        serve_this_process(prefect_home())
        return
    try:
        with get_client(sync_client=True) as client:
            client.raise_for_api_version_mismatch()
    except RuntimeError as error:
        raise SettingsError(
            f"The Prefect server at {url} cannot be used: {error}.",
            "Start it, or correct PREFECT_API_URL; without that, the command runs its own server.",
        ) from error


def serve_this_process(folder: Path) -> None:
    """Start a server for the flows of this process; it ends after them, with the process.

    Args:
        folder: Prefect's home, of the server and of this process.

    Raises:
        SettingsError: it did not start.
    """
    env = own_prefect(0, folder)
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415 - reads the above.

    ending = contextlib.ExitStack()
    # At exit, because Prefect sends the last events of a run when its process ends.
    atexit.register(ending.close)
    log = ending.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed at exit.
    try:
        ending.enter_context(start_server(env, log))
    except SettingsError as error:
        log.seek(0)
        last = log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        if not last:
            raise
        raise SettingsError(
            "\n".join((error.problem, *last)), f"Correct what it names. It lives in {folder}."
        ) from error
    refresh_global_settings_context()


def set_up(config: Path, env: Mapping[str, str]) -> None:
    """Create the work pool, deploy every deployment and install the automation.

    Each step may be done again: nothing is made twice.
    """
    _do(env, "prefect", "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _do(env, "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(config))
    # In a process of its own: Prefect reads its address once, when it is imported.
    _do(env, "flows.zombie_automation")


def _do(env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words, no shell.
        _python(*arguments), env=env, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SettingsError(
            f"`python -m {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}",
            "Correct what it names, then start again: every step may be repeated.",
        )


def worker_start() -> tuple[str, ...]:
    """Give the command of a worker that takes no more runs at once than the machine can.

    Fifty at once keep the server on the same two cores from answering anybody.
    """
    at_once = RUNS_A_CORE * (os.cpu_count() or 1)
    return ("worker", "start", "--pool", POOL, "--limit", str(at_once))


def run_server_and_worker(env: Mapping[str, str], config: Path, say: Callable[[str], None]) -> None:
    """Run server, deployments and worker until a Ctrl-C, then end them in that order reversed.

    Args:
        env: from `own_prefect`.
        config: the prefect.yaml to deploy.
        say: told of each step.

    Raises:
        SettingsError: a step failed; what was started has been ended.
    """
    say(f"Starting the Prefect server on {env['PREFECT_API_URL']}")
    with start_server(env) as serving:
        say(f"Deploying {config}")
        set_up(config, env)
        # Interrupted, a worker tells its runs; terminated, it would leave them running for ever.
        with start_process(worker_start(), env, signal.SIGINT) as worker:
            say(f"Ready: {env['PREFECT_API_URL'].removesuffix('/api')}  (Ctrl-C ends everything)")
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
