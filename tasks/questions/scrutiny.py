"""Scrutiny: from a plan to what the events of its hunt's data streams show about themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from string import Template
from typing import Any

from tasks.clusters import Answer, Client, Question, ask, values
from tasks.errors import QueryRefused
from tasks.esql.conditions import Condition, filter_conditions, parts_of
from tasks.esql.errors import EsqlError
from tasks.model.hunts import Hunt
from tasks.model.runs import Plan
from tasks.model.scrutiny import (
    CLOCK_TOLERANCE,
    LOOK_BACK_DAYS,
    SAMPLE,
    ConditionEvents,
    FieldEvents,
    HostSample,
    HostStates,
    Scrutiny,
    StreamEvents,
    stopped_after,
)
from tasks.questions.candidates import parameters
from tasks.text.times import Clock

# Made columns begin with `coverage.`, which hides no field of an event. A data stream is one,
# however many backing indices it has: an event may come again after a rollover.
EVENTS_BY_STREAM = Template("""\
FROM $sources METADATA _index
| EVAL coverage.stream = REPLACE(
           _index, \"""^(.*:|)[^:]*\\.ds-(.+)-\\d{4}\\.\\d{2}\\.\\d{2}-\\d{6,}$$\""", "$$1$$2"),
       coverage.inside = ($population
       ),
       coverage.passes = $passes,
       coverage.searched = CASE(coverage.inside, 1, 0),
       coverage.unjudged = CASE($unjudged AND ($several), 1, 0),
       coverage.candidate = CASE(coverage.inside OR coverage.unjudged == 1, 1, 0),
       coverage.host = CASE(coverage.inside, host.id),
       coverage.time = CASE(coverage.inside, @timestamp),
       coverage.event = CASE(coverage.inside, event.id)$met,
       coverage.stray = CASE($nearly AND $loose AND coverage.candidate == 0, 1, 0)$columns
| STATS sent_events = COUNT(*),
        events = SUM(coverage.searched),
        macs = COUNT_DISTINCT(coverage.host),
        newest_event = MAX(coverage.time),
        with_id = COUNT(coverage.event),
        distinct_ids = COUNT_DISTINCT(coverage.event, 40000),
        candidates = SUM(coverage.candidate),
        unjudged = SUM(coverage.unjudged),
        strays = SUM(coverage.stray)$sums
    BY stream = coverage.stream
| SORT stream
| LIMIT 1000
""")
"""One row for a data stream. 40,000 is the largest precision: its error is about 0.2 %."""

HOSTS = Template("""\
FROM $sources
| WHERE ($population
  ) AND host.id IS NOT NULL
| EVAL ahead_event = CASE(@timestamp >= ?ahead_from, 1, 0),
       time = CASE(@timestamp < ?ahead_from, @timestamp)
| STATS oldest = MIN(time),
        newest = MAX(time),
        ahead_events = SUM(ahead_event),
        name = VALUES(host.name)
    BY host.id, agent.id
| EVAL sending = CASE(agent.id IS NOT NULL, TO_LONG(newest) - TO_LONG(oldest)),
       oldest = CASE(agent.id IS NOT NULL, oldest)
| STATS sending = SUM(sending),
        oldest = MIN(oldest),
        newest = MAX(newest),
        ahead_events = SUM(ahead_events),
        name = VALUES(name)
    BY host.id
| EVAL known = CASE(newest IS NOT NULL, 1, 0),
       seen = CASE(newest >= TO_DATETIME(?seen_since), 1, 0),
       silent = CASE(newest < TO_DATETIME(?silent_since), 1, 0),
       stopped = CASE(newest <= TO_DATETIME(?stopped_since), 1, 0),
       cloned = CASE(sending - (TO_LONG(newest) - TO_LONG(oldest)) > ?overlap_ms, 1, 0),
       ahead = CASE(ahead_events > 0, 1, 0),
       name = COALESCE(MV_CONCAT(MV_SLICE(MV_SORT(name), 0, 4), ", "), host.id)
| EVAL name = CASE(
           cloned == 1, CONCAT(name, " (host.id ", host.id, ")"),
           stopped + ahead > 0, name)
| STATS hosts = COUNT(*),
        ahead_events = SUM(ahead_events),
        names = MV_SLICE(MV_SORT(VALUES(name)), 0, 9)
    BY known, seen, silent, stopped, cloned, ahead
| SORT known, seen, silent, stopped, cloned, ahead
| LIMIT 1000
""")
"""At most one row for a combination of states.

Agents under one `host.id` sent at the same time if the times for which they sent add up to more
than the time from the first event to the last. For two agents that is exact. Of three or more, a
short overlap may be hidden by a long silence; clones overlap for long.
"""

