import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.model.costs import Cost
from tasks.model.coverage import Coverage
from tasks.model.digests import Announcement, ClusterDay, CoverageGap, DayGap, Digest, Ended, Medium
from tasks.model.findings import (
    LEFT_OUT,
    NO_EVIDENCE,
    Effect,
    Priority,
    Process,
    Reason,
    Status,
)
from tasks.model.hunts import Hunt, Pipeline, load_hunt
from tasks.model.runs import Outcome, Report, Trend
from tasks.model.scrutiny import ConditionEvents, FieldEvents, HostSample
from tasks.model.wording import headline, is_news
from tasks.pages.explanations import explanations
from tasks.pages.kibana import discover_url
from tasks.report import (
    findings_csv,
    markdown_summary,
    render_daily,
    render_report,
    state_message,
)
from tests.builders import (
    HUNT,
    SLOT,
    acknowledgement,
    coverage,
    day,
    evidence,
    finding,
    report,
    run,
    scrutiny,
)
from tests.effort import examples
from tests.poison import HOSTILE, poisoned

SHIPPED = load_hunt("macos-unsigned-network")

VOID = {"meta", "link", "img", "input", "br", "hr", "path", "circle"}


class Structure(HTMLParser):
    """What a browser makes of a page: elements with attributes, and text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.words = []
        self.open = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Note an element, and that it is open."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note an element that has no content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Check that elements close in the order in which they opened."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Note what a reader sees."""
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def shape(self):
        """Elements and attributes without the marks of hidden characters."""
        return [
            (tag, attributes)
            for tag, attributes in self.elements
            if (tag, attributes) != ("span", {"class": "ctl"})
        ]


def text_of(html):
    """Give a page's words, white space collapsed, without the explanations that open."""
    html = re.sub(r"<p id=.q-\w+. popover>.*?</p>", "", html)
    return " ".join("".join(Structure(html).words).split())


def muted(host, **changes):
    """Give a finding that Ada acknowledged."""
    found = finding(host, **changes)
    return replace(found, acknowledgement=acknowledgement(found))


def full_report():
    """Give a report in which every part of the page has something to say."""
    told = finding(
        reasons=(Reason(Effect.RAISES, "no signature"), Reason(Effect.LOWERS, "Homebrew")),
        faults=("not enriched: no process event",),
        priority=Priority.HIGH,
    )
    return report(
        run(
            warnings=("late",),
            detail="cut",
            flow_run="calm-otter",
            compared_with=day(-1),
            coverage=replace(coverage(), scrutiny=scrutiny(stopped=HostSample(1, ("mac-a",)))),
        ),
        told,
        finding("mac-b", status=Status.CONTINUING),
        muted("mac-d", status=Status.CONTINUING),
        finding("mac-c", status=Status.QUIET, evidence=None),
        hunt=SHIPPED.model_copy(update={"remarks": ("stray line",)}),
        trend=(Trend(day(-1), Outcome.COMPLETE, 0, 1), Trend(SLOT, Outcome.COMPLETE, 1, 1)),
    )


def full_digest(of: Report):
    """Give a digest that tells everything of one report."""
    missed = ClusterDay("lab", "macos-unsigned-network", None, None)
    return Digest(
        id="9f8e7d6c5b4a",
        number=1,
        destination="secops",
        medium=Medium.SLACK,
        slot=SLOT + timedelta(hours=1),
        clusters=(ClusterDay(of.run.cluster, of.run.hunt, of.run, SLOT), missed),
        announcements=tuple(Announcement(each, of.run) for each in of.findings if is_news(each)),
        ended=tuple(
            Ended(each.acknowledgement, (Announcement(each, of.run),)) for each in of.acknowledged
        ),
        acknowledged=len(of.acknowledged),
    )


PAGES = {
    "report": render_report,
    "daily page": lambda of: render_daily(full_digest(of)),
}


@pytest.fixture(params=PAGES, ids=lambda name: name.replace(" ", "-"))
def rendered(request):
    """Render a report to each kind of page."""
    return PAGES[request.param]


# What an attacker writes is text, whatever it is.


def test_hostile_text_makes_no_element_and_no_attribute(rendered):
    """A page of hostile names has exactly the elements of a page of harmless ones."""
    hostile = Structure(rendered(poisoned(full_report())))
    harmless = Structure(rendered(poisoned(full_report(), "x")))
    assert [tag for tag, _ in hostile.shape] == [tag for tag, _ in harmless.shape]
    assert [set(attrs) for _, attrs in hostile.shape] == [set(a) for _, a in harmless.shape]


def unmatched_report():
    """Give a report of a run whose events all lie outside the hunt's population."""
    unmet = ConditionEvents('host.os.family == "macos"', 0, 9, (("macOS", 9),))
    seen = Coverage(0, 0, None, scrutiny=scrutiny(conditions=(unmet,), candidates=0))
    return report(run(outcome=Outcome.NO_DATA, coverage=seen, detail="9 events came."))


def test_hostile_values_that_kept_events_out_make_no_element():
    """A run names what stands in events where the hunt expects something else."""
    hostile, harmless = (
        Structure(render_report(poisoned(unmatched_report(), text))) for text in (HOSTILE, "x")
    )
    assert [tag for tag, _ in hostile.shape] == [tag for tag, _ in harmless.shape]


