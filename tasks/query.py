"""Ask a cluster the hunt's question, and what it could have seen: candidates and coverage."""

from __future__ import annotations

from dataclasses import replace
from string import Template

import pandas as pd
from prefect import get_run_logger

from tasks.clusters import ROWS_AT_MOST, Answer, Client, Question, ask
from tasks.clusters.paging import paged_query
from tasks.errors import DeadlineExceeded, HuntError, QueryRefused, Unreachable
from tasks.model.coverage import AgentCoverage, Coverage
from tasks.model.hunts import Hunt, integral
from tasks.model.runs import Plan, Window
from tasks.orchestration.retries import cluster_step, is_last_attempt

CANDIDATES_AT_MOST = 100_000
"""Beyond these a hunt is not asked for more, and the run says so."""

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
    thresholds = {name: integral(value) for name, value in hunt.pipeline.thresholds.items()}
    values: dict[str, str | float] = {**window.parameters, **thresholds}
    return {name: value for name, value in values.items() if name in hunt.parameters}


def search(client: Client, plan: Plan, *, allow_partial: bool = False) -> Answer:
    """Ask the hunt's question as of the plan's slot, page by page.

    Args:
        client: of the cluster that is hunted.
        plan: of the run.
        allow_partial: take what the other shards have where some do not answer.

    Returns:
        Its candidates: one row each, with the columns that the hunt keeps.

    Raises:
        Unreachable: some shards did not answer, and the others have nothing.
    """
    hunt = plan.hunt
    values = parameters(hunt, plan.window)
    question = Question("hunt", hunt.query, plan.window.filter, values)
    answers = [ask(client, question, allow_partial=allow_partial)]
    further = paged_query(hunt, ROWS_AT_MOST)
    while further and answers[-1].may_go_on and _rows(answers) < CANDIDATES_AT_MOST:
        text, behind = further.after(answers[-1].rows.iloc[-1].to_dict())
        page = replace(question, query=text, parameters=values | behind)
        answers.append(ask(client, page, allow_partial=allow_partial))
    answer = merged_answers(
        answers, is_cut=answers[-1].may_go_on if further else answers[-1].is_cut
    )
    if answer.is_partial and answer.rows.empty:
        raise Unreachable(
            f"{client.cluster.name}: some shards did not answer, and the others have nothing.",
            "Look at the cluster's failed shards.",
        )
    return answer


def _rows(answers: list[Answer]) -> int:
    return sum(len(answer.rows) for answer in answers)


def merged_answers(answers: list[Answer], *, is_cut: bool) -> Answer:
    """Put the pages of one answer together."""
    return Answer(
        rows=pd.concat([answer.rows for answer in answers], ignore_index=True),
        types=answers[0].types,
        is_partial=any(answer.is_partial for answer in answers),
        is_cut=is_cut,
        skipped=tuple(dict.fromkeys(name for answer in answers for name in answer.skipped)),
        warnings=tuple(dict.fromkeys(text for answer in answers for text in answer.warnings)),
    )


def subject_of(hunt: Hunt) -> dict[str, str]:
    """Give what the questions of coverage are about: what the hunt could have seen.

    Raises:
        HuntError: the hunt does not begin with FROM, so nobody can say that.
    """
    if not hunt.sources:
        raise HuntError(
            f"The query of hunt {hunt.slug} does not begin with FROM.",
            "Begin it with FROM and the data streams that it reads.",
        )
    return {"sources": hunt.sources, "population": hunt.pipeline.population}


def survey(client: Client, plan: Plan, *, allow_partial: bool = False) -> tuple[Coverage, str]:
    """Ask what the cluster could have seen as of the plan's slot.

    Returns:
        What it could, and why its agents were not judged: empty where they were, and where that
        cannot be, because other data streams than network events lack the columns.

    Raises:
        HuntError: nobody can say what the hunt could see.
    """
    subject = subject_of(plan.hunt)
    totals, agents = (
        Question(name, text.substitute(subject), plan.window.filter, {})
        for name, text in (("totals", TOTALS), ("agents", AGENTS))
    )
    counted = ask(client, totals, allow_partial=allow_partial)
    try:
        judged = ask(client, agents, allow_partial=allow_partial)
    except (QueryRefused, DeadlineExceeded) as error:
        judgeable = "Unknown column" not in error.problem
        return coverage_of(counted, None), error.problem if judgeable else ""
    return coverage_of(counted, judged), ""


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
        is_partial=totals.is_partial,
    )


@cluster_step
def query(client: Client, plan: Plan) -> tuple[Answer, Coverage]:
    """Ask for candidates and coverage, in this order.

    Shards that fail may come back: only the last attempt takes what the others have.
    """
    logger = get_run_logger()
    allow_partial = is_last_attempt()
    client.require(plan.hunt.pipeline.min_version, f"the hunt {plan.hunt.slug}")
    answer = search(client, plan, allow_partial=allow_partial)
    logger.info("%d candidates on %s", len(answer.rows), client.cluster.name)
    coverage, unjudged = survey(client, plan, allow_partial=allow_partial)
    logger.info("%d events of %d hosts in the window", coverage.events, coverage.macs)
    if unjudged:
        # It is the heaviest of the questions, and the hunt has its answer without it.
        told = f"Telemetry not judged, so that the hunt may be blind and not know it: {unjudged}"
        answer = replace(answer, warnings=(*answer.warnings, told))
    return answer, coverage
