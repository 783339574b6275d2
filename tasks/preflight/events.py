"""Events: from the coverage of the last day to whether a run now would have data, or its remedy."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.clusters import Client
from tasks.model.coverage import Coverage
from tasks.model.faults import UNMATCHED_REMEDY, silence_words, unmatched_words
from tasks.model.runs import Plan, slot_of_newest
from tasks.preflight.checks import TrialResult, failed, warning
from tasks.questions.newest import ask_newest_event
from tasks.text import times
from tasks.text.numbers import counted


def judge_events(client: Client, plan: Plan, coverage: Coverage) -> Iterator[TrialResult]:
    """Judge the events of the last day.

    Args:
        client: asked for a folder's newest event if a run now would not search it.
        plan: for a run now, whose window is that day.
        coverage: of that run.
    """
    if coverage.is_unmatched and coverage.scrutiny:
        yield failed(
            f"In the last 24 hours {unmatched_words(coverage.scrutiny)}: runs find nothing.",
            UNMATCHED_REMEDY,
        )
        return
    if coverage.newest_event is None:
        text = "There is no event in the hunt's population in the last 24 hours."
        if plan.of_folder:
            yield warning(text, _command_for_export(client, plan))
        else:
            yield failed(
                text,
                "Check that Elastic Defend ships these events to this cluster, or correct "
                "`population` in the hunt.",
            )
        return
    age = times.span(plan.slot - coverage.newest_event)
    hosts = counted(coverage.macs, *plan.hunt.pipeline.nouns.host)
    text = f"{counted(coverage.events, 'event')} from {hosts} in the last 24 hours"
    if coverage.is_stale(plan.slot, plan.stale_after_hours):
        yield warning(
            f"{text}, the newest {age} old: a run now would have no data.",
            _command_for_export(client, plan)
            if plan.of_folder
            else "Check that Elastic Defend still ships events, or set `stale_after_hours`.",
        )
    else:
        silence = silence_words(coverage, plan.hunt.pipeline.nouns)
        yield TrialResult(f"{text}, the newest {age} old{silence}.")
    if coverage.is_partial:
        yield warning("Some shards did not answer.", "Check the cluster's failed shards.")


def _command_for_export(client: Client, plan: Plan) -> str:
    """Give the command that hunts a folder whose events are from the past."""
    newest = ask_newest_event(client, plan.hunt, plan.slot, plan.hunt.pipeline.population)
    if newest is None:
        return (
            "The folder has none from before either. Check the times of its events and this "
            "computer's clock, or correct `population` in the hunt."
        )
    slot = slot_of_newest(newest, plan.slot)
    return (
        "Hunt the folder as of its newest event: "
        f"`beaconhunt run {plan.cluster} --slot {slot:%Y-%m-%dT%H:%MZ}`."
    )
