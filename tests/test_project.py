"""The project's own files: the lock, the package, and what must never be in them."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.browser.pictures import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
LOCK = (ROOT / "requirements.lock").read_text()
DEV_LOCK = (ROOT / "requirements-dev.lock").read_text()
PACKAGES = ("flows", "tasks", "hunts", "templates")


def pins(lock: str) -> list[tuple[str, str]]:
    """Name and version; a name stands twice where versions of Python need different ones."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", lock, re.MULTILINE)
    return [(canonicalize_name(name), version) for name, version in found]


EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = (*PROJECT["dependencies"], *EXTRAS["build"], *EXTRAS["postgresql"], *EXTRAS["s3"])
WANTED = [
    pytest.param(lock, Requirement(each), id=f"{name}-{Requirement(each).name}")
    for name, lock, listed in (
        ("run", LOCK, INSTALLED),
        ("dev", DEV_LOCK, (*INSTALLED, *EXTRAS["dev"])),
    )
    for each in listed
    if not each.startswith(PROJECT["name"])
]


@pytest.mark.parametrize("lock", [LOCK, DEV_LOCK], ids=["run", "dev"])
def test_a_lock_names_no_index(lock):
    """Who installs decides from where."""
    assert re.findall(r"^\s*-(?!-hash=).*|\w+://\S+", lock, re.MULTILINE) == []


@pytest.mark.parametrize("lock", [LOCK, DEV_LOCK], ids=["run", "dev"])
def test_every_pin_has_a_hash(lock):
    """What is installed is what was tried."""
    entries = re.split(r"\n(?=\w)", lock.strip())
    assert len(entries) == len(pins(lock))
    assert [entry.partition("\n")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(("lock", "wanted"), WANTED)
def test_every_dependency_is_pinned(lock, wanted):
    """Nothing comes in beside the lock, and the lock is as new as the ranges."""
    versions = [version for name, version in pins(lock) if name == canonicalize_name(wanted.name)]
    assert versions
    assert all(map(wanted.specifier.contains, versions))


def test_developers_have_the_versions_that_workers_have():
    """What was tested is what runs."""
    assert set(pins(LOCK)) <= set(pins(DEV_LOCK))


def test_a_worker_gets_nothing_that_only_tests_need():
    """A server for tests or a driver of browsers does not belong beside secrets."""
    names = {name for name, _ in pins(LOCK)}
    assert names.isdisjoint({"flask", "moto", "playwright", "pytest", "hypothesis"})


def test_every_dependency_says_why_it_is_there():
    """A reason stands above each, so that somebody can take it out again."""
    lists = re.findall(r"\n(?:dependencies|build|dev) = \[\n(.+?)\n\]", PYPROJECT, re.DOTALL)
    assert len(lists) == 3
    listed = "\n".join(lists)
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
    here = "|".join(re.escape(str(path)) for path in (ROOT, Path.home()))
    # Written so that the pattern does not find itself.
    known = re.compile(
        rf"(?<![\w.])({here})/|(?<!emit-)index-ur[l]|py[p]i\.|python[h]osted|npm[j]s\."
    )
    found = [
        (path.relative_to(ROOT).as_posix(), *known.findall(path.read_text(errors="replace")))
        for path in tracked()
        if path.exists() and known.search(path.read_text(errors="replace"))
    ]
    assert found == []


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
    needed = {
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if path.relative_to(ROOT).parts[0] in PACKAGES and path.exists()
    }
    assert {path.rpartition(".")[2] for path in needed} >= {"lark", "sql", "json", "toml", "j2"}
    assert needed - held == set()
    assert {path.partition("/")[0] for path in held} == {
        *PACKAGES,
        f"{PROJECT['name']}-{PROJECT['version']}.dist-info",
    }


WITHOUT_CHECKOUT = """
import sys
from pathlib import Path
package, folder = sys.argv[1:]
sys.path.insert(0, package)
from tasks import esql, history
from tasks.esql.parsing import parse
from tasks.fleet.generate import Fleet, write_fleet
from tasks.model import hunts
from tasks.pages import html
from tasks.clusters import Question, ask, connect
from tasks.settings import Cluster
from tasks.pages.index import index_view
from tasks.pages.records import Shelf

for module in (esql, history, hunts, html):
    assert module.__file__.startswith(package), module
history.upgrade_history(f"sqlite:///{folder}/history.db")
parse(hunts.load_hunt("macos-unsigned-network").query)
assert "<title>" in html.page("archive.html.j2", index_view(Shelf({}), {}, {}))
write_fleet(Fleet(macs=1, others=0, days=1, plants=()), Path(folder))
cluster = Cluster(name="folder", url=Path(folder).as_uri())
with connect(cluster) as client:
    text = "FROM logs-* | STATS COUNT(*) BY host.os.family"
    answer = ask(client, Question("query", text, {"match_all": {}}, {}))
    assert "host.os.family" in answer.types
"""


def test_the_package_works_without_the_checkout(wheel, tmp_path):
    """It finds hunts, templates, grammar, mappings, migrations and the demo's fleet."""
    subprocess.run(
        [sys.executable, "-c", WITHOUT_CHECKOUT, wheel, tmp_path],
        cwd=tmp_path,
        check=True,
    )