def test_a_run_that_matches_nothing_says_so_and_not_no_data():
    """Its agents send: nobody should look for stopped ones."""
    of = unmatched_report()
    came = "othing matched: 620,000 events came, none"
    assert headline(of) == f"N{came} in the hunt's population"
    assert state_message(of) == f'n{came} with host.os.family == "macos" (macOS: 9)'
    assert "No event for this hunt. 9 events came." in text_of(render_report(of))


def test_events_that_the_hunt_cannot_judge_never_look_clean():
    """Headline and badge are those of a blind run, with the share."""
    seen = scrutiny(candidates=200, unjudged=1, several=(FieldEvents("event.category", 1),))
    of = report(run(coverage=replace(coverage(), scrutiny=seen)))
    assert headline(of) == "Nothing new, blind to less than 1% of the events"
    assert '<span class="badge warn">complete, blind</span>' in render_report(of)
    assert state_message(of) == "0 new, 0 continuing (several values)"


def test_silent_macs_and_other_systems_stand_in_what_was_searched():
    """They are normal in part, and one fresh Mac must not hide them."""
    html = render_report(full_report())
    assert "<dt>Outside the population</dt><dd>310,000 of 620,000 events</dd>" in html
    assert "<dt>Silent for over 6 hours</dt><dd>2 of 60 Macs</dd>" in html


@settings(max_examples=examples(40))
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_no_text_at_all_changes_a_page_structure(text):
    """The same, for any text."""
    of = full_report()
    changed, harmless = (
        Structure(render_report(poisoned(of, value))) for value in (f"x{text}x", "x")
    )
    assert [tag for tag, _ in changed.shape] == [tag for tag, _ in harmless.shape]
    assert [set(attrs) for _, attrs in changed.shape] == [set(a) for _, a in harmless.shape]


def test_no_attribute_holds_text_from_events():
    """What stands in attributes is ours; only links to the archive know a run's folder."""
    of = poisoned(full_report(), "hostile\u202e")
    for _, attributes in Structure(render_report(of)).elements:
        for name, value in attributes.items():
            assert name == "href" or "hostile" not in (value or "")


def test_hidden_characters_are_shown_and_marked(rendered):
    """No right-to-left override and no control character reaches the reader's eye."""
    html = rendered(poisoned(full_report()))
    assert not re.search("[\u202e\u200b\x00\x1b]", html)
    assert r"<span class=ctl>\u202e</span>" in html


def test_a_title_holds_no_mark(rendered):
    """A browser's tab shows text only, so hidden characters are written out without their mark."""
    title = re.search("<title>(.*?)</title>", rendered(poisoned(full_report()))).group(1)
    assert "ctl" not in title
    assert "\u202e" not in title


def test_a_template_in_a_name_stays_text(rendered):
    """A process called `{{ 7*7 }}` is called that."""
    assert "{{ 7*7 }}" in text_of(rendered(poisoned(full_report())))


def test_destinations_are_defanged_and_never_links(rendered):
    """No click and no linkifier leads to where the malware calls."""
    of = report(run(), finding(address="c2.evil.example", priority=Priority.HIGH))
    html = rendered(of)
    assert "c2[.]evil[.]example:443" in html
    without_query = re.sub(r"<pre.*?</pre>", "", html, flags=re.DOTALL)
    assert "evil.example" not in without_query
    assert not [a for tag, a in Structure(html).elements if "evil" in a.get("href", "")]


def test_an_address_in_a_hunt_s_own_column_is_defanged():
    """Also where a hunt keeps `destination.address` among its columns."""
    of = report(run(), finding(figures={"destination.address": "203.0.113.9"}))
    assert "203.0.113[.]9" in render_report(of)


def test_a_huge_command_line_is_shortened_with_a_note():
    """100 kB of command line do not fill the page; the reader learns where it is whole."""
    process = Process(name="x", command_line="A" * 100_000)
    html = render_report(report(run(), finding(process=process)))
    assert len(html) < 60_000
    assert "(all 100,000 characters are in findings.json)" in html


# The page asks for nothing and runs nothing but its own.


def test_the_policy_allows_the_one_style_and_the_one_script(rendered):
    """The hashes in the policy are those of what the page really holds."""
    html = rendered(full_report())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'"):
        assert rule in policy


def test_the_script_is_small_enough_to_read():
    """Whoever reviews a page reads all that it can do."""
    (script,) = re.findall("<script>(.*?)</script>", render_report(full_report()), re.DOTALL)
    assert len(script.encode()) < 5_000


def test_a_page_asks_for_nothing(rendered):
    """No attribute loads anything, styles anything or runs anything."""
    for tag, attributes in Structure(rendered(full_report())).elements:
        assert tag not in {"img", "iframe", "object", "embed", "form", "base", "audio", "video"}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert "src" not in attributes
        assert re.match(
            r"#|(\.\./)*[\w/.-]+(#BH-\w+)?$|data:image/svg", attributes.get("href", "#")
        )


