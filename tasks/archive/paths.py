"""Paths in an archive: from a file's path to its kind, hunt and slot.

All other files belong to someone else: they are neither shown nor removed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

RECORD = "run.json"
"""Written last into a run's folder: a folder without it is ignored."""

TEMPORARY = ".tmp"

_SLOT = r"\d{4}/\d\d/\d\d/\d{4}Z-[0-9a-f]{12}"
_RUN_FILE = re.compile(rf"[^/]+/[^/]+/{_SLOT}/[^/]+")
_DAY_FILE = re.compile(rf"daily/[^/]+/{_SLOT}\.(html|json)")
_MONTH_PAGE = re.compile(r"months/\d{4}-\d\d\.html")
_TEMPORARY = re.compile(rf"(.*/)?[^/]*\.[0-9a-f]{{32}}{re.escape(TEMPORARY)}")


def is_run_file(path: str) -> bool:
    """Whether the file is in a run's folder."""
    return bool(_RUN_FILE.fullmatch(path))


def is_record(path: str) -> bool:
    """Whether the file is a run's record."""
    return path.endswith(f"/{RECORD}") and is_run_file(path)


def is_day_file(path: str) -> bool:
    """Whether the file is a destination's daily page, or the message beside it."""
    return bool(_DAY_FILE.fullmatch(path))


def is_day(path: str) -> bool:
    """Whether the file is a destination's daily page."""
    return path.endswith(".html") and is_day_file(path)


def is_month_page(path: str) -> bool:
    """Whether the file is the page of a month."""
    return bool(_MONTH_PAGE.fullmatch(path))


def is_temporary(path: str) -> bool:
    """Whether the file is being written, or its writer is gone."""
    return bool(_TEMPORARY.fullmatch(path))


def month_of(path: str) -> str:
    """Give the month of a file of a run or day, as `2026-11`."""
    _, _, year, month, *_ = path.split("/")
    return f"{year}-{month}"


def slot_of(path: str) -> datetime:
    """Give the slot of a file of a run or day."""
    _, _, year, month, day, name, *_ = path.split("/")
    return datetime(int(year), int(month), int(day), int(name[:2]), int(name[2:4]), tzinfo=UTC)


def hunt_folder(path: str) -> str:
    """Give the folder of a run's hunt and cluster, from any of its files."""
    return "/".join(path.split("/")[:2])
