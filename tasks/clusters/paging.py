"""Pages: from a hunt's query and the last row of an answer to the query for what comes after it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.model.hunts import Hunt, without_comments

_END = re.compile(r"\|\s*SORT\s(?P<key>[^|]+)\|\s*LIMIT\s+(?P<limit>\d+)\s*$", re.IGNORECASE)
_COLUMN = re.compile(r"`?(?P<name>[\w.@]+)`?(\s+ASC)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PagedQuery:
    """A query that can be continued: it ends in SORT by a key that no two rows share, and LIMIT.

    Attributes:
        before: its text up to that SORT.
        end: SORT and LIMIT.
        key: columns, in the order of the SORT, all ascending.
    """

    before: str
    end: str
    key: tuple[str, ...]

    def after(self, row: Mapping[Hashable, Any]) -> tuple[str, dict[str, Any]]:
        """Give the query for the rows behind one, and the values of its further parameters.

        Args:
            row: the last one of a page; its key holds single values, as that of STATS .. BY does.
        """
        values = [row[column] for column in self.key]
        parameters = {
            f"_after_{place}": value for place, value in enumerate(values) if value is not None
        }
        condition = " OR ".join(f"({one})" for one in _behind(self.key, values)) or "false"
        return f"{self.before}| WHERE {condition}\n{self.end}", parameters


def _behind(key: Sequence[str], values: Sequence[object]) -> Iterator[str]:
    """Give the ways to come later: equal up to a column, and there greater; null is the last."""
    equal: list[str] = []
    for place, (column, value) in enumerate(zip(key, values, strict=True)):
        if value is None:
            equal.append(f"`{column}` IS NULL")
        else:
            greater = f"(`{column}` > ?_after_{place} OR `{column}` IS NULL)"
            yield " AND ".join((*equal, greater))
            equal.append(f"`{column}` == ?_after_{place}")


def paged_query(hunt: Hunt, rows_at_most: int) -> PagedQuery | None:
    """Say how a hunt's query is continued; None where it cannot be.

    It can where it ends in `SORT key | LIMIT n`, the key has every column of its last STATS .. BY,
    so that no two rows share it, and it asks for all rows that a server gives.

    Args:
        hunt: whose query it is.
        rows_at_most: that a server gives at once.
    """
    found = _END.search(without_comments(hunt.query))
    if found is None or int(found["limit"]) < rows_at_most:
        return None
    columns = [_COLUMN.fullmatch(column.strip()) for column in found["key"].split(",")]
    key = tuple(column["name"] for column in columns if column)
    if len(key) < len(columns) or not hunt.groups or not set(hunt.groups) <= set(key):
        return None
    return PagedQuery(hunt.query[: found.start()], hunt.query[found.start() :], key)