def test_every_word_that_opens_an_explanation_has_one(rendered):
    """A `?` never opens nothing."""
    elements = Structure(rendered(full_report())).elements
    opened = {a["popovertarget"] for _, a in elements if "popovertarget" in a}
    there = [a["id"] for _, a in elements if "popover" in a]
    assert opened
    assert opened <= set(there)
    assert len(there) == len(set(there))


def test_every_explanation_explains_a_word_of_some_page():
    """None is left over when a figure goes."""
    changed = finding("mac-d", status=Status.CONTINUING, changed_binary=True)
    pages = [render_report(report(run(outcome=Outcome.BASELINE), finding(status=Status.BASELINE)))]
    of = full_report()
    counted = {"figures": {"number_of_con_per_hour": 136}, "status": Status.CONTINUING}
    back = finding("mac-e", status=Status.RETURNED, away_since=day(-40))
    findings = (*of.findings, finding(**counted), changed, back)
    pages.append(render_report(replace(of, findings=findings)))
    for key in explanations(HUNT.pipeline.nouns):
        assert any(f'popovertarget="q-{key}"' in page for page in pages), key


def test_every_figure_of_a_finding_is_explained():
    """What an analyst reads off a card has its meaning where it stands."""
    html = render_report(report(run(), finding(figures={"number_of_con_per_hour": 136})))
    words = re.findall(
        r'class="term" popovertarget="q-\w+">([^<]+)<', html.partition("<article")[2]
    )
    for figure in (
        "Signature",
        "Rate",
        "Calls every",
        "Regularity",
        "Last connection",
        "First seen",
    ):
        assert figure in words


def test_every_chart_says_its_numbers(rendered):
    """Each chart is an image with a label."""
    charts = [a for tag, a in Structure(rendered(full_report())).elements if a.get("role") == "img"]
    assert charts
    assert all(re.search(r"\d", chart["aria-label"]) for chart in charts)


# The same document gives the same bytes.


def test_a_report_is_rendered_again_from_its_document():
    """What is rendered from findings.json is what was rendered from the run."""
    of = full_report()
    assert render_report(Report.from_json(of.to_json())) == render_report(of)
    assert findings_csv(Report.from_json(of.to_json())) == findings_csv(of)


def test_bytes_do_not_depend_on_the_process():
    """Another order of sets, language and time zone of the machine give the same bytes."""
    program = (
        "import sys, hashlib; from tests.tasks.test_report import *;"
        "of = full_report();"
        "whole = render_report(of).encode() + PAGES['daily page'](of).encode() + findings_csv(of);"
        "print(hashlib.sha256(whole).hexdigest())"
    )

    def digest(seed, zone):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C.UTF-8", "TZ": zone}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout

    assert digest("1", "UTC") == digest("2", "Pacific/Kiritimati")


def test_the_page_names_the_sha256_of_its_document():
    """Whoever reads the page can check that findings.json is the one it was rendered from."""
    of = full_report()
    assert hashlib.sha256(of.to_json()).hexdigest() in render_report(of)


# The verdict, by outcome.

VERDICTS = [
    (
        report(run(), finding("a"), finding("b"), finding("b", "/opt/x")),
        "3 new beaconing processes on 2 Macs",
        "3 new, 0 continuing",
    ),
    (report(run(), finding()), "1 new beaconing process on 1 Mac", "1 new, 0 continuing"),
    (report(run(), finding(status=Status.CONTINUING)), "Nothing new", "0 new, 1 continuing"),
    (
        report(run(), finding(status=Status.CONTINUING, changed_binary=True)),
        "1 known program with a changed binary",
        "0 new, 1 changed, 1 continuing",
    ),
    (
        report(run(outcome=Outcome.BASELINE), finding(status=Status.BASELINE)),
        "Baseline recorded: 1 beaconing process on 1 Mac",
        "baseline: 1",
    ),
    (
        report(run(outcome=Outcome.PARTIAL), finding()),
        "Partial: 1 new beaconing process on 1 Mac",
        "partial: 1 new, 0 continuing",
    ),
    (
        report(run(outcome=Outcome.PARTIAL)),
        "Partial: nothing new in what was searched",
        "partial: 0 new, 0 continuing",
    ),
    (
        report(run(outcome=Outcome.NO_DATA, coverage=Coverage(1, 1, SLOT - timedelta(hours=50)))),
        "No data: newest event 2 days old",
        "no data: newest event 2 days old",
    ),
    (
        report(run(outcome=Outcome.NO_DATA, coverage=Coverage(0, 0, None))),
        "No data: no event in 7 days",
        "no data: no event in 7 days",
    ),
    (
        report(
            run(
                outcome=Outcome.FAILED,
                reason="unauthorised",
                detail="demo-eu: the API key is not accepted (secret KEY_NAME). Put a valid one.",
            )
        ),
        "Not searched: the cluster does not accept the key",
        "not searched: unauthorised (demo-eu: the API key is not accepted (secret KEY_NAME))",
    ),
    (
        report(run(outcome=Outcome.FAILED, reason="unreachable")),
        "Not searched: the cluster did not answer",
        "not searched: unreachable (the cluster did not answer)",
    ),
    (
        report(run(outcome=Outcome.MISSED)),
        "Not searched: the run never started",
        "not searched: the run never started",
    ),
]


