"""Compose one day's digest: from new findings, baselines and runs to one Slack message, or none."""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from tasks.model.digests import Announcement, ClusterDay, CoverageGap, Digest
from tasks.model.findings import RANKS, Finding
from tasks.model.hunts import Nouns
from tasks.model.runs import Run
from tasks.model.wording import (
    FLOOD,
    REASON_WORDS,
    acknowledgement_summary,
    baseline_words,
    destination_words,
    ended_words,
    is_back,
    is_changed,
    news_words,
    on_hosts,
    period_words,
    priorities_words,
    priority_word,
    rate_words,
)
from tasks.pages.kibana import discover_url
from tasks.slack.message import EVENT_TYPE, Block, Message, violations
from tasks.text import times
from tasks.text.numbers import counted
from tasks.text.untrusted import shortened, visible

TOLD_SINGLY = 50
"""So many findings are told in the message and its thread; the rest is in the report."""

FINDINGS_PER_MESSAGE = 10
TOP_GROUPS = 5
FULL_WARNINGS = 5
FULL_ENDS = 3
LINKED_REPORTS = 3

MAX_NEWS = 100
MAX_SLACK_PROCESS = 60
MAX_SLACK_HOST = 40
MAX_SLACK_ADDRESS = 60
MAX_DESTINATION = 90
MAX_SLACK_NAME = 40
MAX_NAMES = 400
MAX_WORD = 120
MAX_WHY = 100

_HOURS = "duration_hours"
"""The column of a hunt that says for how long where the evidence could not be had."""

_REASONS = {
    **REASON_WORDS,
    CoverageGap.LATE: "no run today",
    CoverageGap.MISSED: "its slot was never run",
}

_NOT_HERE = "New findings there are not in this message."


@dataclass(frozen=True, slots=True)
class _Warning:
    """Why a cluster's silence means little today, in our own words only.

    Attributes:
        word: the reason in a word.
        sentence: Slack's mrkdwn.
    """

    cluster: str
    word: str
    sentence: str


def compose_message(digest: Digest, *, report_base_url: str | None) -> Message | None:
    """Compose the message of a day; None when everything was searched and nothing is new.

    Findings stand in the order of their priority, ten to a message; where ten do not fit, five,
    two or one. What is not told singly is told as a count.

    Args:
        digest: everything that the day has to say.
        report_base_url: where people open the archive, for links; None means no links.
    """
    warnings = _warnings(digest)
    if not (digest.announcements or digest.baselines or digest.ended or warnings):
        return None
    ranked = sorted(digest.announcements, key=lambda told: RANKS[told.finding.priority])
    singly = ranked[:TOLD_SINGLY] if len(ranked) <= FLOOD else []
    groups = tuple(_groups(ranked, digest.nouns)) if len(ranked) > FLOOD else ()

    def blocks_of(part: Sequence[Announcement]) -> list[Block]:
        return [_finding_block(told, digest.slot, report_base_url) for told in part]

    def first(ends: int, part: Sequence[Announcement]) -> list[Block]:
        return [
            *_opening(digest, warnings),
            *_ends(digest, ends, report_base_url),
            *blocks_of(part),
            *groups,
            *_elsewhere(len(singly) - len(part), 0 if groups else len(ranked) - len(singly)),
            *_report_links(digest, report_base_url),
        ]

    def reply(start: int, part: Sequence[Announcement]) -> list[Block]:
        place = f"Findings {start + 1} to {start + len(part)} of {len(ranked)}"
        return [_context(place), *blocks_of(part)]

    kibanas = {told.run.kibana_url for told in digest.announcements}
    links_below = tuple(filter(None, {report_base_url, *kibanas}))
    fitting = partial(_fitting, links_below=links_below)
    fit = (n for n in (FULL_ENDS, 1) if not violations(_message(first(n, [])), links_below))
    message = fitting(singly, partial(first, next(fit, 0)), least=0)
    done = len(message.announcements)
    replies: list[Message] = []
    while done < len(singly):
        following = fitting(singly[done:], partial(reply, done), least=1)
        replies.append(following)
        done += len(following.announcements)
    signed = [_signed(part, digest, number) for number, part in enumerate([message, *replies], 1)]
    return replace(signed[0], replies=tuple(signed[1:]))


def _fitting(
    announcements: Sequence[Announcement],
    blocks_of: Callable[[Sequence[Announcement]], list[Block]],
    *,
    least: int,
    links_below: tuple[str, ...],
) -> Message:
    """Make a message of as many of the first findings as fit."""
    count = min(FINDINGS_PER_MESSAGE, len(announcements))
    message = _message(blocks_of(announcements[:count]))
    while count > least and violations(message, links_below):
        count //= 2
        message = _message(blocks_of(announcements[:count]))
    return replace(message, announcements=tuple(announcements[:count]))


