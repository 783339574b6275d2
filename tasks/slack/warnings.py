"""Warnings in a message: which clusters were not searched, or only in part, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.model.digests import ClusterDay, CoverageGap, Digest
from tasks.model.runs import Run
from tasks.model.wording import REASON_WORDS
from tasks.slack.blocks import escaped_name
from tasks.text import times
from tasks.text.numbers import counted

_REASONS = {
    **REASON_WORDS,
    CoverageGap.LATE: "no run today",
    CoverageGap.MISSED: "its slot was never run",
}


@dataclass(frozen=True, slots=True)
class ClusterWarning:
    """Why no finding on a cluster does not mean that there is nothing; without data from events.

    Attributes:
        cluster: its name, escaped; with the hunt's where the digest has several hunts.
        reason: the short form, for a list of many warnings.
        sentence: in Slack's markup.
    """

    cluster: str
    reason: str
    sentence: str


def cluster_warnings(digest: Digest) -> list[ClusterWarning]:
    """Give the warnings of a day in the order of its clusters."""
    several_hunts = len({day.hunt for day in digest.clusters}) > 1
    warnings: list[ClusterWarning] = []
    for day in digest.clusters:
        hunt = f" ({escaped_name(day.hunt)})" if several_hunts else ""
        warnings += _warnings_of(day, f"{escaped_name(day.cluster)}{hunt}")
    return warnings


def _warnings_of(day: ClusterDay, name: str) -> Iterator[ClusterWarning]:
    """Give one warning for all days of an ongoing gap, then one for the days before."""
    if day.ongoing:
        yield _not_searched(day, day.ongoing, name)
    for gap in day.today:
        if gap is CoverageGap.PARTIAL:
            sentence = (
                f"*{name} was searched in part only*: the answer was partial or cut. New findings "
                "there may be missing from this message."
            )
            yield ClusterWarning(name, gap, sentence)
        elif gap is CoverageGap.BLIND and day.run:
            yield _blindness(day.run, name)
        elif gap in _MISJUDGED:
            yield ClusterWarning(name, gap, f"*{name}*: {_MISJUDGED[gap]}")
    if day.over:
        since = " Since then it was." if day.searched else ""
        sentence = f"*{name} was not searched, or not all of it,* on {day.over_words}.{since}"
        yield ClusterWarning(name, "earlier", sentence)


_MISJUDGED = {
    CoverageGap.MERGED: "some agents now send an attempt and its disconnect as one event, so that "
    "a threshold for events an hour asks for twice as many connections there.",
    CoverageGap.NO_SIGNATURE: "some agents now send many events without any code signature, which "
    "are neither signed nor unsigned to the hunt.",
}


def _not_searched(day: ClusterDay, gap: CoverageGap, name: str) -> ClusterWarning:
    last = day.last_searched and times.short_utc(day.last_searched)
    if gap is CoverageGap.NO_DATA:
        newest = day.run.coverage.newest_event if day.run and day.run.coverage else None
        event = f"its newest event is of {times.short_utc(newest)}" if newest else "no event"
        searched = f"last searched {last}" if last else "never searched"
        sentence = (
            f"*{name} has no data* ({event}; {searched}). What happened there since is not known."
        )
    else:
        searched = f"has not been searched since {last}" if last else "was never searched"
        sentence = (
            f"*{name} {searched}* ({gap}: {_REASONS[gap]}). New findings there are not in this "
            "message."
        )
    return ClusterWarning(name, gap, sentence)


def _blindness(run: Run, name: str) -> ClusterWarning:
    agents = run.coverage.agents if run.coverage else ()
    blind = sum(agent.deduplicated for agent in agents)
    sentence = (
        f"*{name} is blind on some {escaped_name(run.nouns.host[1])}*: agents there drop repeated "
        f"network events ({blind} of {counted(len(agents), 'version')}), so that hunts which "
        "count see nothing. Set `mac.advanced.events.deduplicate_network_events` to false in the "
        "Defend policy."
    )
    return ClusterWarning(name, CoverageGap.BLIND, sentence)
