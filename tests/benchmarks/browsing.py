"""Open a report in chromium: against opening an empty page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tasks.report import render_report
from tests.benchmarks.measurement import Measurement, timed
from tests.benchmarks.recording import findings
from tests.browser.pictures import CHROMIUM, QUIET
from tests.builders import report, run

_LOOK_FOR = """
(word) => new Promise((done) => {
  const last = (selector) => [...document.querySelectorAll(selector)].pop();
  new MutationObserver(() => requestAnimationFrame(() => setTimeout(done)))
    .observe(last("output"), { childList: true });
  last("input[type=search]").value = word;
  last("input[type=search]").dispatchEvent(new Event("input"));
})
"""


def measure(count: int, folder: Path) -> list[Measurement]:
    """A page of so many new findings, until it can be used; then one word in its filter."""
    large, empty = folder / "large.html", folder / "empty.html"
    folder.mkdir(parents=True)
    large.write_text(render_report(report(run(), *findings(count))), encoding="utf-8")
    empty.write_text("<!doctype html><title>empty</title>", encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page()
        page.goto(empty.as_uri())
        plain, _ = timed(lambda: page.goto(empty.as_uri()), times=3)
        opened, _ = timed(lambda: _open(page, large.as_uri()))
        filtered, _ = timed(lambda: _filter(page))
        browser.close()
    against = {"against": "opening an empty page", "against_cost": plain}
    return [
        Measurement("open in chromium", count, "findings", opened, **against),
        Measurement("filter in chromium", count, "findings", filtered, **against),
    ]


def _open(page: Page, address: str) -> None:
    """Open a page, and wait until its script has counted what it can filter."""
    page.goto(address)
    page.locator("output").last.get_by_text("shown").wait_for()


def _filter(page: Page) -> None:
    """Look for one host of them all, until what is found has been drawn."""
    page.evaluate(_LOOK_FOR, "mac-17.example")