def _message(blocks: Sequence[Block]) -> Message:
    """Number the blocks, since Slack wants their ids unique."""
    numbered = [{**block, "block_id": f"part-{number}"} for number, block in enumerate(blocks, 1)]
    return Message.of(numbered, {})


def _signed(message: Message, digest: Digest, number: int) -> Message:
    """Add the metadata by which the ledger finds the message again."""
    payload = {
        "digest_id": digest.id,
        "part": number,
        "new": len(digest.announcements),
        "baseline": len(digest.baselines),
        "ended": len(digest.ended),
        "payload_hash": message.payload_hash,
    }
    return replace(message, metadata={"event_type": EVENT_TYPE, "event_payload": payload})


# The message's head: what happened, when, and what was not seen.


def _opening(digest: Digest, warnings: Sequence[_Warning]) -> Iterator[Block]:
    yield {"type": "header", "text": _plain(_headline(digest, warnings))}
    yield _context(*_circumstances(digest))
    if digest.undelivered:
        days = times.days(digest.undelivered)
        yield _section(
            f"*Slack did not get the digest of {days}*, or not all of it: what it lacks is told "
            "here."
        )
    if digest.may_repeat:
        yield _section(
            f"*This message may repeat the one of {_utc(digest.may_repeat)}*: Slack's receipt for "
            "that was lost."
        )
    yield from (_section(warning.sentence) for warning in warnings[:FULL_WARNINGS])
    if more := warnings[FULL_WARNINGS:]:
        names = ", ".join(f"{warning.cluster} ({warning.word})" for warning in more)
        yield _section(f"*And {len(more):,} more warnings*: {shortened(names, MAX_NAMES)}")
    if digest.baselines:
        counts = Counter(_name(told.finding.cluster) for told in digest.baselines)
        names = ", ".join(f"{name}: {count:,}" for name, count in counts.items())
        where = shortened(names, MAX_NAMES)
        bold = f"*{html.escape(_baseline_words(digest), quote=False)}*"
        words = f"{bold} ({where})" if digest.announcements else where
        yield _section(f"{words}. From now on only what is not in it is posted.")


def _headline(digest: Digest, warnings: Sequence[_Warning]) -> str:
    """Say it in one line: counts and our own words, no data from events."""
    searched, total = _searched(digest)
    gap = "not everything was seen" if warnings else ""
    if searched < total:
        gap = f"{total - searched} of {counted(total, 'cluster')} not searched"
    if digest.announcements:
        findings = [told.finding for told in digest.announcements]
        words = _data(news_words(findings, digest.nouns), MAX_NEWS)
        words += ": more than usual" if len(findings) > FLOOD else ""
    elif digest.baselines:
        words = _baseline_words(digest)
    elif digest.ended:
        words = ended_words(digest.ended)
    else:
        words = "Nothing new, but" if searched else ""
        return f"{words} {gap}".strip()
    return f"{words}, {gap}" if gap else words


def _circumstances(digest: Digest) -> Iterator[str]:
    yield f"{times.weekday(digest.slot)} {times.day(digest.slot)} {digest.slot.year}"
    runs = [day.run for day in digest.clusters if day.run and day.run.outcome.searched]
    if runs:
        start = min(run.window.start for run in runs)
        end = max(run.window.end for run in runs)
        yield f"events of {times.short(start)} to {_utc(end)}"
    searched, total = _searched(digest)
    yield f"{searched} of {counted(total, 'cluster')} searched"
    if digest.acknowledged:
        yield f"{digest.acknowledged:,} acknowledged"
    if len(digest.announcements) > FINDINGS_PER_MESSAGE:
        yield priorities_words(told.finding for told in digest.announcements)


def _searched(digest: Digest) -> tuple[int, int]:
    """Count the clusters that every hunt has searched, and all."""
    clusters = {day.cluster for day in digest.clusters}
    missed = {day.cluster for day in digest.clusters if not day.searched}
    return len(clusters - missed), len(clusters)


def _warnings(digest: Digest) -> list[_Warning]:
    several_hunts = len({day.hunt for day in digest.clusters}) > 1
    return [
        warning
        for day in digest.clusters
        for warning in _warnings_of(
            day, _name(day.cluster) + (f" ({_name(day.hunt)})" if several_hunts else "")
        )
    ]


