import os
import posixpath
import threading
from datetime import timedelta

import pytest

from tasks.archive import folder as folders
from tasks.archive import prune_archive, verify_archive, write_daily, write_index, write_run
from tasks.model.digests import Digest, Medium
from tasks.model.runs import Outcome
from tasks.report import pages_of
from tests.archives import PAGES, Links, index, listed, read
from tests.builders import SLOT, day, finding, report, run

A_MONTH_AGO = SLOT - timedelta(days=30)


def filled(archive, *numbers, **changes):
    """Write a run for each of some days, and the index; give the runs' folders."""
    runs = [report(run(day(number), **changes), finding()) for number in numbers]
    for of in runs:
        write_run(archive, of, pages_of(of))
    index(archive)
    return [of.run.folder for of in runs]


def written(archive, number):
    """Write the page of a day; give its path."""
    digest = Digest("9f8e7d6c5b4a", 1, "secops", Medium.SLACK, day(number), ())
    return write_daily(archive, digest, None, "<!doctype html>").partition("/archive/")[2]


def folders_of(archive):
    """Give the folders of the runs that an archive holds."""
    return {path.rpartition("/")[0] for path in listed(archive) if path.endswith("/run.json")}


def dead_links(archive):
    """Give the links of the first page, the months and the latest pages that lead nowhere."""
    left = set(listed(archive))
    return [
        (page, link)
        for page in left
        if page.endswith(".html") and "/2026/" not in page
        for link in Links(read(archive, page).decode()).found
        if not link.startswith("#")
        and posixpath.normpath(f"{posixpath.dirname(page)}/{link}").lstrip("/") not in left
    ]


def aged(folder):
    """Make every file of a folder two days old."""
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


def test_what_is_old_goes_and_is_named(archive):
    """Runs and days of slots before the moment, with all of their files."""
    old, new = filled(archive, -31, 0)
    ancient, today = written(archive, -40), written(archive, 0)
    gone = prune_archive(archive, A_MONTH_AGO)
    assert set(gone) == {old, ancient}
    left = listed(archive)
    assert not [path for path in left if path.startswith((old, ancient))]
    assert {f"{new}/report.html", today} <= set(left)


def test_a_slot_at_the_moment_stays(archive):
    """The age that is named is still kept."""
    filled(archive, -30, 0)
    assert prune_archive(archive, A_MONTH_AGO) == ()


def test_a_day_goes_with_the_first_run_that_it_tells_of(archive):
    """A daily page that stays leads to reports that stay."""
    run_of_the_day, _ = filled(archive, -30, 0)
    its_day, _ = written(archive, -29), written(archive, -28)
    gone = prune_archive(archive, A_MONTH_AGO + timedelta(minutes=1))
    assert set(gone) == {run_of_the_day, its_day}


def test_a_dry_run_names_the_same_and_removes_nothing(archive):
    """Whoever looks first sees what would go."""
    filled(archive, -32, -31, 0)
    before = listed(archive)
    assert len(prune_archive(archive, A_MONTH_AGO, dry_run=True)) == 2
    assert listed(archive) == before
    assert len(prune_archive(archive, A_MONTH_AGO)) == 2


def test_the_newest_run_and_the_newest_complete_one_stay(archive):
    """However old they are: a cluster does not vanish, and what it last said can be read."""
    (complete,) = filled(archive, -60)
    (failed,) = filled(archive, -50, outcome=Outcome.FAILED, reason="unreachable")
    (other,) = filled(archive, -90, cluster="lab")
    filled(archive, -70)
    prune_archive(archive, A_MONTH_AGO)
    assert folders_of(archive) == {complete, failed, other}


def test_no_page_of_the_archive_leads_to_what_is_gone(archive):
    """The first page, the months and the latest pages are right again; empty months are gone."""
    filled(archive, -120, -90, -31, 0)
    prune_archive(archive, A_MONTH_AGO)
    assert "months/2026-07.html" not in listed(archive)
    assert dead_links(archive) == []


def test_what_is_left_verifies(archive):
    """Nothing that stays was touched."""
    filled(archive, -31, -1, 0)
    prune_archive(archive, A_MONTH_AGO)
    assert list(verify_archive(archive, pages_of)) == [(), ()]


def test_pruning_again_finds_nothing(archive):
    """It is done once."""
    filled(archive, -31, 0)
    prune_archive(archive, A_MONTH_AGO)
    assert prune_archive(archive, A_MONTH_AGO) == ()


