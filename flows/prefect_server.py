"""Local Prefect servers: one with all deployments and a worker, or one for a command's flows."""

from __future__ import annotations

import atexit
import base64
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from flows.loopback import ADDRESS, bind_loopback
from tasks.errors import SettingsError
from tasks.settings import home, writing_home

POOL = "beaconhunt"

START_SECONDS = 120
"""Longest start of the server until it is healthy; a small machine needs some 20 s."""

STOP_SECONDS = 30

RUNS_A_CORE = 2
"""Concurrent runs of a worker for each core: half of the time a run waits for its cluster."""

HEARTBEAT_SECONDS = 60
"""The automation marks a run as crashed after three missed heartbeats."""

QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": "CRITICAL",
}
"""For a command's own process: log lines go to the server, and only our output to the terminal."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_LAST_LINES = 10

_LOGIN = "login"
"""File in Prefect's home with user and password for the server of `up`."""


@dataclass(frozen=True, slots=True)
class OwnPrefect:
    """A Prefect server of ours on loopback, before its start.

    Attributes:
        listening: its port, taken already: no other process can answer there.
        env: the environment for its process and its clients' processes, with the login.
    """

    listening: socket.socket
    env: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """The URL at which a browser opens the UI."""
        return self.env["PREFECT_API_URL"].removesuffix("/api")

    @property
    def login(self) -> str:
        """User and password in one line, as Prefect's UI and `PREFECT_API_AUTH_STRING` take it."""
        return self.env["PREFECT_API_AUTH_STRING"]

    @property
    def folder(self) -> Path:
        """Prefect's home."""
        return Path(self.env["PREFECT_HOME"])


def own_prefect(port: int, folder: Path) -> OwnPrefect:
    """Set this process to a local Prefect server instead of the user's, before importing Prefect.

    The server is closed: it requires a login that is new at every start, and only its own pages
    may use it from a browser.

    Args:
        port: port on loopback of the server to start; 0 for any free one.
        folder: Prefect's home: its database, and its profiles, which it may switch. It is closed
            to other users.

    Returns:
        The server to start; this process itself prints less than the processes started.

    Raises:
        SettingsError: the port is taken, or the folder cannot be written.
    """
    with writing_home():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    listening = bind_loopback(port)
    url = f"http://{ADDRESS}:{listening.getsockname()[1]}"
    login = f"beaconhunt:{secrets.token_urlsafe()}"
    quiet = {name: os.environ.pop(name) for name in QUIET}
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        # Relative: the UI keeps to its own origin, also as `localhost` and through a tunnel.
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
        # At a terminal it would ask about profiles, and its question would not be shown.
        "PREFECT_CLI_PROMPT": "false",
        **_past_proxies(),
    }
    started = dict(os.environ)
    os.environ |= quiet
    return OwnPrefect(listening, started)


def _past_proxies() -> dict[str, str]:
    """Exempt the server on this machine from the environment's proxy."""
    named = urllib.request.getproxies_environment()
    past = ",".join(filter(None, (named.get("no"), ADDRESS)))
    return {"no_proxy": past, "NO_PROXY": past} if named else {}


def prefect_home() -> Path:
    """Prefect's folder for `up`, and for commands that run without a server."""
    return home() / "prefect"


