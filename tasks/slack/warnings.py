"""Warnings in a message: which clusters were not searched, or only in part, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.model.coverage import FAULTS, Coverage, Fault
from tasks.model.digests import ClusterDay, CoverageGap, Digest
from tasks.model.faults import UNMATCHED_REMEDY, fault_subject, unmatched_words
from tasks.model.runs import Run
from tasks.model.wording import REASON_WORDS
from tasks.slack.blocks import code_text, escaped_name
from tasks.text.numbers import counted
from tasks.text.times import Clock

_REASONS = {
    **REASON_WORDS,
    CoverageGap.LATE: "no run today",
    CoverageGap.MISSED: "its slot was never run",
}


@dataclass(frozen=True, slots=True)
class ClusterWarning:
    """Why no finding on a cluster does not mean that there is nothing.

    Attributes:
        cluster: its name, escaped; with the hunt's where the digest has several hunts.
        reason: the short form, for a list of many warnings.
        sentence: in Slack's markup; text from events stands in it as code.
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
        warnings += _warnings_of(day, f"{escaped_name(day.cluster)}{hunt}", digest.clock)
    return warnings


def _warnings_of(day: ClusterDay, name: str, clock: Clock) -> Iterator[ClusterWarning]:
    """Give one warning for all days of an ongoing gap, then one for the days before."""
    if day.ongoing:
        yield _not_searched(day, day.ongoing, name, clock)
    for gap in day.today:
        if gap is CoverageGap.PARTIAL:
            sentence = (
                f"*{name} was searched in part only*: the answer was partial or cut. New findings "
                "there may be missing from this message."
            )
            yield ClusterWarning(name, gap, sentence)
        elif gap.fault and day.run and day.run.coverage:
            yield _telemetry_warning(gap.fault, day.run, day.run.coverage, name)
    if day.over:
        since = " Since then it was." if day.searched else ""
        sentence = (
            f"*{name} was not searched, or not all of it,* on {day.over_words(clock)}.{since}"
        )
        yield ClusterWarning(name, "earlier", sentence)


def _not_searched(day: ClusterDay, gap: CoverageGap, name: str, clock: Clock) -> ClusterWarning:
    last = day.last_searched and clock.zoned(day.last_searched)
    if gap is CoverageGap.NO_DATA:
        coverage = day.run.coverage if day.run else None
        newest = coverage.newest_event if coverage else None
        event = f"its newest event is of {clock.zoned(newest)}" if newest else "no event"
        searched = f"last searched {last}" if last else "never searched"
        if coverage and coverage.is_unmatched and coverage.scrutiny:
            came = unmatched_words(coverage.scrutiny, code_text)
            sentence = (
                f"*{name} has no event for its hunt*: {came} ({searched}). {UNMATCHED_REMEDY}"
            )
            return ClusterWarning(name, gap, sentence)
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


def _telemetry_warning(fault: Fault, run: Run, coverage: Coverage, name: str) -> ClusterWarning:
    subject, extent = name, ""
    if fault in coverage.faulty:
        # Blind agents are reported every day, the others on their first day only.
        agents = "some agents" if fault is Fault.BLIND else "some agents now"
        versions = len(coverage.faulty[fault])
        extent = f"({versions} of {counted(len(coverage.agents), 'version')})"
    else:
        agents = fault_subject(fault, coverage, run.nouns, code_text)
    if fault is Fault.BLIND:
        subject = f"{name} is blind on some {escaped_name(run.nouns.host[1])}"
    elif fault is Fault.SEVERAL:
        subject = f"{name} is blind to some events"
    description = FAULTS[fault]
    sentence = f"*{subject}*: {description.sentence(agents, extent)} {description.remedy}"
    return ClusterWarning(name, fault, sentence)
