from dataclasses import replace

import fsspec
import pytest

from tasks.archive import verify_archive, write_run
from tasks.errors import ArchiveError
from tasks.model.runs import Outcome
from tasks.report import pages_of
from tests.archives import listed, read
from tests.builders import day, finding, report, run


def verified(archive):
    """Verify an archive; gives path, reason and other version of what differs."""
    return [
        (each.path, each.reason, each.version)
        for differences in verify_archive(archive, pages_of)
        for each in differences
    ]


def kept(archive, of):
    """Archive a run with its real pages; gives its folder."""
    write_run(archive, of, pages_of(of))
    return of.run.folder


def test_an_archive_that_nobody_touched_verifies(archive):
    """Every run gives its pages again, byte by byte."""
    kept(archive, report(run(), finding()))
    kept(archive, report(run(day(1), outcome=Outcome.FAILED)))
    assert list(verify_archive(archive, pages_of)) == [(), ()]


@pytest.mark.parametrize("name", ["report.html", "findings.csv", "run.json"])
def test_a_changed_file_is_named_and_no_other(archive, name):
    """One more byte is enough."""
    folder = kept(archive, report(run(), finding()))
    kept(archive, report(run(day(1)), finding()))
    content = read(archive, f"{folder}/{name}")
    with fsspec.open(f"{archive}/{folder}/{name}", "wb") as file:
        file.write(content + b" ")
    assert verified(archive) == [(f"{folder}/{name}", "is not what findings.json gives", None)]


@pytest.mark.parametrize("name", ["report.html", "findings.csv", "findings.json"])
def test_a_missing_file_is_named(folder, name):
    """Also the document itself, without which nothing can be compared."""
    of = kept(str(folder), report(run(), finding()))
    (folder / of / name).unlink()
    assert verified(str(folder)) == [(f"{of}/{name}", "is missing", None)]


def test_an_unreadable_document_is_named(folder):
    """It costs no other run its check."""
    of = kept(str(folder), report(run(), finding()))
    kept(str(folder), report(run(day(1)), finding()))
    (folder / of / "findings.json").write_text("{")
    ((path, reason, _),) = verified(str(folder))
    assert path == f"{of}/findings.json"
    assert reason.startswith("cannot be read")


def test_a_page_of_another_version_is_told_apart(archive):
    """A template that changed since is no tampering."""
    of = replace(report(run(), finding()), beaconhunt="0.0.9")
    write_run(archive, of, replace(pages_of(of), html="<!doctype html>"))
    assert verified(archive) == [
        (f"{of.run.folder}/report.html", "is not what findings.json gives", "0.0.9")
    ]


def test_an_archive_without_runs_is_not_called_verified(archive):
    """A mistyped URL must not look like a good result."""
    with pytest.raises(ArchiveError, match="holds no run"):
        verified(archive)


def test_a_run_that_is_pruned_meanwhile_is_not_called_changed(archive):
    """An alarm that means nothing teaches people to ignore alarms."""
    gone = kept(archive, report(run(day(-1)), finding()))
    kept(archive, report(run(), finding()))
    checking = verify_archive(archive, pages_of)
    assert next(checking) == ()
    files, root = fsspec.url_to_fs(archive)
    files.rm(f"{root}/{report(run()).run.folder}", recursive=True)
    assert list(checking) == [()]
    assert gone in {path.rpartition("/")[0] for path in listed(archive)}
