"""Paths of an archive: from where a file stands to what it is of."""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime

RECORD = "run.json"
"""Comes last into a run's folder: one without it does not count."""

TEMPORARY = ".tmp"

_RUN_PARTS, _DAY_PARTS, _MONTH_PARTS = 7, 6, 2


def is_run_file(path: str) -> bool:
    """Whether it is in a run's folder."""
    return _parts(path) == _RUN_PARTS


def is_record(path: str) -> bool:
    """Whether it is the record of a run."""
    return is_run_file(path) and posixpath.basename(path) == RECORD


def is_day_file(path: str) -> bool:
    """Whether it is the page of a destination's day, or the message beside it."""
    return path.startswith("daily/") and _parts(path) == _DAY_PARTS and not is_temporary(path)


def is_day(path: str) -> bool:
    """Whether it is the page of a destination's day."""
    return is_day_file(path) and path.endswith(".html")


def is_month_page(path: str) -> bool:
    """Whether it is the page of a month."""
    return path.startswith("months/") and _parts(path) == _MONTH_PARTS and path.endswith(".html")


def is_temporary(path: str) -> bool:
    """Whether it is being written, or its writer is gone."""
    return path.endswith(TEMPORARY)


def month_of(path: str) -> str:
    """Give the month of a run's or a day's file, as `2026-11`."""
    _, _, year, month, *_ = path.split("/")
    return f"{year}-{month}"


def slot_of(path: str) -> datetime:
    """Give the slot of a run's or a day's file."""
    _, _, year, month, day, name, *_ = path.split("/")
    return datetime(int(year), int(month), int(day), int(name[:2]), int(name[2:4]), tzinfo=UTC)


def hunted(path: str) -> str:
    """Give the folder of the hunt on the cluster that a run's file belongs to."""
    return "/".join(path.split("/")[:2])


def _parts(path: str) -> int:
    return len(path.split("/"))
