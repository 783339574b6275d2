"""A client without documents, for everything that ROW can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from tests.tasks.esql.folder import Result, answer, connected

Row = Callable[..., Result]


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elasticsearch]:
    """A client on an empty folder."""
    with connected(tmp_path_factory.mktemp("nowhere")) as client:
        yield client


@pytest.fixture
def row(nowhere: Elasticsearch) -> Row:
    """Ask for one expression over columns that are given as ES|QL, for example a + 1 with a="2"."""

    def ask_row(
        expression: str, params: list[dict[str, Any]] | None = None, **columns: str
    ) -> Result:
        made = ", ".join(f"{name} = {text}" for name, text in columns.items()) or "nothing = null"
        query = f"ROW {made} | EVAL x = {expression} | KEEP x | LIMIT 10"
        return answer(nowhere, query, params=params)

    return ask_row
