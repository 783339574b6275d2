"""A query tree goes in, DuckDB SQL comes out: one CTE for every step that does work.

KEEP, DROP and RENAME only change which names lead to which SQL columns, so they cost no SQL.
SQL columns have generated names (`c7`), so that names from outside never get into SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tasks.esql.errors import Source, refused
from tasks.esql.expressions import Expressions, null
from tasks.esql.functions.aggregates import AGGREGATES
from tasks.esql.functions.entries import NOT_FINITE, OVERFLOW, result_type, written
from tasks.esql.plans import QueryPlan, Relation, Stage
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.tree import (
    Call,
    Column,
    Command,
    Drop,
    Eval,
    Expression,
    Field,
    From,
    Keep,
    Limit,
    Literal,
    MvExpand,
    Parameter,
    Pattern,
    Query,
    Rename,
    Row,
    Sort,
    Stats,
    Where,
    children,
    conjuncts,
)
from tasks.esql.types import Type
from tasks.esql.values import TypedSql

DEFAULT_LIMIT = 1000
GREATEST_LIMIT = 10_000


def translate(
    query: Query, relation: Relation | None, parameters: Mapping[str, object], now: datetime
) -> QueryPlan:
    """Translate a query.

    Args:
        query: the query.
        relation: the documents that its FROM names; None for ROW.
        parameters: the values of `?name` and, by their place from "1", of `?`.
        now: the value of NOW(), in UTC without a zone, to the millisecond.

    Raises:
        VerificationError: a column or function is unknown, or types do not fit.
    """
    return _Translation(relation, Expressions(parameters, now)).plan(query)


@dataclass(slots=True)
class _Translation:
    """The state between two commands: the stages so far, and the columns by their names."""

    relation: Relation | None
    expressions: Expressions
    stages: list[Stage] = field(default_factory=list)
    order: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    made: int = 0

    def plan(self, query: Query) -> QueryPlan:
        for command in query.commands:
            self._command(command)
        limited = any(isinstance(command, Limit) for command in query.commands)
        if not limited:
            self.warnings.append(f"No limit defined, adding default limit of [{DEFAULT_LIMIT}]")
        shown = joined(
            ", ", [_shown(value) for value in self.expressions.scope.values()] or [Sql("NULL")]
        )
        select = sql(
            "SELECT {} FROM {} {} LIMIT {}",
            shown,
            Sql(self.expressions.stage),
            self._order_by(),
            bound(GREATEST_LIMIT if limited else DEFAULT_LIMIT, "BIGINT"),
        )
        columns = tuple((name, value.type) for name, value in self.expressions.scope.items())
        return QueryPlan(
            tuple(self.stages),
            columns,
            select,
            tuple(self.expressions.failures),
            tuple(self.warnings),
        )

    # --- Stages ---

    def _stage(self, template: str, *parts: Sql) -> None:
        """Add a stage; `@` in its template is the stage before."""
        name = f"s{len(self.stages)}"
        body = template.replace("@", self.expressions.stage) if self.stages else template
        self.stages.append(Stage(name, sql(body, *parts)))
        self.expressions.stage = name

    def _new_column(self) -> str:
        self.made += 1
        return f"c{self.made}"

    def _computed(self, *values: TypedSql) -> list[TypedSql]:
        """Put values into columns in a new stage, unless they are columns already."""
        columns = [
            value.sql.text if value.sql.text.isidentifier() else self._new_column()
            for value in values
        ]
        new = [
            sql(f"{{}} AS {column}", value.sql)
            for column, value in zip(columns, values, strict=True)
            if column != value.sql.text
        ]
        if new:
            self._stage("SELECT *, {} FROM @", joined(", ", new))
        return [
            replace(value, sql=Sql(column), constant=None)
            for column, value in zip(columns, values, strict=True)
        ]

    def _order_by(self) -> Sql:
        keys = ", ".join(f"{column} {direction}" for column, direction in self.order)
        return Sql(f"ORDER BY {keys}" if keys else "")

    # --- Commands ---

    def _command(self, command: Command) -> None:
        match command:
            case From():
                self._from(command)
            case Row(fields):
                self._stage("SELECT 1 AS one")
                self._eval(fields)
            case Where(condition):
                self._where(condition)
            case Eval(fields):
                self._eval(fields)
            case Stats():
                self._stats(command)
            case Keep(patterns):
                self._keep(patterns)
            case Drop(patterns):
                self._drop(patterns)
            case Rename(pairs):
                for old, new in pairs:
                    self._rename(old, new.name)
            case Sort():
                self._sort(command)
            case Limit(count):
                self._limit(count)
            case MvExpand(column):
                self._mv_expand(column)

    def _from(self, command: From) -> None:
        if self.relation is None:
            raise refused(f"No documents for [{command.source.text}]", command.source)
        self._stage("{}", self.relation.sql)
        self.expressions.unread = self.relation.other_names
        for column in self.relation.columns:
            self.expressions.scope[column.name] = TypedSql(
                Sql(column.column), column.type, command.source, column.several
            )
            if column.unusable:
                self.expressions.unusable[column.name] = column.unusable

    def _where(self, condition: Expression) -> None:
        """Keep rows. From the first condition on that may fail, the order of conditions stands.

        DuckDB would order them anew for every block of rows, and a failure would be noted by luck.
        """
        sure: list[Sql] = []
        ordered: list[Sql] = []
        for part in conjuncts(condition):
            before = len(self.expressions.failures)
            test = self.expressions.condition(part)
            may_fail = len(self.expressions.failures) > before
            (ordered if ordered or may_fail else sure).append(sql("({})", test))
        if ordered:
            nested = Sql("true")
            for test in reversed(ordered):
                nested = sql("CASE WHEN coalesce({}, false) THEN {} ELSE false END", test, nested)
            sure.append(nested)
        self._stage("SELECT * FROM @ WHERE {}", joined(" AND ", sure))

    def _eval(self, fields: Sequence[Field]) -> None:
        for item in fields:
            (value,) = self._computed(self.expressions.value(item.expression))
            if value.type is Type.TIMESPAN:
                raise refused(
                    f"EVAL does not support type [{value.type.label}] as the return data type "
                    f"of expression [{item.expression.source.text}]",
                    item.source,
                )
            self.expressions.scope.pop(item.name, None)
            self.expressions.scope[item.name] = value

    def _keep(self, patterns: Sequence[Pattern]) -> None:
        kept: dict[str, int] = {}
        for pattern in patterns:
            rank = 0 if pattern.is_exact else 2 if set(pattern.parts) == {""} else 1
            for name in self._matching(pattern):
                if kept.get(name, rank) >= rank:
                    kept.pop(name, None)
                    kept[name] = rank
        self.expressions.scope = {name: self.expressions.scope[name] for name in kept}
        self.expressions.unread = frozenset()

    def _drop(self, patterns: Sequence[Pattern]) -> None:
        for pattern in patterns:
            for name in self._matching(pattern):
                del self.expressions.scope[name]

    def _matching(self, pattern: Pattern) -> list[str]:
        """The columns that a pattern names; an exact name or a narrow pattern must find some."""
        if pattern.is_exact:
            self.expressions.known(pattern.name, pattern.source)
            return [pattern.name]
        found = [name for name in self.expressions.scope if pattern.matches(name)]
        if not found and set(pattern.parts) != {""}:
            raise refused(f"No matches found for pattern [{pattern.name}]", pattern.source)
        return found

    def _rename(self, old: Column, new: str) -> None:
        self.expressions.known(old.name, old.source)
        if new != old.name:
            self.expressions.scope.pop(new, None)
        self.expressions.scope = {
            new if name == old.name else name: value
            for name, value in self.expressions.scope.items()
        }

    def _sort(self, command: Sort) -> None:
        keys = []
        for key in command.keys:
            value = self.expressions.value(key.expression)
            if value.several:
                extreme = "list_max({})" if key.descending else "list_min({})"
                value = replace(value, sql=sql(extreme, value.sql), several=False)
            keys.append(value)
        self.order = [
            (
                value.sql.text,
                f"{'DESC' if key.descending else 'ASC'} "
                f"NULLS {'FIRST' if key.nulls_first else 'LAST'}",
            )
            for key, value in zip(command.keys, self._computed(*keys), strict=True)
        ]

    def _limit(self, count: Literal | Parameter) -> None:
        literal = self.expressions.resolved(count) if isinstance(count, Parameter) else count
        if not isinstance(literal.value, int) or literal.value < 0:
            raise refused(
                f"value of [limit {count.source.text}] must be a non-negative integer", count.source
            )
        self._stage("SELECT * FROM @ {} LIMIT {}", self._order_by(), bound(literal.value, "BIGINT"))

    def _mv_expand(self, column: Column) -> None:
        value = self.expressions.known(column.name, column.source)
        if not value.several:
            return
        new, place = self._new_column(), self._new_column()
        self._stage(
            "SELECT *, unnest(coalesce({0}, [NULL])) AS {1}, "
            "unnest(range(coalesce(len({0}), 1))) AS {2} FROM @",
            value.sql,
            Sql(new),
            Sql(place),
        )
        self.order = [*self.order, (place, "ASC")]
        self.expressions.scope[column.name] = replace(value, sql=Sql(new), several=False)

    # --- STATS ---

    def _stats(self, command: Stats) -> None:
        groups = self._groups(command.groups)
        calls = {
            call: item.where
            for item in command.aggregates
            for call in _aggregate_calls(item.expression)
        }
        arguments = self._aggregate_arguments(calls)
        group_columns = ", ".join(dict.fromkeys(value.sql.text for value in groups.values()))
        aggregates = {call: self._new_column() for call in calls}
        selected = [
            *([Sql(group_columns)] if groups else []),
            *(
                sql(f"{{}} AS {column}", _aggregate_sql(call, arguments[call]))
                for call, column in aggregates.items()
            ),
        ]
        by = f"GROUP BY {group_columns}" if groups else ""
        self._stage("SELECT {} FROM @ {}", joined(", ", selected), Sql(by))
        self.order = []
        self.expressions.scope = groups
        self.expressions.unread = frozenset()
        self.expressions.aggregated = {
            call: self._aggregate_value(call, arguments[call], column)
            for call, column in aggregates.items()
        }
        values = [self._aggregate_field(item) for item in command.aggregates]
        named = [
            *zip(command.aggregates, self._computed(*values), strict=True),
            *zip(command.groups, [groups[item.name] for item in command.groups], strict=True),
        ]
        self.expressions.aggregated = {}
        self._name_columns(named)

    def _groups(self, fields: Sequence[Field]) -> dict[str, TypedSql]:
        """The groups' columns. A field with several values gives a row for every value."""
        values = []
        for item in fields:
            if calls := _aggregate_calls(item.expression):
                raise refused(
                    f"cannot use an aggregate [{calls[0].source.text}] for grouping",
                    calls[0].source,
                )
            values.append(self.expressions.value(item.expression))
        groups = {}
        for item, value in zip(fields, self._computed(*values), strict=True):
            groups[item.name] = value
            if value.several:
                new = self._new_column()
                self._stage(
                    "SELECT *, unnest(coalesce(list_distinct({}), [NULL])) AS {} FROM @",
                    value.sql,
                    Sql(new),
                )
                groups[item.name] = replace(value, sql=Sql(new), several=False)
        return groups

    def _aggregate_arguments(
        self, calls: Mapping[Call, Expression | None]
    ) -> dict[Call, list[TypedSql]]:
        """The arguments by aggregate, the first one as a column."""
        arguments = {call: self._aggregate_argument(call, where) for call, where in calls.items()}
        columns = self._computed(*(values[0] for values in arguments.values()))
        return {
            call: [column, *values[1:]]
            for (call, values), column in zip(arguments.items(), columns, strict=True)
        }

    def _aggregate_argument(self, call: Call, where: Expression | None) -> list[TypedSql]:
        """Checked arguments. Where an aggregate's WHERE is not true, its argument is null."""
        for inner in call.arguments:
            if nested := _aggregate_calls(inner):
                raise refused(
                    f"nested aggregations [{nested[0].source.text}] not allowed inside other "
                    f"aggregations [{call.source.text}]",
                    nested[0].source,
                )
        aggregate = AGGREGATES[call.function]
        values = [self.expressions.value(argument) for argument in call.arguments]
        values = self.expressions.accepted(call, values, aggregate.takes, aggregate.required)
        if not values:
            values = [self.expressions.value(Literal(1, Type.INTEGER, call.source))]
        if values[0].type is Type.NULL:
            values[0] = null(Type.INTEGER, call.source)
        if where is not None:
            condition = self.expressions.condition(where)
            masked = sql("CASE WHEN {} THEN {} END", condition, values[0].sql)
            values[0] = replace(values[0], sql=masked)
        return values

    def _aggregate_field(self, item: Field) -> TypedSql:
        """A field of STATS, over aggregates and groups; a bare column must be a group."""
        for name in _columns_outside(item.expression):
            if name not in self.expressions.scope:
                raise refused(
                    f"column [{name}] must appear in the STATS BY clause or be used in an "
                    "aggregate function",
                    item.expression.source,
                )
        return self.expressions.value(item.expression)

    def _aggregate_value(self, call: Call, arguments: list[TypedSql], column: str) -> TypedSql:
        """An aggregate's column, cast back to its type if it was computed in a wider one."""
        aggregate = AGGREGATES[call.function]
        of_type = result_type(aggregate.gives, arguments)
        value = TypedSql(Sql(column), of_type, call.source, aggregate.several)
        if not aggregate.narrowed:
            return value
        narrow = (
            "finite(CAST({} AS DOUBLE))" if of_type is Type.DOUBLE else "TRY_CAST({} AS BIGINT)"
        )
        message = NOT_FINITE if of_type is Type.DOUBLE else OVERFLOW.format(type=of_type)
        lost = self.expressions.failure(call.source, message, of_type.duckdb)
        narrowed = sql(narrow, value.sql)
        kept = sql("coalesce({}, CASE WHEN {} IS NOT NULL THEN {} END)", narrowed, value.sql, lost)
        return replace(value, sql=kept)

    def _name_columns(self, named: Sequence[tuple[Field, TypedSql]]) -> None:
        """Name the columns of STATS; of two columns with one name the last one stays."""
        self.expressions.scope = {}
        places: dict[str, Source] = {}
        for item, value in named:
            if item.name in places:
                place = places[item.name].position
                self.warnings.append(
                    f"Line {place}: Field '{item.name}' shadowed by field at line "
                    f"{item.source.position}"
                )
                del self.expressions.scope[item.name]
            self.expressions.scope[item.name] = value
            places[item.name] = item.source


def _aggregate_calls(expression: Expression) -> list[Call]:
    """The aggregates in an expression, the outer ones only."""
    if isinstance(expression, Call) and expression.function in AGGREGATES:
        return [expression]
    return [call for child in children(expression) for call in _aggregate_calls(child)]


def _columns_outside(expression: Expression) -> frozenset[str]:
    """The columns that an expression reads outside aggregates."""
    if isinstance(expression, Call) and expression.function in AGGREGATES:
        return frozenset()
    if isinstance(expression, Column):
        return frozenset({expression.name})
    return frozenset().union(*map(_columns_outside, children(expression)))


def _aggregate_sql(call: Call, arguments: list[TypedSql]) -> Sql:
    aggregate = AGGREGATES[call.function]
    return written(aggregate.listed if arguments[0].several else aggregate.single, arguments)


def _shown(value: TypedSql) -> Sql:
    """A value as answers show it: dates and addresses as text."""
    template = {Type.DATE: "date_to_text({})", Type.IP: "ip_to_text({})"}.get(value.type)
    if template is None:
        return value.sql
    if value.several:
        template = f"list_transform({{}}, lambda shown: {template.format('shown')})"
    return sql(template, value.sql)
