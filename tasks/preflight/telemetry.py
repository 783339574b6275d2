"""Telemetry in a check: from coverage to verdicts on what agents, events and hosts do to a hunt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tasks.model.coverage import CHECK_SHARE, FAULTS, OF_AGENTS, AgentCoverage, Coverage, Fault
from tasks.model.faults import fault_subject
from tasks.model.hunts import Nouns
from tasks.preflight.checks import TrialResult, Verdict, warning


def judge_telemetry(
    coverage: Coverage | None, unjudged: str, nouns: Nouns
) -> Iterator[TrialResult]:
    """Judge what was counted.

    Args:
        coverage: of the last 24 hours; None if counting took too long.
        unjudged: why the agents were not assessed; else empty.
        nouns: the hunt's nouns.
    """
    agents = coverage.agents if coverage else ()
    faults = [*telemetry_faults(agents), *_event_faults(coverage, nouns)]
    yield from faults
    if not faults and agents:
        yield TrialResult(f"The telemetry from {_versions(agents)} has no fault.")
    elif unjudged:
        yield warning(
            f"Not assessed, so a hunt may be blind: {unjudged}",
            "Check the cluster's load and its circuit breakers.",
        )
    elif not faults:
        yield TrialResult("Not assessed: no network events were counted.", verdict=Verdict.SKIPPED)


def telemetry_faults(agents: Collection[AgentCoverage]) -> Iterator[TrialResult]:
    """Warn about faults in the agents' telemetry, with the affected versions."""
    if blind := [agent for agent in agents if Fault.BLIND in agent.faults]:
        yield _fault_warning(Fault.BLIND, blind)
    events = sum(agent.events for agent in agents)
    for fault in (Fault.MERGED, Fault.NO_SIGNATURE):
        affected = sum(agent.affected(fault) for agent in agents)
        if affected > CHECK_SHARE * events:
            worst = [agent for agent in agents if agent.share(fault) > CHECK_SHARE]
            yield _fault_warning(fault, worst, f"({affected / events:.0%} of the events)")


def _fault_warning(fault: Fault, agents: Iterable[AgentCoverage], extent: str = "") -> TrialResult:
    description = FAULTS[fault]
    return warning(description.sentence(_versions(agents), extent), description.remedy)


def _event_faults(coverage: Coverage | None, nouns: Nouns) -> Iterator[TrialResult]:
    """Warn about faults of events and hosts, and about what could not be assessed."""
    for fault in coverage.faults if coverage else ():
        if coverage and fault not in OF_AGENTS:
            subject, description = fault_subject(fault, coverage, nouns), FAULTS[fault]
            yield warning(
                f"{fault.kind.capitalize()}: {description.sentence(subject)}", description.remedy
            )
    for sentence in coverage.scrutiny.left_out if coverage and coverage.scrutiny else ():
        yield warning(sentence, "Runs work without it; docs/operations.md says what they lack.")


def _versions(agents: Iterable[AgentCoverage]) -> str:
    versions = sorted({agent.version or "of unknown version" for agent in agents})
    return f"agents {', '.join(versions)}"
