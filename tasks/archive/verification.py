"""Verify an archive: from the runs' documents to the files that differ from them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from pydantic import ValidationError

from tasks.archive.folder import Folder
from tasks.archive.paths import RECORD, is_record
from tasks.errors import ArchiveError
from tasks.model.runs import Report
from tasks.pages.html import RenderedReport
from tasks.pages.records import Record


@dataclass(frozen=True, slots=True)
class Difference:
    """A run's file that differs from the rendering of its findings.json.

    Attributes:
        path: relative to the archive.
        reason: the difference, as a text after the path.
        version: the version of beaconhunt that made it, if it is not this one: then its pages may
            differ without a change to the file.
    """

    path: str
    reason: str
    version: str | None = None


def verify_archive(
    archive_url: str, render: Callable[[Report], RenderedReport]
) -> Iterator[tuple[Difference, ...]]:
    """Render every run again from its findings.json, and compare the bytes.

    Args:
        archive_url: a folder or an fsspec URL.
        render: renders a run's pages.

    Yields:
        The differences in every run; an empty tuple for an unchanged run.

    Raises:
        ArchiveError: it cannot be read, or holds no run.
    """
    archive = Folder.at(archive_url)
    records = list(filter(is_record, archive.listed()))
    if not records:
        raise ArchiveError(
            f"The archive {archive_url} holds no run.", "Name the archive with --archive-url."
        )
    for record in records:
        yield tuple(_differences(archive, posixpath.dirname(record), render))


def _differences(
    archive: Folder, folder: str, render: Callable[[Report], RenderedReport]
) -> Iterator[Difference]:
    """Compare a run's files with the rendering of its document."""
    document, html, csv, record = (
        f"{folder}/{name}" for name in ("findings.json", "report.html", "findings.csv", RECORD)
    )
    found = archive.read([document, html, csv, record])
    if record not in found:
        return  # It was pruned meanwhile.
    if document not in found:
        yield Difference(document, "is missing")
        return
    try:
        report = Report.from_json(found[document])
    except ValidationError as error:
        yield Difference(document, f"cannot be read: {error.errors()[0]['msg']}")
        return
    pages = render(report)
    expected = {
        html: pages.html.encode(),
        csv: pages.csv,
        record: Record.of(report).to_json(),
    }
    other = report.beaconhunt if report.beaconhunt != version("beaconhunt") else None
    for path, content in expected.items():
        if path not in found:
            yield Difference(path, "is missing")
        elif found[path] != content:
            yield Difference(path, "is not what findings.json gives", other)
