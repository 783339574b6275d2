"""ES|QL text goes in, rows and warnings come out, from one folder of events."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from tasks.esql.deadline import Deadline, run_apart
from tasks.esql.documents import Documents
from tasks.esql.errors import EsqlError, NotEnoughMemory
from tasks.esql.failures import beginnings, incomputable, pieces
from tasks.esql.filters import condition, filter_fields
from tasks.esql.parsing import parse
from tasks.esql.plans import Demand, Failure, QueryPlan, Relation, demand
from tasks.esql.sql import Sql, sql
from tasks.esql.translate import translate
from tasks.esql.tree import From, Query
from tasks.esql.types import Type

NOT_OURS = (duckdb.OutOfMemoryException, duckdb.InterruptException)
"""Errors that no expression is to blame for."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's question: ES|QL, the values of its parameters, and a Query DSL filter or None."""

    query: str
    parameters: Mapping[str, object]
    filter: object = None


@dataclass(frozen=True, slots=True)
class Result:
    """Columns by name and type, rows of JSON values, and warnings.

    `documents` is the number of documents that were read, `values_loaded` of their values.
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
        # Made when it is needed, and removed at the end. Its name is its own: two processes in
        # one folder would overwrite each other's files.
        self._scratch = Path(tempfile.gettempdir()) / f"beaconhunt-{uuid4()}"
        self._connection = open_duckdb([folder], self._scratch)
        self._documents = Documents(
            folder, self._connection, self._scratch, skip_bad_lines=skip_bad_lines
        )
        self._is_closed = False

    def close(self) -> None:
        """Free everything that was read; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._documents.close()
            self._connection.close()
            # Prefect still holds the client when Python ends. It must not hold these as well:
            # DuckDB's binding complains on standard error about every connection object left.
            del self._connection, self._documents
            shutil.rmtree(self._scratch, ignore_errors=True)

    def answer(self, question: Request, seconds: float | None = None) -> Result:
        """Answer a question.

        Args:
            question: the question.
            seconds: the time for it; None is without end.

        Raises:
            EsqlError: the question cannot be answered; its kind is the reason.
            TimeoutError: the time is over.
        """
        deadline = Deadline(seconds)
        return run_apart(
            partial(self._answered, question, deadline), deadline, self._connection.interrupt
        )

    def _answered(self, question: Request, deadline: Deadline) -> Result:
        """Answer, with every error in our words."""
        try:
            return self._answer(question, deadline)
        except duckdb.OutOfMemoryException as error:
            raise NotEnoughMemory(str(error).partition("\n")[0]) from error
        except RecursionError:
            raise EsqlError("the query nests deeper than this engine can follow") from None

    def _answer(self, question: Request, deadline: Deadline) -> Result:
        query = parse(question.query)
        now = datetime.now(UTC).replace(tzinfo=None)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        while True:
            relation = None
            try:
                relation, warnings = self._relation(query, question, deadline)
                plan = translate(query, relation, question.parameters, now)
                self._count_failures_anew(plan)
                rows = self._rows(plan.answer, deadline)
                documents = self._documents_read()
            except NOT_OURS:
                raise
            except duckdb.Error as error:
                # A scan may end early: it met a shape that is known from now on.
                if self._documents.learn_from(error):
                    continue
                if relation is None:
                    raise incomputable(error, pieces(query.commands[0])) from error
                planned = partial(
                    translate, relation=relation, parameters=question.parameters, now=now
                )
                raise self._located(error, query, planned, deadline) from error
            return Result(
                plan.columns,
                [[_json_value(value) for value in row] for row in rows] if plan.columns else [],
                (*warnings, *plan.warnings, *self._failed(plan)),
                documents,
                documents * len(relation.columns) if relation else 0,
            )

    def _located(
        self,
        error: duckdb.Error,
        query: Query,
        planned: Callable[[Query], QueryPlan],
        deadline: Deadline,
    ) -> EsqlError:
        """Find the expression that fails: the last one of the shortest query that does."""
        for shorter, last in beginnings(query):
            try:
                self._rows(planned(shorter).forced, deadline)
            except NOT_OURS:
                raise
            except duckdb.Error as same:
                return incomputable(same, last)
        return incomputable(error, pieces(query.commands[-1]))

    def _relation(
        self, query: Query, question: Request, deadline: Deadline
    ) -> tuple[Relation | None, tuple[str, ...]]:
        source, wanted = query.commands[0], demand(query)
        if not isinstance(source, From):
            return None, ()
        if question.filter is None:
            return self._documents.open(source, wanted, deadline)
        also = Demand(wanted.names | filter_fields(question.filter), wanted.patterns)
        relation, warnings = self._documents.open(source, also, deadline)
        filtered = sql(
            "SELECT * FROM ({}) WHERE {}",
            relation.sql,
            condition(question.filter, relation.columns),
        )
        return replace(relation, sql=filtered), warnings

    def _documents_read(self) -> int:
        """How many documents the last statement read."""
        profile = json.loads(self._connection.get_profiling_information())
        return int(profile["query"]["total_rows_scanned"])

    def _count_failures_anew(self, plan: QueryPlan) -> None:
        for place in range(len(plan.failures)):
            self._connection.execute(f"CREATE OR REPLACE SEQUENCE {Failure.sequence(place)}")

    def _failed(self, plan: QueryPlan) -> tuple[str, ...]:
        """The warnings for failures in some row, two lines for one failure as in Elasticsearch."""
        counted = self._connection.execute(
            "SELECT sequence_name FROM duckdb_sequences() WHERE last_value IS NOT NULL"
        )
        happened = {name for (name,) in counted.fetchall()}
        lines: list[str] = []
        for place, failure in enumerate(plan.failures):
            if Failure.sequence(place) in happened:
                line = f"Line {failure.source.position}: "
                lines += [
                    f"{line}evaluation of [{failure.source.text}] failed, treating result as "
                    "null. Only first 20 failures recorded.",
                    line + failure.message,
                ]
        return tuple(dict.fromkeys(lines))

    def _rows(self, statement: Sql, deadline: Deadline) -> list[tuple[Any, ...]]:
        deadline.check()
        return self._connection.execute(statement.text, statement.values).fetchall()


def open_duckdb(readable: Sequence[Path], scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open DuckDB, which may then use these places and nothing else, and change no setting.

    Args:
        readable: folders and files of events.
        scratch: a folder for what does not fit into memory, and for files that are written.
    """
    temporary = os.path.realpath(scratch)
    connection = duckdb.connect(
        config={"preserve_insertion_order": False, "temp_directory": temporary}
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("PRAGMA enable_profiling = 'no_output'")  # It counts the documents read.
    connection.execute("SET enable_progress_bar = true")  # For `query_progress`: it shows none.
    connection.execute("SET enable_progress_bar_print = false")
    connection.execute(files("tasks.esql").joinpath("macros.sql").read_text(encoding="utf-8"))
    # In this order: the places cannot be named once access is closed.
    folders = [os.path.realpath(path) for path in readable if path.is_dir()]
    single = [os.path.realpath(path) for path in readable if not path.is_dir()]
    connection.execute("SET allowed_directories = ?", [[*folders, temporary]])
    connection.execute("SET allowed_paths = ?", [single])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _json_value(value: object) -> object:
    """A list of one value is that value."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value
