"""Coverage: from a plan to the events that its hunt could have seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from string import Template

from tasks.clusters import Answer, Client, Question, ask
from tasks.errors import DeadlineExceeded, HuntError, QueryRefused
from tasks.model.coverage import AgentCoverage, Coverage
from tasks.model.hunts import Hunt
from tasks.model.runs import Plan
from tasks.model.scrutiny import Scrutiny
from tasks.questions.scrutiny import (
    ask_with_nulls,
    asked_of_events,
    hosts_question,
    read_hosts,
    read_streams,
    streams_question,
    with_other_values,
)

TOTALS = Template("""\
FROM $sources
| WHERE $population
| STATS events = COUNT(*),
        macs = COUNT_DISTINCT(host.id),
        newest_event = MAX(@timestamp)
""")
"""What no run can do without; asked for by itself where `EVENTS_BY_STREAM` is refused."""

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

_NO_HOSTS = "Not assessed: which hosts stopped, are clones, or have a wrong clock:"


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
    client: Client, plan: Plan, clock: datetime, *, allow_partial: bool = False
) -> tuple[Coverage, str]:
    """Ask for the hunt's coverage on the cluster as of the plan's slot.

    Args:
        client: client of the cluster.
        plan: the run's plan.
        clock: the run's own clock, aware UTC: a later event has a wrong time.
        allow_partial: accept answers without the shards that failed.

    Returns:
        The coverage, and the reason why its agents' telemetry was not assessed. The reason is empty
        if it was, or if it cannot be: only network events have the needed columns.

    Raises:
        HuntError: as above.
        QueryRefused: also if the events' times are in nanoseconds.
    """
    coverage = _count(client, plan, allow_partial=allow_partial)
    coverage = _with_hosts(client, plan, clock, coverage, allow_partial=allow_partial)
    question = Question("agents", AGENTS.substitute(subject_of(plan.hunt)), plan.window.filter, {})
    try:
        judged = ask(client, question, allow_partial=allow_partial)
    except (QueryRefused, DeadlineExceeded) as error:
        judgeable = "Unknown column" not in error.problem
        return coverage, error.problem if judgeable else ""
    return replace(coverage, agents=read_agents(judged)), ""


def _count(client: Client, plan: Plan, *, allow_partial: bool) -> Coverage:
    """Count the events and hosts that the hunt could have seen, with what it could not."""
    subject, asked = subject_of(plan.hunt), asked_of_events(plan.hunt)
    try:
        totals, left_out = ask_with_nulls(
            client, streams_question(plan, asked), allow_partial=allow_partial
        )
    except (QueryRefused, DeadlineExceeded) as error:
        # The hunt has its answer: what only describes its events must not cost it.
        question = Question("totals", TOTALS.substitute(subject), plan.window.filter, {})
        totals = ask(client, question, allow_partial=allow_partial)
        left_out = (f"Not assessed: whether the events can be trusted. {error.problem}",)
    if totals.types["newest_event"] == "date_nanos":
        raise QueryRefused(
            f"{client.cluster.name}: @timestamp is date_nanos, not date, in {subject['sources']}: "
            "hunts and scores would take its nanoseconds for milliseconds and find nothing.",
            "Map @timestamp as date in the index template, and roll over the data stream.",
        )
    scrutiny = Scrutiny()
    if "stream" in totals.types:
        scrutiny = read_streams(totals.records(), asked)
    scrutiny = replace(scrutiny, left_out=(*scrutiny.left_out, *left_out))
    coverage = replace(coverage_of(totals), scrutiny=scrutiny)
    if coverage.is_unmatched:
        scrutiny = with_other_values(client, plan, asked, scrutiny)
    return replace(coverage, scrutiny=scrutiny)


def _with_hosts(
    client: Client, plan: Plan, clock: datetime, coverage: Coverage, *, allow_partial: bool
) -> Coverage:
    """Add what the hosts' events show; of several data streams, only this counts a host once."""
    hosts = None
    try:
        answer, left_out = ask_with_nulls(
            client, hosts_question(plan, clock), allow_partial=allow_partial
        )
        if answer.is_partial:  # A host may have its newest events in the missing shards.
            left_out = (f"{_NO_HOSTS} some shards did not answer.",)
        else:
            hosts = read_hosts(answer.records(), plan)
    except (QueryRefused, DeadlineExceeded) as error:
        left_out = (f"{_NO_HOSTS} {error.problem}",)
    seen = coverage.scrutiny or Scrutiny()
    scrutiny = replace(seen, hosts=hosts, left_out=(*seen.left_out, *left_out))
    return replace(coverage, scrutiny=scrutiny, macs=hosts.seen if hosts else coverage.macs)


def coverage_of(totals: Answer) -> Coverage:
    """Read the answer to `EVENTS_BY_STREAM` (a row for a data stream) or to `TOTALS` (one row)."""
    rows = totals.records()
    times = [row["newest_event"] for row in rows if row["newest_event"] is not None]
    return Coverage(
        events=sum(row["events"] or 0 for row in rows),
        macs=sum(row["macs"] for row in rows),
        newest_event=max(times).to_pydatetime() if times else None,
        is_partial=totals.is_partial,
    )


def read_agents(answer: Answer) -> tuple[AgentCoverage, ...]:
    """Read the answer to `AGENTS`: a row for an agent version."""
    return tuple(
        AgentCoverage(version=agent.pop("agent.version"), **agent) for agent in answer.records()
    )
