"""A PostgreSQL server for tests: from the programs on this machine to a schema for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

PACKAGE = "postgresql"
"""Debian's package with the server."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that only this machine reaches, and that keeps nothing."""

    host: str
    port: int

    def url(self, database: str) -> str:
        """Give the address of a database."""
        return f"postgresql://postgres@{self.host}:{self.port}/{database}"

    def new_schema(self) -> str:
        """Make an empty schema and give an address whose connections see nothing else."""
        name = f"history_{uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}?options=-csearch_path%3D{name}"


def binaries() -> Path | None:
    """Find the newest server's folder of programs; None when there is no server."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda program: int(program.parts[-3]),
    )
    if debian:
        return debian[-1].parent
    found = shutil.which("postgres")
    return Path(found).parent if found else None


def require_binaries() -> Path:
    """Find the server's programs; without them skip, and in CI, which must have them, fail."""
    folder = binaries()
    if folder is None:
        missing = f"There is no PostgreSQL server: install the package {PACKAGE}."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """Run a server on the loopback address until the block ends."""
    user = _server_user()
    folder = Path(tempfile.mkdtemp(prefix="beaconhunt-postgresql-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        make = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=postgres"]
        subprocess.run(
            [programs / "initdb", *make, data],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        port = _free_port()
        here = ["-h", "127.0.0.1", "-p", str(port), "-k", folder]
        forgetful = ["-c", "fsync=off", "-c", "full_page_writes=off"]
        log = folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *here, *forgetful],
                user=user,
                cwd=folder,
                stdout=output,
                stderr=output,
            )
        try:
            server = Server("127.0.0.1", port)
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # Fast shutdown: ends connections, stops.
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def _server_user() -> str | None:
    """Name the user to run as: the server refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(server.url("postgres")).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"PostgreSQL did not start: {log.read_text()}")
