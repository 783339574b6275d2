"""A query tree goes in, DuckDB SQL comes out: a chain of CTEs, one for each step that does work.

KEEP, DROP and RENAME only change which names lead to which SQL columns, so they cost no SQL.
Every SQL column has a name of our own (`c7`), so that names from outside stay outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from tasks.esql.errors import ParsingError, Source, VerificationError, refused, unknown
from tasks.esql.functions import (
    AGGREGATES,
    ALIASES,
    CONVERSIONS,
    MULTIVALUES,
    NOT_FINITE,
    OVERFLOW,
    SCALARS,
    Builder,
    Conversion,
    Multivalue,
    Rule,
    Scalar,
    Value,
    interval,
)
from tasks.esql.literals import CONVERTIBLE, constant, convert, literal_sql
from tasks.esql.sql import Sql, bound, joined, sql
from tasks.esql.syntax import (
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
    Timespan,
    Where,
    children,
    columns_of,
)
from tasks.esql.types import NUMBER, STRING, WHOLE, Type

DEFAULT_LIMIT = 1000
GREATEST_LIMIT = 10_000
SEVERAL = "java.lang.IllegalArgumentException: single-value function encountered multi-value"
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_SPECIAL = ("case", "coalesce", "is_null", "is_not_null", "now")


def supported_functions() -> frozenset[str]:
    """The names of all functions, without operators."""
    names = {*SCALARS, *CONVERSIONS, *MULTIVALUES, *AGGREGATES, *ALIASES, "case", "coalesce", "now"}
    return frozenset(n for n in names if n.replace("_", "").isalnum()) - {
        "and", "or", "not", "in", "like", "rlike", "negate",
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """A column of the data: its name, its type, its SQL column; `several`: as lists."""

    name: str
    type: Type
    column: str
    several: bool = False
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """Documents as SQL, the columns that it gives, and the names of fields that nobody asked for."""

    sql: Sql
    columns: tuple[FieldColumn, ...]
    other_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Demand:
    """The fields that a query reads: by name, and by pattern where it shows what it finds."""

    names: frozenset[str]
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One CTE; `grouped`: it is worth computing once where several read it."""

    name: str
    sql: Sql
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An evaluation that may fail: where, how it is said, and the rows of a stage where it does."""

    stage: str
    source: Source
    message: str
    condition: Sql


@dataclass(frozen=True, slots=True)
class Plan:
    """A translated query.

    Attributes:
        stages: the CTEs, in order.
        columns: the answer's columns: name and type.
        select: the last SELECT, with values in the form in which answers show them.
        failures: what may fail in it.
        warnings: what is already known to be worth a warning.
    """

    stages: tuple[Stage, ...]
    columns: tuple[tuple[str, Type], ...]
    select: Sql
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]

    @property
    def answer(self) -> Sql:
        """The statement that answers the query."""
        return sql("{} {}", self._with(shared=False), self.select)

    @property
    def failed(self) -> Sql | None:
        """The statement that says which failures happened: one row, a truth value for each."""
        if not self.failures:
            return None
        by_stage: dict[str, list[Failure]] = {}
        for failure in self.failures:
            by_stage.setdefault(failure.stage, []).append(failure)
        parts = [
            sql(
                f"(SELECT [{{}}] FROM {stage})",  # noqa: S608 - a stage's name is ours
                joined(", ", [sql("bool_or({})", failure.condition) for failure in failures]),
            )
            for stage, failures in by_stage.items()
        ]
        return sql("{} SELECT {}", self._with(shared=True), joined(" || ", parts))

    def _with(self, *, shared: bool) -> Sql:
        named = [
            sql(
                f"{stage.name} AS {'' if shared and stage.grouped else 'NOT '}MATERIALIZED ({{}})",
                stage.sql,
            )
            for stage in self.stages
        ]
        return sql("WITH {}", joined(",\n", named))

    def failures_in_order(self) -> tuple[Failure, ...]:
        """The failures in the order of the statement `failed`."""
        stages = list(dict.fromkeys(failure.stage for failure in self.failures))
        return tuple(sorted(self.failures, key=lambda failure: stages.index(failure.stage)))


def demand(query: Query) -> Demand:
    """The fields of the data that a query needs; columns that it makes itself are not among them."""
    names: set[str] = set()
    made: set[str] = set()

    def read(*expressions: Expression | None) -> None:
        for expression in expressions:
            if expression is not None:
                names.update(columns_of(expression) - made)

    for command in query.commands:
        match command:
            case Where(condition):
                read(condition)
            case Eval(fields):
                for item in fields:
                    read(item.expression)
                    made.add(item.name)
            case Stats(aggregates, groups):
                for item in (*groups, *aggregates):
                    read(item.expression, item.where)
                return Demand(frozenset(names), ())
            case Keep(patterns):
                names.update(p.name for p in patterns if p.is_exact and p.name not in made)
                return Demand(frozenset(names), tuple(p for p in patterns if not p.is_exact))
            case Drop(patterns):
                names.update(p.name for p in patterns if p.is_exact and p.name not in made)
            case Rename(pairs):
                for old, new in pairs:
                    read(old)
                    made.add(new.name)
            case Sort(keys):
                read(*(key.expression for key in keys))
            case MvExpand(column):
                read(column)
            case _:
                pass
    return Demand(frozenset(names), (Pattern(("", ""), Source("*", 1, 1)),))


def translate(
    query: Query, relation: Relation | None, parameters: Mapping[str, object], now: datetime
) -> Plan:
    """Translate a query.

    Args:
        query: the query.
        relation: the documents that its FROM names; none for ROW.
        parameters: the values of `?name` and, by their place from "1", of `?`.
        now: what NOW() says, in UTC without a zone, to the millisecond.

    Raises:
        VerificationError: a column or function is unknown, or types do not fit.
    """
    return _Translation(relation, parameters, now).plan(query)


@dataclass(slots=True)
class _Translation:
    """The state between two commands: the stages so far, and the columns by their names."""

    relation: Relation | None
    parameters: Mapping[str, object]
    now: datetime
    stages: list[Stage] = field(default_factory=list)
    scope: dict[str, Value] = field(default_factory=dict)
    order: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    guards: list[Sql] = field(default_factory=list)
    aggregated: dict[Call, Value] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    made: int = 0
    nameless: int = 0

    def plan(self, query: Query) -> Plan:
        for command in query.commands:
            self._command(command)
        limited = any(isinstance(command, Limit) for command in query.commands)
        if not limited:
            self.warnings.append(f"No limit defined, adding default limit of [{DEFAULT_LIMIT}]")
        shown = joined(", ", [_shown(value) for value in self.scope.values()] or [Sql("NULL")])
        select = sql(
            f"SELECT {{}} FROM {self.latest} {self._order_by()} LIMIT {{}}",  # noqa: S608 - our names
            shown,
            bound(GREATEST_LIMIT if limited else DEFAULT_LIMIT, "BIGINT"),
        )
        columns = tuple((name, value.type) for name, value in self.scope.items())
        return Plan(tuple(self.stages), columns, select, tuple(self.failures), tuple(self.warnings))

    # --- Stages ---

    @property
    def latest(self) -> str:
        return self.stages[-1].name

    def _stage(self, template: str, *parts: Sql, grouped: bool = False) -> None:
        """Add a stage; `@` in its template is the stage before."""
        name = f"s{len(self.stages)}"
        body = template.replace("@", self.latest) if self.stages else template
        self.stages.append(Stage(name, sql(body, *parts), grouped))

    def _new_column(self) -> str:
        self.made += 1
        return f"c{self.made}"

    def _computed(self, *values: Value) -> list[Value]:
        """Give values a column of their own in a new stage, unless they are columns already."""
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

    def _order_by(self) -> str:
        keys = ", ".join(f"{column} {direction}" for column, direction in self.order)
        return f"ORDER BY {keys}" if keys else ""

    # --- Commands ---

    def _command(self, command: Command) -> None:  # noqa: PLR0912 - one line for each command
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
        assert self.relation is not None  # noqa: S101 - the caller opens what FROM names
        self._stage("{}", self.relation.sql)
        self.unread = self.relation.other_names
        for column in self.relation.columns:
            self.scope[column.name] = Value(
                Sql(column.column), column.type, command.source, column.several
            )
            if column.unusable:
                self.unusable[column.name] = column.unusable

    def _where(self, condition: Expression) -> None:
        self._stage("SELECT * FROM @ WHERE {}", self._condition(condition))

    def _eval(self, fields: Sequence[Field]) -> None:
        for item in fields:
            (value,) = self._computed(self.value(item.expression))
            if value.type is Type.TIMESPAN:
                raise refused(
                    f"EVAL does not support type [{value.type.spoken}] as the return data type "
                    f"of expression [{item.expression.source.text}]",
                    item.source,
                )
            self.scope.pop(item.name, None)
            self.scope[item.name] = value

    def _keep(self, patterns: Sequence[Pattern]) -> None:
        kept: dict[str, int] = {}
        for pattern in patterns:
            rank = 0 if pattern.is_exact else 2 if set(pattern.parts) == {""} else 1
            for name in self._matching(pattern):
                if kept.get(name, rank) >= rank:
                    kept.pop(name, None)
                    kept[name] = rank
        self.scope = {name: self.scope[name] for name in kept}
        self.unread = frozenset()

    def _drop(self, patterns: Sequence[Pattern]) -> None:
        for pattern in patterns:
            for name in self._matching(pattern):
                del self.scope[name]

    def _matching(self, pattern: Pattern) -> list[str]:
        """The columns that a pattern names; an exact name or a narrow pattern must find some."""
        if pattern.is_exact:
            self._known(pattern.name, pattern.source)
            return [pattern.name]
        found = [name for name in self.scope if pattern.matches(name)]
        if not found and set(pattern.parts) != {""}:
            raise refused(f"No matches found for pattern [{pattern.name}]", pattern.source)
        return found

    def _rename(self, old: Column, new: str) -> None:
        self._known(old.name, old.source)
        if new != old.name:
            self.scope.pop(new, None)
        self.scope = {
            new if name == old.name else name: value for name, value in self.scope.items()
        }

    def _sort(self, command: Sort) -> None:
        keys = []
        for key in command.keys:
            value = self.value(key.expression)
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
        literal = self._resolved(count) if isinstance(count, Parameter) else count
        if not isinstance(literal.value, int) or literal.value < 0:
            raise refused(
                f"value of [limit {count.source.text}] must be a non-negative integer", count.source
            )
        self._stage(
            f"SELECT * FROM @ {self._order_by()} LIMIT {{}}", bound(literal.value, "BIGINT")
        )

    def _mv_expand(self, column: Column) -> None:
        value = self._known(column.name, column.source)
        if not value.several:
            return
        new, place = self._new_column(), self._new_column()
        self._stage(
            f"SELECT *, unnest(coalesce({{0}}, [NULL])) AS {new}, "
            f"unnest(range(coalesce(len({{0}}), 1))) AS {place} FROM @",
            value.sql,
        )
        self.order = [*self.order, (place, "ASC")]
        self.scope[column.name] = replace(value, sql=Sql(new), several=False)

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
        self._stage(f"SELECT {{}} FROM @ {by}", joined(", ", selected), grouped=True)
        self.order = []
        self.scope = groups
        self.unread = frozenset()
        self.aggregated = {
            call: self._aggregate_value(call, arguments[call], column)
            for call, column in aggregates.items()
        }
        values = [self._aggregate_field(item) for item in command.aggregates]
        named = [
            *zip(command.aggregates, self._computed(*values), strict=True),
            *zip(command.groups, [groups[item.name] for item in command.groups], strict=True),
        ]
        self.aggregated = {}
        self._name_columns(named)

    def _groups(self, fields: Sequence[Field]) -> dict[str, Value]:
        """The groups' columns. A field with several values gives a row for each of them."""
        values = []
        for item in fields:
            if calls := _aggregate_calls(item.expression):
                raise refused(
                    f"cannot use an aggregate [{calls[0].source.text}] for grouping",
                    calls[0].source,
                )
            values.append(self.value(item.expression))
        groups = {}
        for item, value in zip(fields, self._computed(*values), strict=True):
            groups[item.name] = value
            if value.several:
                new = self._new_column()
                self._stage(
                    f"SELECT *, unnest(coalesce(list_distinct({{}}), [NULL])) AS {new} FROM @",
                    value.sql,
                )
                groups[item.name] = replace(value, sql=Sql(new), several=False)
        return groups

    def _aggregate_arguments(
        self, calls: Mapping[Call, Expression | None]
    ) -> dict[Call, list[Value]]:
        """The arguments of each aggregate, the first as a column."""
        arguments = {call: self._aggregate_argument(call, where) for call, where in calls.items()}
        columns = self._computed(*(values[0] for values in arguments.values()))
        return {
            call: [column, *values[1:]]
            for (call, values), column in zip(arguments.items(), columns, strict=True)
        }

    def _aggregate_argument(self, call: Call, where: Expression | None) -> list[Value]:
        """Arguments, checked. A WHERE of one aggregate blanks its argument: nulls do not count."""
        for inner in call.arguments:
            if nested := _aggregate_calls(inner):
                raise refused(
                    f"nested aggregations [{nested[0].source.text}] not allowed inside other "
                    f"aggregations [{call.source.text}]",
                    nested[0].source,
                )
        aggregate = AGGREGATES[_name(call)]
        values = [self.value(argument) for argument in call.arguments]
        values = self._accepted(call, values, aggregate.takes, aggregate.required)
        if not values:
            values = [self.value(Literal(1, Type.INTEGER, call.source))]
        if values[0].type is Type.NULL:
            values[0] = _null(Type.INTEGER, call.source)
        if where is not None:
            condition = self._condition(where)
            masked = sql("CASE WHEN {} THEN {} END", condition, values[0].sql)
            values[0] = replace(values[0], sql=masked)
        return values

    def _aggregate_field(self, item: Field) -> Value:
        """A field of STATS, over aggregates and groups; a bare column must be a group."""
        for name in _columns_outside(item.expression):
            if name not in self.scope:
                raise refused(
                    f"column [{name}] must appear in the STATS BY clause or be used in an "
                    "aggregate function",
                    item.expression.source,
                )
        return self.value(item.expression)

    def _aggregate_value(self, call: Call, arguments: list[Value], column: str) -> Value:
        """An aggregate's column, brought back to its type where it was computed wider."""
        aggregate = AGGREGATES[_name(call)]
        of_type = _given(aggregate.gives, arguments)
        value = Value(Sql(column), of_type, call.source, aggregate.several)
        if not aggregate.narrowed:
            return value
        narrow = (
            "finite(CAST({} AS DOUBLE))" if of_type is Type.DOUBLE else "TRY_CAST({} AS BIGINT)"
        )
        narrowed = sql(narrow, value.sql)
        message = NOT_FINITE if of_type is Type.DOUBLE else OVERFLOW.format(type=of_type)
        self._may_fail(
            call.source, message, sql("{} IS NOT NULL AND {} IS NULL", value.sql, narrowed)
        )
        return replace(value, sql=narrowed)

    def _name_columns(self, named: Sequence[tuple[Field, Value]]) -> None:
        """Name the columns of STATS; of two with one name the last stays."""
        self.scope = {}
        places: dict[str, Source] = {}
        for item, value in named:
            if item.name in places:
                place = places[item.name].position
                self.warnings.append(
                    f"Line {place}: Field '{item.name}' shadowed by field at line "
                    f"{item.source.position}"
                )
                del self.scope[item.name]
            self.scope[item.name] = value
            places[item.name] = item.source

    # --- Expressions ---

    def value(self, expression: Expression) -> Value:
        """An expression as SQL over the latest stage."""
        match expression:
            case Literal():
                several = isinstance(expression.value, tuple)
                return Value(
                    literal_sql(expression), expression.type, expression.source, several, expression
                )
            case Timespan():
                return Value(
                    interval(expression), Type.TIMESPAN, expression.source, constant=expression
                )
            case Parameter():
                return self.value(self._resolved(expression))
            case Column(name, source):
                return replace(self._known(name, source), source=source)
            case Call():
                return self.aggregated.get(expression) or self._call(expression)

    def _resolved(self, parameter: Parameter) -> Literal:
        name = parameter.name
        if not name:
            self.nameless += 1
            name = str(self.nameless)
        if name not in self.parameters:
            raise ParsingError(
                f"Unknown query parameter [{parameter.name or name}]",
                parameter.source.line,
                parameter.source.column,
            )
        literal = constant(self.parameters[name], parameter.source)
        if literal is None:
            raise ParsingError(
                f"Query parameter [{name}] must be a single value",
                parameter.source.line,
                parameter.source.column,
            )
        return literal

    def _known(self, name: str, source: Source) -> Value:
        if name not in self.scope:
            raise unknown("column", name, self.scope.keys() | self.unread, source)
        value = self.scope[name]
        if value.type is Type.UNSUPPORTED:
            raise refused(f"Cannot use field [{name}] {self.unusable.get(name, '')}", source)
        return value

    def _call(self, call: Call) -> Value:
        name = _name(call)
        if name in _SPECIAL:
            return self._special(name, call)
        function = SCALARS.get(name) or CONVERSIONS.get(name) or MULTIVALUES.get(name)
        if function is None:
            if name in AGGREGATES:
                raise refused(
                    f"aggregate function [{call.source.text}] not allowed outside STATS command",
                    call.source,
                )
            raise unknown("function", call.function, supported_functions(), call.source)
        values = [self.value(argument) for argument in call.arguments]
        match function:
            case Scalar():
                return self._scalar(call, function, values)
            case Conversion():
                return self._conversion(call, function, values)
            case Multivalue():
                return self._multivalue(call, function, values)

    def _special(self, name: str, call: Call) -> Value:
        match name:
            case "now":
                self._accepted(call, [], (), 0)
                return self.value(Literal(self.now, Type.DATE, call.source))
            case "case":
                return self._case(call)
            case "coalesce":
                return self._coalesce(call)
            case _:
                (value,) = [self.value(argument) for argument in call.arguments]
                test = "({} IS NULL)" if name == "is_null" else "({} IS NOT NULL)"
                return Value(sql(test, value.sql), Type.BOOLEAN, call.source)

    def _scalar(self, call: Call, function: Scalar, values: list[Value]) -> Value:
        if function.alike:
            values = self._alike(call, values)
        values = self._accepted(call, values, function.takes, function.required, function.variadic)
        of_type = _given(function.gives, values)
        if function.strict and any(value.type is Type.NULL for value in values):
            return _null(of_type, call.source)
        if not function.strict:
            known = next((v.type for v in values if v.type is not Type.NULL), Type.BOOLEAN)
            values = [_null(known, v.source) if v.type is Type.NULL else v for v in values]
        values = [self._single(value, call.source) for value in values]
        result = _written(function.sql, values)
        if function.fails:
            self._may_fail(
                call.source,
                function.fails.format(type=of_type),
                _null_despite(result, [v.sql for v in values if v.type is not Type.TIMESPAN]),
            )
        return Value(result, of_type, call.source)

    def _conversion(self, call: Call, function: Conversion, values: list[Value]) -> Value:
        (value,) = self._accepted(call, values, (frozenset({*function.sql, Type.NULL}),))
        if value.type is Type.NULL:
            return _null(function.gives, call.source)
        template = function.sql[value.type]
        if not value.several:
            result = sql(template, value.sql)
            failed = _null_despite(result, [value.sql])
        else:
            each = sql(template, Sql("element"))
            result = sql(
                "filled(list_filter(list_transform({}, lambda element: {}), "
                "lambda made: made IS NOT NULL))",
                value.sql,
                each,
            )
            failed = sql("len({}) > coalesce(len({}), 0)", value.sql, result)
        if template != "{}" and function.fails:
            self._may_fail(call.source, function.fails, failed)
        return Value(result, function.gives, call.source, value.several)

    def _multivalue(self, call: Call, function: Multivalue, values: list[Value]) -> Value:
        values = self._accepted(call, values, function.takes, function.required)
        first = values[0]
        of_type = _given(function.gives, values)
        if first.type is Type.NULL:
            return _null(of_type, call.source)
        if not first.several and function.single is not None:
            return Value(_written(function.single, values), of_type, call.source)
        lists = [_listed(first), *values[1:]]
        if function.all_lists:
            lists = [_listed(value) for value in values]
        return Value(_written(function.sql, lists), of_type, call.source, function.several)

    # --- CASE, COALESCE ---

    def _case(self, call: Call) -> Value:
        """The value after the first true condition; null or several values are not true."""
        if len(call.arguments) < 2:  # noqa: PLR2004 - a condition and its value
            raise refused(
                f"error building [{call.source.text}]: expects at least two arguments", call.source
            )
        pairs = zip(call.arguments[:-1:2], call.arguments[1::2], strict=True)
        otherwise = call.arguments[-1] if len(call.arguments) % 2 else None
        conditions: list[Sql] = []
        values: list[Value] = []
        with self._guarded():
            for condition, value in pairs:
                conditions.append(self._condition(condition))
                with self._guarded(conditions[-1]):
                    values.append(self.value(value))
                self.guards.append(sql("({}) IS NOT TRUE", conditions[-1]))
            if otherwise is not None:
                values.append(self.value(otherwise))
        values = self._one_type(
            call, values, [*range(1, len(call.arguments), 2), len(call.arguments) - 1]
        )
        arms = [
            sql("WHEN {} THEN {}", condition, value.sql)
            for condition, value in zip(conditions, values, strict=False)
        ]
        rest = sql("ELSE {}", values[-1].sql) if otherwise is not None else Sql("")
        return Value(
            sql("CASE {} {} END", joined(" ", arms), rest),
            values[0].type,
            call.source,
            values[0].several,
        )

    def _coalesce(self, call: Call) -> Value:
        values: list[Value] = []
        with self._guarded():
            for argument in call.arguments:
                values.append(self.value(argument))
                self.guards.append(sql("{} IS NULL", values[-1].sql))
        if not values:
            raise refused(
                f"error building [{call.source.text}]: expects at least one argument", call.source
            )
        values = self._one_type(call, values, range(len(values)))
        coalesced = sql("coalesce({})", joined(", ", [value.sql for value in values]))
        return Value(coalesced, values[0].type, call.source, values[0].several)

    def _one_type(self, call: Call, values: list[Value], places: Sequence[int]) -> list[Value]:
        """Values that can stand in one column: of one type, as lists if any is a list."""
        types = [_plain(value.type) for value in values if value.type is not Type.NULL]
        wanted = types[0] if types else Type.NULL
        for place, value in zip(places, values, strict=False):
            if value.type is not Type.NULL and _plain(value.type) is not wanted:
                raise _wrong_type(call, place, wanted.spoken, value)
        same = [
            _null(wanted, value.source) if value.type is Type.NULL else replace(value, type=wanted)
            for value in values
        ]
        if any(value.several for value in values):
            return [_listed(value) for value in same]
        return same

    # --- What expressions share ---

    def _condition(self, expression: Expression) -> Sql:
        value = self.value(expression)
        if value.type not in {Type.BOOLEAN, Type.NULL}:
            raise refused(
                f"Condition expression needs to be boolean, found [{value.type.spoken}]",
                expression.source,
            )
        if value.type is Type.NULL:
            return Sql("false")
        return self._single(value, expression.source).sql

    def _single(self, value: Value, source: Source) -> Value:
        """The single value of a field; several are null, with a warning."""
        if not value.several:
            return value
        self._may_fail(source, SEVERAL, sql("len({}) > 1", value.sql))
        return replace(value, sql=sql("only_value({})", value.sql), several=False)

    def _may_fail(self, source: Source, message: str, condition: Sql) -> None:
        guarded = joined(" AND ", [*self.guards, sql("({})", condition)])
        self.failures.append(Failure(self.latest, source, message, guarded))

    @contextmanager
    def _guarded(self, *conditions: Sql) -> Iterator[None]:
        """What is evaluated inside counts only for rows for which the conditions hold."""
        before = len(self.guards)
        self.guards.extend(sql("({})", condition) for condition in conditions)
        yield
        del self.guards[before:]

    def _alike(self, call: Call, values: list[Value]) -> list[Value]:
        """Bring arguments to one type: texts that stand for dates and the like, and numbers."""
        special = next((v.type for v in values if v.type in CONVERTIBLE), None)
        if special:
            values = [self._converted(value, special) for value in values]
        present = [value for value in values if value.type is not Type.NULL]
        wanted = {_kind(value.type) for value in present}
        if len(wanted) > 1:
            first, other = (
                present[0],
                next(v for v in present if _kind(v.type) != _kind(present[0].type)),
            )
            kind = "numeric" if first.type in NUMBER else first.type.spoken
            raise refused(
                f"first argument of [{call.source.text}] is [{kind}] so second argument must also "
                f"be [{kind}] but was [{other.type.spoken}]",
                call.source,
            )
        return values

    def _converted(self, value: Value, to: Type) -> Value:
        if value.type not in STRING or not isinstance(value.constant, Literal):
            return value
        return self.value(convert(value.constant, to))

    def _accepted(
        self,
        call: Call,
        values: list[Value],
        takes: tuple[frozenset[Type], ...],
        required: int | None = None,
        variadic: bool = False,
    ) -> list[Value]:
        """The arguments, checked in number and type; texts read as what the function takes."""
        least = len(takes) if required is None else required
        if len(values) < least or (len(values) > len(takes) and not variadic):
            wanted = str(least) if least == len(takes) else f"between {least} and {len(takes)}"
            raise refused(
                f"error building [{call.source.text}]: expects {wanted} argument(s), "
                f"found {len(values)}",
                call.source,
            )
        accepted = []
        for place, given in enumerate(values):
            allowed = takes[min(place, len(takes) - 1)]
            value = given
            if not allowed & STRING and allowed & CONVERTIBLE:
                value = self._converted(given, next(iter(allowed & CONVERTIBLE)))
            if value.type is not Type.NULL and value.type not in allowed:
                raise _wrong_type(call, place, _spoken(allowed), value)
            accepted.append(value)
        return accepted


