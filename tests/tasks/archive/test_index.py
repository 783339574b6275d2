import os
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import fsspec
import pytest

from tasks.archive import write_index, write_run
from tasks.archive.folder import Folder
from tasks.model.runs import Outcome
from tasks.pages.records import Record
from tests.archives import PAGES, Links, index, listed, read, words
from tests.builders import day, finding, report, run
from tests.poison import HOSTILE
from tests.processes import at_once


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
    html = index(archive).partition('id="runs"')[2]
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


def test_the_first_page_has_the_last_two_months_and_leads_to_the_others(archive):
    """A page of a year would be long; what is older has a page for each month."""
    old, before, newest = (report(run(day(number))) for number in (-120, -30, 0))
    for of in (old, before, newest):
        write_run(archive, of, PAGES)
    html = index(archive)
    runs = html.partition('id="runs"')[2]
    assert newest.run.folder in runs
    assert before.run.folder in runs
    assert old.run.folder not in runs
    assert {"months/2026-07.html", "months/2026-10.html"} <= set(Links(html).found)
    assert "3 runs of 1 cluster" in words(html)
    month = read(archive, "months/2026-07.html").decode()
    assert f"../{old.run.folder}/report.html" in Links(month).found
    assert "../index.html" in Links(month).found


def test_the_year_ends_between_two_months(archive):
    """In January the last two months are January and December."""
    december, january = report(run(day(30))), report(run(day(50)))
    write_run(archive, december, PAGES)
    write_run(archive, january, PAGES)
    assert {december.run.slot.month, january.run.slot.month} == {12, 1}
    html = index(archive)
    assert december.run.folder in html
    assert january.run.folder in html


def test_at_the_beginning_of_march_the_first_page_has_january_too(folder):
    """Its figure of 30 days must not end where February does."""
    first = datetime(2026, 3, 1, 6, tzinfo=UTC)
    for number in range(31):
        of = run(first - timedelta(days=number), Outcome.FAILED, reason="query")
        write_run(str(folder), report(of), PAGES)
    assert "30 of 30" in words(index(folder))


def test_a_run_that_is_pruned_while_it_is_read_is_no_fault(archive, monkeypatch):
    """It is in the listing and then gone: the pages are built without it."""
    gone, stays = report(run(day(-1))), report(run())
    for of in (gone, stays):
        write_run(archive, of, PAGES)
    reading, pruned = Folder.read, []

    def read_after_pruning(self, paths):
        if not pruned:
            pruned.append(self.remove(f"{gone.run.folder}/run.json"))
        return reading(self, paths)

    monkeypatch.setattr(Folder, "read", read_after_pruning)
    html = index(archive)
    assert gone.run.folder not in html
    assert stays.run.folder in html


def test_a_month_is_read_again_only_when_it_has_another_run(archive, monkeypatch):
    """A run costs the records of two months, and not those of years."""
    old = report(run(day(-120)))
    for of in (old, report(run(day(-121))), report(run())):
        write_run(archive, of, PAGES)
    index(archive)
    before = read(archive, "months/2026-07.html")
    asked = []
    reading = Folder.read
    monkeypatch.setattr(
        Folder, "read", lambda self, paths: (asked.extend(paths), reading(self, paths))[1]
    )
    write_run(archive, report(run(day(1))), PAGES)
    index(archive)
    assert read(archive, "months/2026-07.html") == before
    assert not [path for path in asked if path.startswith(old.run.folder)]

    late = report(run(day(-122)))
    write_run(archive, late, PAGES)
    index(archive)
    assert late.run.folder in read(archive, "months/2026-07.html").decode()


def test_a_run_whose_index_was_never_built_is_in_the_next_one(archive):
    """Whoever is killed between report and index hides no run, of whatever month."""
    write_run(archive, report(run()), PAGES)
    index(archive)
    cut_off = report(run(day(-120)))
    write_run(archive, cut_off, PAGES)
    index(archive)
    assert cut_off.run.folder in read(archive, "months/2026-07.html").decode()


