"""Pages: from a hunt's query and an answer's last row to the query for the next page."""

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
    """A query that can be paged: it ends with SORT by a unique key, and LIMIT.

    Attributes:
        before: its text up to that SORT.
        end: SORT and LIMIT.
        key: columns, in the order of the SORT, all ascending.
    """

    before: str
    end: str
    key: tuple[str, ...]

    def after(self, row: Mapping[Hashable, Any]) -> tuple[str, dict[str, Any]]:
        """Give the query for the rows after a row, and the values of its added parameters.

        Args:
            row: the last row of a page; its key has single values, as after STATS .. BY.
        """
        values = [row[column] for column in self.key]
        parameters = {
            f"_after_{place}": value for place, value in enumerate(values) if value is not None
        }
        condition = " OR ".join(f"({one})" for one in _behind(self.key, values)) or "false"
        return f"{self.before}| WHERE {condition}\n{self.end}", parameters


def _behind(key: Sequence[str], values: Sequence[object]) -> Iterator[str]:
    """Give the conditions for later rows: equal up to a column and greater there; null is last."""
    equal: list[str] = []
    for place, (column, value) in enumerate(zip(key, values, strict=True)):
        if value is None:
            equal.append(f"`{column}` IS NULL")
        else:
            greater = f"(`{column}` > ?_after_{place} OR `{column}` IS NULL)"
            yield " AND ".join((*equal, greater))
            equal.append(f"`{column}` == ?_after_{place}")


def paged_query(hunt: Hunt, rows_at_most: int) -> PagedQuery | None:
    """Prepare a hunt's query for paging; None if that is not possible.

    It is possible if the query ends with `SORT key | LIMIT n`, if the key has every column of its
    last STATS .. BY and is therefore unique, and if n is at least the server's limit.

    Args:
        hunt: the hunt.
        rows_at_most: the server's limit for one answer.
    """
    found = _END.search(without_comments(hunt.query))
    if found is None or int(found["limit"]) < rows_at_most:
        return None
    columns = [_COLUMN.fullmatch(column.strip()) for column in found["key"].split(",")]
    key = tuple(column["name"] for column in columns if column)
    if len(key) < len(columns) or not hunt.groups or not set(hunt.groups) <= set(key):
        return None
    return PagedQuery(hunt.query[: found.start()], hunt.query[found.start() :], key)
