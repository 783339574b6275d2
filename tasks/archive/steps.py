"""The flows' steps on an archive: store reports and daily pages, and discard old ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from prefect import get_run_logger

from tasks.archive.index import write_index
from tasks.archive.pruning import prune_archive
from tasks.archive.writing import write_daily, write_run
from tasks.model.digests import Digest
from tasks.model.runs import Report
from tasks.orchestration.steps import step
from tasks.pages.html import RenderedReport
from tasks.slack.message import Message
from tasks.text.numbers import counted


@step  # No retries: a folder that refuses once refuses again.
def store(
    archive_url: str, report: Report, pages: RenderedReport, report_base_url: str | None
) -> str:
    """Archive a run and give its report's address: the public URL, else where the file is."""
    address = write_run(archive_url, report, pages)
    if report_base_url:
        address = f"{report_base_url.rstrip('/')}/{report.run.folder}/report.html"
    get_run_logger().info("Report: %s", address)
    return address


@step  # No retries: as above.
def write_index_page(archive_url: str) -> None:
    """Rebuild the archive's first page."""
    get_run_logger().info("Archive: %s", write_index(archive_url))


@step  # No retries: as above.
def store_daily(archive_url: str, digest: Digest, message: Message | None, html: str) -> str:
    """Archive a daily page."""
    location = write_daily(archive_url, digest, message, html)
    write_index(archive_url)
    get_run_logger().info("Daily page: %s", location)
    return location


@step  # No retries: the next run goes on where this one ended.
def discard(archive_url: str, days: int | None) -> str:
    """Prune the archive, and give a summary; without a number of days, keep everything."""
    if days is None:
        return "every report kept"
    before = datetime.now(UTC) - timedelta(days=days)
    report = partial(get_run_logger().info, "Deleted: %s")
    removed = prune_archive(archive_url, before, report=report)
    return f"{counted(len(removed), 'report')} older than {days} days deleted"
