"""Charts: from counts to SVG that is the same bytes every time and says its numbers aloud.

Coordinates are integers. Bars stand in an inner `<svg>` that is stretched to the page's width;
words stand outside it, at percentages, so that they keep their shape. Colours come from the
page's style by class; the attributes beside them are for a reader without style.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

from markupsafe import Markup

from tasks.model.runs import TREND_RUNS, Outcome, Trend
from tasks.text import times

ACTIVITY_BARS = 168
"""One an hour for a week; of a longer window each bar is its busiest hour."""

SPARKLINE_BARS = 84

_SMALL = 18
"""The height of a chart in a row of a table."""

CLIP_AT_MEDIANS = 3
"""A run that found more than so many times the median is cut off: one flood must not flatten the
rest."""

_LABELS = 8
"""At most so many days are named below an activity chart."""

_LABEL_ROOM = 0.08
"""The share of the width that a day's name needs."""


class _Level(StrEnum):
    """What an hour was; the word is its class in the page's style."""

    NO_DATA = "gap"
    NONE = "zero"
    BELOW = "low"
    REACHED = "bar"


_FILLS = {
    _Level.NO_DATA: "#dddddd",
    _Level.NONE: "#888888",
    _Level.BELOW: "#99aabb",
    _Level.REACHED: "#445566",
}


