"""Coverage: from a plan to the events that its hunt could have seen."""

from __future__ import annotations

from string import Template

from tasks.clusters import Answer, Client, Question, ask
from tasks.errors import DeadlineExceeded, HuntError, QueryRefused
from tasks.model.coverage import AgentCoverage, Coverage
from tasks.model.hunts import Hunt
from tasks.model.runs import Plan

TOTALS = Template("""\
FROM $sources
| WHERE $population
| STATS events = COUNT(*),
        macs = COUNT_DISTINCT(host.id),
        newest_event = MAX(@timestamp)
""")

AGENTS = Template("""\
FROM $sources
| WHERE $population
| EVAL merged = CASE(MV_COUNT(event.type) > 1, 1, 0),
       unsigned_unknown = CASE(process.code_signature.exists IS NULL, 1, 0)
| STATS events = COUNT(*),
        merged_events = SUM(merged),
        unsigned_unknown_events = SUM(unsigned_unknown)
    BY agent.version, process.entity_id, destination.ip, destination.port
| EVAL single = CASE(events == 1, 1, 0)
| STATS events = SUM(events),
        groups = COUNT(*),
        single_event_groups = SUM(single),
        merged_events = SUM(merged_events),
        unsigned_unknown_events = SUM(unsigned_unknown_events)
    BY agent.version
| SORT events DESC, agent.version
| LIMIT 1000
""")


def subject_of(hunt: Hunt) -> dict[str, str]:
    """Give the hunt's sources and population, for the coverage questions.

    Raises:
        HuntError: the hunt's query does not begin with FROM, so its sources are unknown.
    """
    if not hunt.sources:
        raise HuntError(
            f"The query of hunt {hunt.slug} does not begin with FROM.",
            "Begin it with FROM and the data streams that it reads.",
        )
    return {"sources": hunt.sources, "population": hunt.pipeline.population}


def ask_coverage(
    client: Client, plan: Plan, *, allow_partial: bool = False
) -> tuple[Coverage, str]:
    """Ask for the hunt's coverage on the cluster as of the plan's slot.

    Returns:
        The coverage, and the reason why its agents' telemetry was not assessed. The reason is empty
        if it was, or if it cannot be: only network events have the needed columns.

    Raises:
        HuntError: as above.
        QueryRefused: also if the events' times are in nanoseconds.
    """
    subject = subject_of(plan.hunt)
    totals, agents = (
        Question(name, text.substitute(subject), plan.window.filter, {})
        for name, text in (("totals", TOTALS), ("agents", AGENTS))
    )
    counted = ask(client, totals, allow_partial=allow_partial)
    if counted.types["newest_event"] == "date_nanos":
        raise QueryRefused(
            f"{client.cluster.name}: @timestamp is date_nanos, not date, in {subject['sources']}: "
            "hunts and scores would take its nanoseconds for milliseconds and find nothing.",
            "Map @timestamp as date in the index template, and roll over the data stream.",
        )
    try:
        judged = ask(client, agents, allow_partial=allow_partial)
    except (QueryRefused, DeadlineExceeded) as error:
        judgeable = "Unknown column" not in error.problem
        return coverage_of(counted, None), error.problem if judgeable else ""
    return coverage_of(counted, judged), ""


def coverage_of(totals: Answer, agents: Answer | None) -> Coverage:
    """Read the answers to `TOTALS` (one row) and `AGENTS`, if any (a row for an agent version)."""
    (total,) = totals.records()
    newest = total["newest_event"]
    return Coverage(
        events=total["events"],
        macs=total["macs"],
        newest_event=None if newest is None else newest.to_pydatetime(),
        agents=tuple(
            AgentCoverage(version=agent.pop("agent.version"), **agent)
            for agent in (agents.records() if agents else ())
        ),
        is_partial=totals.is_partial,
    )
