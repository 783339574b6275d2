"""Errors with their place in the query, worded as Elasticsearch words them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of a query: its text, and where it starts (lines and columns count from 1)."""

    text: str
    line: int
    column: int

    @property
    def position(self) -> str:
        """`line:column`, as messages name it."""
        return f"{self.line}:{self.column}"


class EsqlError(Exception):
    """A question that cannot be answered.

    Attributes:
        kind: Elasticsearch's name for it: `parsing_exception`, `verification_exception`, ...
        message: what is wrong, without the position.
        line: the line in the query, from 1; 0 if the problem is not in the query's text.
        column: the column in the line, from 1; 0 as well in that case.
    """

    kind = "illegal_argument_exception"
    status = 400
    preface = ""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message, line, column)
        self.message = message
        self.line = line
        self.column = column

    @property
    def reason(self) -> str:
        """The message with its position, as Elasticsearch words it."""
        place = f"line {self.line}:{self.column}: " if self.line else ""
        return f"{self.preface}{place}{self.message}"

    def __str__(self) -> str:
        """The reason."""
        return self.reason


class ParsingError(EsqlError):
    """The text is not ES|QL, or uses a part of it that this engine does not have."""

    kind = "parsing_exception"


class VerificationError(EsqlError):
    """The text is ES|QL, but names a column that does not exist or mixes types."""

    kind = "verification_exception"

    # Elasticsearch counts the problems that it finds; this engine stops at the first.
    preface = "Found 1 problem\n"


class DocumentError(EsqlError):
    """A line of a data file is not a document."""

    kind = "document_parsing_exception"


class NotEnoughMemory(EsqlError):
    """The answer needs more memory than there is, and the disk cannot take the rest."""

    kind = "circuit_breaking_exception"


def refused(message: str, source: Source) -> VerificationError:
    """A verification error at a piece of the query."""
    return VerificationError(message, source.line, source.column)


def unknown(what: str, name: str, known: Iterable[str], source: Source) -> VerificationError:
    """`Unknown column [x], did you mean [y]?` with the nearest of the known names."""
    near = get_close_matches(name, sorted(known), n=3, cutoff=0.75)
    hint = ""
    if len(near) == 1:
        hint = f", did you mean [{near[0]}]?"
    elif near:
        hint = f", did you mean any of [{', '.join(near)}]?"
    return refused(f"Unknown {what} [{name}]{hint}", source)


def explain_position(text: str, line: int, column: int) -> str:
    """The line of a query with a caret below the position.

    Args:
        text: the whole query.
        line: the line, from 1.
        column: the column, from 1; a column past the end points behind the last character.

    Returns:
        Two lines without a newline at the end; tabs are kept, so that the caret is in its place.
    """
    lines = text.splitlines() or [""]
    shown = lines[min(max(line, 1), len(lines)) - 1]
    before = shown[: max(column, 1) - 1]
    return f"{shown}\n{''.join(c if c == chr(9) else ' ' for c in before)}^"
