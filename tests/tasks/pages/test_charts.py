import re
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.runs import Outcome, Trend
from tasks.pages import charts
from tests.builders import SLOT, day

START = SLOT - timedelta(days=7)

HOURS = st.lists(st.none() | st.integers(0, 100_000), min_size=1, max_size=400)

TRENDS = st.lists(
    st.builds(
        Trend,
        slot=st.integers(-60, 0).map(day),
        outcome=st.sampled_from(Outcome),
        new=st.integers(0, 9_000),
        known=st.integers(0, 9_000),
        hosts=st.none() | st.integers(0, 9_000),
    ),
    max_size=30,
)


def said(svg: str) -> str:
    """Give what a screen reader says of a chart."""
    return ElementTree.fromstring(svg).attrib["aria-label"]  # noqa: S314 - our own text.


def paths(svg: str, css: str) -> str:
    """Give the path of a class, empty when it is not drawn."""
    found = re.search(rf'class="{css}"[^>]* d="([^"]*)"', svg)
    return found.group(1) if found else ""


@given(HOURS, st.none() | st.integers(1, 5_000))
def test_an_activity_chart_is_xml_of_integers(hourly, threshold):
    """Any figures give a well-formed chart whose paths hold whole numbers only."""
    svg = charts.activity_chart(hourly, START, threshold)
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text.
    assert root.attrib["role"] == "img"
    drawn = " ".join(node.attrib["d"] for node in root.iter() if "d" in node.attrib)
    assert "." not in drawn


@given(TRENDS)
def test_a_trend_is_xml_of_integers_within_its_frame(runs):
    """Any history gives a well-formed chart; no bar is higher than its frame."""
    svg = charts.trend_chart(runs)
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text.
    drawn = " ".join(node.attrib["d"] for node in root.iter() if "d" in node.attrib)
    assert "." not in drawn
    assert all(int(height) <= 96 for height in re.findall(r"v-?(\d+)", drawn))


@pytest.mark.parametrize("draw", [charts.small_trend, charts.small_fleet])
@given(runs=TRENDS)
def test_the_last_runs_fit_into_a_row(draw, runs):
    """Any history gives a well-formed small chart of whole numbers that says them."""
    svg = draw(runs)
    drawn = " ".join(re.findall(r' d="([^"]*)"', svg))
    assert "." not in drawn
    assert all(int(height) <= 18 for height in re.findall(r"v-?(\d+)", drawn))
    assert said(svg)
    assert len(svg) < 2_000


def test_a_small_trend_says_what_the_large_one_says():
    """The words are those of the report's chart."""
    runs = [Trend(day(-1), Outcome.FAILED, 0, 0), Trend(SLOT, Outcome.COMPLETE, 2, 11, 60)]
    assert said(charts.small_trend(runs)) == said(charts.trend_chart(runs))
    assert said(charts.small_fleet(runs)) == said(charts.fleet_chart(runs))
    assert paths(charts.small_trend(runs), "missing")


def test_the_same_figures_give_the_same_bytes():
    """A chart rendered again is the same, byte for byte."""
    hourly = [None, 0, 5, 130] * 42
    assert charts.activity_chart(hourly, START, 120) == charts.activity_chart(
        list(hourly), START, 120
    )


def test_an_hour_without_data_looks_different_from_one_without_connections():
    """A sleeping Mac is not mistaken for a silent one."""
    svg = charts.activity_chart([None] * 24 + [0] * 24 + [5] * 120, START, None)
    assert paths(svg, "gap") == "M0 56V0h24V56z"
    assert paths(svg, "zero").startswith("M24 56V55h24")
    assert paths(svg, "bar").startswith("M48 56")


def test_hours_below_the_threshold_are_told_from_those_that_reach_it():
    """The hours that made the finding stand out."""
    svg = charts.activity_chart([119] * 84 + [120] * 84, START, 120)
    assert paths(svg, "low").startswith("M0 ")
    assert paths(svg, "bar").startswith("M84 ")
    assert paths(svg, "limit")


def test_without_a_threshold_there_is_no_line():
    """A hunt that has no hourly threshold gets none drawn."""
    svg = charts.activity_chart([5] * 168, START, None)
    assert not paths(svg, "limit")
    assert not paths(svg, "low")


def test_an_activity_chart_says_its_numbers():
    """A reader who cannot see the chart hears what it shows."""
    words = said(charts.activity_chart([None] * 9 + [0] * 100 + [130] * 59, START, 120))
    assert "168 hours from 17 Nov 2026 06:00 UTC" in words
    assert "59 hours with connections; peak 130" in words
    assert "59 hours at 120 or more" in words
    assert "9 hours without data" in words


