import json
import os
import re
import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import fsspec
import pytest
from jsonschema import Draft202012Validator

from tasks.archive import check_writable, verify, write_daily, write_index, write_run
from tasks.digests import Digest, Medium, Message
from tasks.errors import ArchiveError
from tasks.pages import Pages
from tasks.report import pages_of
from tasks.runs import Outcome, Report
from tasks.views.index import Record
from tests.builders import SLOT, day, finding, report, run
from tests.poison import HOSTILE
from tests.terminal import ROOT

PAGES = Pages(html="<!doctype html>", csv=b"id\n")

FILES = ["findings.csv", "findings.json", "report.html", "run.json"]


@pytest.fixture(params=["folder", "memory"])
def archive(request, tmp_path):
    """Name an archive that does not exist yet, on both kinds of file system."""
    if request.param == "folder":
        return str(tmp_path / "archive")
    return f"memory://{uuid.uuid4().hex}/archive"


@pytest.fixture
def folder(tmp_path):
    """Name an archive that is a folder."""
    return tmp_path / "archive"


def read(archive, path):
    """Read a file of an archive."""
    with fsspec.open(f"{archive}/{path}", "rb") as file:
        return file.read()


def listed(archive):
    """List an archive's files, relative to it."""
    files, root = fsspec.url_to_fs(archive)
    return sorted(path.removeprefix(f"{root}/") for path in files.find(root))


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Note where a link leads."""
        self.found += [value for name, value in attrs if name == "href" and tag == "a"]


def index(archive):
    """Build an archive's index and give its HTML."""
    write_index(str(archive))
    return read(archive, "index.html").decode()


def words(html):
    """Give what a page says, without its elements."""
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", html, flags=re.S).split())


# A run is written once, whole.


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
    assert write_run(archive, of, Pages(html="other", csv=b"")) == first
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


# The index.


def test_every_link_of_the_index_leads_to_a_file(archive):
    """Report, JSON and CSV of every run are where the index says."""
    for number in range(3):
        write_run(archive, report(run(day(number))), PAGES)
    links = [link for link in Links(index(archive)).found if not link.startswith("#")]
    assert len(links) >= 9
    assert set(links) <= set(listed(archive))


def test_runs_that_searched_nothing_are_rows(archive):
    """Missed, failed and empty runs stand in the index, and no figure makes them look clean."""
    for number, outcome in enumerate((Outcome.MISSED, Outcome.FAILED, Outcome.NO_DATA)):
        write_run(archive, report(run(day(number), outcome, reason="deadline")), PAGES)
    said = words(index(archive))
    assert "did not run Not searched: the run never started" in said
    assert "not searched Not searched: the answer did not come in time" in said
    assert "no data No data:" in said
    assert said.count("– – –") == 3
    assert "3 of 3" in said


def test_a_repeated_slot_marks_the_older_run(archive):
    """The newer result counts; the older one is kept and says so."""
    older, newer = report(run(attempt=1), finding()), report(run(attempt=2))
    for of in (newer, older):
        write_run(archive, of, PAGES)
    rows = re.findall(r"<tr[^>]*>.*?</tr>", index(archive), re.S)
    (marked,) = [row for row in rows if "Superseded." in row]
    assert older.run.folder in marked


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (Outcome.COMPLETE, Outcome.PARTIAL),
        (Outcome.BASELINE, Outcome.NO_DATA),
        (Outcome.PARTIAL, Outcome.FAILED),
        (Outcome.FAILED, Outcome.MISSED),
    ],
)
def test_a_repetition_that_says_less_is_the_one_that_is_marked(archive, first, again):
    """What the index counts is what the history counts: the run that stands for its slot."""
    stands, repeated = report(run(outcome=first)), report(run(outcome=again, attempt=2))
    for of in (stands, repeated):
        write_run(archive, of, PAGES)
    rows = re.findall(r"<tr[^>]*>.*?</tr>", index(archive), re.S)
    (marked,) = [row for row in rows if "Superseded." in row]
    assert repeated.run.folder in marked