def _warnings_of(day: ClusterDay, name: str) -> Iterator[_Warning]:
    """Name what is going on in one line, however many days it has, then what is over."""
    if day.ongoing:
        yield _not_searched(day, day.ongoing, name)
    for lack in day.today:
        if lack is CoverageGap.PARTIAL:
            sentence = (
                f"*{name} was searched in part only*: the answer was partial or cut. New findings "
                "there may be missing from this message."
            )
            yield _Warning(name, lack, sentence)
        elif lack is CoverageGap.BLIND and day.run:
            yield _blindness(day.run, name)
        elif lack in _MISJUDGED:
            yield _Warning(name, lack, f"*{name}*: {_MISJUDGED[lack]}")
    if day.over:
        sentence = f"*{name} was not searched, or not all of it,* on {day.over_words}."
        yield _Warning(name, "earlier", sentence + (" Since then it was." if day.searched else ""))


_MISJUDGED = {
    CoverageGap.MERGED: "some agents now send an attempt and its disconnect as one event, so that "
    "a threshold for events an hour asks for twice as many connections there.",
    CoverageGap.NO_SIGNATURE: "some agents now send many events without any code signature, which "
    "are neither signed nor unsigned to the hunt.",
}


def _not_searched(day: ClusterDay, lack: CoverageGap, name: str) -> _Warning:
    if lack is CoverageGap.NO_DATA:
        newest = day.run.coverage.newest_event if day.run and day.run.coverage else None
        seen = f"its newest event is of {_utc(newest)}" if newest else "no event"
        last = f"last searched {_utc(day.last_searched)}" if day.last_searched else "never searched"
        sentence = f"*{name} has no data* ({seen}; {last}). What happened there since is not known."
    elif day.last_searched:
        since = f"*{name} has not been searched since {_utc(day.last_searched)}*"
        sentence = f"{since} ({lack}: {_REASONS[lack]}). {_NOT_HERE}"
    else:
        sentence = f"*{name} was never searched* ({lack}: {_REASONS[lack]}). {_NOT_HERE}"
    return _Warning(name, lack, sentence)


def _blindness(run: Run, name: str) -> _Warning:
    agents = run.coverage.agents if run.coverage else ()
    blind = sum(agent.deduplicated for agent in agents)
    sentence = (
        f"*{name} is blind on some {_name(run.nouns.host[1])}*: agents there drop repeated network "
        f"events ({blind} of {counted(len(agents), 'version')}), so that hunts which count see "
        "nothing. "
        "Set `mac.advanced.events.deduplicate_network_events` to false in the Defend policy."
    )
    return _Warning(name, CoverageGap.BLIND, sentence)


# The message's body: acknowledgements that ended, then findings one by one, or in groups.


def _ends(digest: Digest, singly: int, report_base_url: str | None) -> Iterator[Block]:
    """Say in a line each which acknowledgements ended while what they cover goes on."""
    for ended in digest.ended[:singly]:
        word, (first, *others) = ended.acknowledgement, ended.still
        findings = [told.finding for told in ended.still]
        where = _data(on_hosts(findings, digest.nouns), MAX_SLACK_NAME) if others else None
        yield _rich_text(
            [
                _text("Acknowledgement ended, still active: ", bold=True),
                _text(_process(first.finding), code=True),
                *([_text(where)] if where else [_text(" on "), _text(_host(first), code=True)]),
                _text(" → "),
                _text(_destination(first.finding), code=True),
                _text(f" · {_data(acknowledgement_summary(word), MAX_WORD)}: "),
                _text(f"{_data(word.why, MAX_WHY)} · "),
                _id(first.finding, first.run, report_base_url),
            ]
        )
    if more := digest.ended[singly:]:
        yield _section(f"*{ended_words(more)}*: named on the page of the day")


def _finding_block(told: Announcement, slot: datetime, report_base_url: str | None) -> Block:
    """Show one finding in two lines. Text elements are data: no name in them becomes markup."""
    finding = told.finding
    elements = [
        _text(f"{priority_word(finding).upper()} ", bold=True),
        *([_text("changed binary ")] if is_changed(finding) else []),
        *([_text("returned ")] if is_back(finding) else []),
        _text(_process(finding), code=True),
        _text(" on "),
        _text(_host(told), code=True),
        _text(" → "),
        _text(_destination(finding), code=True),
        _text("\n" + " · ".join(_details(told, slot)) + " · "),
        _id(finding, told.run, report_base_url),
    ]
    if url := discover_url(finding, told.run):
        elements += [_text(" · "), {"type": "link", "url": url, "text": "Kibana"}]
    return _rich_text(elements)


def _details(told: Announcement, slot: datetime) -> Iterator[str]:
    finding, run = told.finding, told.run
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
    yield _data(finding.cluster, MAX_SLACK_NAME)
    yield f"first seen {times.short(finding.first_seen)}"
    if finding.away_since:
        yield f"away since {times.short(finding.away_since)}"
    if run.slot <= slot - timedelta(days=1):
        yield f"from the run of {times.short(run.slot)}"
    if finding.faults:
        yield finding.unshown or "not fully enriched"


