"""Lark's errors go in, errors in Elasticsearch's words come out, with what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.lexer import TerminalDef

from tasks.esql.errors import ParsingError

_SHOWN = {
    "NAME": "<identifier>",
    "PATTERN": "<identifier>",
    "SOURCE": "<source>",
    "$END": "<EOF>",
}
_MOST_EXPECTED = 12


def missing_query() -> ParsingError:
    """A text without any command."""
    return ParsingError("mismatched input '<EOF>' expecting {'from', 'row'}", 1, 1)


def unrecognised(error: UnexpectedCharacters) -> ParsingError:
    """Characters that begin no token."""
    return ParsingError(f"token recognition error at: '{error.char}'", error.line, error.column)


def mismatched(error: UnexpectedToken, text: str, terminals: Iterable[TerminalDef]) -> ParsingError:
    """A token that does not belong in its place; a command that is not supported is named.

    Args:
        error: the parser's.
        text: the whole query.
        terminals: the grammar's, whose keywords are shown as expected.
    """
    found = error.token
    shown = _expected(error, terminals)
    after_pipe = "WHERE" in error.accepts and "EVAL" in error.accepts
    if after_pipe and found.type != "$END" and re.match("[a-z]", found, re.IGNORECASE):
        return ParsingError(
            f"mismatched input '{found}': command [{found.upper()}] is unknown or not supported, "
            f"expecting {{{shown}}}",
            found.line,
            found.column,
        )
    at_end = found.type == "$END"
    return ParsingError(
        f"mismatched input '{'<EOF>' if at_end else found}' expecting {{{shown}}}",
        text.count("\n") + 1 if at_end else found.line,
        len(text) - text.rfind("\n") if at_end else found.column,
    )


def _expected(error: UnexpectedToken, terminals: Iterable[TerminalDef]) -> str:
    """The first few tokens that may stand there, keywords in quotes."""
    keywords = {t.name: str(t.pattern.value).lower() for t in terminals if t.pattern.type == "str"}
    texts = keywords | _SHOWN
    expected = sorted(texts.get(name, name.lower()) for name in error.accepts)
    return ", ".join(f"'{e}'" if e[0] != "<" else e for e in expected[:_MOST_EXPECTED])
