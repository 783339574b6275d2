"""Typed SQL: what an expression of a query becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.esql.errors import Source, refused
from tasks.esql.sql import Sql
from tasks.esql.tree import Literal, Timespan
from tasks.esql.types import Type


@dataclass(frozen=True, slots=True)
class TypedSql:
    """SQL that gives values of one type; `several`: as a list."""

    sql: Sql
    type: Type
    source: Source
    several: bool = False
    constant: Literal | Timespan | None = None

    def text_constant(self, role: str) -> str:
        """The text, for an argument that must be a constant."""
        if isinstance(self.constant, Literal) and isinstance(self.constant.value, str):
            return self.constant.value
        raise refused(
            f"{role} must be a constant [string], found [{self.source.text}]", self.source
        )


TypedSqls = Sequence[TypedSql]
