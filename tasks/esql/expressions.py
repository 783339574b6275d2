"""An expression of the query tree goes in, typed SQL comes out.

It also collects what may fail: an evaluation that fails gives null and a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from tasks.esql.errors import ParsingError, Source, VerificationError, refused, unknown
from tasks.esql.functions import FUNCTIONS, OPERATORS
from tasks.esql.functions.dates import interval
from tasks.esql.functions.entries import (
    Aggregate,
    Conversion,
    Multivalue,
    ScalarFunction,
    result_type,
    written,
)
from tasks.esql.literals import CONVERTIBLE, constant, convert, literal_sql
from tasks.esql.plans import Failure
from tasks.esql.sql import Sql, joined, sql
from tasks.esql.tree import Call, Column, Expression, Literal, Parameter, Timespan, conjuncts
from tasks.esql.types import ANY, NUMBER, STRING, WHOLE, Type
from tasks.esql.values import TypedSql

SEVERAL = "java.lang.IllegalArgumentException: single-value function encountered multi-value"
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_SPECIAL = ("case", "coalesce", "is_null", "is_not_null", "now")


def supported_functions() -> frozenset[str]:
    """The names of all functions, without operators."""
    return frozenset({*FUNCTIONS, "case", "coalesce", "now"} - OPERATORS.keys())


@dataclass(slots=True)
class Expressions:
    """Translates expressions over one stage after another.

    Attributes:
        parameters: the values of `?name` and, by their place from "1", of `?`.
        now: the value of NOW().
        stage: the name of the stage whose columns expressions read.
        scope: those columns by their ES|QL names.
        unread: the names of fields that exist, but that `demand` left out.
        unusable: why a column of the type `unsupported` cannot be used.
        aggregated: the columns of aggregates, while a STATS is being translated.
        failures: what may fail in the expressions translated so far.
    """

    parameters: Mapping[str, object]
    now: datetime
    stage: str = ""
    scope: dict[str, TypedSql] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    unusable: dict[str, str] = field(default_factory=dict)
    aggregated: dict[Call, TypedSql] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def value(self, expression: Expression) -> TypedSql:
        """An expression as SQL over the latest stage."""
        match expression:
            case Literal():
                several = isinstance(expression.value, tuple)
                return TypedSql(
                    literal_sql(expression), expression.type, expression.source, several, expression
                )
            case Timespan():
                return TypedSql(
                    interval(expression), Type.TIMESPAN, expression.source, constant=expression
                )
            case Parameter():
                return self.value(self.resolved(expression))
            case Column(name, source):
                return replace(self.known(name, source), source=source)
            case Call():
                return self.aggregated.get(expression) or self._call(expression)

    def resolved(self, parameter: Parameter) -> Literal:
        """The value of a parameter."""
        name, source = parameter.name, parameter.source
        if name not in self.parameters:
            raise ParsingError(f"Unknown query parameter [{name}]", source.line, source.column)
        literal = constant(self.parameters[name], source)
        if literal is None:
            raise ParsingError(
                f"Query parameter [{name}] must be a single value", source.line, source.column
            )
        return literal

    def known(self, name: str, source: Source) -> TypedSql:
        """The column with a name."""
        if name not in self.scope:
            raise unknown("column", name, self.scope.keys() | self.unread, source)
        value = self.scope[name]
        if value.type is Type.UNSUPPORTED:
            raise refused(f"Cannot use field [{name}] {self.unusable.get(name, '')}", source)
        return value

    def _call(self, call: Call) -> TypedSql:
        if call.function in _SPECIAL:
            return self._special(call)
        function = FUNCTIONS.get(call.function)
        if function is None:
            raise unknown("function", call.function, supported_functions(), call.source)
        if isinstance(function, Aggregate):
            raise refused(
                f"aggregate function [{call.source.text}] not allowed outside STATS command",
                call.source,
            )
        values = [self.value(argument) for argument in call.arguments]
        match function:
            case ScalarFunction():
                return self._scalar(call, function, values)
            case Conversion():
                return self._conversion(call, function, values)
            case Multivalue():
                return self._multivalue(call, function, values)

    def _special(self, call: Call) -> TypedSql:
        match call.function:
            case "now":
                self.accepted(call, [], (), 0)
                return self.value(Literal(self.now, Type.DATE, call.source))
            case "case":
                return self._case(call)
            case "coalesce":
                return self._coalesce(call)
            case _:
                (value,) = self.accepted(
                    call, [self.value(argument) for argument in call.arguments], (ANY,)
                )
                test = "({} IS NULL)" if call.function == "is_null" else "({} IS NOT NULL)"
                return TypedSql(sql(test, value.sql), Type.BOOLEAN, call.source)

    def _scalar(self, call: Call, function: ScalarFunction, values: list[TypedSql]) -> TypedSql:
        if function.alike:
            values = self._alike(call, values)
        values = self.accepted(call, values, function.takes, function.required, function.variadic)
        of_type = result_type(function.gives, values)
        if function.strict and any(value.type is Type.NULL for value in values):
            return null(of_type, call.source)
        if not function.strict:
            known = next((v.type for v in values if v.type is not Type.NULL), Type.BOOLEAN)
            values = [null(known, v.source) if v.type is Type.NULL else v for v in values]
        values = [self._single(value, call.source) for value in values]
        made = TypedSql(Sql(""), of_type, call.source, function.several)
        write = partial(written, function.sql)
        message = function.fails and function.fails.format(type=of_type)
        return replace(made, sql=self._noted(made, message, values, write))

    def _conversion(self, call: Call, function: Conversion, values: list[TypedSql]) -> TypedSql:
        (value,) = self.accepted(call, values, (frozenset({*function.sql, Type.NULL}),))
        if value.type is Type.NULL:
            return null(function.gives, call.source)
        template = function.sql[value.type]
        message = function.fails if template != "{}" else None
        made = TypedSql(Sql(""), function.gives, call.source, value.several)
        if not value.several:
            result = self._noted(made, message, [value], partial(written, template))
        else:
            element = [replace(value, sql=Sql("element"), constant=None)]
            single = replace(made, several=False)
            each = self._noted(single, message, element, partial(written, template))
            result = sql(
                "filled(list_filter(list_transform({}, lambda element: {}), "
                "lambda made: made IS NOT NULL))",
                value.sql,
                each,
            )
        return replace(made, sql=result)

    def _multivalue(self, call: Call, function: Multivalue, values: list[TypedSql]) -> TypedSql:
        values = self.accepted(call, values, function.takes, function.required)
        of_type = result_type(function.gives, values)
        if function.all_lists:
            lists = [as_list(value) for value in self._one_type(call, values, range(len(values)))]
        elif any(value.type is Type.NULL for value in values):
            return null(of_type, call.source)
        else:
            first, *others = values
            singles = [self._single(value, call.source) for value in others]
            if not first.several and function.single is not None:
                return TypedSql(written(function.single, [first, *singles]), of_type, call.source)
            lists = [as_list(first), *singles]
        made = TypedSql(Sql(""), of_type, call.source, function.several)
        message = function.fails and function.fails.format(type=of_type)
        return replace(made, sql=self._noted(made, message, lists, partial(written, function.sql)))

    # --- CASE, COALESCE ---

    def _case(self, call: Call) -> TypedSql:
        """The value after the first true condition; null or several values are not true."""
        if len(call.arguments) == 1 or not call.arguments:
            raise refused(
                f"error building [{call.source.text}]: expects at least two arguments", call.source
            )
        pairs = zip(call.arguments[:-1:2], call.arguments[1::2], strict=True)
        otherwise = call.arguments[-1] if len(call.arguments) % 2 else None
        conditions: list[Sql] = []
        values: list[TypedSql] = []
        for condition, value in pairs:
            conditions.append(self.condition(condition))
            values.append(self.value(value))
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
        return TypedSql(
            sql("CASE {} {} END", joined(" ", arms), rest),
            values[0].type,
            call.source,
            values[0].several,
        )

    def _coalesce(self, call: Call) -> TypedSql:
        values = [self.value(argument) for argument in call.arguments]
        if not values:
            raise refused(
                f"error building [{call.source.text}]: expects at least one argument", call.source
            )
        values = self._one_type(call, values, range(len(values)))
        coalesced = sql("coalesce({})", joined(", ", [value.sql for value in values]))
        return TypedSql(coalesced, values[0].type, call.source, values[0].several)

    def _one_type(
        self, call: Call, values: list[TypedSql], places: Sequence[int]
    ) -> list[TypedSql]:
        """Values that can stand in one column: of one type, as lists if any is a list."""
        types = [_plain(value.type) for value in values if value.type is not Type.NULL]
        wanted = types[0] if types else Type.NULL
        for place, value in zip(places, values, strict=False):
            if value.type is not Type.NULL and _plain(value.type) is not wanted:
                raise _wrong_type(call, place, wanted.label, value)
        same = [
            null(wanted, value.source) if value.type is Type.NULL else replace(value, type=wanted)
            for value in values
        ]
        if any(value.several for value in values):
            return [as_list(value) for value in same]
        return same

    # --- What expressions share ---

    def condition(self, expression: Expression) -> Sql:
        """An expression that is true or false for a row."""
        failures = len(self.failures)
        value = self.value(expression)
        if value.type not in {Type.BOOLEAN, Type.NULL}:
            raise refused(
                f"Condition expression needs to be boolean, found [{value.type.label}]",
                expression.source,
            )
        if value.type is Type.NULL:
            return Sql("false")
        never = [part for part in conjuncts(expression) if self._is_never_true(part)]
        if never and len(self.failures) == failures:
            return self.value(never[0]).sql
        return self._single(value, expression.source).sql

    def _is_never_true(self, expression: Expression) -> bool:
        """Whether a condition looks for several values in fields that have one.

        Coverage asks that of every event. Such a part of an AND decides alone, and still reads its
        fields: only a scan can know that they have one value.
        """
        match expression:
            case Call("or", parts):
                return all(map(self._is_never_true, parts))
            case Call(">", (Call("mv_count", (Column(name),)), Literal(int(count)))):
                return count > 0 and not self.scope[name].several
            case _:
                return False

    def _single(self, value: TypedSql, source: Source) -> TypedSql:
        """The single value of a field; several are null, with a warning."""
        if not value.several:
            return value
        several = self.failure(source, SEVERAL, value.type.duckdb)
        only = sql(
            "list_transform([{}], lambda all_of: "
            "CASE WHEN len(all_of) > 1 THEN {} ELSE all_of[1] END)[1]",
            value.sql,
            several,
        )
        return replace(value, sql=only, several=False)

    def _noted(
        self,
        made: TypedSql,
        message: str | None,
        values: Sequence[TypedSql],
        write: Callable[[Sequence[TypedSql]], Sql],
    ) -> Sql:
        """The SQL of a function that may fail: null, and noted, though no argument is null.

        Args:
            made: the result, without its SQL.
            message: the warning; without one the function cannot fail.
            values: the arguments.
            write: makes SQL from arguments.
        """
        if not message:
            return write(values)
        # An argument that is computed gets a name, so that it is computed once.
        computed = [v for v in values if v.constant is None and not v.sql.text.isidentifier()]
        named = [
            replace(v, sql=Sql(f"the.of{computed.index(v)}")) if v in computed else v
            for v in values
        ]
        there = [sql("{} IS NOT NULL", v.sql) for v in named if v.type is not Type.TIMESPAN]
        form = made.type.duckdb + ("[]" if made.several else "")
        result = sql(
            "coalesce({}, CASE WHEN {} THEN {} END)",
            write(named),
            joined(" AND ", there),
            self.failure(made.source, message, form),
        )
        if not computed:
            return result
        packed = [sql(f"of{place} := {{}}", v.sql) for place, v in enumerate(computed)]
        return sql(
            "list_transform([struct_pack({})], lambda the: {})[1]", joined(", ", packed), result
        )

    def failure(self, source: Source, message: str, duckdb_type: str) -> Sql:
        """A null that counts in a sequence: whoever computes it notes that something failed."""
        counted = f"nextval('{Failure.sequence(len(self.failures))}') IS NULL"
        self.failures.append(Failure(source, message))
        return Sql(f"CASE WHEN {counted} THEN CAST(NULL AS {duckdb_type}) END")

    def _alike(self, call: Call, values: list[TypedSql]) -> list[TypedSql]:
        """Bring arguments to one type: convert texts that are compared with dates and the like."""
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
            kind = "numeric" if first.type in NUMBER else first.type.label
            raise refused(
                f"first argument of [{call.source.text}] is [{kind}] so second argument must also "
                f"be [{kind}] but was [{other.type.label}]",
                call.source,
            )
        return values

    def _converted(self, value: TypedSql, to: Type) -> TypedSql:
        if value.type not in STRING or not isinstance(value.constant, Literal):
            return value
        return self.value(convert(value.constant, to))

    def accepted(
        self,
        call: Call,
        values: list[TypedSql],
        takes: tuple[frozenset[Type], ...],
        required: int | None = None,
        variadic: bool = False,
    ) -> list[TypedSql]:
        """Check the number and types of arguments; convert texts to what the function takes."""
        least = len(takes) if required is None else required
        if len(values) < least or (len(values) > len(takes) and not variadic):
            wanted = str(least) if least == len(takes) else f"between {least} and {len(takes)}"
            raise refused(
                f"error building [{call.source.text}]: expects {wanted} argument(s), "
                f"found {len(values)}",
                call.source,
            )
        accepted = []
        for place, argument in enumerate(values):
            allowed = takes[min(place, len(takes) - 1)]
            value = argument
            if not allowed & STRING and allowed & CONVERTIBLE:
                value = self._converted(argument, next(iter(allowed & CONVERTIBLE)))
            if value.type is not Type.NULL and value.type not in allowed:
                raise _wrong_type(call, place, _label(allowed), value)
            accepted.append(value)
        return accepted


def null(of_type: Type, source: Source) -> TypedSql:
    """A null of a type."""
    return TypedSql(Sql(f"CAST(NULL AS {of_type.duckdb})"), of_type, source)


def as_list(value: TypedSql) -> TypedSql:
    """A value as a list."""
    if value.several:
        return value
    return replace(value, sql=sql("listed({})", value.sql), several=True)


def _plain(of_type: Type) -> Type:
    return Type.KEYWORD if of_type is Type.TEXT else of_type


def _kind(of_type: Type) -> str:
    if of_type in NUMBER:
        return "number"
    return "string" if of_type in STRING else of_type


def _label(allowed: frozenset[Type]) -> str:
    if allowed >= NUMBER:
        return "numeric"
    if allowed == STRING:
        return "string"
    if allowed == WHOLE:
        return "whole number"
    return " or ".join(sorted(of_type.label for of_type in allowed))


def _wrong_type(call: Call, place: int, wanted: str, value: TypedSql) -> VerificationError:
    which = f"{_ORDINALS[place]} " if len(call.arguments) > 1 and place < len(_ORDINALS) else ""
    return refused(
        f"{which}argument of [{call.source.text}] must be [{wanted}], found value "
        f"[{value.source.text}] type [{value.type.label}]",
        call.source,
    )
