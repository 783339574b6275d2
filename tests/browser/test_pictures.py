import re

from tests.browser.pictures import DOCS, ROOT, STAMP, stamp


def test_the_pictures_show_the_pages_as_they_are():
    """README shows no page that is gone: after a change of the pages, run `make pictures`."""
    assert STAMP.read_text() == stamp()


def test_every_picture_of_the_readme_is_there():
    """A broken picture is the first thing that a stranger sees."""
    shown = re.findall(r"!\[[^]]+\]\(docs/([^)]+)\)", (ROOT / "README.md").read_text())
    assert "report.png" in shown
    assert [name for name in shown if not (DOCS / name).is_file()] == []
