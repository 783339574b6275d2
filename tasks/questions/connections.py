"""Connection times: from findings to their processes' connections and their hosts' awake hours."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tasks.clusters import Client, Question, ask_about
from tasks.model.findings import Finding
from tasks.model.runs import Plan

CONNECTIONS = """\
FROM logs-endpoint.events.network-*
| WHERE NOT STARTS_WITH(COALESCE(MV_MAX(event.action), ""), "lookup_")
| EVAL at = TO_LONG(@timestamp),
       is_start = COALESCE(MV_MAX(event.type) == "start", false)
| EVAL start_at = CASE(is_start, at, null),
       end_at = CASE(is_start, null, at)
| STATS starts = COUNT(start_at),
        start_times = TOP(start_at, 2000, "desc"),
        ends = COUNT(end_at),
        end_times = TOP(end_at, 2000, "desc")
    BY process.entity_id, destination.address, source.port
| EVAL at = CASE(starts >= ends, start_times, end_times)
| MV_EXPAND at
| EVAL hour = (at - TO_LONG(TO_DATETIME(?_tstart))) / 3600000
| STATS connections = COUNT(*),
        first_at = MIN(at),
        times = TOP(at, 2000, "desc")
    BY process.entity_id, destination.address, hour
| EVAL cell = CONCAT(TO_STRING(hour), "=", TO_STRING(connections))
| STATS cells = VALUES(cell),
        first_at = MIN(first_at),
        times = TOP(times, 2000, "desc")
    BY process.entity_id, destination.address
| SORT process.entity_id, destination.address
| LIMIT 10000
"""
"""A connection counts once in every encoding: an attempt and its disconnect share a source port, a
merged document is both, a disconnect alone is one connection. If a port is used again within the
window, the more frequent kind of event counts. DNS lookups are not connections."""

HOST_HOURS = """\
FROM logs-endpoint.events.network-*
| EVAL hour = (TO_LONG(@timestamp) - TO_LONG(TO_DATETIME(?_tstart))) / 3600000
| STATS hours = VALUES(hour) BY host.id
| SORT host.id
| LIMIT 10000
"""
"""The hours in which a Mac sent any event: in the others it was asleep or off."""

ADDRESSES_AT_MOST = 65_536
"""Elasticsearch refuses more terms than this (`index.max_terms_count`)."""


def ask_connections(
    client: Client, plan: Plan, findings: Sequence[Finding]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask for the findings' connection times and their hosts' awake hours.

    Returns:
        The answers to `CONNECTIONS` and to `HOST_HOURS`, as one table for each of them.

    Raises:
        ClusterError: also if a part of an answer is missing: the counts would be wrong.
    """
    window = plan.window
    start = {"_tstart": window.parameters["_tstart"]}
    everywhere = plan.hunt.everywhere
    connections = Question("connections", everywhere(CONNECTIONS), window.filter, start)
    hours = Question("hours", everywhere(HOST_HOURS), window.filter, start)
    addresses = {finding.destination.address for finding in findings}
    if len(addresses) <= ADDRESSES_AT_MOST:
        connections = connections.about("destination.address", addresses)
    entities = (entity for finding in findings for entity in finding.process.entity_ids)
    hosts = (finding.host.id for finding in findings)
    return (
        ask_about(client, connections, "process.entity_id", entities),
        ask_about(client, hours, "host.id", hosts),
    )
