"""A run's questions as an expert in DuckDB writes them for one shape of documents.

They know what the embedded cluster finds out: which keys there are, that no field has several
values, that no line is broken. They refuse nothing, and warn of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

LINES = """\
CREATE VIEW {name} AS
SELECT *
FROM read_json(
    {paths},
    format = 'newline_delimited',
    columns = {{
        '@timestamp': 'TIMESTAMP',
        'agent': 'STRUCT(id VARCHAR, version VARCHAR)',
        'destination': 'STRUCT(address VARCHAR, domain VARCHAR, ip VARCHAR, port BIGINT)',
        'event': 'STRUCT(action VARCHAR, category VARCHAR[], id VARCHAR, type VARCHAR[])',
        'host': 'STRUCT(id VARCHAR, name VARCHAR, os STRUCT(family VARCHAR))',
        'process': 'STRUCT(
            entity_id VARCHAR, executable VARCHAR, name VARCHAR, command_line VARCHAR,
            args VARCHAR[], hash STRUCT(sha256 VARCHAR),
            code_signature STRUCT("exists" BOOLEAN, trusted BOOLEAN))',
        'source': 'STRUCT(bytes BIGINT, port BIGINT)',
        'user': 'STRUCT(name VARCHAR)'
    }})
"""

COLUMNS = """\
CREATE VIEW {name} AS
SELECT *
FROM read_parquet({paths}, union_by_name = true)
"""

HUNT = """\
SELECT process.entity_id, destination.address, process.name,
    sum(source.bytes),
    count(*) AS connections,
    min("@timestamp") AS start_time,
    max("@timestamp") AS end_time,
    min(host.id),
    min(host.name),
    list(DISTINCT "user".name),
    min(process.executable),
    max(process.code_signature.exists),
    max(process.code_signature.trusted),
    list(DISTINCT destination.domain),
    list(DISTINCT destination.ip),
    list(DISTINCT destination.port)
FROM network
WHERE "@timestamp" >= $start AND "@timestamp" < $end
    AND host.os.family = 'macos'
    AND event.category[1] = 'network'
    AND (process.code_signature.exists = false OR process.code_signature.trusted = false)
    AND destination.ip IS NOT NULL
GROUP BY ALL
HAVING epoch_ms(end_time) - epoch_ms(start_time) >= 7.5 * 3600000
    AND connections // round((epoch_ms(end_time) - epoch_ms(start_time)) / 3600000) >= 120
"""
"""Groups come first: few are left whose addresses have to be tested."""

TOTALS = """\
SELECT count(*),
    count(*) FILTER (inside) AS events,
    count(DISTINCT host.id) FILTER (inside),
    max("@timestamp") FILTER (inside),
    count(event.id) FILTER (inside),
    count(DISTINCT event.id) FILTER (inside),
    count(*) FILTER (host.os.family = 'macos'),
    count(*) FILTER (event.category[1] = 'network'),
    count(*) FILTER (lower(host.os.family) = 'macos' AND NOT inside)
FROM (
    SELECT *, host.os.family = 'macos' AND event.category[1] = 'network' AS inside
    FROM network
    WHERE "@timestamp" >= $start AND "@timestamp" < $end)
"""

HOSTS = """\
SELECT host.id, agent.id, min("@timestamp"), max("@timestamp"), list(DISTINCT host.name)
FROM network
WHERE "@timestamp" >= $look_back AND "@timestamp" < $end
    AND host.os.family = 'macos' AND event.category[1] = 'network' AND host.id IS NOT NULL
GROUP BY ALL
"""

AGENTS = """\
SELECT version, sum(events), count(*), count(*) FILTER (events = 1), sum(merged), sum(unknown)
FROM (
    SELECT agent.version AS version,
        process.entity_id,
        destination.ip,
        destination.port,
        count(*) AS events,
        count(*) FILTER (len(event.type) > 1) AS merged,
        count(*) FILTER (process.code_signature.exists IS NULL) AS unknown
    FROM network
    WHERE "@timestamp" >= $start AND "@timestamp" < $end
        AND host.os.family = 'macos' AND event.category[1] = 'network'
    GROUP BY ALL)
GROUP BY version
"""

CONNECTIONS = """\
WITH ports AS (
    SELECT agent.id AS agent,
        process.entity_id AS entity,
        destination.address AS address,
        source.port AS port,
        list(DISTINCT "@timestamp") FILTER (event.type[1] = 'start') AS starts,
        list(DISTINCT "@timestamp") FILTER (event.type[1] <> 'start') AS ends
    FROM network
    WHERE "@timestamp" >= $start AND "@timestamp" < $end
        AND process.entity_id IN (SELECT unnest($entities))
        AND destination.address IN (SELECT unnest($addresses))
        AND event.action NOT LIKE 'lookup_%'
    GROUP BY ALL)
SELECT agent, entity, address, histogram(date_trunc('hour', moment)), list(moment)
FROM (
    SELECT agent, entity, address,
        unnest(CASE WHEN len(ends) > coalesce(len(starts), 0) THEN ends ELSE starts END) AS moment
    FROM ports)
GROUP BY ALL
"""

HOURS = """\
SELECT agent.id, host.id, list(DISTINCT date_trunc('hour', "@timestamp"))
FROM network
WHERE "@timestamp" >= $start AND "@timestamp" < $end
    AND CAST(host.id AS VARCHAR) IN (SELECT unnest($hosts))
GROUP BY ALL
"""

PROCESSES = """\
SELECT *
FROM process
WHERE "@timestamp" < $end AND process.entity_id IN (SELECT unnest($entities))
ORDER BY process.entity_id, "@timestamp" DESC
"""

STATEMENTS = {
    "hunt": HUNT,
    "totals": TOTALS,
    "hosts": HOSTS,
    "agents": AGENTS,
    "connections": CONNECTIONS,
    "hours": HOURS,
    "processes": PROCESSES,
}
"""By the names of a run's questions."""


def answered(name: str, streams: dict[str, Path], values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Execute one of the statements.

    Args:
        name: of the question.
        streams: folders of Parquet or NDJSON files, by the names of views.
        values: the statement's parameters, and others.
    """
    statement = STATEMENTS[name]
    with duckdb.connect(config={"preserve_insertion_order": False}) as database:
        for view, folder in streams.items():
            if view in statement:
                database.execute(_view(view, sorted(map(str, folder.iterdir()))))
        used = {key: value for key, value in values.items() if f"${key}" in statement}
        return database.execute(statement, used).fetchall()


def _view(name: str, paths: Sequence[str]) -> str:
    """A view of files, which the benchmark has named itself."""
    template = COLUMNS if paths[0].endswith(".parquet") else LINES
    return template.format(name=name, paths=list(paths))
