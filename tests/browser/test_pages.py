import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest

from tasks.archive import write_daily, write_index, write_run
from tasks.model.digests import Announcement, ClusterDay, Digest, Medium
from tasks.model.findings import Priority, Status
from tasks.model.hunts import load_hunt
from tasks.model.runs import Outcome, Trend
from tasks.pages.html import RenderedReport
from tasks.report import findings_csv, render_daily, render_report
from tests.builders import SLOT, day, evidence, finding, report, run
from tests.poison import poisoned

TREND = (Trend(day(-1), Outcome.COMPLETE, 1, 3), Trend(SLOT, Outcome.COMPLETE, 1, 3))

LAST = ["31 Oct 22:15", "1 Nov 00:00", "1 Nov 01:15"]
"""Last connections of the known ones, in their order."""


def ended(hours):
    """Give evidence whose last connection was so many hours before 1 Nov 2026 02:00."""
    at = datetime(2026, 11, 1, 2, tzinfo=UTC) - timedelta(hours=hours)
    return replace(evidence(), last_connection=at)


KNOWN = [
    finding(f"mac-{number}", f"/opt/{name}", status=Status.CONTINUING, evidence=ended(hours))
    for number, (name, hours) in enumerate((("zulu", 3.75), ("alpha", 0.75), ("mike", 2)))
]


