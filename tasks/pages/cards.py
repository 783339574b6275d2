"""A finding: from its value to everything that a page shows of it, at full length or as a row.

Text from events stays as it came, only shortened: `tasks.pages.html` escapes it and makes hidden
characters visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from tasks.model.findings import NO_EVIDENCE, Evidence, Finding, Status, Value
from tasks.model.hunts import Hunt, Nouns
from tasks.model.runs import Run
from tasks.model.wording import (
    acknowledgement_summary,
    destination_words,
    events_an_hour,
    period_words,
    priority_word,
    rate_words,
)
from tasks.pages import charts
from tasks.pages.formats import NOTHING, number
from tasks.pages.kibana import MAX_ENTITY_IDS, discover_url, traffic_query
from tasks.text import times
from tasks.text.numbers import capitalised, counted
from tasks.text.times import Clock
from tasks.text.untrusted import defanged, shortened

MAX_NAME = 100
"""Characters of a name: a process, a host, a user."""

MAX_HOST = 40
"""Of a host in a table, where names are not broken into pieces."""

MAX_TEXT = 1000
"""Characters of a path or a command line; findings.json has it whole."""

MAX_REASON = 40
"""Of a reason in a table."""

MAX_VALUES = 20

_OF_ADDRESSES = ("destination.", "dns.", "server.", "url.")
"""ECS fields that hold what a reader must not follow."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value.

    Attributes:
        code: set in letters of equal width.
        copy: offered to be copied.
        about: key of the explanation that opens beside it.
    """

    label: str
    value: str
    code: bool = False
    copy: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A finding at full length.

    Attributes:
        link: where its id leads: to itself, or from a daily page to the run's report.
        level: its priority as a class of the style.
        mark: its priority as a word, and whether its binary changed.
        chart: None without evidence, and then a fault says why.
        silent_hours: how many hours of the chart the Mac sent nothing; "" when none.
        faults: what is missing or must not be trusted; "" when nothing.
        facts: what is seen at once; `details` stand behind a fold.
        check: lines of ES|QL; empty where the hunt is not at hand.
        discover: the finding's events in Kibana; "" where no Kibana is set.
    """

    id: str
    link: str
    level: str
    mark: str
    process: str
    host: str
    destination: str
    why: str
    chart: Markup | None
    chart_title: str
    gaps: Markup | None
    chart_note: str
    silent_hours: str
    facts: tuple[Fact, ...]
    faults: str
    details: tuple[Fact, ...]
    hunt_figures: tuple[Fact, ...]
    check: tuple[str, ...]
    discover: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """A finding as a line of a table.

    Attributes:
        events: an hour, by the hunt's own count; "" where it has none.
        last: connection; `last_minutes` is the same as a number to sort by.
        known: days since a run first saw it.
        window: its hours as a small chart, or why there is none.
    """

    id: str
    status: str
    priority: str
    process: str
    host: str
    destination: str
    signature: str
    hours: str
    events: str
    connections: str
    last: str
    last_minutes: int
    known: str
    window: Markup | str


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A finding as an entry of a list.

    Attributes:
        note: when it was last seen, who acknowledged it until when, or how many are like it.
        why: it is harmless, in an analyst's words; "" without an acknowledgement.
    """

    id: str
    process: str
    host: str
    destination: str
    note: str
    why: str = ""


def card(finding: Finding, run: Run, hunt: Hunt | None = None, link: str = "") -> Card:
    """Lay a finding out at full length.

    Args:
        finding: with evidence and priority as far as they are known.
        run: the one that saw it.
        hunt: for the threshold line and the query to check it; a daily page has none.
        link: where its id leads; by default to itself.
    """
    seen = finding.evidence
    threshold = hunt.pipeline.hourly_threshold if hunt else None
    silent = sum(1 for count in seen.hourly if count is None) if seen else 0
    return Card(
        id=finding.id,
        link=link or f"#{finding.id}",
        level=finding.priority or "none",
        mark=_mark(finding),
        process=name_text(finding.process.name),
        host=host_text(finding),
        destination=destination_text(finding),
        why=long_text(finding.why),
        chart=charts.activity_chart(seen.hourly, run.window.start, threshold) if seen else None,
        chart_title=_chart_title(seen, threshold) if seen else "",
        gaps=charts.gap_chart(seen.gaps, seen.period_seconds)
        if seen and seen.gaps and seen.period_seconds
        else None,
        chart_note=_chart_note(seen) if seen else "",
        silent_hours=number(silent) if silent else "",
        facts=tuple(_facts(finding, run.nouns, run.clock)),
        faults=" · ".join(map(long_text, finding.faults)),
        details=tuple(_details(finding, run.clock)),
        hunt_figures=_values(finding.figures),
        check=traffic_query(finding, run) if hunt else (),
        discover=discover_url(finding, run) or "",
    )


def table_row(finding: Finding, slot: datetime, *, spark: bool) -> TableRow:
    """Lay a finding out as a line of a table."""
    seen, events = finding.evidence, events_an_hour(finding)
    return TableRow(
        id=finding.id,
        status=f"{finding.status}, changed" if finding.changed_binary else finding.status,
        priority=priority_word(finding),
        process=process_text(finding),
        host=shortened(host_text(finding), MAX_HOST),
        destination=destination_text(finding),
        signature=finding.process.code_signature.word,
        hours=f"{seen.hours_active:,}" if seen else NOTHING,
        events=f"{events:,.0f}" if events is not None else "",
        connections=f"{seen.median_per_hour:,.0f}" if seen else NOTHING,
        last=times.short(seen.last_connection) if seen else NOTHING,
        last_minutes=int(seen.last_connection.timestamp() // 60) if seen else 0,
        known=f"{(slot - finding.first_seen).days:,}",
        window=(charts.sparkline(seen.hourly) if spark else "")
        if seen
        else _without_evidence(finding),
    )


def quiet_row(finding: Finding, clock: Clock) -> ListedRow:
    """Lay a finding out that is not there any more."""
    return listed_row(finding, clock.aged(finding.last_seen))


def acknowledged_row(finding: Finding) -> ListedRow:
    """Lay a finding out that is acknowledged."""
    if (word := finding.acknowledgement) is None:
        return listed_row(finding, NOTHING, NOTHING)
    return listed_row(finding, long_text(acknowledgement_summary(word)), long_text(word.why))


def listed_row(finding: Finding, note: str, why: str = "") -> ListedRow:
    """Lay a finding out as an entry of a list, with what is to be said about it."""
    return ListedRow(
        id=finding.id,
        process=process_text(finding),
        host=host_text(finding),
        destination=destination_text(finding),
        note=note,
        why=why,
    )


def process_text(finding: Finding) -> str:
    """Give the process as a row has room for it, or why the finding cannot be shown."""
    return finding.unshown or name_text(finding.process.name)


def host_text(finding: Finding) -> str:
    """Give the host as a page has room for it."""
    return name_text(finding.host.name or finding.host.id)


def name_text(text: str | None) -> str:
    """Give a name as a page has room for it."""
    return shortened(text, MAX_NAME) if text else NOTHING


def long_text(whole: str) -> str:
    """Give a long text as a page has room for it, and say where the rest is."""
    if len(whole) <= MAX_TEXT:
        return whole
    return f"{shortened(whole, MAX_TEXT)} (all {len(whole):,} characters are in findings.json)"


def destination_text(finding: Finding) -> str:
    """Give address and ports as a page has room for them."""
    return destination_words(finding.destination, MAX_NAME) or NOTHING


def _mark(finding: Finding) -> str:
    words = [priority_word(finding).upper()]
    if finding.changed_binary:
        words.append("CHANGED BINARY")
    if finding.status is Status.RETURNED:
        words.append("RETURNED")
    return " · ".join(words)


def _chart_title(seen: Evidence, threshold: float | None) -> str:
    hours = len(seen.hourly)
    if threshold is None or seen.hours_at_threshold is None:
        return f"{seen.hours_active:,} of {hours:,} hours active"
    return f"{seen.hours_at_threshold:,} of {hours:,} hours at {threshold:g} connections or more"


def _chart_note(seen: Evidence) -> str:
    peak = max((count or 0 for count in seen.hourly), default=0)
    return f"{counted(seen.connections, 'connection', 'connections')} · at most {peak:,} an hour"


def _without_evidence(finding: Finding) -> str:
    """Give the reason why there is no evidence, as a row has room for it."""
    reasons = (
        fault.removeprefix(f"{NO_EVIDENCE}: ")
        for fault in finding.faults
        if fault.startswith(NO_EVIDENCE)
    )
    return shortened(next(reasons, NOTHING), MAX_REASON)


def _facts(finding: Finding, nouns: Nouns, clock: Clock) -> Iterator[Fact]:
    seen = finding.evidence
    yield Fact(capitalised(nouns.host[0]), host_text(finding), code=True)
    yield Fact("User", name_text(finding.user_name), code=True)
    yield Fact("Signature", finding.process.code_signature.word, about="signature")
    is_older = finding.first_seen < clock.slot
    first_seen = clock.aged(finding.first_seen) if is_older else "by this run"
    yield Fact("First seen", first_seen, about="seen")
    if rate := rate_words(finding):
        yield Fact("Rate", rate, about="rate")
    if seen:
        yield Fact("Calls every", period_words(seen) or NOTHING, about="period")
        yield Fact("Regularity", _ratio(seen.regularity), about="regularity")
        yield Fact("Last connection", clock.aged(seen.last_connection), about="last")


def _details(finding: Finding, clock: Clock) -> Iterator[Fact]:
    """List what an analyst looks up; what is not known is left out."""
    process, destination = finding.process, finding.destination
    signature, parent = process.code_signature, process.parent
    for label, value, copy in (
        ("Path", process.executable, True),
        ("Command line", process.command_line, True),
        ("SHA-256", process.hash_sha256, True),
        ("Signature", signature.status, False),
        ("Signing id", signature.signing_id, False),
        ("Team id", signature.team_id, False),
        ("Signed by", signature.subject_name, False),
        ("Parent", parent.executable or parent.name, False),
        ("Parent's command", parent.command_line, False),
        ("Ancestry", _listed(process.ancestry), False),
        ("Entity ids", _listed(process.entity_ids), True),
        ("Host id", finding.host.id, True),
        ("Domain", defanged(destination.domain) if destination.domain else None, False),
        ("Address", defanged(destination.ip) if destination.ip else None, False),
        ("Ports", _listed(tuple(map(str, destination.ports))), False),
    ):
        if value:
            yield Fact(label, long_text(value), code=True, copy=copy)
    if seen := finding.evidence:
        yield Fact("First connection", f"{clock.aged(seen.first_connection)}, in the window")
    if finding.candidates > 1:
        yield Fact("Rows", f"{finding.candidates:,} rows of the hunt's answer are this finding")
    yield Fact("Id", finding.id, code=True, copy=True)
    yield Fact("Fingerprint", finding.fingerprint, code=True, copy=True)


def _listed(values: tuple[str, ...]) -> str:
    shown = " ".join(values[:MAX_ENTITY_IDS])
    more = len(values) - MAX_ENTITY_IDS
    return f"{shown} and {more:,} more in findings.json" if more > 0 else shown


def _values(figures: Mapping[str, Value]) -> tuple[Fact, ...]:
    """List the hunt's own columns, whatever its author kept; addresses among them defanged."""
    return tuple(
        Fact(column, long_text(defanged(words) if column.startswith(_OF_ADDRESSES) else words))
        for column, words in ((column, value_text(value)) for column, value in figures.items())
    )


def value_text(value: Value) -> str:
    """Write a cell of an ES|QL answer."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:,.4f}".rstrip("0").rstrip(".")
        case int():
            return f"{value:,}"
        case tuple():
            more = f" and {len(value) - MAX_VALUES:,} more" if len(value) > MAX_VALUES else ""
            return ", ".join(map(value_text, value[:MAX_VALUES])) + more
        case _:
            return value


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
