"""One real Prefect server for all tests of flows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness
from sqlalchemy import make_url


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start the server that flow runs of this folder report to; give a copy of its new database."""
    with (
        prefect_test_harness(server_startup_timeout=300),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        database = make_url(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())).database
        copy = tmp_path_factory.mktemp("prefect") / "prefect.db"
        with closing(sqlite3.connect(str(database))) as made, closing(sqlite3.connect(copy)) as new:
            made.backup(new)
        yield copy
