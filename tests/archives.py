"""Archives as their readers see them: files, pages, links and words."""

import re
from html.parser import HTMLParser

import fsspec

from tasks.archive import write_index
from tasks.pages.html import RenderedReport

PAGES = RenderedReport(html="<!doctype html>", csv=b"id\n")


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
