"""Prune an archive: from an age to the runs and daily pages that were removed."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tasks.archive.folder import Folder
from tasks.archive.index import read_shelf, write_index
from tasks.archive.paths import (
    RECORD,
    hunt_folder,
    is_day_file,
    is_record,
    is_run_file,
    is_temporary,
    slot_of,
)
from tasks.model.digests import DAY
from tasks.pages.records import Record, standing_runs

ABANDONED = timedelta(days=1)
"""An incomplete file older than this has no writer any more."""


def prune_archive(
    archive_url: str,
    before: datetime,
    *,
    dry_run: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Remove runs for slots before a moment, the daily pages about them, and incomplete files.

    The newest run for each hunt and cluster is kept, and the newest complete one. A run's record is
    removed first: if the process is interrupted, the rest counts as incomplete and goes next time.

    Args:
        archive_url: a folder or an fsspec URL.
        before: slots before it are old, aware UTC.
        dry_run: remove nothing.
        report: called with every path, before it is removed.

    Returns:
        Paths that were removed, or would be, relative to the archive: folders of runs, daily pages
        with their messages, and incomplete files.

    Raises:
        ArchiveError: it cannot be read or written.
    """
    folder = Folder.at(archive_url)
    removed = []
    try:
        for path, files in _old(folder, before):
            report(path)
            removed.append(path)
            for file in () if dry_run else files:
                folder.remove(file)
    finally:
        if removed and not dry_run:
            write_index(archive_url)
    return tuple(removed)


def _old(folder: Folder, before: datetime) -> Iterator[tuple[str, Sequence[str]]]:
    """Give the runs and pages to remove, with their files in the order of removal."""
    listed = folder.listed()
    for path in filter(is_temporary, listed):
        if _is_abandoned(folder, path):
            yield path, [path]
    runs: defaultdict[str, list[str]] = defaultdict(list)
    for path in listed:
        if is_run_file(path) and not is_temporary(path):
            runs[posixpath.dirname(path)].append(path)
    kept = _kept(read_shelf(folder, list(filter(is_record, listed))).records)
    for run, files in runs.items():
        record = f"{run}/{RECORD}"
        if record in files:
            goes = run not in kept and slot_of(record) < before
        else:
            goes = all(_is_abandoned(folder, file) for file in files)
        if goes:
            yield run, sorted(files, key=lambda file: file != record)
    for path in filter(is_day_file, listed):
        if slot_of(path) - DAY < before:  # It links to reports that are removed.
            yield path, [path]


def _kept(records: Mapping[str, Record]) -> frozenset[str]:
    """Give the newest run for each hunt and cluster, and the newest complete one."""
    newest: dict[str, str] = {}
    complete: dict[str, str] = {}
    for folder, record in standing_runs(records):
        newest.setdefault(hunt_folder(folder), folder)
        if record.run.outcome.comparable:
            complete.setdefault(hunt_folder(folder), folder)
    return frozenset((*newest.values(), *complete.values()))


def _is_abandoned(folder: Folder, path: str) -> bool:
    changed_at = folder.changed_at(path)
    return changed_at is not None and changed_at < datetime.now(UTC) - ABANDONED
