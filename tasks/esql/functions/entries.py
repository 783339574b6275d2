"""What an entry of the registry states: types, SQL, and the warning when it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.esql.sql import Sql, joined, sql
from tasks.esql.types import Type
from tasks.esql.values import TypedSqls

NOT_FINITE = "java.lang.ArithmeticException: not a finite double number"
OVERFLOW = "java.lang.ArithmeticException: {type} overflow"

Builder = str | Callable[[TypedSqls], Sql]
Rule = Type | Callable[[TypedSqls], Type]
TypeGroup = frozenset[Type]


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function of single values.

    Attributes:
        takes: the types that an argument may have, by place; the last one is for all further ones.
        gives: the type of the result.
        sql: a template with a slot for every argument, or a function that writes the SQL.
        fails: the warning if the result is null though no argument is; None if that is correct.
        required: how many arguments there must be; all of `takes` if None.
        variadic: whether the last argument may be repeated.
        alike: whether all arguments are brought to one type first.
        strict: whether a null argument makes the result null.
        several: whether the result is a list.
    """

    takes: tuple[TypeGroup, ...]
    gives: Rule
    sql: Builder
    fails: str | None = None
    required: int | None = None
    variadic: bool = False
    alike: bool = False
    strict: bool = True
    several: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """A function that converts every value to another type; `sql` has the form for its own type."""

    gives: Type
    sql: Mapping[Type, str]
    fails: str


@dataclass(frozen=True, slots=True)
class Multivalue:
    """A function that sees all values of its first argument, as a list in the first slot.

    `several` says whether the result is a list; on a field with single values `single` is used.
    `all_lists`: every argument comes as a list, and all of one type.
    """

    takes: tuple[TypeGroup, ...]
    gives: Rule
    sql: Builder
    single: Builder | None = None
    several: bool = False
    required: int | None = None
    all_lists: bool = False
    fails: str | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function over rows.

    Attributes:
        takes: the types of its arguments; those after the first are constants.
        gives: the type of the result.
        single: SQL over a column with single values.
        listed: SQL over a column of lists.
        narrowed: whether the result is computed wider and may not fit its type: null then.
        several: whether the result is a list.
    """

    takes: tuple[TypeGroup, ...]
    gives: Rule
    single: Builder
    listed: Builder
    narrowed: bool = False
    several: bool = False
    required: int | None = None


Function = ScalarFunction | Conversion | Multivalue | Aggregate


def written(builder: Builder, values: TypedSqls) -> Sql:
    """The SQL that an entry's builder makes from values."""
    return sql(builder, *(v.sql for v in values)) if isinstance(builder, str) else builder(values)


def result_type(rule: Rule, values: TypedSqls) -> Type:
    """The type of the result that an entry gives for values."""
    return rule if isinstance(rule, Type) else rule(values)


def same_type(arguments: TypedSqls) -> Type:
    """The type of the first argument; a text gives a keyword."""
    first = arguments[0].type
    return Type.KEYWORD if first is Type.TEXT else first


def joined_with(separator: str) -> Callable[[TypedSqls], Sql]:
    """A builder that writes a separator between its arguments."""

    def write(arguments: TypedSqls) -> Sql:
        return sql("({})", joined(separator, [a.sql for a in arguments]))

    return write