@pytest.mark.parametrize(("of", "verdict", "state"), VERDICTS, ids=[v[1] for v in VERDICTS])
def test_each_outcome_has_its_own_verdict(of, verdict, state):
    """What people read keeps outcomes apart: in the headline and in Prefect's final state."""
    assert headline(of) == verdict
    assert state_message(of) == state
    assert f"<h1>{verdict}</h1>" in render_report(of)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.MISSED, Outcome.NO_DATA])
def test_a_run_that_searched_nothing_never_says_nothing_new(outcome):
    """Silence must not look like safety, and there is no figure of what nobody counted."""
    html = render_report(report(run(outcome=outcome, detail="It broke off.")))
    assert "Nothing new" not in text_of(html)
    assert "It broke off." in text_of(html)
    assert "Nothing was searched, so there may be something new" in text_of(html)
    assert not [tag for tag, a in Structure(html).elements if a.get("class") == "tiles"]


STALE = run(
    outcome=Outcome.NO_DATA,
    detail="The newest event is old.",
    coverage=Coverage(73_683, 20, SLOT - timedelta(hours=22)),
)


def test_a_stale_run_says_what_was_and_nothing_about_now():
    """Old events show what was over the threshold until they ended; the rest is not known."""
    of = report(STALE, finding(status=Status.CONTINUING), hunt=SHIPPED)
    words = text_of(render_report(of))
    until = "over the threshold between 17 Nov 06:00 and the newest event, 23 Nov 08:00 UTC"
    assert f"1 known beaconing process was again {until}." in words
    assert "Known before 1" in words
    assert "What happened since is not known." in words
    for claim in (
        "active now",
        "still active",
        "Continuing",
        "continuing",
        "Went quiet",
        "goes on",
    ):
        assert claim not in words.partition("How this was found")[0]


def test_what_is_new_in_old_events_is_shown_as_new():
    """Events that came in before they ended may hold something that nobody has seen."""
    words = text_of(render_report(report(STALE, finding())))
    assert "New findings 1" in words
    assert "Nothing was searched" not in words


def test_a_known_finding_is_called_what_a_run_can_know_of_it():
    """Over the threshold in the window, with its last connection; not "still active"."""
    words = text_of(render_report(report(run(), finding(status=Status.CONTINUING), hunt=SHIPPED)))
    assert "over the threshold within these 7 days" in words
    assert "Last connection" in words
    assert "24 Nov 05:59" in words
    assert "1 connected in the last 24 hours" in words
    assert "still active" not in words


def test_a_finding_that_stopped_days_ago_is_not_counted_as_going_on():
    """The tile says how many continuing ones connected in the last day."""
    before = replace(evidence(), last_connection=SLOT - timedelta(hours=25))
    of = report(run(), finding(status=Status.CONTINUING, evidence=before))
    assert "0 connected in the last 24 hours" in text_of(render_report(of))


# Figures stand beside what they are compared with, and only where there is such a thing.


def test_a_rate_is_told_in_the_unit_of_its_threshold():
    """The hunt counts events, so 68 connections an hour can be over a threshold of 120."""
    figures = {"number_of_con_per_hour": 136, "duration_hours": 20}
    seen = evidence(per_hour=68)
    new = finding(figures=figures, evidence=seen)
    known = finding("mac-b", status=Status.CONTINUING, figures=figures, evidence=seen)
    words = text_of(render_report(report(run(), new, known, hunt=SHIPPED)))
    assert "136 events/h (68 connections/h)" in words
    assert "Events/h" in words


def test_a_hunt_that_counts_no_events_has_no_column_for_them():
    """A column of dashes says nothing."""
    words = text_of(render_report(report(run(), finding(status=Status.CONTINUING))))
    assert "Conn./h" in words
    assert "Events/h" not in words


def test_hours_at_a_threshold_appear_only_for_a_hunt_that_has_one():
    """The shipped hunt has no threshold of connections an hour; another may."""
    plain = report(run(), finding(evidence=replace(evidence(), hours_at_threshold=None)))
    assert "hours at" not in text_of(render_report(plain)).lower()
    assert "hours_at_threshold" not in findings_csv(plain).decode()
    hourly = HUNT.pipeline.model_copy(update={"thresholds": {"min_connections_per_hour": 100}})
    of = report(run(), finding(), hunt=HUNT.model_copy(update={"pipeline": hourly}))
    assert "168 of 168 hours at 100 connections or more" in text_of(render_report(of))
    assert cells(of)[0]["hours_at_threshold"] == "168"


def test_a_finding_without_evidence_says_why_once_in_its_card_and_in_its_row():
    """An empty place would look like a fault."""
    faults = ("not enriched: of old", f"{NO_EVIDENCE}: none found")
    found = {"evidence": None, "faults": faults, "figures": {"number_of_con_per_hour": 140}}
    known = finding("mac-b", status=Status.CONTINUING, **found)
    of = report(run(), finding(**found), known)
    words = text_of(render_report(of))
    assert words.count("not enriched: of old · no connection times: none found") == 1
    assert words.count("none found") == 2  # In the row too, where the others have a chart.
    assert "140 events/h" in words


