"""Findings in a message: one by one, in groups, or below an acknowledgement that has ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from tasks.model.digests import Announcement, Digest, Ended
from tasks.model.fallback import laid_out
from tasks.model.findings import Finding
from tasks.model.hunts import Nouns
from tasks.model.runs import Run
from tasks.model.wording import (
    FLOOD,
    acknowledgement_summary,
    destination_words,
    ended_words,
    is_back,
    is_changed,
    on_hosts,
    period_words,
    priorities_words,
    priority_word,
    rate_words,
)
from tasks.pages.kibana import discover_url
from tasks.slack.blocks import (
    MAX_SLACK_NAME,
    context_block,
    data_text,
    report_url,
    rich_text_block,
    section_block,
    text_element,
)
from tasks.slack.message import Block
from tasks.text.numbers import counted
from tasks.text.times import Clock

TOP_GROUPS = 5

MAX_SLACK_PROCESS = 60
MAX_SLACK_HOST = 40
MAX_SLACK_ADDRESS = 60
MAX_DESTINATION = 90
MAX_ACKNOWLEDGEMENT = 120
MAX_WHY = 100

_HOURS = "duration_hours"
"""The column of a hunt that gives the hours of activity where the evidence could not be had."""


def finding_block(announcement: Announcement, clock: Clock, report_base_url: str | None) -> Block:
    """Show one finding in two lines."""
    finding, run = announcement.finding, announcement.run
    elements = [
        text_element(f"{priority_word(finding).upper()} ", bold=True),
        *([text_element("changed binary ")] if is_changed(finding) else []),
        *([text_element("returned ")] if is_back(finding) else []),
        text_element(_process(finding), code=True),
        text_element(" on "),
        text_element(_host(announcement), code=True),
        text_element(" → "),
        text_element(_destination(finding), code=True),
        text_element("\n" + " · ".join(_details(finding, run, clock)) + " · "),
        _id(finding, run, report_base_url),
    ]
    if url := discover_url(finding, run):
        elements += [text_element(" · "), {"type": "link", "url": url, "text": "Kibana"}]
    return rich_text_block(elements)


def _details(finding: Finding, run: Run, clock: Clock) -> Iterator[str]:
    yield _signature(finding)
    evidence = finding.evidence
    if evidence:
        yield f"{evidence.hours_active} of {run.window.hours} h"
    elif isinstance(hours := finding.figures.get(_HOURS), int | float):
        yield f"{hours:,.0f} h"
    if rate := rate_words(finding):
        yield rate
    if evidence and (period := period_words(evidence)):
        yield f"every {period}"
    yield data_text(finding.cluster, MAX_SLACK_NAME)
    yield f"first seen {clock.short(finding.first_seen)}"
    if finding.away_since:
        yield f"away since {clock.short(finding.away_since)}"
    if run.slot <= clock.slot - timedelta(days=1):
        yield f"from the run of {clock.short(run.slot)}"
    if finding.unshown:
        yield finding.unshown
    else:
        yield from finding.lacks


def group_blocks(announcements: Sequence[Announcement], nouns: Nouns) -> Iterator[Block]:
    """Show a flood of findings: its largest groups by process and destination, then the rest."""
    members: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    signatures: dict[tuple[str, str], set[str]] = defaultdict(set)
    for finding in (announcement.finding for announcement in announcements):
        process, where, signature = laid_out(_in_groups, finding)
        members[process, where].append(finding)
        signatures[process, where].add(signature)
    largest = sorted(members.items(), key=lambda group: -len(group[1]))
    for (process, where), findings in largest[:TOP_GROUPS]:
        signed = ", ".join(sorted(signatures[process, where]))
        yield rich_text_block(
            [
                text_element(f"{len(findings):,} × ", bold=True),
                text_element(process, code=True),
                text_element(" → "),
                text_element(where, code=True),
                text_element(data_text(on_hosts(findings, nouns), MAX_SLACK_NAME)),
                text_element(f"\n{signed} · {priorities_words(findings)}"),
            ]
        )
    others = [finding for _, findings in largest[TOP_GROUPS:] for finding in findings]
    rest = f"{counted(len(others), 'other')}: {priorities_words(others)}. " if others else ""
    yield context_block(
        f"{rest}More than {FLOOD} findings at once are shown in groups: all "
        f"{len(announcements):,} are in the report."
    )


def _in_groups(finding: Finding) -> tuple[str, str, str]:
    """Give process, destination without ports, and signature, as groups show them."""
    portless = replace(finding, destination=replace(finding.destination, ports=()))
    return _process(finding), _destination(portless), _signature(finding)


def ended_blocks(digest: Digest, listed: int, report_base_url: str | None) -> Iterator[Block]:
    """Show acknowledgements that ended while their findings are still active.

    Args:
        digest: with the acknowledgements.
        listed: how many have a line of their own; the others are counted.
        report_base_url: where people open the archive; None means no links.
    """
    for ended in digest.ended[:listed]:
        lay_out = partial(_ended_block, ended, digest.nouns, report_base_url)
        yield laid_out(lay_out, ended.still[0].finding)
    if more := digest.ended[listed:]:
        yield section_block(f"*{ended_words(more)}*: named on the page of the day")


def _ended_block(
    ended: Ended, nouns: Nouns, report_base_url: str | None, finding: Finding
) -> Block:
    """Show an ended acknowledgement in one line, with the first finding that is still active."""
    acknowledgement, (first, *others) = ended.acknowledgement, ended.still
    if others:
        hosts = on_hosts([announcement.finding for announcement in ended.still], nouns)
        where = [text_element(data_text(hosts, MAX_SLACK_NAME))]
    else:
        host = _host(Announcement(finding, first.run))
        where = [text_element(" on "), text_element(host, code=True)]
    summary = data_text(acknowledgement_summary(acknowledgement), MAX_ACKNOWLEDGEMENT)
    return rich_text_block(
        [
            text_element("Acknowledgement ended, still active: ", bold=True),
            text_element(_process(finding), code=True),
            *where,
            text_element(" → "),
            text_element(_destination(finding), code=True),
            text_element(f" · {summary}: "),
            text_element(f"{data_text(acknowledgement.why, MAX_WHY)} · "),
            _id(finding, first.run, report_base_url),
        ]
    )


def _process(finding: Finding) -> str:
    process = finding.process
    return data_text(process.name or process.executable or "unnamed process", MAX_SLACK_PROCESS)


def _host(announcement: Announcement) -> str:
    host, nouns = announcement.finding.host, announcement.run.nouns
    return data_text(host.name or host.id or f"unknown {nouns.host[0]}", MAX_SLACK_HOST)


def _destination(finding: Finding) -> str:
    text = destination_words(finding.destination, MAX_SLACK_ADDRESS)
    return data_text(text or "unknown address", MAX_DESTINATION)


def _signature(finding: Finding) -> str:
    state = finding.process.code_signature.word
    return state if state.endswith("signature") else f"{state} signature"


def _id(finding: Finding, run: Run, report_base_url: str | None) -> Block:
    """Show the finding's id, as a link to its place in the report if people can open one."""
    if report_base_url is None:
        return text_element(finding.id)
    return {
        "type": "link",
        "url": f"{report_url(run, report_base_url)}#{finding.id}",
        "text": finding.id,
    }