def test_a_cluster_that_has_fallen_silent_stays_on_the_first_page(archive):
    """Silence must not look like safety: weeks later it says when its last run was."""
    silent, active = report(run(day(-89), cluster="lab")), report(run())
    write_run(archive, silent, PAGES)
    write_run(archive, active, PAGES)
    clusters = index(archive).partition('id="runs"')[0]
    assert "no run lately" in words(clusters)
    assert f"{silent.run.folder}/report.html" in Links(clusters).found
    assert "2 runs of 2 clusters" in words(clusters)


def test_a_cluster_that_is_gone_is_no_alarm_for_ever(archive):
    """After 90 days without a run it leaves the table; below it a link leads to its reports."""
    for of in (run(day(-90), cluster="lab"), run()):
        write_run(archive, report(of), PAGES)
    clusters = index(archive).partition('id="runs"')[0]
    table, _, below = clusters.partition("</table>")
    assert "lab" not in words(table)
    assert "no run lately" not in words(table)
    assert "lab · macos-unsigned-network , last run 26 Aug 2026 06:00 UTC" in words(below)
    assert "macos-unsigned-network/lab/latest.html" in Links(below).found
    assert "2 runs of 2 clusters" in words(clusters)


def test_each_cluster_shows_what_its_last_runs_found(archive):
    """In the words of the chart, oldest first; a superseded run is no bar."""
    first = report(run(day(-1), id="aaaaaaaaaaaa"), finding())
    again = report(run(day(-1), id="bbbbbbbbbbbb"), finding(), finding("b"))
    for of in (first, again, report(run(day(0), Outcome.FAILED, reason="unreachable"))):
        write_run(archive, of, PAGES)
    html = index(archive)
    assert "Findings of 2 runs from 23 Nov to 24 Nov; highest 2" in html
    assert "1 not searched" in html


def test_the_latest_page_leads_to_the_newest_report(archive):
    """A bookmark that stays right: the newest run, whatever its outcome, by a link too."""
    yesterday = report(run(day(-1)), finding())
    write_run(archive, yesterday, PAGES)
    index(archive)
    where = "macos-unsigned-network/demo-eu/latest.html"
    target = f"{yesterday.run.folder}/report.html".removeprefix("macos-unsigned-network/demo-eu/")
    page = read(archive, where).decode()
    assert f'content="0; url={target}"' in page
    assert target in Links(page).found
    assert where in Links(index(archive)).found

    today = report(run(day(0), Outcome.FAILED, reason="unreachable"))
    write_run(archive, today, PAGES)
    index(archive)
    page = read(archive, where).decode()
    assert today.run.id in page
    assert "the cluster did not answer" in words(page)


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
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test.
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
    for page in ("index.html", "months/2026-11.html"):
        html = (folder / page).read_text()
        assert all(of.run.folder in html for of in runs)
    for cluster in range(4):
        newest = runs[cluster].run  # They go back in time.
        assert newest.id in (folder / newest.hunt / newest.cluster / "latest.html").read_text()


def write_and_index(url):
    """Write five runs of a cluster of this process's own, and the index after each."""
    for number in range(5):
        write_run(url, report(run(day(number), cluster=f"worker-{os.getpid()}")), PAGES)
        write_index(url)


@pytest.mark.parametrize("shared", ["folder", "store"])
def test_processes_at_once_leave_an_index_of_every_run(shared, request):
    """Workers share an archive: the last index names what all of them wrote, and is whole."""
    url = str(request.getfixturevalue(shared))
    store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    at_once(3, write_and_index, url, environment=store)
    html = read(url, "index.html").decode()
    written = [path.removesuffix("/run.json") for path in listed(url) if "/run.json" in path]
    assert len(written) == 15
    assert [folder for folder in written if folder not in html] == []
    assert html.rstrip().endswith("</html>")
