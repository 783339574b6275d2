"""ES|QL text goes in, the tree of its query comes out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError
from lark.tree import Meta

from tasks.esql.errors import ParsingError, Source
from tasks.esql.mistakes import mismatched, missing_query, unrecognised
from tasks.esql.names import abbreviated
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
    SortKey,
    Stats,
    Timespan,
    Where,
)
from tasks.esql.types import Type, whole_type, widest

_GRAMMAR = Lark(
    files("tasks.esql").joinpath("grammar.lark").read_text(encoding="utf-8"),
    parser="lalr",
    propagate_positions=True,
)

_OPAQUE_OR_COMMENT = re.compile(
    r'"""(?:.|\n)*?"""(?!")|"(?:[^"\\\n]|\\.)*"|`(?:[^`]|``)*`|//[^\n\r]*|/\*'
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_QUOTED_OR_PLAIN = re.compile(r"`((?:[^`]|``)+)`|[^`]")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", '"': '"', "\\": "\\"}
_MOST_CHARACTERS = 1_000_000  # As in Elasticsearch.
_MOST_DIGITS = 309  # The greatest double has as many.
_UNITS = {
    "millisecond": ("millisecond", "milliseconds", "ms"),
    "second": ("second", "seconds", "sec", "s"),
    "minute": ("minute", "minutes", "min", "m"),
    "hour": ("hour", "hours", "h"),
    "day": ("day", "days", "d"),
    "week": ("week", "weeks", "w"),
    "month": ("month", "months", "mo"),
    "quarter": ("quarter", "quarters", "q"),
    "year": ("year", "years", "yr", "y"),
}
_UNIT_NAMES = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings}
_MIXABLE = {Type.INTEGER, Type.LONG, Type.DOUBLE}
_CONVERSIONS = {
    "boolean": "to_boolean",
    "bool": "to_boolean",
    "int": "to_integer",
    "integer": "to_integer",
    "long": "to_long",
    "double": "to_double",
    "string": "to_string",
    "keyword": "to_string",
    "ip": "to_ip",
    "datetime": "to_datetime",
    "date": "to_datetime",
}


def parse(text: str) -> Query:
    """Parse ES|QL.

    Raises:
        ParsingError: the text is not ES|QL, or uses a command that this engine does not have.
    """
    if not text.strip():
        raise missing_query()
    if len(text) > _MOST_CHARACTERS:
        raise ParsingError(
            f"ES|QL statement is too large [{len(text)} characters > {_MOST_CHARACTERS}]", 1, 1
        )
    try:
        commands: tuple[Command, ...] = _TreeBuilder(text).transform(
            _GRAMMAR.parse(_without_comments(text))
        )
    except UnexpectedToken as error:
        raise mismatched(error, text, _GRAMMAR.terminals) from None
    except UnexpectedCharacters as error:
        raise unrecognised(error) from None
    except VisitError as error:
        if isinstance(error.orig_exc, ParsingError):
            raise error.orig_exc from None
        raise
    return Query(text, commands)


def _without_comments(text: str) -> str:
    """Blank out comments, keeping every position. Block comments nest, which no token can match."""
    kept = list(text)
    at = 0
    while match := _OPAQUE_OR_COMMENT.search(text, at):
        at = match.end()
        if match.group() == "/*":
            at = _end_of_block_comment(text, match.start())
        elif not match.group().startswith("//"):
            continue
        kept[match.start() : at] = [c if c == "\n" else " " for c in text[match.start() : at]]
    return "".join(kept)


def _end_of_block_comment(text: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    line = text.count("\n", 0, start) + 1
    raise ParsingError("comment without end", line, start - text.rfind("\n", 0, start))


def _column_name(token: str) -> str:
    """A column's name without its backquotes: `` `a``b`.c `` is a`b.c."""
    return "".join(
        match.group(1).replace("``", "`") if match.group(1) else match.group()
        for match in _QUOTED_OR_PLAIN.finditer(token)
    )


def _pattern_parts(token: str) -> tuple[str, ...]:
    """The literal texts between the `*` that are not quoted."""
    parts = [""]
    for match in _QUOTED_OR_PLAIN.finditer(token):
        if match.group() == "*":
            parts.append("")
        else:
            parts[-1] += _column_name(match.group())
    return tuple(parts)


def _string_value(token: str) -> str:
    if token.startswith('"""'):
        return token[3:-3]
    return re.sub(r"\\(.)", lambda match: _ESCAPES[match.group(1)], token[1:-1])