def test_a_hunt_that_counts_no_connections_has_no_columns_for_them():
    """A hunt with `score = false` did not ask: that is said, and not that there were none."""
    asked = HUNT.pipeline.model_copy(update={"score": False})
    without = {"evidence": None, "faults": (f"{NO_EVIDENCE}: {LEFT_OUT}",)}
    of = report(
        run(),
        finding(**without),
        finding("mac-b", status=Status.CONTINUING, **without),
        hunt=HUNT.model_copy(update={"pipeline": asked}),
    )
    words = text_of(render_report(of))
    for absent in ("Conn./h", "Last connection", "last connection", "connected"):
        assert absent not in words
    assert words.count("no connection times: the hunt leaves them out") == 1


def test_what_is_told_is_called_what_it_is():
    """A changed binary is no new finding, and a list of returned ones is not called continuing."""
    changed = finding("mac-c", status=Status.CONTINUING, changed_binary=True)
    back = finding("mac-r", status=Status.RETURNED)
    alone = text_of(render_report(report(run(), changed, back)))
    assert "Changed binaries 1" in alone
    assert "Continuing and returned 1" in alone
    assert "New findings" not in alone
    beside = text_of(render_report(report(run(), finding(), changed)))
    assert "New findings and changed binaries 2" in beside


def test_a_failed_run_counts_nothing_and_says_when_it_was_searched_last():
    """No zero stands where nobody counted, and nothing is said about how it was searched."""
    before = (Trend(day(-2), Outcome.COMPLETE, 1, 3), Trend(day(-1), Outcome.MISSED, 0, 0))
    of = report(run(outcome=Outcome.FAILED, detail="d"), trend=before, hunt=SHIPPED)
    words = text_of(render_report(of))
    assert "The last run that searched was that of 22 Nov 2026 06:00 UTC." in words
    assert "New findings 0" not in words
    assert "What was searched" not in words
    assert "How this was found" not in words


def test_one_run_is_no_trend():
    """A chart of one bar says nothing."""
    first = (Trend(SLOT, Outcome.BASELINE, 0, 3),)
    assert "Last 1 run" not in text_of(render_report(report(run(), trend=first)))


def test_a_hunt_for_other_hosts_speaks_of_them():
    """A hunt file of one's own, for Windows: not one word of Macs or beaconing on its pages."""
    pipeline = Pipeline(population='host.os.family == "windows"', thresholds={"min_calls": 3})
    hunt = Hunt(slug="rare-calls", name="Rare calls", uuid="1", query="FROM x", pipeline=pipeline)
    changes = {"hunt": hunt, "cluster": "demo-eu"}
    of = report(
        run(hunt=hunt),
        finding("pc-a", **changes),
        finding("pc-b", status=Status.CONTINUING, **changes),
        finding("pc-c", status=Status.QUIET, evidence=None, **changes),
        hunt=hunt,
    )
    told = text_of(render_report(of)) + text_of(PAGES["daily page"](of)) + markdown_summary(of)
    assert "1 new finding on 1 host" in told
    assert "Hosts affected" in told
    assert not re.search(r"\bMacs?\b|macOS|beaconing", told)


def test_times_are_told_in_utc_and_in_the_readers_own_zone():
    """Also a day's page, where its clusters agree on one; elsewhere it tells UTC only."""
    of = report(run(time_zone="Europe/Berlin"), finding(first_seen=day(-3)))
    page = text_of(render_report(of))
    assert "17 Nov 06:00 to 24 Nov 2026 06:00 UTC (07:00 CET), 7 days" in page
    assert "21 Nov 06:00 UTC (07:00 CET), 3 days before" in page
    assert "CET" in text_of(render_daily(full_digest(of)))
    elsewhere = replace(full_digest(of), announcements=(Announcement(finding(), run()),))
    assert "CET" not in text_of(render_daily(elsewhere)).partition("New findings")[0]


def test_a_finding_that_this_run_saw_first_says_so():
    """The slot of the page is not repeated as a date."""
    assert "First seenby this run" in text_of(render_report(report(run(), finding())))


def test_every_warning_of_a_run_is_on_its_page():
    """What must be known before the figures are believed stands above them."""
    words = text_of(render_report(report(run(warnings=("Cut at 10,000 rows.", "Blind on 8.17.")))))
    above = words.partition("Events searched")[0]
    assert "Cut at 10,000 rows." in above
    assert "Blind on 8.17." in above


def test_a_blind_run_never_looks_clean():
    """Its headline says it, wherever that stands, and its badge is not green."""
    deaf = replace(coverage().agents[0], version="8.17.1", groups=5_000, single_event_groups=5_000)
    of = report(run(coverage=replace(coverage(), agents=(deaf,))))
    assert headline(of) == "Nothing new, blind on some Macs"
    assert '<span class="badge warn">complete, blind</span>' in render_report(of)
    gap = DayGap(SLOT, CoverageGap.BLIND)
    seen = ClusterDay(of.run.cluster, of.run.hunt, of.run, SLOT, gaps=(gap,))
    day_page = render_daily(replace(full_digest(of), clusters=(seen,)))
    assert "<h1>Nothing new, not everything was seen</h1>" in day_page
    assert '<span class="badge warn">not everything seen</span>' in day_page


