"""Ask a cluster the hunt's question, and what it could have seen: candidates and coverage."""

from __future__ import annotations

from string import Template

from elasticsearch import Elasticsearch
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.clusters import Answer, ask
from tasks.coverage import AgentCoverage, Coverage
from tasks.errors import HuntError, QueryRefused
from tasks.hunts import Hunt
from tasks.retries import AT_MOST, FIRST_DELAY_SECONDS, JITTER, may_pass
from tasks.runs import Plan, Window
from tasks.settings import Cluster

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


def parameters(hunt: Hunt, window: Window) -> dict[str, str | float]:
    """Give a value to every `?name` of the hunt's query."""
    values: dict[str, str | float] = {**window.parameters, **hunt.pipeline.thresholds}
    return {name: _whole(value) for name, value in values.items() if name in hunt.parameters}


def _whole(value: str | float) -> str | float:
    """A threshold of 8 is a whole number to ES|QL, not 8.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def search(client: Elasticsearch, cluster: Cluster, plan: Plan) -> Answer:
    """Ask the hunt's question as of the plan's slot.

    Returns:
        Its candidates: one row each, with the columns that the hunt keeps.
    """
    values = parameters(plan.hunt, plan.window)
    return ask(client, cluster, plan.hunt.query, parameters=values, within=plan.window.filter)


def survey(client: Elasticsearch, cluster: Cluster, plan: Plan) -> Coverage:
    """Ask what the cluster could have seen as of the plan's slot.

    Raises:
        HuntError: the hunt does not begin with FROM, so nobody can say what it could see.
    """
    hunt, window = plan.hunt, plan.window.filter
    if not hunt.sources:
        raise HuntError(
            f"The query of hunt {hunt.slug} does not begin with FROM.",
            "Begin it with FROM and the data streams that it reads.",
        )
    about = {"sources": hunt.sources, "population": hunt.pipeline.population}
    totals = ask(client, cluster, TOTALS.substitute(about), parameters={}, within=window)
    try:
        agents = ask(client, cluster, AGENTS.substitute(about), parameters={}, within=window)
    except QueryRefused:
        # Other data streams than network events lack its columns; their telemetry is not judged.
        agents = None
    return coverage_of(totals, agents)


def coverage_of(totals: Answer, agents: Answer | None) -> Coverage:
    """Read the answers to `TOTALS` (one row) and, if asked, `AGENTS` (a row per agent version)."""
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
    )


@task(
    cache_policy=NO_CACHE,
    retries=AT_MOST,  # Only for what can pass: an overloaded cluster, a line that dropped.
    retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
    retry_jitter_factor=JITTER,
    retry_condition_fn=may_pass,
)
def query(client: Elasticsearch, cluster: Cluster, plan: Plan) -> tuple[Answer, Coverage]:
    """Ask for candidates and coverage, in this order."""
    logger = get_run_logger()
    answer = search(client, cluster, plan)
    logger.info("%d candidates on %s", len(answer.rows), cluster.name)
    coverage = survey(client, cluster, plan)
    logger.info("%d events of %d hosts in the window", coverage.events, coverage.macs)
    return answer, coverage
