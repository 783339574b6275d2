"""Whether other users of the machine may read what runs have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.preflight.checks import Verdict
from tasks.preflight.exposure import exposures


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder that every user can reach, as an earlier version made it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == tmp_path.owner() and folder.name.startswith(
            ("pytest-", "popen-", "test_")
        ):
            folder.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("url", ["sqlite:///{}/history.db", "{}/history.db"])
def test_what_every_user_may_read_is_a_warning_with_its_remedy(public, url):
    """Histories and archives from before were open, and nothing closes them by itself."""
    file = public / "history.db"
    file.touch()
    file.chmod(0o644)
    (found,) = exposures(url.format(public))
    assert found.verdict is Verdict.WARNING
    assert str(file) in found.text
    assert found.remedy == f"Close it: chmod -R o= {file}"


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_what_the_user_or_a_group_may_read_is_none(public, mode):
    """A shared archive is shared on purpose."""
    file = public / "history.db"
    file.touch()
    file.chmod(mode)
    assert list(exposures(str(file))) == []


def test_a_closed_folder_above_it_is_enough(public):
    """Nobody else can enter the worker's home."""
    (public / "home" / "archive").mkdir(parents=True)
    (public / "home" / "archive").chmod(0o755)
    (public / "home").chmod(0o700)
    assert list(exposures(str(public / "home" / "archive"))) == []


@pytest.mark.parametrize("url", ["s3://reports/beaconhunt", "postgresql://db/beaconhunt", "/none"])
def test_nothing_is_reported_about_other_servers_and_missing_files(url):
    """Who may read a bucket is its owner's setting."""
    assert list(exposures(url)) == []