def _groups(announcements: Sequence[Announcement], nouns: Nouns) -> Iterator[Block]:
    """Show the largest groups of a flood by process and destination, and count the rest."""
    members: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for told in announcements:
        finding = told.finding
        portless = replace(finding, destination=replace(finding.destination, ports=()))
        members[_process(finding), _destination(portless)].append(finding)
    largest = sorted(members.items(), key=lambda group: -len(group[1]))
    for (process, where), findings in largest[:TOP_GROUPS]:
        signatures = sorted({_signature(finding) for finding in findings})
        yield _rich_text(
            [
                _text(f"{len(findings):,} × ", bold=True),
                _text(process, code=True),
                _text(" → "),
                _text(where, code=True),
                _text(_data(on_hosts(findings, nouns), MAX_SLACK_NAME)),
                _text(f"\n{', '.join(signatures)} · {priorities_words(findings)}"),
            ]
        )
    others = [finding for _, findings in largest[TOP_GROUPS:] for finding in findings]
    rest = f"{counted(len(others), 'other')}: {priorities_words(others)}. " if others else ""
    yield _context(
        f"{rest}Above {FLOOD} at once none is told singly: all {len(announcements):,} are in the "
        "report."
    )


# The message's foot: where the rest is.


def _elsewhere(in_thread: int, in_report: int) -> Iterator[Block]:
    counts = (
        f"{in_thread} more in the thread" if in_thread else "",
        f"{in_report} more in the report" if in_report else "",
    )
    if any(counts):
        yield _section("*" + ", ".join(filter(None, counts)) + "*")


def _report_links(digest: Digest, report_base_url: str | None) -> Iterator[Block]:
    """Link the reports that the message is about, if few, and the archive that has them all."""
    if report_base_url:
        told = (*digest.announcements, *digest.baselines)
        runs = {announcement.run.folder: announcement.run for announcement in told}
        for run in runs.values() if len(runs) <= LINKED_REPORTS else ():
            name = f"report of {_name(run.cluster)}, {times.short(run.slot)}"
            yield _link_line(name, _report(run, report_base_url))
        yield _link_line("all reports", f"{report_base_url.rstrip('/')}/index.html")


def _report(run: Run, report_base_url: str) -> str:
    return f"{report_base_url.rstrip('/')}/{run.folder}/report.html"


# Words for values. What comes from events passes `_data`.


def _data(text: str, limit: int) -> str:
    """Show text from an attacker's hands: nothing hidden, nothing long, nothing that links."""
    return shortened(visible(text[: limit + 1]).replace("://", "[:]//"), limit)


def _name(text: str) -> str:
    """Show a cluster's or hunt's name in mrkdwn: it is ours, and escaped all the same."""
    return html.escape(_data(text, MAX_SLACK_NAME), quote=False)


def _process(finding: Finding) -> str:
    process = finding.process
    return _data(process.name or process.executable or "unnamed process", MAX_SLACK_PROCESS)


def _host(told: Announcement) -> str:
    host = told.finding.host
    return _data(host.name or host.id or f"unknown {told.run.nouns.host[0]}", MAX_SLACK_HOST)


def _destination(finding: Finding) -> str:
    words = destination_words(finding.destination, MAX_SLACK_ADDRESS)
    return _data(words or "unknown address", MAX_DESTINATION)


def _signature(finding: Finding) -> str:
    word = finding.process.code_signature.word
    return word if word.endswith("signature") else f"{word} signature"


def _baseline_words(digest: Digest) -> str:
    findings = [told.finding for told in digest.baselines]
    return _data(baseline_words(findings, digest.nouns), MAX_NEWS)


def _utc(at: datetime) -> str:
    return f"{times.short(at)} UTC"


# Block Kit's shapes.


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text}


def _section(mrkdwn: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": mrkdwn}}


def _context(*texts: str) -> Block:
    return {"type": "context", "elements": [_plain(text) for text in texts]}


def _link_line(name: str, url: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{url}|{name}>"}]}


def _rich_text(elements: Sequence[Block]) -> Block:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return {"type": "rich_text", "elements": [section]}


def _text(text: str, *, bold: bool = False, code: bool = False) -> Block:
    style = {"style": {"bold": True} if bold else {"code": True}} if bold or code else {}
    return {"type": "text", "text": text, **style}


def _id(finding: Finding, run: Run, report_base_url: str | None) -> Block:
    """Show the finding's id, as a link to its place in the report if people can open one."""
    if report_base_url is None:
        return _text(finding.id)
    return {
        "type": "link",
        "url": f"{_report(run, report_base_url)}#{finding.id}",
        "text": finding.id,
    }