OTHERS = Template("""\
FROM $sources
| EVAL $columns
| STATS sent_events = COUNT(*)
    BY $names
| SORT sent_events DESC
| LIMIT 10
""")
"""The most frequent values of the fields in conditions that no event meets."""

_UNKNOWN = re.compile(r"Unknown column \[([^\]]+)\]")

OPTIONAL_FIELDS = {
    "event.id": "whether events were ingested twice",
    "agent.id": "whether hosts are clones",
    "host.name": "the names of hosts",
}
"""Fields that a cluster may lack, and what cannot be assessed without them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the hunt asks of an event.

    Attributes:
        population: the conditions of its population.
        passes: all conditions on events together, in ES|QL; those on columns that the query makes
            are left out.
        is_whole: no condition is left out.
        fields: the fields that it reads as a single value, by name.
        left_out: why the conditions are not known; else empty.
    """

    population: tuple[Condition, ...] = ()
    passes: str = "true"
    is_whole: bool = True
    fields: tuple[str, ...] = ()
    left_out: str = ""


def asked_of_events(hunt: Hunt) -> Asked:
    """Read the conditions of a hunt's population and query."""
    try:
        population = parts_of(hunt.pipeline.population)
        conditions = (*population, *filter_conditions(hunt.query))
    except EsqlError as error:
        return Asked(left_out=f"which events the hunt cannot judge ({error})")
    # A data stream takes no event with several times.
    on_fields = [each for each in conditions if each.singles - {"@timestamp"}]
    texts = dict.fromkeys(each.text for each in on_fields if each.is_about_events)
    return Asked(
        population,
        " AND ".join(map(_enclosed, texts)) or "true",
        all(each.is_about_events for each in on_fields),
        tuple(sorted(frozenset().union(*(each.singles for each in on_fields)) - {"@timestamp"})),
    )


def streams_question(plan: Plan, asked: Asked) -> Question:
    """Make the question about the events of the hunt's data streams."""
    hunt = plan.hunt
    several = [f"MV_COUNT({_quoted(field)}) > 1" for field in asked.fields]
    met = {f"met_{n}": _enclosed(each.text) for n, each in enumerate(asked.population)}
    columns = {
        **{
            f"strays_{n}": f"coverage.stray == 1 AND coverage.met_{n} == 0"
            for n in range(len(asked.population))
        },
        **{f"several_{n}": f"coverage.unjudged == 1 AND {s}" for n, s in enumerate(several)},
    }
    query = EVENTS_BY_STREAM.substitute(
        sources=hunt.sources,
        population=hunt.pipeline.population,
        passes=asked.passes,
        unjudged="coverage.passes IS NULL" if asked.is_whole else "COALESCE(coverage.passes, true)",
        several=" OR ".join(several) or "false",
        nearly=" + ".join(("1", *(f"coverage.{column}" for column in met))) + f" >= {len(met)}",
        loose=" AND ".join(map(_loose, asked.population)) or "false",
        met=_made(met),
        columns=_made(columns),
        sums="".join(f",\n        {column} = SUM(coverage.{column})" for column in met | columns),
    )
    used = {name: v for name, v in parameters(hunt, plan.window).items() if f"?{name}" in query}
    return Question("totals", query, plan.window.filter, used)


def _made(columns: Mapping[str, str]) -> str:
    """Write columns that are 1 for the events that meet a condition, as the end of an EVAL."""
    return "".join(f",\n       coverage.{c} = CASE({text}, 1, 0)" for c, text in columns.items())


def _enclosed(condition: str) -> str:
    """Enclose a condition, which may end in a comment."""
    return f"({condition}\n       )"


def _quoted(field: str) -> str:
    return field if re.fullmatch(r"[@\w.]+", field) else f"`{field.replace('`', '``')}`"


def _loose(condition: Condition) -> str:
    """Write a condition so that a missing value meets it, and a text in other letters."""
    if condition.field and condition.literal.startswith('"'):
        field = _quoted(condition.field)
        return f"({field} IS NULL OR TO_LOWER({field}) == TO_LOWER({condition.literal}))"
    return f"COALESCE({_enclosed(condition.text)}, true)"


def ask_with_nulls(
    client: Client, question: Question, *, allow_partial: bool = False
) -> tuple[Answer, tuple[str, ...]]:
    """Ask a question, and again with nulls for columns that the cluster does not have.

    Returns:
        The answer, and sentences on what cannot be assessed without these columns.

    Raises:
        ClusterError: also if another column is missing.
    """
    try:
        return ask(client, question, allow_partial=allow_partial), ()
    except QueryRefused as error:
        missing = tuple(dict.fromkeys(_UNKNOWN.findall(error.problem)))
        if not missing or not OPTIONAL_FIELDS.keys() >= set(missing):
            raise
    source, rest = question.query.split("\n", 1)
    nulls = ", ".join(f"{name} = TO_STRING(null)" for name in missing)
    again = replace(question, query=f"{source}\n| EVAL {nulls}\n{rest}")
    answer = ask(client, again, allow_partial=allow_partial)
    return answer, tuple(
        f"Not assessed: {OPTIONAL_FIELDS[name]}, since the cluster has no {name}."
        for name in missing
    )