@v_args(meta=True)
class _TreeBuilder(Transformer[Token, tuple[Command, ...]]):
    """Turns Lark's tree into ours, bottom up: a method for each rule of the grammar.

    The grammar decides what `items` holds: a token, a node, or None for an optional part.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._nameless = 0

    def _source(self, meta: Meta) -> Source:
        return Source(self._text[meta.start_pos : meta.end_pos], meta.line, meta.column)

    def _token_source(self, token: Token) -> Source:
        return Source(str(token), token.line or 1, token.column or 1)

    def _column(self, token: Token) -> Column:
        return Column(_column_name(token), self._token_source(token))

    # Commands

    def start(self, _: Meta, commands: list[Command]) -> tuple[Command, ...]:
        return tuple(commands)

    def from_(self, meta: Meta, tokens: list[Token | None]) -> From:
        patterns = tuple(
            _string_value(token) if token.startswith('"') else str(token)
            for token in tokens
            if token and token.type == "SOURCE"
        )
        metadata = tuple(self._column(token) for token in tokens if token and token.type == "NAME")
        return From(
            tuple(part.strip() for pattern in patterns for part in pattern.split(",")),
            metadata,
            self._source(meta),
        )

    def row(self, _: Meta, items: list[tuple[Field, ...]]) -> Row:
        return Row(items[0])

    def where(self, _: Meta, items: list[Expression]) -> Where:
        return Where(items[0])

    def eval(self, _: Meta, items: list[tuple[Field, ...]]) -> Eval:
        return Eval(items[0])

    def stats(self, meta: Meta, items: list[tuple[Field, ...] | None]) -> Stats:
        aggregates, groups = items
        if aggregates is None and groups is None:
            raise ParsingError(
                "At least one aggregation or grouping expression required in [STATS]",
                meta.line,
                meta.column,
            )
        return Stats(aggregates or (), groups or ())

    def keep(self, _: Meta, items: list[tuple[Pattern, ...]]) -> Keep:
        return Keep(items[0])

    def drop(self, _: Meta, items: list[tuple[Pattern, ...]]) -> Drop:
        return Drop(items[0])

    def rename(self, _: Meta, items: list[tuple[Column, Column]]) -> Rename:
        return Rename(tuple(items))

    def sort(self, _: Meta, items: list[SortKey]) -> Sort:
        return Sort(tuple(items))

    def _whole(self, token: Token) -> int:
        if len(token) > _MOST_DIGITS:
            raise self._too_large(token)
        return int(token)

    def _too_large(self, token: Token) -> ParsingError:
        return ParsingError(
            f"Number [{abbreviated(token)}] is too large", token.line or 1, token.column or 1
        )

    def limit(self, _: Meta, items: list[Token | Parameter]) -> Limit:
        item = items[0]
        if isinstance(item, Parameter):
            return Limit(item)
        return Limit(Literal(self._whole(item), Type.INTEGER, self._token_source(item)))

    def mv_expand(self, _: Meta, items: list[Token]) -> MvExpand:
        return MvExpand(self._column(items[0]))

    # Their parts

    def fields(self, _: Meta, items: list[Field]) -> tuple[Field, ...]:
        return tuple(items)

    aggregates = fields

    def field(self, meta: Meta, items: list[Any]) -> Field:
        return self._field(meta, *items)

    def aggregate(self, meta: Meta, items: list[Any]) -> Field:
        return self._field(meta, *items)

    def _field(
        self,
        meta: Meta,
        name: Token | None,
        expression: Expression,
        where: Expression | None = None,
    ) -> Field:
        source = self._source(meta)
        if name is not None:
            return Field(_column_name(name), expression, source, where)
        unnamed = (
            expression.name if isinstance(expression, Column) else " ".join(source.text.split())
        )
        return Field(unnamed, expression, source, where)

    def patterns(self, _: Meta, tokens: list[Token]) -> tuple[Pattern, ...]:
        return tuple(Pattern(_pattern_parts(t), self._token_source(t)) for t in tokens)

    def rename_as(self, _: Meta, tokens: list[Token]) -> tuple[Column, Column]:
        old, new = (self._exact(token) for token in tokens)
        return old, new

    def rename_equals(self, _: Meta, tokens: list[Token]) -> tuple[Column, Column]:
        new, old = (self._exact(token) for token in tokens)
        return old, new

    def _exact(self, token: Token) -> Column:
        if len(_pattern_parts(token)) > 1:
            raise ParsingError(
                f"Using wildcards [*] in RENAME is not allowed [{token}]",
                token.line or 1,
                token.column or 1,
            )
        return self._column(token)

    def sort_key(self, _: Meta, items: list[Any]) -> SortKey:
        expression, direction, nulls = items
        descending = direction is not None and direction.type == "DESC"
        nulls_first = nulls.type == "FIRST" if nulls else descending
        return SortKey(expression, descending, nulls_first)

    # Expressions

    def _call(self, meta: Meta, function: str, *arguments: Expression) -> Call:
        return Call(function, arguments, self._source(meta))

    def binary(self, meta: Meta, items: list[Any]) -> Call:
        left, operator, right = items
        return self._call(meta, str(operator), left, right)

    def disjunction(self, meta: Meta, items: list[Expression]) -> Call:
        return self._call(meta, "or", *items)

    def conjunction(self, meta: Meta, items: list[Expression]) -> Call:
        return self._call(meta, "and", *items)

    def not_(self, meta: Meta, items: list[Expression]) -> Call:
        return self._call(meta, "not", items[0])

    def in_(self, meta: Meta, items: list[Any]) -> Call:
        value, negated, *options = items
        found = self._call(meta, "in", value, *options)
        return self._call(meta, "not", found) if negated else found

    def like(self, meta: Meta, items: list[Any]) -> Call:
        value, negated, operator, *patterns = items
        found = self._call(meta, str(operator).lower(), value, *patterns)
        return self._call(meta, "not", found) if negated else found

    def pattern(self, _: Meta, items: list[Token | Parameter]) -> Expression:
        item = items[0]
        if isinstance(item, Parameter):
            return item
        return Literal(_string_value(item), Type.KEYWORD, self._token_source(item))

    def is_null(self, meta: Meta, items: list[Any]) -> Call:
        value, negated = items
        return self._call(meta, "is_not_null" if negated else "is_null", value)

    def positive(self, _: Meta, items: list[Expression]) -> Expression:
        return items[-1]

    def negative(self, meta: Meta, items: list[Expression]) -> Expression:
        value = items[-1]
        source = self._source(meta)
        if isinstance(value, Literal) and isinstance(value.value, int | float):
            negated = -value.value
            of_type = whole_type(negated) if isinstance(negated, int) else Type.DOUBLE
            return Literal(negated, of_type, source)
        if isinstance(value, Timespan):
            return Timespan(-value.count, value.unit, source)
        return Call("negate", (value,), source)

    def cast(self, meta: Meta, items: list[Any]) -> Call:
        value, type_name = items
        name = str(type_name).lower()
        conversion = _CONVERSIONS.get(name)
        if conversion is None:
            raise ParsingError(f"Unknown data type named [{type_name}]", meta.line, meta.column)
        return self._call(meta, conversion, value)

    def call(self, meta: Meta, items: list[Any]) -> Call:
        name, *arguments = items
        expressions = [a for a in arguments if a is not None and not isinstance(a, Token)]
        return self._call(meta, str(name).lower(), *expressions)

    def column(self, _: Meta, items: list[Token]) -> Column:
        return self._column(items[0])

    # Constants

    def integer(self, meta: Meta, items: list[Token]) -> Literal:
        value = self._whole(items[0])
        of_type = whole_type(value)
        if of_type is Type.DOUBLE:
            return self.decimal(meta, items)
        return Literal(value, of_type, self._source(meta))

    def decimal(self, meta: Meta, items: list[Token]) -> Literal:
        value = float(items[0])
        if math.isinf(value):
            raise self._too_large(items[0])
        return Literal(value, Type.DOUBLE, self._source(meta))

    def timespan(self, meta: Meta, items: list[Token]) -> Timespan:
        number, unit = items
        if number.type != "INTEGER" or unit.lower() not in _UNIT_NAMES:
            raise ParsingError(
                f"Unexpected temporal unit: '{unit}' in [{number} {unit}]", meta.line, meta.column
            )
        return Timespan(self._whole(number), _UNIT_NAMES[unit.lower()], self._source(meta))

    def string(self, meta: Meta, items: list[Token]) -> Literal:
        return Literal(_string_value(items[0]), Type.KEYWORD, self._source(meta))

    def true(self, meta: Meta, _: list[Token]) -> Literal:
        return Literal(True, Type.BOOLEAN, self._source(meta))

    def false(self, meta: Meta, _: list[Token]) -> Literal:
        return Literal(False, Type.BOOLEAN, self._source(meta))

    def null(self, meta: Meta, _: list[Token]) -> Literal:
        return Literal(None, Type.NULL, self._source(meta))

    def array(self, meta: Meta, items: list[Expression]) -> Literal:
        constants = [item for item in items if isinstance(item, Literal)]
        types = {item.type for item in constants}
        if len(constants) < len(items) or not (len(types) == 1 or types <= _MIXABLE):
            raise ParsingError(
                f"[{self._source(meta).text}]: a list holds constants of one type",
                meta.line,
                meta.column,
            )
        of_type = widest(types) if len(types) > 1 else types.pop()
        return Literal(tuple(item.value for item in constants), of_type, self._source(meta))

    def parameter(self, meta: Meta, items: Sequence[Token]) -> Parameter:
        name = str(items[0])[1:]
        if not name:
            self._nameless += 1
            name = str(self._nameless)
        return Parameter(name, self._source(meta))
