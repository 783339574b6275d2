"""The archive in a browser, through our own server and under its policy."""

import re
from pathlib import Path

import pytest

from tasks.archive import write_index, write_run
from tasks.report import pages_of
from tests.builders import finding, report, run
from tests.terminal import Terminal, free_port, without_prefect

TOLD = finding()
OF = report(run(), TOLD)

WITHOUT = """<!doctype html>
<base href="/elsewhere/">
<img src="/index.html?img">
<script src="/index.html?script"></script>
<iframe src="/index.html?iframe"></iframe>
<script>fetch("/index.html?fetch").catch(() => {})</script>
<form action="/index.html?form"><button>Send</button></form>
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve an archive with one run."""
    folder = tmp_path_factory.mktemp("served")
    archive, port = str(folder / "archive"), str(free_port())
    write_run(archive, OF, pages_of(OF))
    write_index(archive)
    Path(archive, "without.html").write_text(WITHOUT)
    with Terminal(
        folder / "said",
        *("serve-archive", "--archive-url", archive, "--port", port),
        env=without_prefect(),
    ) as terminal:
        terminal.wait_for("Ready: ")
        yield f"http://127.0.0.1:{port}/"


def test_from_the_index_a_link_leads_to_a_report_and_a_fragment_into_it(visit, address):
    """Style and script of both pages work, nothing else is asked for, no rule is broken."""
    page = visit(address)
    page.get_by_label("Filter").first.fill("nothing is named so")
    page.locator(".filtered tbody").first.wait_for(state="hidden")
    page.get_by_label("Filter").first.fill("")
    page.locator("tbody a[href$='report.html']").first.click()
    page.wait_for_url(re.compile(r"/report\.html$"))
    report_address = page.url
    assert page.locator("body").evaluate("body => getComputedStyle(body).margin") == "0px"
    deep = visit(f"{report_address}#{TOLD.id}")
    assert deep.locator("article details").get_attribute("open") is not None
    deep.get_by_text("Archive", exact=True).click()
    deep.wait_for_url(re.compile(r"/index\.html$"))
    asked = [heard for heard in page.heard + deep.heard if not heard.startswith("request data:")]
    assert asked == [
        f"request {address}",
        f"request {report_address}",
        f"request {report_address}",
        f"request {address}index.html",
    ]


def test_a_page_that_leads_on_does_so(visit, address):
    """A bookmark of a cluster's newest report, and the page of a month, work through it too."""
    page = visit(f"{address}{OF.run.hunt}/{OF.run.cluster}/latest.html")
    page.wait_for_url(f"{address}{OF.run.folder}/report.html")
    month = visit(f"{address}months/{OF.run.slot:%Y-%m}.html")
    month.locator("tbody a[href$='report.html']").first.click()
    month.wait_for_url(f"{address}{OF.run.folder}/report.html")
    assert not [each for each in page.heard + month.heard if not each.startswith("request ")]


def test_a_page_without_a_policy_of_its_own_gets_the_server_s(visit, address):
    """Whoever puts a page into the archive's folder loads nothing and sends nothing with it."""
    page = visit(f"{address}without.html")
    page.evaluate("document.querySelector('button').click()")
    page.wait_for_timeout(100)
    assert page.evaluate("document.baseURI") == f"{address}without.html"
    stopped = set(re.findall(r'directive: "([\w-]+)', "\n".join(page.heard)))
    assert stopped == {"img-src", "script-src", "default-src", "base-uri", "form-action"}