def test_an_agent_version_that_drops_events_is_named_in_the_coverage():
    """A cluster that is blind on some Macs says on which."""
    blind = replace(coverage().agents[0], version="8.17.1", groups=5_000, single_event_groups=5_000)
    of = report(run(coverage=replace(coverage(), agents=(blind,))))
    assert "blind" in text_of(render_report(of))


def test_a_hunt_that_uses_now_says_that_it_is_not_reproducible():
    """A reader knows when a later run as of the same slot may answer otherwise."""
    hunt = HUNT.model_copy(update={"query": "FROM x | WHERE @timestamp > NOW() - 7 days"})
    assert "not reproducible as of a slot" in render_report(report(run(), hunt=hunt))
    assert "not reproducible as of a slot" not in render_report(report(run()))


def test_what_went_quiet_is_listed_and_not_called_clean():
    """A finding below its threshold is not a finding removed."""
    words = text_of(render_report(report(run(), finding("mac-q", status=Status.QUIET))))
    assert "Went quiet 1" in words
    assert "In the run before, and not in the hunt's answer within these 7 days." in words
    assert "does not mean removed from the Mac" in words


def test_a_flood_of_one_program_is_explained():
    """5,000 Macs with one roll-out read as one sentence."""
    flood = [finding(f"mac-{number}", "/opt/agentd") for number in range(300)]
    words = text_of(render_report(report(run(), *flood, finding("mac-x", "/opt/evil"))))
    assert "300 of them are agentd calling 203.0.113[.]47:443" in words


def test_a_flood_of_changed_binaries_is_called_new_nowhere():
    """Neither on the run's page nor on the day's: the programs were known."""
    told = {"status": Status.CONTINUING, "changed_binary": True}
    of = report(run(), *(finding(f"mac-{number}", **told) for number in range(201)))
    for words in (text_of(render_report(of)), text_of(render_daily(full_digest(of)))):
        assert "201 known programs with a changed binary" in words
        assert "Changed binaries 201" in words
        assert "New findings" not in words
        assert "new findings" not in words
    assert "More than 200 at once." in text_of(render_report(of))


def test_a_large_first_run_is_no_flood():
    """A baseline is told as a count, also where part of the answer is missing."""
    first = [finding(f"mac-{number}", status=Status.BASELINE) for number in range(201)]
    words = text_of(render_report(report(run(outcome=Outcome.PARTIAL), *first)))
    assert "at once" not in words


def test_findings_beyond_the_cards_stand_in_the_table():
    """101 new findings: 100 cards, and the last one as a row."""
    html = render_report(report(run(), *(finding(f"mac-{n}") for n in range(101))))
    assert html.count("<article ") == 100
    assert "1 more in the table below." in html
    assert html.count('<tr id="BH-') == 1


def test_rows_beyond_the_table_are_in_the_csv():
    """Above 5,000 rows the page says how many more there are, and where."""
    many = [
        finding(f"mac-{number}", status=Status.CONTINUING, evidence=None) for number in range(5_001)
    ]
    html = render_report(report(run(), *many))
    assert html.count('<tr id="BH-') == 5_000
    assert "1 more in findings.csv." in html


def test_a_long_name_of_a_host_does_not_widen_its_table_for_all():
    """Names of hosts are not broken into pieces, so that a very long one is cut; the CSV has it."""
    long = finding("m" * 100, status=Status.CONTINUING)
    (row,) = re.findall('<tr id="BH-.*?</tr>', render_report(report(run(), long)))
    assert f"{'m' * 39}…" in row
    assert cells(report(run(), long))[0]["host.name"].startswith("m" * 100)


def busy(number, **changes):
    """Give a finding whose hours are as restless as they come."""
    plain = finding(f"mac-{number:05}", **changes)
    hourly = tuple((hour * 37 + number) % 400 for hour in range(168))
    return replace(plain, evidence=replace(plain.evidence, hourly=hourly))


def test_an_ordinary_report_is_small():
    """25 cards and 25 rows stay below 200 KB."""
    new = [busy(number) for number in range(25)]
    known = [busy(number + 25, status=Status.CONTINUING) for number in range(25)]
    of = report(run(), *new, *known, hunt=SHIPPED)
    assert len(render_report(of).encode()) <= 200_000


def test_the_largest_report_stays_usable():
    """5,000 new findings stay below 3 MB."""
    assert len(render_report(report(run(), *map(busy, range(5_000)))).encode()) <= 3_000_000


# The daily page.


def test_a_day_says_what_was_not_searched():
    """A cluster without a run today is named at the top, with when it was last searched."""
    words = text_of(render_daily(full_digest(full_report())))
    assert "1 new beaconing process on 1 Mac, 1 of 2 clusters not searched" in words
    assert "lab was not searched: no run today. Never searched yet." in words


