from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.history import History
from tests import postgresql
from tests.histories import new_history


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a history can be made, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    return server.new_schema()


@pytest.fixture
def history_url(empty_url: str) -> str:
    """A history without runs, on each database."""
    new_history(empty_url)
    return empty_url


@pytest.fixture
def history(history_url: str) -> Iterator[History]:
    """The same, open."""
    with History.open(history_url) as history:
        yield history
