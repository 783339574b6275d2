"""Write runs and days: from rendered pages to files that are never rewritten."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from tasks.archive.folder import Folder
from tasks.archive.paths import RECORD
from tasks.errors import ArchiveError
from tasks.model.digests import Digest
from tasks.model.runs import Report
from tasks.pages.daily import daily_path
from tasks.pages.html import RenderedReport
from tasks.pages.parts import SCHEMA
from tasks.pages.records import Record
from tasks.slack.message import Message


def write_run(archive_url: str, report: Report, pages: RenderedReport) -> str:
    """Write a run's files into its own folder.

    Args:
        archive_url: a folder or an fsspec URL.
        report: the run's document.
        pages: the pages rendered from it.

    Returns:
        The address of report.html.

    Raises:
        ArchiveError: it cannot be written, or the folder holds another run's record.
    """
    archive = Folder.at(archive_url)
    folder = report.run.folder
    record = Record.of(report)
    if archive.holds(f"{folder}/{RECORD}"):
        if not _is_same(archive.read([f"{folder}/{RECORD}"])[f"{folder}/{RECORD}"], record):
            raise ArchiveError(
                f"{archive_url}: {folder} already holds another record of this run.",
                "Run the slot again: it gets a new run id and a new folder.",
            )
        return archive.address(f"{folder}/report.html")
    files = {
        "report.html": pages.html.encode(),
        "findings.json": report.to_json(),
        "findings.csv": pages.csv,
        RECORD: record.to_json(),
    }
    archive.write(SCHEMA, Report.schema())
    for name, content in files.items():
        archive.write(f"{folder}/{name}", content)
    return archive.address(f"{folder}/report.html")


def _is_same(content: bytes, record: Record) -> bool:
    """Whether a file is this record; another version may have written another headline."""
    try:
        return replace(Record.from_json(content), headline=record.headline) == record
    except ValidationError:
        return False


def write_daily(archive_url: str, digest: Digest, message: Message | None, html: str) -> str:
    """Write a destination's daily page, and beside it the Slack message.

    Args:
        archive_url: a folder or an fsspec URL.
        digest: the day's digest.
        message: the message to post; None on a day with nothing to post.
        html: the rendered page.

    Returns:
        The address of the page.

    Raises:
        ArchiveError: it cannot be written.
    """
    archive = Folder.at(archive_url)
    path = daily_path(digest)
    if message:
        archive.write(f"{path.removesuffix('.html')}.json", message.to_json())
    archive.write(path, html.encode())
    return archive.address(path)
