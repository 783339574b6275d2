"""Chromium, and pages that note what they do."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser():
    """Start chromium once."""
    if not CHROMIUM.exists() and os.environ.get("CI") != "true":
        pytest.skip("needs chromium; CI always has it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
        )
        yield started
        started.close()


@pytest.fixture
def visit(browser):
    """Open an address, and note what the page asks for, says and pops up."""
    contexts = []

    def opened(address, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.heard = []
        page.on("request", lambda request: page.heard.append(f"request {request.url[:200]}"))
        page.on("console", lambda message: page.heard.append(f"console {message.text}"))
        page.on("pageerror", lambda error: page.heard.append(f"error {error}"))
        page.on("dialog", lambda dialog: (page.heard.append("dialog"), dialog.dismiss()))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