def hostile_report():
    """Give a report whose every text is an attacker's, in a folder of its own."""
    told = finding(priority=Priority.HIGH)
    plain = report(
        run(warnings=("w",), detail="d"),
        told,
        *KNOWN,
        finding("mac-q", status=Status.QUIET),
        hunt=load_hunt("macos-unsigned-network"),
        trend=TREND,
    )
    hostile = poisoned(plain)
    return replace(hostile, run=replace(hostile.run, cluster="c", hunt="h"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Write an archive with a harmless run, a hostile one and a day; give the pages' paths."""
    root = tmp_path_factory.mktemp("archive")
    hostile = hostile_report()
    plain = report(run(day(-1)), finding(), *KNOWN, trend=TREND)
    many = report(run(day(-2)), *(finding(f"mac-{number}") for number in range(20)))
    paths = {}
    for name, of in (("hostile report", hostile), ("report", plain), ("many", many)):
        rendered = RenderedReport(html=render_report(of), csv=findings_csv(of))
        paths[name] = write_run(str(root), of, rendered)
    digest = Digest(
        id="9f8e7d6c5b4a",
        number=1,
        destination="secops",
        medium=Medium.SLACK,
        slot=SLOT + timedelta(hours=1),
        clusters=(ClusterDay("c", "h", hostile.run, SLOT),),
        announcements=tuple(Announcement(each, hostile.run) for each in hostile.findings[:1]),
    )
    paths["hostile day"] = write_daily(str(root), digest, None, render_daily(digest))
    paths["index"] = write_index(str(root))
    for name, path in (("month", "months/2026-11.html"), ("hostile latest", "h/c/latest.html")):
        paths[name] = (root / path).as_uri()
    return paths


@pytest.fixture(scope="module")
def axe():
    """Give axe-core, which CI always has."""
    module = "axe_playwright_python.sync_playwright"
    if os.environ.get("CI") != "true":
        pytest.importorskip(module, reason="needs the development packages of the lock")
    return import_module(module).Axe()


@pytest.fixture
def look(visit, pages):
    """Open a page of the archive by its name."""
    return lambda name, fragment="", **options: visit(pages[name] + fragment, **options)


ALL = ["hostile report", "report", "hostile day", "index", "month"]


@pytest.mark.parametrize("name", ALL)
def test_a_page_asks_for_nothing_and_breaks_no_rule(look, pages, name):
    """One request, for the page itself; no violation of its policy, no error, no dialog."""
    page = look(name)
    asked = [heard for heard in page.heard if not heard.startswith("request data:")]
    assert asked == [f"request {pages[name]}"]


@pytest.mark.parametrize("name", ALL)
def test_nothing_that_an_attacker_wrote_runs(look, name):
    """The page's title is ours, and no element came from a process name."""
    page = look(name)
    assert page.title() != "PWNED"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


INJECTED = {
    "script": ("textContent", "document.title = 1"),
    "style": ("textContent", "h1 { color: #010203 }"),
    "base": ("href", "https://example.org/"),
    "img": ("src", "https://example.org/pixel"),
    "iframe": ("src", "https://example.org/"),
}
"""Elements, each with what would give it an effect."""


@pytest.mark.parametrize("kind", INJECTED)
def test_what_were_injected_is_blocked_by_the_page_s_policy(look, kind):
    """A script, a style, another base, an image, a frame: none has any effect, nothing is sent."""
    page = look("report")
    before, title = page.evaluate("document.baseURI"), page.title()
    sent = []
    page.route("**", lambda route: (sent.append(route.request.url), route.fulfill(body="")))
    page.evaluate(
        "([kind, name, value]) => {"
        " const it = document.createElement(kind); it[name] = value; document.body.append(it); }",
        [kind, *INJECTED[kind]],
    )
    page.wait_for_timeout(100)
    assert page.title() == title
    assert page.evaluate("document.baseURI") == before
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") != "rgb(1, 2, 3)"
    assert sent == []
    assert any("Content Security Policy" in heard for heard in page.heard)


def test_a_form_that_were_injected_is_not_sent(look):
    """The policy has no place to send it to."""
    page = look("report")
    where = page.url
    page.heard.clear()
    page.evaluate(
        """const it = document.createElement("form"); it.action = "https://example.org/";
        document.body.append(it); it.submit()"""
    )
    page.wait_for_timeout(100)
    assert page.url == where
    assert any("Content Security Policy" in heard for heard in page.heard)


def test_an_attacker_s_script_would_not_run_even_unescaped(look):
    """The policy is a second wall: markup that were let through could do nothing."""
    page = look("report")
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend',"
        ' \'<img src=x onerror="document.title=1"><a href="javascript:document.title=2">x</a>\')'
    )
    page.get_by_text("x", exact=True).click()
    page.wait_for_timeout(100)
    assert page.title() not in {"1", "2"}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_a_phone(look, name, scheme):
    """Nothing scrolls sideways at 390 pixels, not even a table."""
    page = look(name, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    wide = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{wide}.map((each) => each.innerText.slice(0, 80))") == []


@pytest.mark.parametrize("name", ["report", "index", "month"])
def test_a_page_fits_a_sheet_of_paper(look, name):
    """A4 between its margins is 688 pixels wide: no column of a table is cut off."""
    page = look(name, viewport={"width": 688, "height": 1000})
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 688


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}},
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("how", LOOKS)
def test_axe_finds_nothing_that_keeps_people_from_reading(look, axe, name, how):
    """Whoever cannot see, point or tell colours apart reads the same page, unfolded too."""
    page = look(name, **LOOKS[how])
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = axe.run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_a_page_is_readable_without_script(look):
    """Every finding is there; what needs script is not offered."""
    page = look("report", java_script_enabled=False)
    assert page.locator("article").count() == 1
    assert page.locator("tbody tr[id^=BH-]:visible").count() == 3
    assert not page.get_by_label("Filter").is_visible()
    assert page.get_by_role("button", name="Copy").count() == 0


@pytest.mark.parametrize("scripted", [True, False])
def test_a_figure_opens_its_meaning_where_it_stands(look, scripted):
    """Also without script, and nothing else moves."""
    page = look("report", java_script_enabled=scripted)
    before = page.locator("article").bounding_box()
    page.locator("article").get_by_role("button", name="Regularity").click()
    assert page.get_by_text("1 is a clock").is_visible()
    assert page.locator("article").bounding_box()["height"] == before["height"]
    page.keyboard.press("Escape")
    assert not page.get_by_text("1 is a clock").is_visible()


def test_what_can_be_copied_is_copied_as_it_stands(look):
    """The hash, without a blank around it."""
    page = look("report", permissions=["clipboard-read", "clipboard-write"])
    page.locator("article summary").click()
    shown = page.locator("article .kv > div", has_text="SHA-256")
    shown.get_by_role("button", name="Copy").click()
    shown.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch("[0-9a-f]{64}", copied)
    assert copied == shown.locator("bdi").inner_text()


