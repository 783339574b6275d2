"""URLs of folders, as people write them by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.clusters import Question, ask, connect
from tasks.clusters.folders import folder_of
from tasks.errors import QueryRefused, Unreachable
from tasks.settings import HOME_VARIABLE, Cluster


def cluster(url: str) -> Cluster:
    """A cluster with a URL."""
    return Cluster(name="case", url=url)


@pytest.mark.parametrize("name", ["case #12", "what?", "a#b?c", "50%", "a&b", "é", "[x]*", "x=1"])
@pytest.mark.parametrize("start", ["file://", "file://localhost", "file://LOCALHOST"])
def test_a_path_is_read_as_written_and_as_escaped(tmp_path: Path, name, start):
    """`#` and `?` do not end the path: a folder has neither query nor fragment."""
    folder = tmp_path / name
    folder.mkdir()
    escaped = folder.as_uri().removeprefix("file://")
    assert folder_of(cluster(f"{start}{folder}")) == folder
    assert folder_of(cluster(f"{start}{escaped}")) == folder


def test_an_escape_is_not_taken_for_a_name(tmp_path: Path):
    """A folder whose name looks like an escape needs %25, and the refusal says so."""
    folder = tmp_path / "a%23"
    folder.mkdir()
    assert folder_of(cluster(f"file://{tmp_path}/a%2523")) == folder
    with pytest.raises(Unreachable) as caught:
        folder_of(cluster(f"file://{folder}"))
    assert "written %25" in caught.value.remedy


@pytest.mark.parametrize(
    "start", ["file://server", "file://user@server:1", "file:////server", "file://localhost/"]
)
def test_a_host_is_refused_with_the_remedy(tmp_path: Path, start):
    """`file://server/share` must not read /share, even where that exists."""
    with pytest.raises(Unreachable, match="in the place of a host") as caught:
        folder_of(cluster(f"{start}{tmp_path}"))
    assert "file:///folder" in caught.value.remedy


@pytest.mark.parametrize("path", ["data", "./data", "../data", ".", "data/more"])
def test_a_relative_path_is_refused_with_the_remedy(tmp_path: Path, monkeypatch, path):
    """Its first part stands where a host would; a worker's current folder means nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/more").mkdir(parents=True)
    with pytest.raises(Unreachable) as caught:
        folder_of(cluster(f"file://{path}"))
    assert "three slashes and the absolute path" in caught.value.remedy


@pytest.mark.parametrize("path", ["", "localhost", "/nope", "/%00", "/dev/null"])
def test_what_is_no_folder_is_refused(path):
    """Also a file, and a path that no file system has."""
    with pytest.raises(Unreachable, match="there is no folder"):
        folder_of(cluster(f"file://{path}"))


def test_the_home_may_stand_in_the_url(tmp_path: Path, monkeypatch):
    """Its path is taken as it is: it is no part of a URL."""
    home = tmp_path / "50%25 #"
    (home / "demo").mkdir(parents=True)
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    assert folder_of(cluster("file://$BEACONHUNT_HOME/demo")) == home / "demo"


@pytest.mark.parametrize(
    ("subfolders", "listed"),
    [
        ((), "has no subfolder"),
        (("logs-a-x", ".hidden"), "has the subfolders logs-a-x."),
        ([f"logs-{n:02}-x" for n in range(12)], "logs-09-x and 2 more."),
    ],
)
def test_an_unknown_index_names_the_subfolders_and_how_files_get_into_one(
    tmp_path: Path, subfolders, listed
):
    """A folder of files without subfolders is what people have; it has no API key."""
    (tmp_path / "events.ndjson").write_text("{}")
    for name in subfolders:
        (tmp_path / name).mkdir()
    question = Question("query", "FROM logs-endpoint.events.network-*", {"match_all": {}}, {})
    with (
        connect(cluster(tmp_path.as_uri())) as client,
        pytest.raises(QueryRefused, match=r"Unknown index \[logs-endpoint") as caught,
    ):
        ask(client, question)
    assert listed in caught.value.problem
    assert "beaconhunt import FOLDER --into DATA" in caught.value.remedy
    assert "API key" not in str(caught.value)