def test_a_day_shows_how_each_cluster_went_lately():
    """What its last runs found, and how many hosts they saw: half a fleet gone silent is seen."""
    digest = full_digest(full_report())
    lately = (Trend(day(-1), Outcome.COMPLETE, 1, 4, 60), Trend(SLOT, Outcome.COMPLETE, 0, 5, 31))
    searched, missed = digest.clusters
    html = render_daily(replace(digest, clusters=(replace(searched, trend=lately), missed)))
    assert "Findings of 2 runs from 23 Nov to 24 Nov; highest 5; last 0 new and 5 known" in html
    assert "Hosts seen by 2 runs; 0 know nothing of them; highest 60; last 31" in html


def test_a_day_says_what_was_not_searched_before_it():
    """A page after a weekend names Saturday's failure, and which digests did not arrive."""
    digest = full_digest(full_report())
    saturday = DayGap(day(-3), CoverageGap.UNREACHABLE)
    searched = replace(digest.clusters[0], gaps=(saturday,))
    words = text_of(render_daily(replace(digest, clusters=(searched,), undelivered=(day(-1),))))
    assert "was not searched, or not all of it, on Sat 21 Nov (unreachable)." in words
    assert "The digest for Mon 23 Nov was not delivered" in words


def test_a_day_links_each_finding_to_its_run_s_report():
    """From the day to the report of the run, within the archive."""
    of = report(run(), finding())
    found = of.findings[0].id
    expected = f'href="../../../../../{of.run.folder}/report.html#{found}"'
    assert expected in render_daily(full_digest(of))


def test_a_quiet_day_of_a_whole_fleet_says_nothing_new():
    """Everything searched, nothing new."""
    of = report(run())
    digest = replace(full_digest(of), clusters=full_digest(of).clusters[:1])
    assert "<h1>Nothing new</h1>" in render_daily(digest)


def test_a_day_without_any_search_does_not_say_nothing_new():
    """Nothing was searched, so nothing is known."""
    digest = replace(full_digest(report(run())), clusters=full_digest(report(run())).clusters[1:])
    html = render_daily(digest)
    assert "<h1>1 of 1 clusters not searched</h1>" in html
    assert "Nothing new" not in html


# For spreadsheets, for Prefect, for Discover.


def cells(of):
    """Read a report's CSV as a program would."""
    return list(csv.DictReader(io.StringIO(findings_csv(of).decode())))


def test_no_cell_of_the_csv_runs_as_a_formula():
    """A process called `=cmd()` is a text in every spreadsheet."""
    of = poisoned(report(run(), finding()), "=cmd()|' /C calc'!A0")
    rows = list(csv.reader(io.StringIO(findings_csv(of).decode())))
    texts = [cell for row in rows for cell in row]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=cmd()|' /C calc'!A0" in texts


def test_every_cell_of_the_csv_is_quoted():
    """A separator of another country, inside a name, begins no cell."""
    of = report(run(), finding(process=Process(name="a;=cmd()", command_line='say "x"')))
    for line in findings_csv(of).decode().splitlines():
        assert re.fullmatch(r'"([^"]|"")*"(,"([^"]|"")*")*', line)


def test_the_csv_shows_hidden_characters_and_keeps_one_line_a_finding():
    """No text breaks a row or hides in a cell."""
    of = poisoned(report(run(), finding()))
    assert len(findings_csv(of).decode().splitlines()) == 2
    assert r"\u202e" in findings_csv(of).decode()
    assert "\u202e" not in findings_csv(of).decode()


def test_the_csv_keeps_addresses_for_programs():
    """A table is joined with other tables: its addresses are not defanged."""
    (row,) = cells(report(run(), finding(address="203.0.113.9")))
    assert row["destination.address"] == "203.0.113.9"
    assert row["figures.duration_hours"] == "168.0"


def test_a_report_without_findings_has_a_csv_with_its_columns():
    """An empty table is still a table."""
    assert cells(report(run())) == []
    assert findings_csv(report(run())).startswith(b'"id","status","disposition","priority",')


def test_no_cell_is_longer_than_a_spreadsheet_takes():
    """A huge command line does not spill into the cells beside it."""
    process = Process(name="x", command_line="A" * 100_000)
    (row,) = cells(report(run(), finding(process=process)))
    assert len(row["process.command_line"]) == 32_767


def test_the_summary_for_prefect_holds_no_markup_from_events():
    """What an attacker writes is code or escaped in the markdown artifact."""
    markdown = markdown_summary(poisoned(full_report()))
    outside_code = re.sub(r"(`+) .*? \1", "", markdown)
    assert not re.search(r"(?<!\\)[<\[`]", outside_code)
    assert "http://" not in outside_code
    assert "\u202e" not in markdown


def test_the_summary_for_prefect_says_what_happened():
    """Verdict, outcome, findings and how much was searched."""
    markdown = markdown_summary(full_report())
    assert markdown.startswith("## 1 new beaconing process on 1 Mac\n")
    assert "- **high** ` updater ` on ` mac-a.example ` calls ` 203.0.113[.]47:443 `" in markdown
    assert "searched" in markdown


def test_each_finding_links_to_its_events_in_kibana_if_people_have_one():
    """The address holds nothing that a browser would read as markup."""
    linked = replace(full_report(), run=run(kibana_url="https://kibana.example.com/s/soc"))
    hrefs = [
        attributes["href"]
        for tag, attributes in Structure(render_report(linked)).elements
        if tag == "a" and attributes.get("href", "").startswith("https://")
    ]
    assert hrefs == [discover_url(linked.findings[0], linked.run)]
    assert "Kibana" not in render_report(full_report())


