"""Exposure: from a file or folder on this machine to whether its other users may read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from stat import S_IROTH, S_IXOTH

from tasks.preflight.checks import TrialResult, warning
from tasks.settings import located

_SQLITE = "sqlite:///"


def exposures(url: str) -> Iterator[TrialResult]:
    """Warn if every user of this machine may read a history or an archive.

    A group that may read it was allowed to on purpose; nothing is reported about other servers.

    Args:
        url: of a history or an archive; it need not exist yet.
    """
    path = Path(located(url.removeprefix(_SQLITE)))
    if path.is_absolute() and path.exists() and _readable_by_all(path):
        yield warning(
            f"Every user of this machine may read {path}, with user names and command lines.",
            f"Close it: chmod -R o= {path}",
        )


def _readable_by_all(path: Path) -> bool:
    """Whether others may read it, and enter every folder above it."""
    may_enter = all(folder.stat().st_mode & S_IXOTH for folder in path.resolve().parents)
    return may_enter and bool(path.stat().st_mode & S_IROTH)
