"""Archive runs and days: from rendered pages to files that are never rewritten, and their index.

    <archive>/index.html
    <archive>/<hunt>/<cluster>/2026/11/24/0600Z-<run id>/{report.html,findings.json,...}
    <archive>/daily/<destination>/2026/11/24/0705Z-<digest id>.{html,json}
    <archive>/schema/findings-1.json

Every file is written under a temporary name and renamed, so nobody ever reads half of one; a run's
`run.json` comes last, and a folder without it does not count.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version

import fsspec
from fsspec.core import url_to_fs
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from pydantic import ValidationError

from tasks.digests import Digest, Message
from tasks.errors import ArchiveError
from tasks.pages import Pages, page
from tasks.runs import Report
from tasks.settings import located
from tasks.views.daily import daily_path
from tasks.views.index import Record, index_view
from tasks.views.parts import ARCHIVE_INDEX, SCHEMA

RECORD = "run.json"


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of a run that is not what its findings.json gives.

    Attributes:
        path: relative to the archive.
        reason: what is wrong with it, in words.
        version: the version of beaconhunt that made it, if that is another than this one: its
            pages may look different without anybody having touched them.
    """

    path: str
    reason: str
    version: str | None = None


def write_run(archive_url: str, report: Report, pages: Pages) -> str:
    """Write a run's files into a folder of its own.

    Args:
        archive_url: a folder or an fsspec URL.
        report: the run's document.
        pages: what was rendered from it.

    Returns:
        Where report.html stands.

    Raises:
        ArchiveError: it cannot be written, or the folder holds another run's record.
    """
    archive = _Archive.at(archive_url)
    folder = report.run.folder
    record = Record.of(report)
    if archive.holds(f"{folder}/{RECORD}"):
        if not _tells(archive.read([f"{folder}/{RECORD}"])[f"{folder}/{RECORD}"], record):
            raise ArchiveError(
                f"{archive_url}: {folder} holds another record of this run already.",
                "Nothing is rewritten: run the slot again, which gives it a new run id.",
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


def _tells(content: bytes, record: Record) -> bool:
    """Whether a file is this record; another version may have found another headline for it."""
    try:
        return replace(Record.from_json(content), headline=record.headline) == record
    except ValidationError:
        return False


def write_daily(archive_url: str, digest: Digest, message: Message | None, html: str) -> str:
    """Write a destination's daily page, and beside it the message as it is for Slack.

    Args:
        archive_url: a folder or an fsspec URL.
        digest: whose day it is.
        message: what is posted; None on a day with nothing to say.
        html: the rendered page.

    Returns:
        Where the page stands.

    Raises:
        ArchiveError: it cannot be written.
    """
    archive = _Archive.at(archive_url)
    path = daily_path(digest)
    if message:
        archive.write(f"{path.removesuffix('.html')}.json", message.to_json())
    archive.write(path, html.encode())
    return archive.address(path)


def write_index(archive_url: str) -> str:
    """Build the archive's first page from the records that are there, and give where it stands.

    When another writer added a run meanwhile, the page is built again: whoever renames last has
    seen every run.

    Raises:
        ArchiveError: it cannot be written.
    """
    archive = _Archive.at(archive_url)
    built = None
    while built != (files := archive.files()):
        archive.write(ARCHIVE_INDEX, _index(archive, files).encode())
        built = files
    return archive.address(ARCHIVE_INDEX)


def verify(archive_url: str, render: Callable[[Report], Pages]) -> Iterator[tuple[Difference, ...]]:
    """Render every run again from its findings.json, and compare bytes.

    Args:
        archive_url: a folder or an fsspec URL.
        render: gives a run's pages.

    Yields:
        What differs, run by run; nothing for a run that is as it was written.

    Raises:
        ArchiveError: it cannot be read, or holds no run.
    """
    archive = _Archive.at(archive_url)
    there = frozenset(archive.listed())
    records = sorted(filter(_is_record, there))
    if not records:
        raise ArchiveError(
            f"The archive {archive_url} holds no run.", "Name the archive with --archive-url."
        )
    for record in records:
        yield tuple(_differences(archive, posixpath.dirname(record), there, render))


def check_writable(archive_url: str) -> None:
    """Find out before a run whether its report can be kept; leave nothing behind.

    Raises:
        ArchiveError: an unknown kind of URL, a file in the way, or no permission.
    """
    _Archive.at(archive_url).probe()


def _differences(
    archive: _Archive, folder: str, there: frozenset[str], render: Callable[[Report], Pages]
) -> Iterator[Difference]:
    """Compare a run's files with what its document gives."""
    document = f"{folder}/findings.json"
    if document not in there:
        yield Difference(document, "is missing")
        return
    try:
        report = Report.from_json(archive.read([document])[document])
    except ValidationError as error:
        yield Difference(document, f"cannot be read: {error.errors()[0]['msg']}")
        return
    pages = render(report)
    expected = {
        f"{folder}/report.html": pages.html.encode(),
        f"{folder}/findings.csv": pages.csv,
        f"{folder}/{RECORD}": Record.of(report).to_json(),
    }
    found = archive.read([path for path in expected if path in there])
    other = report.beaconhunt if report.beaconhunt != version("beaconhunt") else None
    for path, content in expected.items():
        if path not in found:
            yield Difference(path, "is missing")
        elif found[path] != content:
            yield Difference(path, "is not what findings.json gives", other)


def _index(archive: _Archive, files: tuple[str, ...]) -> str:
    """Render the index of the runs whose records can be read."""
    records: dict[str, Record] = {}
    unreadable = []
    for path, content in archive.read(list(filter(_is_record, files))).items():
        try:
            records[posixpath.dirname(path)] = Record.from_json(content)
        except ValidationError:
            unreadable.append(path)
    days = tuple(filter(_is_day, files))
    return page("archive.html.j2", index_view(records, days, unreadable))


@dataclass(frozen=True, slots=True)
class _Archive:
    """A folder of a file system; paths are relative to it. Translates the file system's errors."""

    url: str
    system: fsspec.AbstractFileSystem
    root: str

    @classmethod
    def at(cls, url: str) -> _Archive:
        with _translated(url):
            system, root = url_to_fs(located(url))
        return cls(url, system, root.rstrip("/"))

    def address(self, path: str) -> str:
        """Give where a file stands, as a person or another program finds it."""
        return str(self.system.unstrip_protocol(self._full(path)))

    def holds(self, path: str) -> bool:
        with _translated(self.url):
            return bool(self.system.exists(self._full(path)))

    def read(self, paths: list[str]) -> Mapping[str, bytes]:
        """Read files, many at once where the file system can."""
        with _translated(self.url):
            contents = self.system.cat([self._full(path) for path in paths]) if paths else {}
        return {self._relative(path): content for path, content in contents.items()}

    def files(self) -> tuple[str, ...]:
        """List what the index speaks of: records of runs, and daily pages."""
        return tuple(sorted(path for path in self.listed() if _is_record(path) or _is_day(path)))

    def listed(self) -> list[str]:
        """List every file."""
        with _translated(self.url):
            return list(map(self._relative, self.system.find(self.root)))

    def write(self, path: str, content: bytes) -> None:
        """Write a file under a temporary name, then give it its own."""
        target = self._full(path)
        temporary = f"{target}.{uuid.uuid4().hex}.tmp"
        with _translated(self.url):
            self.system.makedirs(posixpath.dirname(target), exist_ok=True)
            self.system.pipe_file(temporary, content)
            self.system.mv(temporary, target)

    def probe(self) -> None:
        """Write and remove a file where the archive stands, or in the folder that will hold it."""
        folder = self.root
        with _translated(self.url):
            while not self.system.exists(folder) and folder not in {"", "/"}:
                folder = posixpath.dirname(folder)
            if not self.system.isdir(folder or "/"):
                raise NotADirectoryError(f"{folder} is a file")
            temporary = f"{folder}/.{uuid.uuid4().hex}.tmp"
            self.system.pipe_file(temporary, b"")
            self.system.rm_file(temporary)

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self.root}/")


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn the refusals of an archive's file system into ours."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise ArchiveError(
            f"{url}: no archive can be kept there: {error}.",
            "Name a folder, or a URL that fsspec knows and whose package is installed.",
        ) from error
    except Exception as error:  # Every kind of file system has errors of its own.
        raise ArchiveError(
            f"The archive {url} cannot be written: {getattr(error, 'strerror', None) or error}.",
            "Make it a place that answers and that the worker may read and write, or correct "
            "`archive_url`.",
        ) from error


def _is_record(path: str) -> bool:
    return posixpath.basename(path) == RECORD


def _is_day(path: str) -> bool:
    return path.startswith("daily/") and path.endswith(".html")


@task(cache_policy=NO_CACHE)  # No retries: a folder that refuses once refuses again.
def store(archive_url: str, report: Report, pages: Pages, report_base_url: str | None) -> str:
    """Archive a run and give its report's address: as people open it, else where it stands."""
    address = write_run(archive_url, report, pages)
    if report_base_url:
        address = f"{report_base_url.rstrip('/')}/{report.run.folder}/report.html"
    get_run_logger().info("Report: %s", address)
    return address


@task(cache_policy=NO_CACHE)  # No retries: as above.
def index(archive_url: str) -> None:
    """Build the archive's first page anew."""
    get_run_logger().info("Archive: %s", write_index(archive_url))


@task(cache_policy=NO_CACHE)  # No retries: as above.
def store_daily(archive_url: str, digest: Digest, message: Message | None, html: str) -> str:
    """Archive a daily page."""
    location = write_daily(archive_url, digest, message, html)
    write_index(archive_url)
    get_run_logger().info("Daily page: %s", location)
    return location