def activity_chart(
    hourly: Sequence[int | None], start: datetime, threshold: float | None
) -> Markup:
    """Draw connections per hour over a window.

    Hours with no event of the Mac are a grey band, hours without a connection a thin line, and
    hours that reach the threshold are darker than those below it.

    Args:
        hourly: connections in each hour, oldest first; None where the Mac sent nothing.
        start: of the window, aware UTC.
        threshold: the hunt's connections per hour; None draws no line.
    """
    height = 56
    limit = round(threshold or 0)
    bars = _binned(hourly, ACTIVITY_BARS)
    top = max(_peak(hourly), limit * 5 // 4, 1)
    days = _midnights(start, len(hourly))
    grid = "".join(f"M{hour * len(bars) // len(hourly)} 0v{height}" for hour, _ in days)
    shapes = [
        *_outlines(bars, limit, top, height, _Level),
        _line("day", "#cccccc", grid),
        _line("limit", "#444444", f"M0 {height - _scaled(limit, top, height)}h{len(bars)}")
        if limit
        else Markup(),
    ]
    month = Markup('{}<tspan class="wide"> {}</tspan>').format(*times.day(start).split())
    labels = [(0, month), *days[:: -(-len(days) // _LABELS) or 1]]
    words = [
        _word(hour, len(hourly), height + 16, label)
        for (hour, label), (following, _) in zip(
            labels, [*labels[1:], (len(hourly), month)], strict=True
        )
        if following - hour >= _LABEL_ROOM * len(hourly)
    ]
    return _drawing(
        "activity",
        height + 20,
        _said(hourly, start, limit),
        _stretched(len(bars), height, shapes),
        *words,
    )


def gap_chart(counts: Sequence[int], period_seconds: float) -> Markup:
    """Draw how long the gaps between connections are: a clock is one bar, chance a long slope.

    Args:
        counts: gaps by length, from 0 to twice the period, and last all longer ones.
        period_seconds: the median gap.
    """
    height, period = 56, (len(counts) - 1) // 2
    *within, longer = counts
    bars = [*within, 0, longer]  # What is longer stands apart.
    top = max(counts)
    tenth = -(-period // 10)
    near = sum(counts[period - tenth : period + tenth])
    words = times.period(period_seconds)
    said = (
        f"Lengths of {sum(counts):,} gaps between connections; median {words}; "
        f"{near:,} within a tenth of it; {longer:,} longer than twice it"
    )
    labels = ((0, "0", "start"), (period, words, "middle"), (len(bars), "longer", "end"))
    return _drawing(
        "gaps",
        height + 20,
        said,
        _stretched(
            len(bars),
            height,
            [
                _line("axis", "#888888", f"M0 {height}h{len(bars)}"),
                _line("day", "#cccccc", f"M{period} 0v{height}"),
                *_outlines(bars, 0, top, height, (_Level.REACHED,)),
            ],
        ),
        *(_word(x, len(bars), height + 16, label, anchor) for x, label, anchor in labels),
    )


def sparkline(hourly: Sequence[int | None]) -> Markup:
    """Draw connections per hour as small as a row of a table."""
    bars = _binned(hourly, SPARKLINE_BARS)
    drawn = (_Level.NO_DATA, _Level.REACHED)
    active = sum(1 for count in hourly if count)
    shapes = _outlines(bars, 0, max(_peak(hourly), 1), _SMALL, drawn)
    return _small("spark", len(bars), f"{active} of {len(hourly)} hours active", shapes)


LABELLED_RUNS = 12
"""From so many runs on there is room for the first one's date beside the last one's, on a phone."""


def trend_chart(runs: Sequence[Trend]) -> Markup:
    """Draw what the last runs found: new above known, dashed where a run is missing or partial.

    Args:
        runs: at most 30, oldest first.
    """
    above, height = 14, 96
    whole, bars = _in_time(runs)
    top = _clipped_top(runs)
    cut = [
        _word(x + _BAR // 2, whole, above - 4, f"{run.found:,}", "middle")
        for x, run in bars
        if run.outcome.searched and run.found > top
    ]
    return _drawing(
        "trend",
        above + height + 20,
        _told(runs),
        _stretched(whole, height, _findings(whole, bars, top, height), y=above),
        *_first_and_last(runs, whole, above + height + 16),
        *cut,
    )


def fleet_chart(runs: Sequence[Trend]) -> Markup:
    """Draw how many hosts the last runs could see, dashed where a run knows nothing of them.

    Args:
        runs: at most 30, oldest first.
    """
    height = 36
    whole, bars = _in_time(runs)
    return _drawing(
        "trend",
        height + 20,
        _seen(runs),
        _stretched(whole, height, _hosts(whole, bars, height)),
        *_first_and_last(runs, whole, height + 16),
    )


def small_trend(runs: Sequence[Trend]) -> Markup:
    """Draw what the last runs found as small as a row of a table.

    Args:
        runs: at most 30, oldest first.
    """
    whole, bars = _in_time(runs)
    shapes = _findings(whole, bars, _clipped_top(runs), _SMALL)
    return _small("trend", whole, _told(runs), shapes)


def small_fleet(runs: Sequence[Trend]) -> Markup:
    """Draw how many hosts the last runs could see as small as a row of a table.

    Args:
        runs: at most 30, oldest first.
    """
    whole, bars = _in_time(runs)
    return _small("trend", whole, _seen(runs), _hosts(whole, bars, _SMALL))


def _findings(whole: int, bars: Sequence[tuple[int, Trend]], top: int, height: int) -> list[Markup]:
    """Draw new above known, dashed where a run is missing or partial; cut above the top."""
    known = new = cut = dashed = ""
    for x, run in bars:
        if not run.outcome.comparable:
            dashed += _frame(x, height)
        if not run.outcome.searched:
            continue
        total = _scaled(run.found, top, height)
        older = min(_scaled(run.known, top, height), total)
        known += f"M{x} {height}v-{older}h{_BAR}v{older}z" if older else ""
        new += f"M{x} {height - total}h{_BAR}v{total - older}h-{_BAR}z" if run.new else ""
        if run.found > top:
            at = height // 6
            cut += f"M{x - 1} {at}l{_BAR + 2} -6v4l-{_BAR + 2} 6z"
    return [
        _line("axis", "#888888", f"M0 {height}h{whole}"),
        _shape("known", "#667788", known),
        _shape("new", "#aa2222", new),
        _shape("cut", "#ffffff", cut),
        _line("missing", "#444444", dashed),
    ]


def _hosts(whole: int, bars: Sequence[tuple[int, Trend]], height: int) -> list[Markup]:
    """Draw how many hosts each run could see, dashed where it knows nothing of them."""
    top = max((run.hosts or 0 for _, run in bars), default=0)
    seen = dashed = ""
    for x, run in bars:
        if run.hosts is None:
            dashed += _frame(x, height)
        else:
            tall = _scaled(run.hosts, top, height)
            seen += f"M{x} {height}v-{tall}h{_BAR}v{tall}z" if tall else ""
    return [
        _line("axis", "#888888", f"M0 {height}h{whole}"),
        _shape("known", "#667788", seen),
        _line("missing", "#444444", dashed),
    ]


def _frame(x: int, height: int) -> str:
    return f"M{x} 1h{_BAR}v{height - 1}h-{_BAR}z"


_PLACE, _BAR = 10, 6
"""Of a run's place in the whole so much is its bar."""


def _in_time(runs: Sequence[Trend]) -> tuple[int, list[tuple[int, Trend]]]:
    """Give the whole width, and each run with where its bar begins: the newest on the right."""
    whole = max(len(runs), TREND_RUNS) * _PLACE
    left = whole - len(runs) * _PLACE + (_PLACE - _BAR) // 2
    return whole, [(left + number * _PLACE, run) for number, run in enumerate(runs)]


def _first_and_last(runs: Sequence[Trend], whole: int, y: int) -> list[Markup]:
    """Write the days of the newest run and, where there is room, of the oldest."""
    words = [_word(whole, whole, y, times.day(runs[-1].slot), "end")] if runs else []
    if len(runs) >= LABELLED_RUNS:
        words.append(_word(whole - len(runs) * _PLACE, whole, y, times.day(runs[0].slot)))
    return words


def _outlines(
    bars: Sequence[int | None], limit: int, top: int, height: int, drawn: Iterable[_Level]
) -> list[Markup]:
    """Draw one path a level, neighbours of equal height as one step."""
    levels = [(_level(count, limit), _bar_height(count, top, height)) for count in bars]
    paths = dict.fromkeys(_Level, "")
    x = 0
    for level, group in groupby(levels, key=lambda bar: bar[0]):
        heights = [bar_height for _, bar_height in group]
        steps = "".join(
            f"V{height - bar_height}h{len(list(same))}" for bar_height, same in groupby(heights)
        )
        paths[level] += f"M{x} {height}{steps}V{height}z"
        x += len(heights)
    return [_shape(level, _FILLS[level], paths[level]) for level in drawn]


def _level(count: int | None, limit: int) -> _Level:
    if count is None:
        return _Level.NO_DATA
    if count == 0:
        return _Level.NONE
    return _Level.REACHED if count >= limit else _Level.BELOW


def _bar_height(count: int | None, top: int, height: int) -> int:
    """A hour without data is as high as the chart, and one without a connection a thin line."""
    return height if count is None else max(_scaled(count, top, height), 1)


def _scaled(count: int, top: int, height: int) -> int:
    """Give a bar's height; any count shows, and none is higher than the chart."""
    return min(-(-count * height // top), height) if top else 0


def _binned(hourly: Sequence[int | None], bars: int) -> list[int | None]:
    """Bring a window down to at most so many bars: the busiest hour of each."""
    size = max(-(-len(hourly) // bars), 1)
    groups = (hourly[at : at + size] for at in range(0, len(hourly), size))
    return [max((count for count in group if count is not None), default=None) for group in groups]


def _peak(hourly: Sequence[int | None]) -> int:
    return max((count or 0 for count in hourly), default=0)


def _clipped_top(runs: Sequence[Trend]) -> int:
    """Give the count at the top of the axis: the runs that found nothing do not lower it."""
    found = [run.found for run in runs if run.found]
    return min(max(found), round(CLIP_AT_MEDIANS * statistics.median(found))) if found else 0


def _midnights(start: datetime, hours: int) -> list[tuple[int, Markup]]:
    """Give the window's midnights: hours from its start, and the day's name."""
    first = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    offset = round((first - start) / timedelta(hours=1))
    days = ((hour, start + timedelta(hours=hour)) for hour in range(offset, hours, 24))
    label = Markup('<tspan class="wide">{} </tspan>{}')  # A phone has no room for the weekday.
    return [(hour, label.format(times.weekday(at), at.day)) for hour, at in days]


def _shape(css: str, fill: str, path: str) -> Markup:
    return (
        Markup('<path class="{}" fill="{}" d="{}"/>').format(css, fill, path) if path else Markup()
    )


def _line(css: str, stroke: str, path: str) -> Markup:
    """Draw lines; the page's style keeps them one pixel wide however the chart is stretched."""
    drawn = Markup('<path class="{}" fill="none" stroke="{}" d="{}"/>')
    return drawn.format(css, stroke, path) if path else Markup()


def _word(x: int, whole: int, y: int, text: str, anchor: str = "start") -> Markup:
    """Write a word at `x` of the whole width, from there on, around it or up to it."""
    tenths = x * 1000 // whole
    anchored = "" if anchor == "start" else Markup(' text-anchor="{}"').format(anchor)
    return Markup('<text x="{}.{}%" y="{}"{}>{}</text>').format(
        tenths // 10, tenths % 10, y, anchored, text
    )


def _stretched(width: int, height: int, shapes: Iterable[Markup], y: int = 0) -> Markup:
    """Draw shapes as wide as the page, whatever their own width."""
    return Markup(
        '<svg{} width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>'
    ).format(Markup(' y="{}"').format(y) if y else "", height, width, height, Markup().join(shapes))


def _drawing(css: str, height: int, said: str, *parts: Markup) -> Markup:
    return Markup(
        '<svg class="{}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(css, height, said, Markup().join(parts))


def _small(css: str, width: int, said: str, shapes: Iterable[Markup]) -> Markup:
    """Draw shapes as small as a row of a table."""
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" width="120" height="{}"'
        ' role="img" aria-label="{}">{}</svg>'
    ).format(css, width, _SMALL, _SMALL, said, Markup().join(shapes))


def _said(hourly: Sequence[int | None], start: datetime, limit: int) -> str:
    """Say an activity chart's numbers."""
    silent = sum(1 for count in hourly if count is None)
    parts = [
        f"Connections per hour over {len(hourly)} hours from {times.full(start)}",
        f"{sum(1 for count in hourly if count)} hours with connections",
        f"peak {_peak(hourly)}",
    ]
    if limit:
        reached = sum(1 for count in hourly if count is not None and count >= limit)
        parts.append(f"{reached} hours at {limit} or more")
    if silent:
        parts.append(f"{silent} hours without data")
    return "; ".join(parts)


def _told(runs: Sequence[Trend]) -> str:
    """Say the trend chart's numbers."""
    if not runs:
        return "No run yet"
    missing = sum(1 for run in runs if not run.outcome.searched)
    partial = sum(1 for run in runs if run.outcome is Outcome.PARTIAL)
    return "; ".join(
        [
            f"Findings of {len(runs)} runs from {times.day(runs[0].slot)} "
            f"to {times.day(runs[-1].slot)}",
            f"highest {max(run.found for run in runs):,}",
            f"last {runs[-1].new:,} new and {runs[-1].known:,} known",
            f"{missing} not searched",
            f"{partial} partial",
        ]
    )


def _seen(runs: Sequence[Trend]) -> str:
    """Say the fleet chart's numbers."""
    counts = [run.hosts for run in runs if run.hosts is not None]
    parts = [f"Hosts seen by {len(runs)} runs", f"{len(runs) - len(counts)} know nothing of them"]
    parts += [f"highest {max(counts):,}", f"last {counts[-1]:,}"] if counts else []
    return "; ".join(parts)
