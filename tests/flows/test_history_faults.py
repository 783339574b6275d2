"""A history that fails while a hunt or a digest goes on: nothing is told, and it stays as it is."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import Engine, event, select

from tasks import post
from tasks.errors import HistoryError
from tasks.history import database
from tasks.history.database import connect_database
from tasks.history.models import Base
from tasks.slack import channel
from tests.builders import SLOT, day, finding, report, run
from tests.flows.office import CANARY, Office
from tests.flows.site import DAY, Site, fresh, steady
from tests.histories import new_history
from tests.postgresql import Server
from tests.slack_server import SlackServer, ok

Fault = Callable[[str], AbstractContextManager[None]]
"""Makes the history at a URL fail as long as the context lasts."""


@contextmanager
def on_every_connection(pragma: str) -> Iterator[None]:
    """Let SQLite say of every connection what it says of such a disk."""

    def prepare(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute(pragma)

    event.listen(Engine, "connect", prepare)
    try:
        yield
    finally:
        event.remove(Engine, "connect", prepare)


@contextmanager
def locked(url: str) -> Iterator[None]:
    with closing(sqlite3.connect(path_of(url))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def no_room(_: str) -> Iterator[None]:
    """Let no file of this process grow beyond some bytes that a first page needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def damaged(url: str, table: str) -> AbstractContextManager[None]:
    """Overwrite a page that opening a history does not read."""
    with closing(sqlite3.connect(path_of(url))) as vandal:
        vandal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = vandal.execute("PRAGMA page_size").fetchone()
        (page,) = vandal.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", [table]
        ).fetchone()
    with path_of(url).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    return nullcontext()


def not_a_database(url: str) -> AbstractContextManager[None]:
    path_of(url).write_bytes(b"not a database" * 1_000)
    return nullcontext()


ON_SQLITE: dict[str, tuple[Fault, str]] = {
    "locked": (locked, "Wait until the other process has ended"),
    "read-only": (
        lambda _: on_every_connection("PRAGMA query_only = ON"),
        "Let the worker's user write the file and its folder",
    ),
    "on a full disk": (
        lambda _: on_every_connection("PRAGMA max_page_count = 1"),
        "Make room",
    ),
    "on a disk that takes no more": (no_room, "is full or failing"),
    "corrupt": (lambda url: damaged(url, "findings"), "Restore it from a backup"),
    "not a database": (not_a_database, "Restore it from a backup"),
}


@contextmanager
def read_only_server(url: str) -> Iterator[None]:
    execute(url, "ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with psycopg.connect(url) as connection:
            connection.read_only = False
            connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


@contextmanager
def locked_on_server(url: str) -> Iterator[None]:
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('beaconhunt history', 0))")
        yield


@contextmanager
def failing(url: str, how: str) -> Iterator[None]:
    """Let the server fail at the first sighting or part of a digest that is written."""
    execute(
        url,
        f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {how}; END $$",
        "CREATE TRIGGER fail BEFORE INSERT ON sightings EXECUTE FUNCTION fail()",
        "CREATE TRIGGER fail BEFORE INSERT ON parts EXECUTE FUNCTION fail()",
    )
    yield
    execute(url, "DROP FUNCTION fail() CASCADE")


ON_POSTGRESQL: dict[str, tuple[Fault, str]] = {
    "locked": (locked_on_server, "Wait until the other process has ended"),
    "read-only": (read_only_server, "that accepts writes"),
    "on a full disk": (
        lambda url: failing(url, "RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'"),
        "Make room",
    ),
    "gone in the middle": (
        lambda url: failing(url, "PERFORM pg_terminate_backend(pg_backend_pid())"),
        "Check that the server runs",
    ),
}

FAULTS = [
    *(pytest.param("sqlite", name, id=f"{name} file") for name in ON_SQLITE),
    *(pytest.param("postgresql", name, id=f"{name} server") for name in ON_POSTGRESQL),
]


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///").partition("?")[0])


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def fault(kind: str, name: str) -> tuple[Fault, str]:
    return (ON_SQLITE if kind == "sqlite" else ON_POSTGRESQL)[name]


