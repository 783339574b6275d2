"""Pictures of the demo's real pages for README: `make pictures`.

Beside them stands a hash of what draws them, so that a test can say when they are out of date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tasks.settings import home

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
STAMP = DOCS / "pictures.sha256"

CHROMIUM = "/usr/bin/chromium"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
"""No sandbox, since CI is root; and no network, since a picture needs none."""

WIDTH, HEIGHT = 1200, 1040


def drawn_by() -> Iterator[Path]:
    """What a page's look depends on."""
    yield from sorted((ROOT / "templates").glob("*"))
    yield from sorted((ROOT / "tasks" / "pages").glob("*.py"))


def stamp() -> str:
    """Hash what draws the pages."""
    digest = hashlib.sha256()
    for path in drawn_by():
        digest.update(path.read_bytes())
    return f"{digest.hexdigest()}\n"


def take(browser: Browser, page: Path, picture: Path) -> None:
    """Take one picture of the first screen of a page."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.screenshot(path=picture)
    context.close()


def main() -> None:
    """Take the pictures of the demo that `make demo` left."""
    archive = home() / "demo" / "archive"
    second_day = sorted(archive.glob("macos-unsigned-network/corp-us/*/*/*/*/report.html"))[1]
    pages = {
        "report.png": second_day,
        "daily.png": sorted(archive.glob("daily/secops/*/*/*/*.html"))[2],
        "archive.png": archive / "index.html",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        for name, page in pages.items():
            take(browser, page, DOCS / name)
        browser.close()
    STAMP.write_text(stamp())


if __name__ == "__main__":
    main()