def test_midnights_are_where_days_begin():
    """A window that starts at 06:00 has its first midnight after 18 hours."""
    svg = charts.activity_chart([1] * 168, START, None)
    assert paths(svg, "day").startswith("M18 0v56M42 0v56")
    assert svg.count("<text") == 7  # 17 Nov to Mon 23; six hours are no room for Tue 24.
    assert "Wed </tspan>18" in svg


def test_a_long_window_keeps_a_readable_number_of_bars():
    """A window of 90 days is drawn with its busiest hours, not 2,160 slivers."""
    svg = charts.activity_chart([1] * 2159 + [500], START, None)
    assert len(svg) < 4_000
    assert "peak 500" in said(svg)


def test_a_missing_run_is_an_empty_dashed_bar():
    """Missed, failed and empty runs are seen as such, never as "found nothing"."""
    runs = [
        Trend(day(-2), Outcome.COMPLETE, 0, 10),
        Trend(day(-1), Outcome.FAILED, 0, 0),
        Trend(day(0), Outcome.COMPLETE, 2, 10),
    ]
    svg = charts.trend_chart(runs)
    assert paths(svg, "missing").count("M") == 1
    assert paths(svg, "known").count("M") == 2
    assert paths(svg, "new").count("M") == 1
    assert "1 not searched" in said(svg)


def test_a_partial_run_shows_its_bar_in_a_dashed_frame():
    """What a partial run found is a lower bound."""
    svg = charts.trend_chart([Trend(day(0), Outcome.PARTIAL, 1, 3)])
    assert paths(svg, "missing")
    assert paths(svg, "known")


def test_one_flood_does_not_flatten_the_rest():
    """The axis ends at three times the median, and the bar that is cut says its number."""
    usual = [Trend(day(number - 30), Outcome.COMPLETE, 0, 10) for number in range(29)]
    svg = charts.trend_chart([*usual, Trend(day(0), Outcome.COMPLETE, 5_000, 11)])
    assert paths(svg, "known").startswith("M2 96v-32h6")
    assert paths(svg, "cut")
    assert ">5,011</text>" in svg


@given(TRENDS)
def test_a_fleet_is_xml_of_integers_within_its_frame(runs):
    """Any history gives a well-formed chart."""
    root = ElementTree.fromstring(charts.fleet_chart(runs))  # noqa: S314 - our own text.
    drawn = " ".join(node.attrib["d"] for node in root.iter() if "d" in node.attrib)
    assert "." not in drawn
    assert all(int(height) <= 36 for height in re.findall(r"v-?(\d+)", drawn))


def test_a_fleet_that_shrinks_is_seen_and_said():
    """Half of the Macs gone silent is news, also when nothing is found."""
    runs = [
        Trend(day(-2), Outcome.COMPLETE, 0, 0, hosts=40),
        Trend(day(-1), Outcome.FAILED, 0, 0),
        Trend(day(0), Outcome.COMPLETE, 0, 0, hosts=20),
    ]
    svg = charts.fleet_chart(runs)
    assert re.findall(r"v-(\d+)h", paths(svg, "known")) == ["36", "18"]
    assert paths(svg, "missing").count("M") == 1
    assert said(svg) == "Hosts seen by 3 runs; 1 know nothing of them; highest 40; last 20"


def test_an_ordinary_month_is_not_cut():
    """Runs that differ a little are drawn at their full height."""
    svg = charts.trend_chart([Trend(day(n - 3), Outcome.COMPLETE, n, 10) for n in range(4)])
    assert not paths(svg, "cut")


@given(st.lists(st.integers(0, 2_000), min_size=41, max_size=41).filter(any))
def test_a_chart_of_gaps_is_xml_of_integers(counts):
    """Any figures give a well-formed chart."""
    root = ElementTree.fromstring(charts.gap_chart(counts, 52.9))  # noqa: S314 - our own text.
    drawn = " ".join(node.attrib["d"] for node in root.iter() if "d" in node.attrib)
    assert "." not in drawn


def test_a_clock_is_one_bar_of_gaps():
    """The eye sees the period, and what strays from it."""
    svg = charts.gap_chart([*[0] * 20, 500, *[0] * 19, 3], 52.9)
    assert paths(svg, "bar") == "M20 56V0h1V56zM41 56V55h1V56z"
    words = said(svg)
    assert "503 gaps" in words
    assert "median 52.9 s; 500 within a tenth of it; 3 longer than twice it" in words


def test_a_sparkline_is_small():
    """A row's chart stays under 0.8 KB, however restless its hours are."""
    assert len(charts.sparkline([hour * 37 % 101 for hour in range(168)])) < 800
