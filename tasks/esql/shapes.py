"""How a field's values stand in the files of a data stream, and what is learned about that.

Files are read in the shape that their first documents have. A scan that meets another shape ends
with a signal; the shape is then widened, and the question asked again. So a scan that ends well has
read everything as it is, and the usual shapes cost nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from tasks.esql.names import Keys
from tasks.esql.sql import Sql, joined, sql, text_constant


class Leaf(Enum):
    """What a scan takes a value for: a single text, a list of texts, or any JSON; any is slower."""

    TEXT = auto()
    LIST = auto()
    ANY = auto()


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a field.

    Attributes:
        ways: the keys under which it stands in documents, without those of a wrapper.
        leaf: how it is read.
        several: whether some document has several values.
        has_wrong: whether some values are not of the field's type: they are null, and counted.
    """

    ways: frozenset[Keys] = frozenset()
    leaf: Leaf = Leaf.TEXT
    several: bool = False
    has_wrong: bool = False

    def __or__(self, other: Shape) -> Shape:
        """A shape that holds what either holds."""
        return Shape(
            self.ways | other.ways,
            self.leaf if self.leaf is other.leaf else Leaf.ANY,
            self.several or other.several,
            self.has_wrong or other.has_wrong,
        )

    @property
    def settled(self) -> Shape:
        """The shape as it is read: several values need any JSON."""
        return replace(self, leaf=Leaf.ANY) if self.several or self.has_wrong else self


class Surprise(StrEnum):
    """What a scan met that its shapes do not have."""

    ANOTHER_WAY = "way"
    ANY_LEAF = "leaf"
    SEVERAL = "several"
    WRONG = "wrong"
    ODD_FILE = "file"


@dataclass(frozen=True, slots=True)
class Signal:
    """The end of a scan.

    Attributes:
        surprise: what the scan met.
        stream: the place of the data stream in its folder.
        field: the place of the field among those that were asked for.
        path: of the file, if it matters.
    """

    surprise: Surprise
    stream: int
    field: int
    path: str


_SIGNAL = re.compile(
    r"Error: (?:Could not convert string ')?\x02(\w+) (\d+) (\d+) (.*)\x03", re.DOTALL
)


def signalling(
    surprise: Surprise,
    place: tuple[int, int],
    duckdb_type: str,
    path: Sql | None = None,
    *,
    stays: bool = False,
) -> Sql:
    """A value that ends the scan that computes it, with a signal.

    It is a cast that fails, or a call of DuckDB's `error`. DuckDB moves filters over the first and
    computes the value again in each of them; the second stays where it is, and is computed once.

    Args:
        surprise: what the scan meets where it computes the value.
        place: of the data stream, and of the field in the question.
        duckdb_type: the type that the value would have.
        path: a column with the path of the row's file.
        stays: whether the value costs so much that it should be computed once.
    """
    text = text_constant(f"\x02{surprise} {place[0]} {place[1]} ")
    message = joined(" || ", [text, *([path] if path else []), Sql("chr(3)")])
    failing = "error({})" if stays else "CAST(CAST({} AS TINYINT) AS VARCHAR)"
    return sql(f"CAST({failing} AS {duckdb_type})", message)


def signal_in(error: Exception) -> Signal | None:
    """Read the signal in DuckDB's error; None for an error of another kind."""
    found = _SIGNAL.search(str(error))
    return Signal(Surprise(found[1]), int(found[2]), int(found[3]), found[4]) if found else None
