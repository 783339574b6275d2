"""A text goes in, the JSON values in it come out: one a line, or over several lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TextIO

LINE_BYTES = 16 << 20
"""Bytes of a line that DuckDB's reader takes."""

_LARGEST = 512 << 20
"""Characters of a value over several lines: Python reads it as a whole."""

_CHUNK = 1 << 20
_BETWEEN = " \t\r\n,"
_DECIDING_LINES = 2
_MOST_DIGITS = 4_000


@dataclass(frozen=True, slots=True)
class Broken:
    """What stands where a JSON value should, and why it is none."""

    reason: str


class TooDeep:
    """A JSON value that nests too deep to be read."""


def is_value_a_line(text: TextIO) -> bool:
    """Whether a text has one value a line, and no value over several lines.

    The second line counts as well: the first one of a file that was rotated may be cut.
    """
    first = list(islice((line for _, line in _lines(text)), _DECIDING_LINES))
    if not first or first[0].strip()[:1] not in {"{", "["} or _is_container(first[0]):
        return True
    return first[0].strip() != "[" and any(_is_container(line) for line in first)


def _is_container(line: str) -> bool:
    return isinstance(parsed(line), dict | list)


def values_by_line(text: TextIO) -> Iterator[tuple[int, object]]:
    """Give the value of every line that is not blank, with its number."""
    for number, line in _lines(text):
        too_long = len(line) > LINE_BYTES
        yield number, Broken("a document is larger than 16 MB") if too_long else parsed(line)


def _lines(text: TextIO) -> Iterator[tuple[int, str]]:
    """The lines that are not blank; of a longer one than the longest, one character more."""
    number = 0
    while line := text.readline(LINE_BYTES + 1):
        number += 1
        if line.strip():
            yield number, line
        while line and not line.endswith("\n"):
            line = text.readline(LINE_BYTES + 1)


def values_over_lines(text: TextIO) -> Iterator[tuple[int, object]]:
    """Give all values of a text, or of the list that it is, with the numbers of their lines.

    What is broken ends it: nothing behind it can be told apart.
    """
    read, number, is_listed = "", 1, None
    while True:
        stripped = read.lstrip(_BETWEEN if is_listed else _BETWEEN[:-1])
        number += read.count("\n", 0, len(read) - len(stripped))
        read = stripped
        if is_listed is None and read:
            is_listed = read[0] == "["
            read = read[1:] if is_listed else read
            continue
        if is_listed and read.startswith("]"):
            return
        value, end = _first_value(read)
        if end:
            yield number, value
            number += read.count("\n", 0, end)
            read = read[end:]
            continue
        more = text.read(max(_CHUNK, len(read)))
        if not more:
            if read or is_listed:
                yield number, value if read else Broken("the list has no end")
            return
        read += more
        if len(read) > _LARGEST:
            yield number, Broken(f"a value is larger than {_LARGEST >> 20} MB")
            return


def _first_value(text: str) -> tuple[object, int]:
    """The value at the beginning of a text and its end; 0 if the text is too short or broken."""
    try:
        return _DECODER.raw_decode(text)
    except ValueError as error:
        return Broken(str(error)), 0
    except RecursionError:  # Where it ends is unknown.
        return TooDeep(), len(text)


def parsed(line: str) -> object:
    """Read one JSON value, or why it is none."""
    try:
        return _DECODER.decode(line)
    except ValueError as error:
        return Broken(str(error))
    except RecursionError:
        return TooDeep()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key [{twice}] twice")
    return made


def _whole_number(text: str) -> int | float:
    """A number of any length; Python converts only so many digits to a whole one."""
    return int(text) if len(text) < _MOST_DIGITS else float(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_whole_number)