def test_a_stale_first_run_calls_nothing_new():
    """Its findings are a baseline, and the page says that current events are missing."""
    stale = run(outcome=Outcome.NO_DATA, detail="The newest event is old.")
    page = render_report(report(stale, finding(status=Status.BASELINE)))
    assert "Recorded at the first run" in page
    assert "New findings" not in page
    assert "No current events." in page


def test_what_the_questions_cost_stands_at_the_end():
    """An Elasticsearch operator asks what the hunt does to the cluster."""
    costs = (
        Cost("hunt", asked=3, failed=2, took_ms=61_500, bytes_received=1_234_567),
        Cost("hours", asked=1, took_ms=7, documents_found=1_000, values_loaded=2_000),
    )
    page = text_of(render_report(replace(full_report(), run=run(costs=costs))))
    assert "hunt3261.5 s––1,235 kB" in page
    assert "hours100.007 s1,0002,000–" in page


def test_the_final_state_names_what_is_wrong_with_the_telemetry():
    """Nobody should read "0 new" where nothing can be seen."""
    (agent,) = coverage().agents
    blind = replace(agent, version="9.1.2", groups=1_000, single_event_groups=1_000)
    seen = replace(coverage(), agents=(blind,))
    assert state_message(report(run(coverage=seen))) == "0 new, 0 continuing (blind)"


def test_what_is_back_after_long_is_told_and_counted_apart():
    """It has a card; what was away for a few days is in the table."""
    back = finding("mac-a", status=Status.RETURNED, away_since=day(-40), first_seen=day(-90))
    flapping = finding("mac-b", status=Status.RETURNED)
    of = report(run(), back, flapping)
    page = text_of(render_report(of))
    assert headline(of) == "1 back after long"
    assert "Programs that are back 1" in page
    assert "MEDIUM · RETURNED updater" in page
    assert "1 returned." in page
    assert state_message(of) == "0 new, 1 back after long, 0 continuing"


def test_what_is_acknowledged_is_listed_apart_with_who_why_and_until():
    """It is neither news nor among what continues, and its id leads to it."""
    new = finding("mac-a")
    of = report(run(), new, muted("mac-b"), muted("mac-c", status=Status.CONTINUING))
    page = text_of(render_report(of))
    assert "1 new beaconing process on 1 Mac" in page
    assert "Acknowledged 2" in page
    assert (
        "updater on mac-b.example, calls 203.0.113[.]47:443, acknowledged by ada until "
        "24 Dec 2026 06:00 UTC: Our own agent, not signed yet."
    ) in page
    assert "Continuing0" in page
    assert state_message(of) == "1 new, 0 continuing, 2 acknowledged"


def test_a_run_of_acknowledged_findings_only_has_nothing_new():
    """Its verdict is that of a quiet day, and its numbers add up."""
    of = report(run(), muted("mac-b"), muted("mac-c", changed_binary=True))
    assert headline(of) == "Nothing new"
    assert "Every finding of this run was known before, or is acknowledged." in text_of(
        render_report(of)
    )


def test_a_baseline_counts_the_acknowledged_apart():
    """A new cluster of a fleet whose agent is acknowledged everywhere."""
    recorded = finding("mac-a", status=Status.BASELINE)
    of = report(run(outcome=Outcome.BASELINE), recorded, muted("mac-b", status=Status.BASELINE))
    assert headline(of) == "Baseline recorded: 1 beaconing process on 1 Mac"
    assert state_message(of) == "baseline: 1, 1 acknowledged"


def test_the_csv_says_of_every_finding_what_comes_of_it():
    """For a program that reads it, in one word."""
    of = report(run(), finding("mac-a"), muted("mac-b"), finding("mac-c", status=Status.QUIET))
    rows = csv.DictReader(io.StringIO(findings_csv(of).decode()))
    assert [row["disposition"] for row in rows] == ["announced", "acknowledged", "quiet"]


def test_the_csv_says_who_acknowledged_why_and_until_when():
    """For whoever reviews what is muted."""
    of = report(run(), muted("mac-a"), finding("mac-b"))
    first, second = csv.DictReader(io.StringIO(findings_csv(of).decode()))
    assert [first[f"acknowledged_{column}"] for column in ("by", "until", "why")] == [
        "ada",
        "2026-12-24T06:00:00+00:00",
        "Our own agent, not signed yet.",
    ]
    assert {second[f"acknowledged_{column}"] for column in ("by", "until", "why")} == {""}


def test_a_day_says_which_acknowledgements_ended():
    """With who, why, and what goes on."""
    page = text_of(render_daily(full_digest(report(run(), muted("mac-b")))))
    assert page.count("1 acknowledgement ended, still active") == 2  # Title and headline.
    assert (
        "Acknowledgement ended, still active: updater on mac-b.example, calls 203.0.113[.]47:443"
    ) in page
    assert "acknowledged by ada until 24 Dec 2026 06:00 UTC: Our own agent" in page
    assert "Acknowledged1in the day's runs" in page