def _name(call: Call) -> str:
    return ALIASES.get(call.function, call.function)


def _aggregate_calls(expression: Expression) -> list[Call]:
    """The aggregates in an expression, the outer ones only."""
    if isinstance(expression, Call) and _name(expression) in AGGREGATES:
        return [expression]
    return [call for child in children(expression) for call in _aggregate_calls(child)]


def _columns_outside(expression: Expression) -> frozenset[str]:
    """The columns that an expression reads outside aggregates."""
    if isinstance(expression, Call) and _name(expression) in AGGREGATES:
        return frozenset()
    if isinstance(expression, Column):
        return frozenset({expression.name})
    return frozenset().union(*map(_columns_outside, children(expression)))


def _aggregate_sql(call: Call, arguments: list[Value]) -> Sql:
    aggregate = AGGREGATES[_name(call)]
    return _written(aggregate.listed if arguments[0].several else aggregate.single, arguments)


def _written(builder: Builder, values: Sequence[Value]) -> Sql:
    return sql(builder, *(v.sql for v in values)) if isinstance(builder, str) else builder(values)


def _given(rule: Rule, values: Sequence[Value]) -> Type:
    return rule if isinstance(rule, Type) else rule(values)


def _plain(of_type: Type) -> Type:
    return Type.KEYWORD if of_type is Type.TEXT else of_type