def test_what_was_cut_off_goes_when_nobody_can_be_writing_it(folder):
    """A run without its record and a temporary file, a day after they were written."""
    (whole,) = filled(str(folder), 0)
    half, temporary = (
        folder / report(run(day(-1))).run.folder,
        folder / f"index.html.{'0' * 32}.tmp",
    )
    half.mkdir(parents=True)
    (half / "report.html").write_text("<!doc")
    temporary.write_text("<!doc")
    assert prune_archive(str(folder), A_MONTH_AGO) == ()
    aged(folder)
    assert set(prune_archive(str(folder), A_MONTH_AGO)) == {
        half.relative_to(folder).as_posix(),
        temporary.name,
    }
    assert not half.exists()
    assert folders_of(str(folder)) == {whole}


@pytest.mark.parametrize("at", range(4))
def test_pruning_that_is_cut_off_leaves_an_archive_that_verifies(folder, monkeypatch, at):
    """Whatever file it comes to, and the next one ends it."""
    url = str(folder)
    old, new = filled(url, -31, 0)
    removing, count = folders.Folder.remove, iter(range(100))

    def remove(self, path):
        if next(count) == at:
            raise KeyboardInterrupt
        removing(self, path)

    monkeypatch.setattr(folders.Folder, "remove", remove)
    with pytest.raises(KeyboardInterrupt):
        prune_archive(url, A_MONTH_AGO)
    monkeypatch.undo()
    assert not any(verify_archive(url, pages_of))
    assert (old in folders_of(url)) == (at == 0)
    assert (old in read(url, "index.html").decode()) == (at == 0)
    aged(folder)
    assert prune_archive(url, A_MONTH_AGO) == (old,)
    assert folders_of(url) == {new}
    assert not (folder / old).exists()


def test_an_archive_that_is_not_there_has_nothing_to_prune(archive):
    """Nothing is made of it either."""
    assert prune_archive(archive, A_MONTH_AGO) == ()
    assert listed(archive) == []


FOREIGN = [
    "backups/lab/2024/01/02/nightly/disk.img",
    "backups/lab/2024/01/02/nightly/run.json",
    "macos-unsigned-network/demo-eu/2024/01/02/0600Z-notes/why.txt",
    "daily/secops/2024/01/02/notes.html",
    "months/readme.html",
    "upload.tmp",
]


def test_what_somebody_else_put_there_is_neither_removed_nor_shown(folder):
    """An archive may share a bucket or a folder, and prune must not eat what it did not write."""
    filled(str(folder), 0)
    before = index(str(folder))
    for path in FOREIGN:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("mine")
    aged(folder)
    assert prune_archive(str(folder), A_MONTH_AGO) == ()
    assert index(str(folder)) == before
    assert {path for path in FOREIGN if (folder / path).read_text() == "mine"} == set(FOREIGN)


def test_a_file_that_its_writer_ends_meanwhile_is_no_fault(folder, monkeypatch):
    """Between the listing and the look at its age a temporary file gets its name."""
    filled(str(folder), 0)
    temporary = folder / f"index.html.{'0' * 32}.tmp"
    temporary.write_text("<!doc")
    aged(folder)
    age = folders.Folder.changed_at
    monkeypatch.setattr(
        folders.Folder, "changed_at", lambda *args: (temporary.unlink(), age(*args))[1]
    )
    assert prune_archive(str(folder), A_MONTH_AGO) == ()


def test_pruners_and_writers_at_once_lose_nothing_and_leave_no_dead_link(folder):
    """The flow and the command line may prune while clusters are hunted."""
    url = str(folder)
    filled(url, *range(-60, -1))
    new = [report(run(day(number), cluster=f"c-{number % 2}")) for number in range(20)]
    errors = []

    def pruning():
        for days in range(60, 30, -5):
            prune_archive(url, SLOT - timedelta(days=days))

    def writing(mine):
        for of in mine:
            write_run(url, of, PAGES)
            write_index(url)

    def told(call, *args):
        try:
            call(*args)
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test.
            errors.append(error)

    calls = [(pruning,), (pruning,), (writing, new[::2]), (writing, new[1::2])]
    threads = [threading.Thread(target=told, args=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert dead_links(url) == []
    html = index(url)
    assert [of.run.folder for of in new if of.run.folder not in html] == []