def test_runs_are_grouped_by_month_newest_first(archive):
    """A reader who looks for a day goes down the page and back in time."""
    for number in (-40, 0, -1):
        write_run(archive, report(run(day(number))), PAGES)
    html = index(archive)
    places = [html.index(mark) for mark in (">Nov 2026<", "/11/24/", "/11/23/", ">Oct 2026<")]
    assert places[0] < places[2] < places[3]
    assert html.index(">Oct 2026<") < html.rindex("/10/15/")


def test_each_cluster_shows_its_last_complete_run(archive):
    """A cluster that fails today still says when it was last searched whole."""
    complete = report(run(day(-1)))
    for of in (complete, report(run(day(0), Outcome.FAILED, reason="unreachable"))):
        write_run(archive, of, PAGES)
    clusters = index(archive).partition('id="runs"')[0]
    assert f'<a href="{complete.run.folder}/report.html">23 Nov 2026 06:00 UTC</a>' in clusters
    assert "1 of 2" in clusters


def test_an_archive_without_runs_has_an_index(archive):
    """Before the first run the page says so."""
    assert "No run yet." in words(index(archive))


def test_a_broken_record_is_named_and_costs_no_other(archive):
    """One damaged file does not take the index down with it."""
    good, bad = report(run(day(0))), report(run(day(1)))
    for of in (good, bad):
        write_run(archive, of, PAGES)
    files, root = fsspec.url_to_fs(archive)
    files.pipe_file(f"{root}/{bad.run.folder}/run.json", b"{")
    said = words(index(archive))
    assert f"cannot be read and are not in this page: {bad.run.folder}/run.json" in said
    assert good.run.folder in index(archive)


def test_hostile_words_in_a_record_stay_text(archive):
    """What a run record says is shown, never run, also when somebody has changed it."""
    of = report(run(), finding())
    write_run(archive, of, PAGES)
    files, root = fsspec.url_to_fs(archive)
    changed = replace(Record.of(of), headline=HOSTILE, run=replace(of.run, cluster=HOSTILE))
    files.pipe_file(f"{root}/{of.run.folder}/run.json", changed.to_json())
    html = index(archive)
    assert "<img" not in html
    assert html.count("<script>") == 1
    assert "<span class=ctl>\\u202e</span>gpj.exe" in html


def test_the_same_records_give_the_same_index(archive):
    """Building it again changes no byte."""
    for number in range(3):
        write_run(archive, report(run(day(number)), finding()), PAGES)
    assert index(archive) == index(archive)


def test_no_temporary_file_stays(archive):
    """What is left in the archive is what its readers know."""
    write_run(archive, report(run()), PAGES)
    index(archive)
    assert not [path for path in listed(archive) if path.endswith(".tmp")]


def test_writers_at_once_never_leave_half_an_index(folder):
    """Whoever reads while clusters finish at once sees a whole page; the last one has every run."""
    runs = [report(run(day(-number), cluster=f"c-{number % 4}")) for number in range(24)]
    url = str(folder)
    write_index(url)
    done = threading.Event()
    halves, errors = [], []

    def write(mine):
        try:
            for of in mine:
                write_run(url, of, PAGES)
                write_index(url)
        except Exception as error:  # noqa: BLE001  # A thread's error must reach the test.
            errors.append(error)

    def look():
        while not done.is_set():
            page = (folder / "index.html").read_text()
            if not page.endswith("</html>"):
                halves.append(page)

    writers = [threading.Thread(target=write, args=(runs[place::4],)) for place in range(4)]
    reader = threading.Thread(target=look)
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert not errors
    assert not halves
    html = (folder / "index.html").read_text()
    assert all(of.run.folder in html for of in runs)


# What cannot be written is found out before a run.