@contextlib.contextmanager
def start_process(
    arguments: Sequence[str],
    env: Mapping[str, str],
    ending: signal.Signals,
    output: IO[bytes] | None = None,
    inherited: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module until the block ends, then send it the signal and wait.

    It gets its own session: a Ctrl-C at the terminal reaches only us, and we end worker and server
    in the order that loses nothing.

    Args:
        arguments: the module and its arguments.
        env: its environment.
        ending: the signal that ends it.
        output: file for its output; default: this process's own output.
        inherited: file descriptors that it keeps.
    """
    with _not_ignored_by_children(ending):
        process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell.
            _python(*arguments),
            env=env,
            pass_fds=inherited,
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
def _not_ignored_by_children(ending: signal.Signals) -> Iterator[None]:
    """Reset a signal that this process ignores, as a background job does, for its children."""
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
    own: OwnPrefect, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server on loopback; the block begins when the server is healthy.

    Args:
        own: from `own_prefect`.
        output: file for its output; default: this process's own output.

    Raises:
        SettingsError: it ended, or was not healthy in `START_SECONDS`.
    """
    port = own.listening.fileno()
    arguments = ("flows.closed_server", str(port))
    with contextlib.ExitStack() as starting:
        starting.enter_context(own.listening)
        starting.enter_context(_alone(own.folder))
        with start_process(arguments, own.env, signal.SIGTERM, output, (port,)) as process:
            _wait_until_healthy(process, own)
            starting.close()
            yield process


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one server start at a time: if two create the same database, one fails."""
    with writing_home():
        lock = (folder / "starting").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_until_healthy(process: subprocess.Popen[bytes], own: OwnPrefect) -> None:
    """Wait until the server accepts its login; the port was ours before it started."""
    token = base64.b64encode(own.login.encode()).decode()
    version = urllib.request.Request(  # noqa: S310 - our own URL.
        f"{own.url}/api/version", headers={"Authorization": f"Basic {token}"}
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SettingsError(
                f"The Prefect server ended at once (exit code {process.returncode}).",
                "Read its last lines above, and correct the cause.",
            )
        try:
            with _DIRECT.open(version, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SettingsError(
        f"The Prefect server was not healthy within {START_SECONDS} s.",
        "Start it by hand with `prefect server start` and read its output.",
    )


def use_prefect_server() -> None:
    """Choose a server for this process's flows: the one in Prefect's settings, else a local one.

    Raises:
        SettingsError: the server cannot be used.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if url is None:
        serve_this_process(prefect_home())
        return
    try:
        with get_client(sync_client=True) as client:
            client.raise_for_api_version_mismatch()
    except PrefectHTTPStatusError as error:
        raise SettingsError(
            f"The Prefect server at {url} does not accept the login.",
            "Set PREFECT_API_AUTH_STRING. For the server of `beaconhunt up` it is the line in "
            f"{prefect_home() / _LOGIN}, which is new at every start.",
        ) from error
    except RuntimeError as error:
        raise SettingsError(
            f"The Prefect server at {url} cannot be used: {error}.",
            "Start it, correct PREFECT_API_URL, or unset it: the command then runs its own server.",
        ) from error


def serve_this_process(folder: Path) -> None:
    """Start a server for this process's flows; it ends with the process.

    Args:
        folder: Prefect's home, for the server and this process.

    Raises:
        SettingsError: it did not start.
    """
    own = own_prefect(0, folder)
    from prefect.context import refresh_global_settings_context

    ending = contextlib.ExitStack()
    # At exit, because Prefect sends a run's last events when the process ends.
    atexit.register(ending.close)
    log = ending.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed at exit.
    try:
        ending.enter_context(start_server(own, log))
    except SettingsError as error:
        log.seek(0)
        last = log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        if not last:
            raise
        raise SettingsError(
            "\n".join((error.problem, *last)), f"Correct the cause. The server's files: {folder}."
        ) from error
    refresh_global_settings_context()


def set_up(config: Path, env: Mapping[str, str]) -> None:
    """Create the work pool, deploy every deployment and install the automation.

    Every step can be repeated: it creates nothing twice.
    """
    # In processes of their own: Prefect reads its address once, when it is imported.
    _do(env, "flows.work_pool")
    _do(env, "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(config))
    _do(env, "flows.zombie_automation")


def _do(env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell.
        _python(*arguments), env=env, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SettingsError(
            f"`python -m {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}",
            "Correct the cause, then start again: every step can be repeated.",
        )


def worker_start() -> tuple[str, ...]:
    """Give the command that starts a worker with as many concurrent runs as the machine can take.

    With fifty runs at once, a server on the same two cores stops answering.
    """
    at_once = RUNS_A_CORE * (os.cpu_count() or 1)
    return ("prefect", "worker", "start", "--pool", POOL, "--limit", str(at_once))


def run_server_and_worker(own: OwnPrefect, config: Path, report: Callable[[str], None]) -> None:
    """Start the server, deploy, and run a worker until a Ctrl-C; then end worker and server.

    Args:
        own: from `own_prefect`.
        config: the prefect.yaml to deploy.
        report: called with a line for every step.

    Raises:
        SettingsError: a step failed; server and worker have been ended.
    """
    report(f"Starting the Prefect server on {own.url}")
    with start_server(own) as serving:
        report(f"Deploying {config}")
        set_up(config, own.env)
        login = _keep_login(own)
        # On SIGINT a worker ends its runs; on SIGTERM it would leave them running for ever.
        with start_process(worker_start(), own.env, signal.SIGINT) as worker:
            report(f"Ready: {own.url}  (Ctrl-C ends everything)\nLog in with the line in {login}")
            try:
                while serving.poll() is None and worker.poll() is None:
                    time.sleep(0.5)
            except KeyboardInterrupt:
                report("Ending worker and server")
                return
            ended = "server" if worker.poll() is None else "worker"
            raise SettingsError(
                f"The {ended} ended by itself.",
                "Read its last lines above, then start again: every step can be repeated.",
            )


def _keep_login(own: OwnPrefect) -> Path:
    """Write the login to a file that only this user can read: logs and `ps` do not show it."""
    file = own.folder / _LOGIN
    with writing_home():
        file.unlink(missing_ok=True)
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(f"{own.login}\n")
    return file
