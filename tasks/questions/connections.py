"""Connection times: from findings to their processes' connections and their hosts' awake hours."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tasks.clusters import Client, Question, ask_about
from tasks.errors import QueryRefused
from tasks.model.findings import Finding
from tasks.model.runs import Plan

CONNECTIONS = """\
FROM logs-endpoint.events.network-*
| WHERE NOT STARTS_WITH(COALESCE(MV_MAX(event.action), ""), "lookup_")
| EVAL at = TO_LONG(@timestamp),
       is_start = COALESCE(MV_MAX(event.type) == "start", false)
| EVAL start_at = CASE(is_start, at, null),
       end_at = CASE(is_start, null, at)
| STATS start_times = TOP(start_at, 2000, "desc"),
        end_times = TOP(end_at, 2000, "desc")
    BY agent.id, process.entity_id, destination.address, source.port
| EVAL start_times = MV_DEDUPE(start_times),
       end_times = MV_DEDUPE(end_times)
| EVAL starts = COALESCE(MV_COUNT(start_times), 0),
       ends = COALESCE(MV_COUNT(end_times), 0)
| EVAL at = CASE(starts >= ends, start_times, end_times)
| MV_EXPAND at
| EVAL hour = (at - TO_LONG(TO_DATETIME(?_tstart))) / 3600000
| STATS connections = COUNT(*),
        first_at = MIN(at),
        times = TOP(at, 2000, "desc")
    BY agent.id, process.entity_id, destination.address, hour
| EVAL cell = CONCAT(TO_STRING(hour), "=", TO_STRING(connections))
| STATS cells = VALUES(cell),
        first_at = MIN(first_at),
        times = TOP(times, 2000, "desc")
    BY agent.id, process.entity_id, destination.address
| SORT process.entity_id, destination.address, agent.id
| LIMIT 10000
"""
"""A connection counts once in every encoding: an attempt and its disconnect share a source port, a
merged document is both, a disconnect alone is one connection. If a port is used again within the
window, the more frequent kind of event counts. DNS lookups are not connections.

An event that was ingested twice has the same time, process, address and port, and counts once.
VALUES would drop repetitions by itself, but before Elasticsearch 8.17.3 its cost is quadratic in
the number of groups, and every port is one. Cloned Macs may share a host.id and entity ids, but not
an agent.id."""

HOST_HOURS = """\
FROM logs-endpoint.events.network-*
| EVAL hour = (TO_LONG(@timestamp) - TO_LONG(TO_DATETIME(?_tstart))) / 3600000
| STATS hours = VALUES(hour) BY agent.id, host.id
| SORT host.id, agent.id
| LIMIT 10000
"""
"""The hours in which a Mac sent any event: in the others it was asleep or off."""

ADDRESSES_AT_MOST = 65_536
"""Elasticsearch refuses more terms than this (`index.max_terms_count`)."""


AGENTS_NOT_MAPPED = (
    "The cluster does not map agent.id: the connections of Macs that share a host.id, as clones "
    "do, cannot be told apart."
)


def ask_connections(
    client: Client, plan: Plan, findings: Sequence[Finding]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask for the findings' connection times and their hosts' awake hours.

    Returns:
        The answers to `CONNECTIONS` and to `HOST_HOURS`, as one table for each of them. They have
        no column agent.id if the cluster does not map it; the client's warnings say so.

    Raises:
        ClusterError: also if a part of an answer is missing: the counts would be wrong.
    """
    try:
        return _ask(client, plan, findings, CONNECTIONS, HOST_HOURS)
    except QueryRefused as error:
        if "Unknown column [agent.id]" not in error.problem:
            raise
        client.warnings[AGENTS_NOT_MAPPED] = None
        return _ask(client, plan, findings, *map(_without_agents, (CONNECTIONS, HOST_HOURS)))


def _without_agents(query: str) -> str:
    return query.replace("agent.id, ", "").replace(", agent.id", "")


def _ask(
    client: Client, plan: Plan, findings: Sequence[Finding], connections: str, hours: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    window = plan.window
    start = {"_tstart": window.parameters["_tstart"]}
    of_process, of_host = (
        Question(name, plan.hunt.everywhere(text), window.filter, start)
        for name, text in (("connections", connections), ("hours", hours))
    )
    addresses = {finding.destination.address for finding in findings}
    if len(addresses) <= ADDRESSES_AT_MOST:
        of_process = of_process.about("destination.address", addresses)
    entities = (entity for finding in findings for entity in finding.process.entity_ids)
    hosts = (finding.host.id for finding in findings)
    return (
        ask_about(client, of_process, "process.entity_id", entities),
        ask_about(client, of_host, "host.id", hosts),
    )
