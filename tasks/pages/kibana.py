"""Discover: from a finding to the ES|QL that shows its events, and to Kibana with it filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard
from urllib.parse import quote

from tasks.model.findings import Finding
from tasks.model.runs import Run, Window
from tasks.text.untrusted import has_hidden

MAX_ENTITY_IDS = 20
"""In a query to copy; a link has fewer, because people paste it."""

LINKED_ENTITY_IDS = 3

MAX_VALUE = 300
"""Characters of a value in a query, percent-encoded: a link of them stays below 3,000."""


def traffic_query(finding: Finding, run: Run) -> tuple[str, ...]:
    """Write the ES|QL that counts a finding's events by hour within the run's window.

    Returns:
        Its lines.
    """
    return (
        f"FROM {run.sources}",
        *_where([*_within(run.window), *_of(finding, MAX_ENTITY_IDS)]),
        "| STATS events = COUNT(*), bytes_out = SUM(source.bytes)",
        "    BY hour = DATE_TRUNC(1 hour, @timestamp)",
        "| SORT hour",
    )


def discover_url(finding: Finding, run: Run) -> str | None:
    """Link to Kibana's Discover with a finding's events; None where no Kibana is set.

    The window is that of Discover's time picker, so that an analyst can widen it.
    """
    if run.kibana_url is None:
        return None
    lines = (f"FROM {run.sources}", *_where(list(_of(finding, LINKED_ENTITY_IDS))))
    query = quote(_rison("\n".join(lines)), safe="")
    ends = (run.window.start, run.window.end)
    start, end = (f"'{moment:%Y-%m-%dT%H:%M:%S.000Z}'" for moment in ends)
    return (
        f"{run.kibana_url}/app/discover#/?_g=(time:(from:{start},to:{end}))"
        f"&_a=(dataSource:(type:esql),query:(esql:'{query}'))"
    )


def _of(finding: Finding, most_ids: int) -> Iterator[str]:
    """Give the conditions for a finding's events.

    ES|QL has no escape for hidden characters, and Slack takes no address of any length: a value
    that does not fit is left out, and the others say which program is meant.
    """
    process = finding.process
    ids = [entity for entity in process.entity_ids if _fits(entity)]
    if _fits(finding.host.id):
        yield f"host.id == {_string(finding.host.id)}"
    if ids and len(process.entity_ids) <= most_ids:
        yield f"process.entity_id IN ({', '.join(map(_string, ids))})"
    elif _fits(process.executable):
        yield f"process.executable == {_string(process.executable)}"
    address = finding.destination.address
    if _fits(address):
        yield f"destination.address == {_string(address)}"


def _fits(value: str | None) -> TypeGuard[str]:
    if not value or has_hidden(value):
        return False
    return len(quote(_rison(_string(value)), safe="")) <= MAX_VALUE


def _within(window: Window) -> Iterator[str]:
    yield f'@timestamp >= "{window.start:%Y-%m-%dT%H:%M:%SZ}"'
    yield f'@timestamp < "{window.end:%Y-%m-%dT%H:%M:%SZ}"'


def _where(conditions: Sequence[str]) -> Iterator[str]:
    for place, condition in enumerate(conditions):
        yield f"    AND {condition}" if place else f"| WHERE {condition}"


def _string(value: str) -> str:
    """Quote a value without hidden characters as an ES|QL string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _rison(text: str) -> str:
    """Escape a text for a string of Rison, the notation of Kibana's addresses."""
    return text.replace("!", "!!").replace("'", "!'")
