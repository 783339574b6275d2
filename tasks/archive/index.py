"""Index an archive: from the records of its runs to the pages that link to their reports."""

from __future__ import annotations

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version

from pydantic import ValidationError

from tasks.archive.folder import Folder
from tasks.archive.paths import hunt_folder, is_day, is_month_page, is_record, month_of, slot_of
from tasks.pages.html import page
from tasks.pages.index import index_view, latest_views, month_page, month_view
from tasks.pages.parts import ARCHIVE_INDEX
from tasks.pages.records import Record, Shelf

_SHOWN = timedelta(days=31)
"""The first page covers the months of these days: at least two, with all that it counts."""


def write_index(archive_url: str, *, anew: bool = False) -> str:
    """Write the pages that link to the reports, and give the address of the first one.

    Only the records of the last two months are read, and those of months with an outdated page. If
    another writer added a run meanwhile, the pages are built again: so the last writer has seen
    every run.

    Args:
        archive_url: a folder or an fsspec URL.
        anew: rebuild the pages of all months, even if they are up to date.

    Raises:
        ArchiveError: it cannot be read or written.
    """
    folder = Folder.at(archive_url)
    built = None
    while built != (there := _Files.of(folder.listed())):
        _write(folder, there, anew=anew and built is None)
        built = there
    return folder.address(ARCHIVE_INDEX)


def read_shelf(folder: Folder, records: Sequence[str], days: Sequence[str] = ()) -> Shelf:
    """Read records, and list the paths of unreadable ones."""
    read: dict[str, Record] = {}
    unreadable = []
    for path, content in folder.read(records).items():
        try:
            read[posixpath.dirname(path)] = Record.from_json(content)
        except ValidationError:
            unreadable.append(path)
    return Shelf(read, days, unreadable)


@dataclass(frozen=True, slots=True)
class _Files:
    """The files that the pages show, sorted by path: equal files give equal pages.

    Attributes:
        records: the runs' records.
        days: daily pages.
        listed: every file.
    """

    records: tuple[str, ...]
    days: tuple[str, ...]
    listed: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def of(cls, listed: Collection[str]) -> _Files:
        records, days = filter(is_record, listed), filter(is_day, listed)
        return cls(tuple(records), tuple(days), frozenset(listed))

    @property
    def by_month(self) -> Mapping[str, _Files]:
        """The files by month, as `2026-11`, newest first."""
        records, days = _grouped(self.records), _grouped(self.days)
        return {
            month: _Files(tuple(records[month]), tuple(days[month]))
            for month in sorted({*records, *days}, reverse=True)
        }

    @property
    def newest(self) -> Mapping[str, str]:
        """The newest record for each hunt and cluster: paths sort by slot after these."""
        return {hunt_folder(path): path for path in self.records}

    @property
    def recent(self) -> str:
        """The first month on the first page, as `2026-10`."""
        newest = max(map(slot_of, (*self.newest.values(), *self.days)), default=None)
        return f"{newest - _SHOWN:%Y-%m}" if newest else ""

    @property
    def stamp(self) -> str:
        """A hash of the files and of beaconhunt's version."""
        content = "\n".join((version("beaconhunt"), *self.records, *self.days))
        return hashlib.sha256(content.encode()).hexdigest()


def _grouped(paths: Iterable[str]) -> defaultdict[str, list[str]]:
    months: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        months[month_of(path)].append(path)
    return months


def _write(folder: Folder, there: _Files, *, anew: bool) -> None:
    """Write the pages that are out of date."""
    months = there.by_month
    stale = set(months) if anew else _stale(folder, there, months)
    recent: dict[str, Shelf] = {}
    for month, files in months.items():
        is_recent = month >= there.recent
        if not (is_recent or month in stale):
            continue
        shelf = read_shelf(folder, files.records, files.days)
        if is_recent:
            recent[month] = shelf
        if month in stale:
            view = month_view(month, shelf, files.stamp)
            folder.write(month_page(month), page("month.html.j2", view).encode())
    lately = {hunt_folder(path) for month in recent for path in months[month].records}
    silent = [path for pair, path in there.newest.items() if pair not in lately]
    _write_first(
        folder,
        there,
        Shelf.of(recent.values()),
        read_shelf(folder, silent).records,
        {month: len(files.records) for month, files in months.items()},
    )
    for path in set(filter(is_month_page, there.listed)).difference(map(month_page, months)):
        folder.remove(path)


def _stale(folder: Folder, there: _Files, months: Mapping[str, _Files]) -> set[str]:
    """Give the months with an outdated page."""
    shown = folder.read([path for path in map(month_page, months) if path in there.listed])
    return {
        month
        for month, files in months.items()
        if files.stamp.encode() not in shown.get(month_page(month), b"")
    }


def _write_first(
    folder: Folder,
    there: _Files,
    recent: Shelf,
    silent: Mapping[str, Record],
    runs: Mapping[str, int],
) -> None:
    """Write the first page and the redirects to the newest reports, if they have changed."""
    pages = {
        path: page("latest.html.j2", view)
        for path, view in latest_views({**recent.records, **silent}).items()
    }
    pages[ARCHIVE_INDEX] = page("archive.html.j2", index_view(recent, silent, runs))
    shown = folder.read([path for path in pages if path in there.listed])
    for path, html in pages.items():
        if shown.get(path) != (content := html.encode()):
            folder.write(path, content)
