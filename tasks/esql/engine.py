"""ES|QL text goes in, rows and warnings come out, from one folder of events."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from tasks.esql.documents import Documents
from tasks.esql.errors import EsqlError, NotEnoughMemory
from tasks.esql.filters import condition, filter_fields
from tasks.esql.parsing import parse
from tasks.esql.plans import Demand, QueryPlan, Relation, demand
from tasks.esql.sql import Sql, sql
from tasks.esql.translate import translate
from tasks.esql.tree import From
from tasks.esql.types import Type


@dataclass(frozen=True, slots=True)
class Request:
    """A client's question: ES|QL, the values of its parameters, and a Query DSL filter or None."""

    query: str
    parameters: Mapping[str, object]
    filter: object = None


@dataclass(frozen=True, slots=True)
class Result:
    """Columns by name and type, rows of JSON values, and warnings.

    `documents` is the number of documents that pass the filter, `values_loaded` of their values.
    """

    columns: tuple[tuple[str, Type], ...]
    rows: list[list[object]]
    warnings: tuple[str, ...]
    documents: int
    values_loaded: int


class Engine:
    """Answers questions over a folder. One question at a time: it has one DuckDB connection."""

    def __init__(self, folder: Path, *, skip_bad_lines: bool = False) -> None:
        """Open a folder; documents are read when a question needs them.

        Raises:
            SettingsError: the folder does not exist.
        """
        self._connection = duckdb.connect(
            config={
                "preserve_insertion_order": False,
                # Made only when memory is short, and removed with the connection. Its name is its
                # own: two processes in one folder would overwrite each other's files.
                "temp_directory": str(Path(tempfile.gettempdir()) / f"beaconhunt-{uuid4()}"),
            }
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(
            files("tasks.esql").joinpath("macros.sql").read_text(encoding="utf-8")
        )
        self._documents = Documents(folder, self._connection, skip_bad_lines=skip_bad_lines)
        self._is_closed = False

    def close(self) -> None:
        """Free everything that was read; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.close()
            # Prefect still holds the client when Python ends. It must not hold these as well:
            # DuckDB's binding complains on standard error about every connection object left.
            del self._connection, self._documents

    def answer(self, question: Request) -> Result:
        """Answer a question.

        Raises:
            EsqlError: the question cannot be answered; its kind is the reason.
        """
        try:
            return self._interruptibly(question)
        except duckdb.OutOfMemoryException as error:
            raise NotEnoughMemory(str(error).splitlines()[0]) from error

    def _interruptibly(self, question: Request) -> Result:
        """Answer in a thread, so that a signal ends the question: DuckDB often ignores one."""
        with ThreadPoolExecutor(max_workers=1) as apart:
            answer = apart.submit(self._answer, question)
            try:
                return answer.result()
            except BaseException:
                while not answer.done():
                    self._connection.interrupt()
                    time.sleep(0.01)
                del answer  # Its error refers to DuckDB's objects, which ours would keep alive.
                raise

    def _answer(self, question: Request) -> Result:
        query = parse(question.query)
        relation, documents, warnings = self._relation(query.commands[0], demand(query), question)
        now = datetime.now(UTC).replace(tzinfo=None)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        plan = translate(query, relation, question.parameters, now)
        rows = self._rows(plan.answer)
        failed = self._failures(plan)
        return Result(
            plan.columns,
            [[_json_value(value) for value in row] for row in rows] if plan.columns else [],
            (*warnings, *plan.warnings, *failed),
            documents,
            documents * len(relation.columns) if relation else 0,
        )

    def _relation(
        self, source: object, wanted: Demand, question: Request
    ) -> tuple[Relation | None, int, tuple[str, ...]]:
        if not isinstance(source, From):
            return None, 0, ()
        if question.filter is None:
            return self._documents.open(source, wanted)
        also = Demand(wanted.names | filter_fields(question.filter), wanted.patterns)
        relation, _, warnings = self._documents.open(source, also)
        filtered = sql(
            "SELECT * FROM ({}) WHERE {}",
            relation.sql,
            condition(question.filter, relation.columns),
        )
        ((documents,),) = self._rows(sql("SELECT count(*) FROM ({})", filtered))
        return replace(relation, sql=filtered), documents, warnings

    def _failures(self, plan: QueryPlan) -> tuple[str, ...]:
        """The warnings for failures in some row, two lines for one failure as in Elasticsearch."""
        if plan.failed is None:
            return ()
        ((happened,),) = self._rows(plan.failed)
        lines: list[str] = []
        for failure, true in zip(plan.failures_in_order(), happened, strict=True):
            if true:
                line = f"Line {failure.source.position}: "
                lines += [
                    f"{line}evaluation of [{failure.source.text}] failed, treating result as "
                    "null. Only first 20 failures recorded.",
                    line + failure.message,
                ]
        return tuple(dict.fromkeys(lines))

    def _rows(self, statement: Sql) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement.text, statement.values).fetchall()
        except (duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
            # Only the data shows it, for example a regular expression that RE2 does not take.
            raise EsqlError(str(error).splitlines()[0]) from error


def _json_value(value: object) -> object:
    """A list of one value is that value."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value
