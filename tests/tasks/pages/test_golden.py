import re

import pytest

from tasks.model.runs import Outcome, Report
from tasks.report import render_report
from tests.golden import ARCHIVE, FOLDER, LARGE, archive_pages, essence, large, sha256

PAGES = sorted(path.stem for path in FOLDER.glob("*.html"))


@pytest.mark.parametrize("name", PAGES)
def test_a_stored_document_gives_the_page_that_it_gave(name):
    """Old reports stay readable; a change of the pages is a diff: `python -m tests.golden`."""
    of = Report.from_json((FOLDER / f"{name}.json").read_bytes())
    assert essence(render_report(of)) == (FOLDER / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["index", "month", "latest"])
def test_the_records_of_an_archive_give_the_pages_that_they_gave(name):
    """What leads to old reports changes only where somebody meant to change it."""
    kept = (ARCHIVE / f"{name}.html").read_text(encoding="utf-8")
    assert essence(archive_pages()[name]) == kept


def test_large_pages_are_those_that_were_made_on_another_machine():
    """Byte for byte, with 25 and with 5,000 new findings."""
    kept = dict(line.split() for line in LARGE.read_text().splitlines())
    assert {name: sha256(of) for name, of in large().items()} == kept


def test_every_outcome_that_has_a_page_has_a_golden_one():
    """A missed run has none: it never started."""
    documents = (Report.from_json((FOLDER / f"{name}.json").read_bytes()) for name in PAGES)
    assert {of.run.outcome for of in documents} == set(Outcome) - {Outcome.MISSED}


@pytest.mark.parametrize("name", PAGES)
def test_a_golden_page_holds_what_people_read(name):
    """A page that lost its text would still be the same as itself."""
    html = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
    (headline,) = re.findall("<h1>(.+?)</h1>", html)
    assert headline in re.search("<title>(.+?)</title>", html).group(1)


RELEASED = sorted((FOLDER.parent / "released").glob("findings-*.json"))
"""One document as every released version wrote it."""


@pytest.mark.parametrize("document", RELEASED, ids=lambda path: path.stem)
def test_a_document_of_an_earlier_version_is_still_rendered(document):
    """With every finding in it, and the version that made it."""
    of = Report.from_json(document.read_bytes())
    page = render_report(of)
    assert of.beaconhunt == document.stem.removeprefix("findings-")
    assert f"<dd>{of.beaconhunt}</dd>" in page
    assert all(finding.id in page for finding in of.findings)
