import os
from pathlib import Path
from stat import S_IMODE

import fsspec
import pytest

from tasks.archive import check_writable, write_index, write_run
from tasks.archive.folder import Folder
from tasks.errors import ArchiveError
from tests.archives import PAGES, listed
from tests.builders import report, run


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
        with pytest.raises(ArchiveError, match="cannot be reached") as refused:
            attempt(url)
        assert url in refused.value.problem
        assert "archive_url" in refused.value.remedy


def test_a_host_that_goes_away_is_told_as_any_other_refusal(archive, monkeypatch):
    """Also where nothing is written: looking for a file asks the host too."""
    files, _ = fsspec.url_to_fs(archive)
    write_run(archive, report(run()), PAGES)

    def gone(*_, **__):
        raise TimeoutError("no answer in 30 s")

    monkeypatch.setattr(files, "exists", gone)
    with pytest.raises(ArchiveError, match="no answer in 30 s"):
        write_run(archive, report(run()), PAGES)


def test_home_is_filled_in(monkeypatch, tmp_path):
    """`$BEACONHUNT_HOME` in an archive's URL is the worker's home."""
    monkeypatch.setenv("BEACONHUNT_HOME", str(tmp_path))
    of = report(run())
    write_run("$BEACONHUNT_HOME/archive", of, PAGES)
    assert (tmp_path / "archive" / of.run.folder / "run.json").exists()


def test_a_file_that_is_gone_is_left_out_and_one_that_is_refused_is_told(folder):
    """Other processes write and prune; but what cannot be read must not look as if it were gone."""
    (folder / "closed").mkdir(parents=True)
    (folder / "there").write_text("it is")
    assert Folder.at(str(folder)).read(["gone", "there"]) == {"there": b"it is"}
    with pytest.raises(ArchiveError, match="cannot be read: Is a directory"):
        Folder.at(str(folder)).read(["there", "closed"])


@pytest.mark.parametrize(("mode", "of_files"), [(0o700, 0o600), (0o2750, 0o640), (0o755, 0o644)])
def test_a_folder_that_was_made_for_a_group_or_everybody_stays_shared(folder, mode, of_files):
    """The mode of the archive's folder is the setting: all that is written below it follows."""
    folder.mkdir()
    folder.chmod(mode)
    write_run(str(folder), report(run()), PAGES)
    write_index(str(folder))
    for path in folder.rglob("*"):
        assert S_IMODE(path.stat().st_mode) == (mode if path.is_dir() else of_files), path


def test_permissions_of_what_is_there_are_left_as_they_are(folder):
    """A user may close or open a part of the archive."""
    folder.mkdir(mode=0o700)
    (folder / "schema").mkdir()
    (folder / "schema").chmod(0o755)
    write_run(str(folder), report(run()), PAGES)
    assert S_IMODE((folder / "schema").stat().st_mode) == 0o755