def _kind(of_type: Type) -> str:
    if of_type in NUMBER:
        return "number"
    return "string" if of_type in STRING else of_type


def _null(of_type: Type, source: Source) -> Value:
    return Value(Sql(f"CAST(NULL AS {of_type.duckdb})"), of_type, source)


def _listed(value: Value) -> Value:
    if value.several:
        return value
    return replace(value, sql=sql("listed({})", value.sql), several=True)


def _null_despite(result: Sql, arguments: Sequence[Sql]) -> Sql:
    """Whether a result is null though no argument is."""
    there = [sql("{} IS NOT NULL", argument) for argument in arguments]
    return joined(" AND ", [*there, sql("{} IS NULL", result)])


def _shown(value: Value) -> Sql:
    """A value as answers show it: dates and addresses as text."""
    template = {Type.DATE: "date_to_text({})", Type.IP: "ip_to_text({})"}.get(value.type)
    if template is None:
        return value.sql
    if value.several:
        template = f"list_transform({{}}, lambda shown: {template.format('shown')})"
    return sql(template, value.sql)


def _spoken(allowed: frozenset[Type]) -> str:
    if allowed >= NUMBER:
        return "numeric"
    if allowed == STRING:
        return "string"
    if allowed == WHOLE:
        return "whole number"
    return " or ".join(sorted(of_type.spoken for of_type in allowed))


def _wrong_type(call: Call, place: int, wanted: str, value: Value) -> VerificationError:
    which = f"{_ORDINALS[place]} " if len(call.arguments) > 1 and place < len(_ORDINALS) else ""
    return refused(
        f"{which}argument of [{call.source.text}] must be [{wanted}], found value "
        f"[{value.source.text}] type [{value.type.spoken}]",
        call.source,
    )