def read_streams(rows: Sequence[Mapping[str, Any]], asked: Asked) -> Scrutiny:
    """Read the rows of the answer to `EVENTS_BY_STREAM`."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update({name: value or 0 for name, value in row.items() if isinstance(value, int)})
    return Scrutiny(
        streams=tuple(
            StreamEvents(
                row["stream"],
                sent=row["sent_events"],
                searched=row["events"],
                with_id=row["with_id"],
                distinct_ids=row["distinct_ids"],
            )
            for row in rows
        ),
        conditions=tuple(
            ConditionEvents(" ".join(each.text.split()), total[f"met_{n}"], total[f"strays_{n}"])
            for n, each in enumerate(asked.population)
        ),
        candidates=total["candidates"],
        unjudged=total["unjudged"],
        several=tuple(
            FieldEvents(field, events)
            for n, field in enumerate(asked.fields)
            if (events := total[f"several_{n}"])
        ),
        strays=total["strays"],
        left_out=(f"Not assessed: {asked.left_out}.",) if asked.left_out else (),
    )


def with_other_values(client: Client, plan: Plan, asked: Asked, scrutiny: Scrutiny) -> Scrutiny:
    """Add the most frequent other values to conditions that no event meets."""
    wanted = {
        f"coverage.value_{n}": (n, each.field)
        for n, each in enumerate(asked.population)
        if each.field and not scrutiny.conditions[n].met
    }
    if not wanted:
        return scrutiny
    query = OTHERS.substitute(
        sources=plan.hunt.sources,
        columns=",\n       ".join(
            f"{column} = COALESCE(\n"
            f'           MV_CONCAT(MV_SORT(TO_STRING({_quoted(field)})), " and "), "no value")'
            for column, (_, field) in wanted.items()
        ),
        names=", ".join(wanted),
    )
    rows = ask(client, Question("values", query, plan.window.filter, {})).records()
    conditions = list(scrutiny.conditions)
    for column, (n, _) in wanted.items():
        counts: Counter[str] = Counter()
        for row in rows:
            counts[row[column]] += row["sent_events"]
        conditions[n] = replace(conditions[n], others=tuple(counts.most_common()))
    return replace(scrutiny, conditions=tuple(conditions))


def hosts_question(plan: Plan, clock: datetime) -> Question:
    """Make the question about hosts: within the window, and after the run's own clock."""
    ahead_from = max(clock + CLOCK_TOLERANCE, plan.slot)
    days = max(plan.hunt.pipeline.window_days, LOOK_BACK_DAYS)
    start = plan.slot - timedelta(days=days)
    searched = {"range": {"@timestamp": {"gte": start.isoformat(), "lt": plan.slot.isoformat()}}}
    ahead = {"range": {"@timestamp": {"gte": ahead_from.isoformat()}}}
    query = HOSTS.substitute(sources=plan.hunt.sources, population=plan.hunt.pipeline.population)
    return Question(
        "hosts",
        query,
        {"bool": {"should": [searched, ahead], "minimum_should_match": 1}},
        {
            "ahead_from": ahead_from.isoformat(),
            "seen_since": plan.window.start.isoformat(),
            "silent_since": (plan.slot - timedelta(hours=plan.stale_after_hours)).isoformat(),
            "stopped_since": (plan.slot - _stopped_after(plan)).isoformat(),
            "overlap_ms": int(CLOCK_TOLERANCE / timedelta(milliseconds=1)),
        },
    )


def _stopped_after(plan: Plan) -> timedelta:
    return stopped_after(Clock(plan.slot, plan.time_zone))


def read_hosts(rows: Iterable[Mapping[str, Any]], plan: Plan) -> HostStates | None:
    """Read the rows of the answer to `HOSTS`; None without any host."""
    rows = list(rows)

    def count(state: str) -> int:
        return sum(row["hosts"] for row in rows if row[state])

    def sample(state: str) -> HostSample:
        names = sorted(name for row in rows if row[state] for name in values(row["names"]))
        return HostSample(count(state), tuple(names[:SAMPLE]))

    if not rows:
        return None
    return HostStates(
        known=count("known"),
        seen=count("seen"),
        silent=count("silent"),
        silent_after_hours=plan.stale_after_hours,
        stopped=sample("stopped"),
        stopped_after_hours=int(_stopped_after(plan) / timedelta(hours=1)),
        cloned=sample("cloned"),
        ahead=sample("ahead"),
        ahead_events=sum(row["ahead_events"] or 0 for row in rows),
    )