@pytest.fixture
def url(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty history on the database that has the fault, for which nobody waits long."""
    begin = ("postgresql", "write")
    hurried = database._BEGIN[begin].replace(f"{database.WAIT_SECONDS}s", "100ms")
    monkeypatch.setitem(database._BEGIN, begin, hurried)
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/history.db?timeout=0.1"
    server: Server = request.getfixturevalue("postgresql_server")
    return server.new_schema()


@pytest.fixture
def office(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """An office with much to tell, that has told something before."""
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    monkeypatch.setattr(channel, "SECONDS_BETWEEN_POSTS", 0)
    monkeypatch.setattr(post, "SECONDS_BETWEEN_ATTEMPTS", 0)
    return Office(tmp_path, url)


@pytest.fixture
def site(url: str, tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.history_url = url
    new_history(url)
    return site


def held(url: str) -> object:
    """All that a history holds: a file's bytes, and every row where they can be read."""
    file = path_of(url).read_bytes() if url.startswith("sqlite") else b""
    try:
        with connect_database(url) as opened, opened.reading() as session:
            return file, {
                table.name: [tuple(row) for row in session.execute(select(table))]
                for table in Base.metadata.sorted_tables
            }
    except HistoryError:
        return file


def failure(state: State) -> HistoryError:
    error = state.result(raise_on_failure=False)
    assert isinstance(error, HistoryError), error
    return error


@pytest.mark.parametrize(("kind", "name"), FAULTS)
def test_a_digest_whose_history_fails_posts_nothing(
    office: Office, fault: tuple[Fault, str]
) -> None:
    """Nothing is told that could not be written down, and the next digest tells all of it."""
    fails, remedy = fault
    hosts = [f"mac-{number:03}" for number in range(200)]
    office.record(report(run(SLOT)))
    with SlackServer(ok, ok) as slack:
        destination = office.destination(slack)
        office.digest(destination)
        office.record(report(run(day(1)), *(finding(host, slot=day(1)) for host in hosts)))
        before, calls = None, slack.calls
        with fails(office.history_url):
            before = held(office.history_url)
            state = office.digest(destination, day(1))
            assert held(office.history_url) == before
    assert remedy in failure(state).remedy
    assert slack.calls == calls


@pytest.mark.parametrize(("kind", "name"), FAULTS)
def test_a_hunt_whose_history_fails_leaves_nothing(
    site: Site, fault: tuple[Fault, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page of a run that the history does not know, also where a deployment started it."""
    fails, remedy = fault
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "0b5f2a52-3a0e-4a4f-8f5c-0b1b3c2d4e5f")
    old = steady(end=SLOT - DAY - DAY / 24, entity_id="old", executable="/opt/old")
    many = [event for n in range(3) for event in steady(f"e{n}", executable=f"/opt/{n}")]
    cluster = site.cluster(*old, fresh(SLOT - DAY), *many, fresh())
    site.hunt(cluster, SLOT - DAY)
    pages = sorted(site.archive.rglob("*"))
    with fails(site.history_url):
        before = held(site.history_url)
        state = site.hunt(cluster)
        assert held(site.history_url) == before
    assert remedy in failure(state).remedy
    assert sorted(site.archive.rglob("*")) == pages


def test_a_hunt_and_a_digest_name_a_server_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host, database, and what to check; nothing is searched, posted or left."""
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    site, office = Site(tmp_path), Office(tmp_path)
    site.history_url = office.history_url = "postgresql://hunter@127.0.0.1:1/history"
    with SlackServer(ok) as slack:
        digest = failure(office.digest(office.destination(slack)))
    hunt = failure(site.hunt(site.cluster(fresh())))
    for error in (digest, hunt):
        assert "postgresql://127.0.0.1:1/history failed" in error.problem
        assert "Check that the server runs" in error.remedy
    assert slack.calls == 0
    assert not site.archive.exists()
