"""The project's own files: the lock, the package, and what must never be in them."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.browser.pictures import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def plain_name(requirement: str) -> str:
    return re.split(r"[\[<>=~ ]", requirement)[0].lower().replace("_", "-")


def test_every_pin_has_a_hash():
    """What is installed is what was tried."""
    pins = re.split(r"\n(?=[a-z0-9])", LOCK.strip())
    assert [pin.partition("\n")[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_every_dependency_is_pinned():
    """Nothing comes in beside the lock."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["postgresql"], *extras["dev"]]
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", LOCK, re.MULTILINE))
    assert {plain_name(each) for each in wanted} - pinned - {PROJECT["name"]} == set()


def test_every_dependency_says_why_it_is_there():
    """A reason stands above each, so that somebody can take it out again."""
    listed = re.search(r"\ndependencies = \[\n(.+?)\n\]", PYPROJECT, re.DOTALL).group(1)
    lines = [line.strip() for line in listed.splitlines()]
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith('"'):
            assert before.startswith(("#", '"typer')), line


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_knows_this_machine_or_an_index():
    """The project builds anywhere, from anywhere."""
    marks = [str(ROOT), str(Path.home()) + "/", "index" + "-url =", "files.python" + "hosted"]
    for path in tracked():
        content = path.read_bytes()
        assert [mark for mark in marks if mark.encode() in content] == [], path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the package, and unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(unpacked)
    return unpacked


def test_the_package_holds_what_it_needs_and_no_tests(wheel):
    """Grammar, mappings, migrations, hunts and templates are no Python, and easily forgotten."""
    held = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    needed = [
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path.relative_to(ROOT).parts[0] in {"flows", "tasks", "hunts", "templates"}
    ]
    assert set(needed) - held == set()
    assert [path for path in held if path.startswith("tests/")] == []


def test_the_package_works_without_the_checkout(wheel, tmp_path):
    """It finds its hunts, its templates and its grammar where it is installed."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from tasks import hunts, pages
from tasks.esql import parse
from tasks.views.index import index_view
assert hunts.__file__.startswith(sys.argv[1])
hunt = hunts.load("macos-unsigned-network")
parse(hunt.query)
assert "Archive" in pages.page("archive.html.j2", index_view({}, [], []))
"""
    subprocess.run([sys.executable, "-c", program, str(wheel)], cwd=tmp_path, check=True)


def test_the_demo_says_where_its_generator_is(wheel, tmp_path):
    """The generator of events is not in the package; whoever tries is told how to get it."""
    program = """
import sys
sys.path = [sys.argv[1], *(path for path in sys.path if path != sys.argv[2])]
from datetime import UTC, datetime
from flows import demo
demo.make_clusters(demo.this_morning(datetime.now(UTC)), print)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(wheel), str(ROOT)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Use a clone of the repository" in done.stderr
