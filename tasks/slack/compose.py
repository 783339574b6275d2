"""Compose the message of a day: from its digest to one Slack message with replies, or none."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from tasks.model.digests import Announcement, Digest
from tasks.model.fallback import laid_out
from tasks.model.findings import RANKS, Finding
from tasks.model.runs import Run
from tasks.model.wording import FLOOD, baseline_words, ended_words, news_words, priorities_words
from tasks.slack.blocks import (
    context_block,
    data_text,
    escaped_name,
    link_block,
    plain_text_object,
    report_url,
    section_block,
)
from tasks.slack.findings import ended_blocks, finding_block, group_blocks
from tasks.slack.message import EVENT_TYPE, Block, Message, violations
from tasks.slack.warnings import ClusterWarning, cluster_warnings
from tasks.text import times
from tasks.text.numbers import counted
from tasks.text.untrusted import shortened

FINDINGS_PER_DIGEST = 50
"""Findings in the message and its thread; the rest is in the report."""

FINDINGS_PER_MESSAGE = 10
FULL_WARNINGS = 5
FULL_ENDS = 3
LINKED_REPORTS = 3

MAX_NEWS = 100
MAX_NAMES = 400


def compose_message(digest: Digest, *, report_base_url: str | None) -> Message | None:
    """Compose the message of a day; None when everything was searched and nothing is new.

    Findings stand in the order of their priority, ten to a message; where ten do not fit, five,
    two or one. Findings without a place of their own are counted.

    Args:
        digest: the content of the day.
        report_base_url: where people open the archive; None means no links.
    """
    warnings = cluster_warnings(digest)
    if not (digest.announcements or digest.baselines or digest.ended or warnings):
        return None
    ranked = sorted(digest.announcements, key=lambda each: RANKS[each.finding.priority])
    listed = ranked[:FINDINGS_PER_DIGEST] if len(ranked) <= FLOOD else []
    groups = tuple(group_blocks(ranked, digest.nouns)) if len(ranked) > FLOOD else ()

    def block(run: Run, finding: Finding) -> Block:
        return finding_block(Announcement(finding, run), digest.clock, report_base_url)

    def blocks_of(part: Sequence[Announcement]) -> list[Block]:
        return [laid_out(partial(block, each.run), each.finding) for each in part]

    def first(ends: int, part: Sequence[Announcement]) -> Message:
        head = (*_opening(digest, warnings), *ended_blocks(digest, ends, report_base_url))
        foot = (
            *groups,
            *_elsewhere(len(listed) - len(part), 0 if groups else len(ranked) - len(listed)),
            *_report_links(digest, report_base_url),
        )
        return _message(head, blocks_of(part), foot, part)

    def reply(start: int, part: Sequence[Announcement]) -> Message:
        place = f"Findings {start + 1} to {start + len(part)} of {len(ranked)}"
        return _message([context_block(place)], blocks_of(part), (), part)

    kibanas = {announcement.run.kibana_url for announcement in digest.announcements}
    links_below = tuple(filter(None, {report_base_url, *kibanas}))
    fitting = partial(_fitting, links_below=links_below)
    fit = (n for n in (FULL_ENDS, 1) if not violations(first(n, []), links_below))
    message = fitting(listed, partial(first, next(fit, 0)), least=0)
    done = len(message.announcements)
    replies: list[Message] = []
    while done < len(listed):
        following = fitting(listed[done:], partial(reply, done), least=1)
        replies.append(following)
        done += len(following.announcements)
    signed = [_signed(part, digest, number) for number, part in enumerate([message, *replies], 1)]
    return replace(signed[0], replies=tuple(signed[1:]))


def _fitting(
    announcements: Sequence[Announcement],
    message_of: Callable[[Sequence[Announcement]], Message],
    *,
    least: int,
    links_below: tuple[str, ...],
) -> Message:
    """Make a message with as many of the first findings as fit.

    Args:
        announcements: the findings that are left, in order.
        message_of: makes a message with some of them.
        least: fewer findings than this are never tried.
        links_below: addresses below which links may point.
    """
    count = min(FINDINGS_PER_MESSAGE, len(announcements))
    message = message_of(announcements[:count])
    while count > least and violations(message, links_below):
        count //= 2
        message = message_of(announcements[:count])
    return message


def _message(
    head: Sequence[Block],
    body: Sequence[Block],
    foot: Sequence[Block],
    announcements: Sequence[Announcement],
) -> Message:
    """Number the blocks, since Slack wants unique ids; the body has a block an announcement."""
    numbered = [
        {**block, "block_id": f"part-{number}"}
        for number, block in enumerate((*head, *body, *foot), 1)
    ]
    message = Message.of(numbered, {})
    return replace(message, announcements=tuple(announcements), before=len(head))


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


def _opening(digest: Digest, warnings: Sequence[ClusterWarning]) -> Iterator[Block]:
    yield {"type": "header", "text": plain_text_object(_headline(digest, warnings))}
    yield context_block(*_circumstances(digest))
    if digest.rehearsal:
        yield section_block(
            f"*This is a rehearsal*: the worker's prefect.yaml does not have this channel for "
            f"{escaped_name(digest.destination)}. Nothing here counts as delivered."
        )
    if digest.undelivered:
        days = times.days(map(digest.clock.there, digest.undelivered))
        yield section_block(
            f"*The digest for {days} was not delivered*, or only in part: the rest is in this "
            "message."
        )
    if digest.may_repeat:
        slot = digest.clock.zoned(digest.may_repeat)
        yield section_block(
            f"*This message may repeat the one for {slot}*: Slack's receipt for that was lost."
        )
    yield from (section_block(warning.sentence) for warning in warnings[:FULL_WARNINGS])
    if more := warnings[FULL_WARNINGS:]:
        names = ", ".join(f"{warning.cluster} ({warning.reason})" for warning in more)
        yield section_block(f"*And {len(more):,} more warnings*: {shortened(names, MAX_NAMES)}")
    if digest.baselines:
        counts = Counter(escaped_name(each.finding.cluster) for each in digest.baselines)
        names = ", ".join(f"{name}: {count:,}" for name, count in counts.items())
        where = shortened(names, MAX_NAMES)
        bold = f"*{html.escape(_baseline_words(digest), quote=False)}*"
        words = f"{bold} ({where})" if digest.announcements else where
        yield section_block(f"{words}. From now on only what is not in it is posted.")


def _headline(digest: Digest, warnings: Sequence[ClusterWarning]) -> str:
    """Give the header: counts and words of our own, no data from events."""
    searched, total = _searched(digest)
    gap = "not everything was seen" if warnings else ""
    if searched < total:
        gap = f"{total - searched} of {counted(total, 'cluster')} not searched"
    if digest.announcements:
        findings = [announcement.finding for announcement in digest.announcements]
        words = data_text(news_words(findings, digest.nouns), MAX_NEWS)
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
    clock, day = digest.clock, digest.clock.there(digest.slot)
    yield f"{times.weekday(day)} {times.day(day)} {day.year}"
    runs = [day.run for day in digest.clusters if day.run and day.run.outcome.searched]
    if runs:
        start = min(run.window.start for run in runs)
        end = max(run.window.end for run in runs)
        yield f"events of {clock.short(start)} to {clock.zoned(end)}"
    searched, total = _searched(digest)
    yield f"{searched} of {counted(total, 'cluster')} searched"
    if digest.acknowledged:
        yield f"{digest.acknowledged:,} acknowledged"
    if len(digest.announcements) > FINDINGS_PER_MESSAGE:
        yield priorities_words(each.finding for each in digest.announcements)


def _searched(digest: Digest) -> tuple[int, int]:
    """Count the clusters that every hunt searched, and all clusters."""
    clusters = {day.cluster for day in digest.clusters}
    missed = {day.cluster for day in digest.clusters if not day.searched}
    return len(clusters - missed), len(clusters)


def _baseline_words(digest: Digest) -> str:
    findings = [announcement.finding for announcement in digest.baselines]
    return data_text(baseline_words(findings, digest.nouns), MAX_NEWS)


# The message's foot: where the rest is.


def _elsewhere(in_thread: int, in_report: int) -> Iterator[Block]:
    counts = (
        f"{in_thread} more in the thread" if in_thread else "",
        f"{in_report} more in the report" if in_report else "",
    )
    if any(counts):
        yield section_block("*" + ", ".join(filter(None, counts)) + "*")


def _report_links(digest: Digest, report_base_url: str | None) -> Iterator[Block]:
    """Link the reports of the message's runs, if they are few, and the archive with all of them."""
    if report_base_url:
        announcements = (*digest.announcements, *digest.baselines)
        runs = {announcement.run.folder: announcement.run for announcement in announcements}
        for run in runs.values() if len(runs) <= LINKED_REPORTS else ():
            name = f"report of {escaped_name(run.cluster)}, {digest.clock.short(run.slot)}"
            yield link_block(name, report_url(run, report_base_url))
        yield link_block("all reports", f"{report_base_url.rstrip('/')}/index.html")