def test_the_table_is_filtered_and_sorted(look):
    """An analyst finds one program among many, and the order is said to screen readers."""
    page = look("report")
    names = page.locator("tbody th bdi:visible")
    page.get_by_label("Filter").fill("alp")
    page.get_by_text("1 of 3 shown").wait_for()
    assert names.all_inner_texts() == ["alpha"]
    page.get_by_label("Filter").fill("")
    page.get_by_text("3 shown", exact=True).wait_for()
    head = page.get_by_role("columnheader", name="Process")
    for order, first in (("ascending", "alpha"), ("descending", "zulu")):
        head.get_by_role("button").first.click()
        assert head.get_attribute("aria-sort") == order
        assert names.first.inner_text() == first


def test_dates_and_figures_are_sorted_by_what_they_mean(look):
    """31 Oct comes before 1 Nov, and 1,000 after 9."""
    page = look("report")
    head = page.get_by_role("columnheader", name="Last connection")
    for order in ("descending", "ascending"):
        head.get_by_role("button").first.click()
        assert head.get_attribute("aria-sort") == order
        shown = page.locator("td[data-key]").all_inner_texts()
        assert shown == sorted(shown, key=LAST.index, reverse=order == "descending")


def test_a_phone_shows_every_cell_of_a_row_below_each_other(look):
    """No name is broken into pieces, and no cell is out of sight."""
    page = look("report", viewport={"width": 390, "height": 800})
    row = page.locator("tbody tr[id^=BH-]").first
    assert row.locator("td bdi").first.bounding_box()["height"] < 30
    for cell in row.locator("td").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_the_index_is_filtered_by_cluster(look):
    """A reader sees the runs of one cluster, and no month without any."""
    page = look("index")
    page.get_by_role("combobox").first.select_option("demo-eu")
    assert page.locator("#runs ~ .scroll tbody tr:not(.month):visible").count() == 2


def test_the_index_is_filtered_by_hunt(look):
    """Where there are several, a reader sees the runs of one."""
    page = look("index")
    page.get_by_label("Hunt").select_option("h")
    assert page.locator("#runs ~ .scroll tbody tr:not(.month):visible").count() == 1


@pytest.mark.parametrize("scripted", [True, False])
def test_the_latest_page_opens_the_newest_report(look, pages, scripted):
    """From a bookmark, also without script; what stands on the way is ours."""
    page = look("hostile latest", java_script_enabled=scripted)
    page.wait_for_url(pages["hostile report"])
    assert page.title() != "PWNED"
    assert page.locator("article").count() == 1


def test_many_cards_are_filtered_too(look):
    """Of twenty new findings an analyst looks for one Mac."""
    page = look("many")
    page.get_by_label("Filter").first.fill("mac-17")
    page.get_by_text("1 of 20 shown").wait_for()
    assert page.locator("article:visible").count() == 1


def test_keys_lead_from_finding_to_finding_and_into_one(look):
    """An analyst who goes through a morning's findings needs no mouse."""
    page = look("many")
    at = "document.activeElement.id"
    first, second = (card.get_attribute("id") for card in page.locator("article").all()[:2])
    page.keyboard.press("j")
    assert page.evaluate(at) == first
    page.keyboard.press("j")
    assert page.evaluate(at) == second
    page.keyboard.press("k")
    page.keyboard.press("o")
    assert page.locator("article").first.locator("details").get_attribute("open") is not None
    page.keyboard.press("/")
    page.keyboard.type("jok")
    assert page.get_by_label("Filter").first.input_value() == "jok"


def test_a_link_to_a_finding_unfolds_it(look, pages):
    """Who follows a link from Slack sees the finding with its details."""
    html = Path(pages["report"].removeprefix("file://")).read_text()
    identity = re.search(r'<article class="[^"]*" id="([^"]*)"', html).group(1)
    page = look("report", f"#{identity}")
    assert page.locator("article details").get_attribute("open") is not None


def test_paper_keeps_the_heads_of_tables_and_drops_what_cannot_be_pressed(look):
    """Sorting is for screens, but a column without a head says nothing."""
    page = look("report")
    page.emulate_media(media="print")
    assert page.get_by_role("columnheader", name="Process").get_by_text("Process").is_visible()
    assert not page.get_by_role("button", name="Copy").first.is_visible()
    assert not page.get_by_label("Filter").is_visible()


def test_paper_shows_what_is_folded(look):
    """A printed report holds the evidence too; afterwards the page is as before."""
    page = look("report")
    closed = page.locator("details:not([open])").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == closed > 0