WRITER = """
import sys
from tasks.archive import write_index, write_run
from tasks.pages import Pages
from tests.builders import day, report, run

for number in range(5):
    of = report(run(day(number), cluster=sys.argv[2]))
    write_run(sys.argv[1], of, Pages("<!doctype html>", b""))
    write_index(sys.argv[1])
"""


def test_processes_at_once_leave_an_index_of_every_run(folder):
    """Workers share an archive: the last index names what all of them wrote, and is whole."""
    names = ["one", "two", "three"]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name], cwd=ROOT)
        for name in names
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    html = (folder / "index.html").read_text()
    for name in names:
        for number in range(5):
            assert run(day(number), cluster=name).folder in html
    assert html.rstrip().endswith("</html>")


def test_an_archive_that_can_be_written_is_left_alone(archive):
    """The check leaves nothing behind, not even the folder."""
    check_writable(archive)
    assert listed(archive) == []
    write_run(archive, report(run()), PAGES)
    before = listed(archive)
    check_writable(archive)
    assert listed(archive) == before


def test_a_file_in_the_way_is_refused(tmp_path):
    """The error names the archive and says what to do, and nothing is written."""
    (tmp_path / "archive").write_text("mine")
    for url in (tmp_path / "archive", tmp_path / "archive" / "below"):
        with pytest.raises(ArchiveError, match="cannot be written") as refused:
            check_writable(str(url))
        assert str(url) in refused.value.problem
        assert "archive_url" in refused.value.remedy
    assert (tmp_path / "archive").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "archive"]


def test_a_folder_without_permission_is_refused(tmp_path):
    """The worker's own rights count, not what the folder looks like."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    where = Path("/proc/archive") if os.geteuid() == 0 else closed / "archive"
    with pytest.raises(ArchiveError, match="cannot be written"):
        check_writable(str(where))
    with pytest.raises(ArchiveError, match="cannot be written"):
        write_run(str(where), report(run()), PAGES)


def test_an_unknown_kind_of_url_is_refused():
    """A typo in the protocol is told before anything is hunted."""
    with pytest.raises(ArchiveError, match="no archive can be kept there") as refused:
        check_writable("s4://bucket/archive")
    assert "fsspec" in refused.value.remedy


def test_a_kind_of_url_whose_package_is_missing_is_refused():
    """The error names the package."""
    with pytest.raises(ArchiveError, match="Install ossfs") as refused:
        check_writable("oss://bucket/archive")
    assert "installed" in refused.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_host_that_does_not_answer_is_refused(host):
    """Whatever a file system raises, a person reads a sentence with its remedy."""
    url = f"ftp://{host}/archive"
    for attempt in (check_writable, write_index, lambda url: write_run(url, report(run()), PAGES)):
        with pytest.raises(ArchiveError, match="cannot be written") as refused:
            attempt(url)
        assert url in refused.value.problem
        assert "archive_url" in refused.value.remedy


def test_a_host_that_goes_away_is_told_as_any_other_refusal(archive, monkeypatch):
    """Also where nothing is written: looking for a file asks the host too."""
    files, _ = fsspec.url_to_fs(archive)
    write_run(archive, report(run()), PAGES)

    def gone(*_, **__):
        raise TimeoutError("no answer in 30 s")

    monkeypatch.setattr(type(files), "exists", gone)
    with pytest.raises(ArchiveError, match="no answer in 30 s"):
        write_run(archive, report(run()), PAGES)


def test_home_is_filled_in(monkeypatch, tmp_path):
    """`$BEACONHUNT_HOME` in an archive's URL is the worker's home."""
    monkeypatch.setenv("BEACONHUNT_HOME", str(tmp_path))
    of = report(run())
    write_run("$BEACONHUNT_HOME/archive", of, PAGES)
    assert (tmp_path / "archive" / of.run.folder / "run.json").exists()


# An archive can be checked.


def verified(archive):
    """Verify an archive; gives path, reason and other version of what differs."""
    return [
        (each.path, each.reason, each.version)
        for differences in verify(archive, pages_of)
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
    assert list(verify(archive, pages_of)) == [(), ()]


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
