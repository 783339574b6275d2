import json
from dataclasses import replace

import fsspec
import pytest
from jsonschema import Draft202012Validator

from tasks.archive import write_daily, write_run
from tasks.errors import ArchiveError
from tasks.model.digests import Digest, Medium
from tasks.model.runs import Report
from tasks.pages.html import RenderedReport
from tasks.pages.records import Record
from tasks.slack.message import Message
from tests.archives import PAGES, Links, index, listed, read, words
from tests.builders import SLOT, finding, report, run

FILES = ["findings.csv", "findings.json", "report.html", "run.json"]


def test_a_run_has_a_folder_of_its_own(archive):
    """Its page, its document, its table and its record stand together."""
    of = report(run(), finding())
    location = write_run(archive, of, PAGES)
    own = [path for path in listed(archive) if not path.startswith("schema/")]
    assert own == [f"{of.run.folder}/{name}" for name in FILES]
    assert location.endswith(f"{of.run.folder}/report.html")
    assert Report.from_json(read(archive, f"{of.run.folder}/findings.json")) == of


def test_the_archive_holds_the_schema_of_its_documents(archive):
    """Whoever reads findings.json by a program finds beside it what stands in it."""
    of = report(run(), finding())
    write_run(archive, of, PAGES)
    schema = json.loads(read(archive, "schema/findings-1.json"))
    Draft202012Validator(schema).validate(json.loads(of.to_json()))


def test_a_run_that_is_there_may_have_another_headline(archive):
    """A run that was killed after its last file is finished by a version with other words."""
    of = report(run(), finding())
    location = write_run(archive, of, PAGES)
    record = replace(Record.of(of), headline="In other words").to_json()
    with fsspec.open(f"{archive}/{of.run.folder}/run.json", "wb") as file:
        file.write(record)
    assert write_run(archive, of, PAGES) == location
    assert read(archive, f"{of.run.folder}/run.json") == record


def test_a_run_s_folder_is_never_rewritten(archive):
    """Another result under the same run id is refused, and the first one stays."""
    of = report(run(), finding())
    write_run(archive, of, PAGES)
    with pytest.raises(ArchiveError, match="another record of this run") as refused:
        write_run(archive, report(run(), finding("b"), finding("c")), PAGES)
    assert "new run id" in refused.value.remedy
    assert Report.from_json(read(archive, f"{of.run.folder}/findings.json")) == of


def test_writing_the_same_run_again_changes_nothing(archive):
    """A task that is tried again finds its work done."""
    of = report(run(), finding())
    first = write_run(archive, of, PAGES)
    assert write_run(archive, of, RenderedReport(html="other", csv=b"")) == first
    assert read(archive, f"{of.run.folder}/report.html") == b"<!doctype html>"


def test_a_run_that_was_cut_off_is_completed(archive):
    """A folder without its record does not count, so a retry writes the rest."""
    of = report(run())
    files, root = fsspec.url_to_fs(archive)
    files.makedirs(f"{root}/{of.run.folder}")
    files.pipe_file(f"{root}/{of.run.folder}/report.html", b"<!doc")
    assert of.run.id not in index(archive)
    write_run(archive, of, PAGES)
    assert read(archive, f"{of.run.folder}/report.html") == b"<!doctype html>"
    assert of.run.folder in index(archive)


DIGEST = Digest("9f8e7d6c5b4a", 1, "secops", Medium.SLACK, SLOT, ())


def test_a_day_has_a_page(archive):
    """Under its destination and date, named by its digest."""
    write_daily(archive, DIGEST, None, "<!doctype html>")
    assert listed(archive) == ["daily/secops/2026/11/24/0600Z-9f8e7d6c5b4a.html"]
    assert "daily/secops/2026/11/24/0600Z-9f8e7d6c5b4a.html" in Links(index(archive)).found
    assert "24 Nov 2026 06:00, secops" in words(index(archive))


def test_a_day_keeps_its_message(archive):
    """What was posted, or would have been, stands beside the page as JSON."""
    more = Message("more", (), {})
    message = Message("1 new", ({"type": "header"},), {}, replies=(more,))
    write_daily(archive, DIGEST, message, "<!doctype html>")
    kept = json.loads(read(archive, "daily/secops/2026/11/24/0600Z-9f8e7d6c5b4a.json"))
    assert (kept["text"], kept["blocks"]) == ("1 new", [{"type": "header"}])
    assert kept["replies"][0]["text"] == "more"
    assert len([link for link in Links(index(archive)).found if "daily/" in link]) == 1
