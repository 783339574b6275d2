"""A destination's day: from its digest to everything that its page shows, in its order."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from tasks.model import wording
from tasks.model.digests import Announcement, ClusterDay, Digest, Ended
from tasks.model.fallback import laid_out
from tasks.model.findings import RANKS, Finding, Status
from tasks.model.runs import Outcome
from tasks.pages import cards, charts
from tasks.pages.cards import Card
from tasks.pages.explanations import Explanation, explanations
from tasks.pages.formats import NOTHING, number
from tasks.pages.parts import (
    ARCHIVE_INDEX,
    MAX_CARDS,
    Alert,
    Badge,
    Cards,
    PageView,
    Table,
    Tile,
    badge,
    cards_of,
    href,
    news_tiles,
    news_title,
    page_title,
    table_of,
)
from tasks.text import times
from tasks.text.numbers import capitalised, rounded


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One hunt on one cluster in a day, with a link to its report."""

    day: ClusterDay
    badge: Badge
    slot: str
    events: str
    macs: str
    newest_event: str
    new: str
    link: str
    trend: Markup | None
    fleet: Markup | None


@dataclass(frozen=True, slots=True)
class DailyView:
    """A destination's day, from top to bottom."""

    page: PageView
    lede: tuple[str, ...]
    alerts: tuple[Alert, ...]
    tiles: tuple[Tile, ...]
    hosts: str
    clusters: tuple[ClusterRow, ...]
    news: Cards
    known: Table
    digest: str
    explained: Mapping[str, Explanation]


def daily_view(digest: Digest) -> DailyView:
    """Lay a destination's day out."""
    here = posixpath.dirname(daily_path(digest))
    ranked = sorted(digest.announcements, key=lambda each: RANKS[each.finding.priority])
    findings = [each.finding for each in ranked]
    searched = [day for day in digest.clusters if day.run and day.run.outcome.searched]
    headline = _day_headline(digest, findings, len(searched))
    news = cards_of(
        [_announced(each, here) for each in ranked[:MAX_CARDS]],
        len(ranked),
        title=news_title(findings),
        nothing="No finding is new to this destination.",
    )
    return DailyView(
        page=PageView(
            title=page_title(headline, digest.destination, digest.slot),
            archive=href(here, ARCHIVE_INDEX),
            badge=_day_badge(digest, len(searched)),
            eyebrow=f"Daily page · {digest.destination}",
            headline=headline,
            window=f"The 24 hours up to {digest.page_clock.full(digest.slot)}",
        ),
        lede=tuple(_day_lede(digest)),
        alerts=tuple(sorted(_day_alerts(digest), key=lambda alert: alert.css != "bad")),
        tiles=tuple(_day_tiles(digest, findings, searched)),
        hosts=capitalised(digest.nouns.host[1]),
        clusters=tuple(_cluster_row(day, digest, here) for day in digest.clusters),
        news=news,
        known=table_of(
            tuple(findings[MAX_CARDS:]),
            digest.slot,
            digest.nouns,
            title="All others",
            note="Each stands at full length in the report of its run.",
        ),
        digest=digest.id,
        explained=explanations(digest.nouns),
    )


def daily_path(digest: Digest) -> str:
    """Give where a daily page stands below the archive."""
    return f"daily/{digest.destination}/{digest.slot:%Y/%m/%d/%H%MZ}-{digest.id}.html"


def _announced(each: Announcement, here: str) -> Card:
    page = href(here, f"{each.run.folder}/report.html")
    card = partial(cards.card, run=each.run, link=f"{page}#{each.finding.id}")
    return laid_out(card, each.finding)


def _day_headline(digest: Digest, findings: Sequence[Finding], searched: int) -> str:
    missing = len(digest.clusters) - searched
    pairs = "clusters" if len({day.hunt for day in digest.clusters}) == 1 else "searches"
    gap = "not everything was seen" if any(day.today for day in digest.clusters) else ""
    if missing:
        gap = f"{missing} of {len(digest.clusters)} {pairs} not searched"
    recorded = _recorded(digest) if digest.baselines else ""
    nothing = recorded or wording.ended_words(digest.ended) or ("Nothing new" if searched else "")
    news = wording.news_words(findings, digest.nouns) or nothing
    return ", ".join(filter(None, (news, gap))) or "No cluster in scope"


def _recorded(digest: Digest) -> str:
    return wording.baseline_words([each.finding for each in digest.baselines], digest.nouns)


def _day_badge(digest: Digest, searched: int) -> Badge:
    total = len(digest.clusters)
    if searched == total:
        seen = not any(day.today for day in digest.clusters)
        return Badge("all searched", "ok") if seen else Badge("not everything seen", "warn")
    return Badge(f"{searched} of {total} searched", "warn" if searched else "fail")


def _day_lede(digest: Digest) -> Iterator[str]:
    if digest.baselines and digest.announcements:
        yield f"{_recorded(digest)}."
    if digest.undelivered:
        yield (
            f"The digest for {times.days(digest.undelivered)} was not delivered, or only in part: "
            "the rest is on this page."
        )
    if digest.may_repeat:
        yield (
            f"This page may repeat the one for {times.full(digest.may_repeat)}: Slack's receipt "
            "for its message was lost."
        )


def _day_alerts(digest: Digest) -> Iterator[Alert]:
    for ended in digest.ended:
        words = laid_out(partial(_end_words, ended, digest), ended.still[0].finding)
        yield Alert("Acknowledgement ended, still active:", words, "info")
    for day in digest.clusters:
        run = day.run
        if day.over:
            days = day.over_words(digest.page_clock)
            missed = f"{day.cluster} was not searched, or not all of it, on {days}."
            yield Alert(missed, "Since then it was." if day.searched else "")
        last = (
            f"Last searched {digest.page_clock.aged(day.last_searched)}."
            if day.last_searched
            else "Never searched yet."
        )
        if run is None:
            yield Alert(f"{day.cluster} was not searched: no run today.", last, "bad")
            continue
        if not run.outcome.searched:
            words = wording.not_searched_words(run)
            yield Alert(f"{day.cluster}: {words}.", f"{run.detail or ''} {last}".strip(), "bad")
        elif run.outcome is Outcome.PARTIAL:
            yield Alert(f"{day.cluster} was searched in part only.", run.detail or "")
        for warning in run.warnings:
            yield Alert(f"{day.cluster}:", warning)


def _end_words(ended: Ended, digest: Digest, first: Finding) -> str:
    several = [each.finding for each in ended.still] if len(ended.still) > 1 else []
    where = wording.on_hosts(several, digest.nouns) or f" on {cards.host_text(first)}"
    process = cards.process_text(first) + where
    word = ended.acknowledgement
    return (
        f"{process}, calls {cards.destination_text(first)} ({first.id}), "
        f"acknowledged {wording.acknowledgement_summary(word)}: {cards.long_text(word.why)}"
    )


def _day_tiles(
    digest: Digest, findings: Sequence[Finding], searched: Sequence[ClusterDay]
) -> Iterator[Tile]:
    seen = [day.run.coverage for day in searched if day.run and day.run.coverage]
    yield from news_tiles(findings)
    hosts = capitalised(digest.nouns.host[1])
    yield Tile(f"{hosts} affected", f"{wording.host_count(findings):,}", "by these findings")
    missing = len(searched) < len(digest.clusters)
    if digest.acknowledged:
        muted = number(digest.acknowledged)
        yield Tile("Acknowledged", muted, "in the day's runs", about="acknowledged")
    share = f"{len(searched)}/{len(digest.clusters)}"
    yield Tile("Searched", share, "hunts on clusters", hot=missing)
    yield Tile(f"{hosts} seen", f"{sum(each.macs for each in seen):,}", "where it was searched")
    events = rounded(sum(each.events for each in seen))
    yield Tile("Events searched", events, about="events")


def _cluster_row(day: ClusterDay, digest: Digest, here: str) -> ClusterRow:
    run, seen = day.run, day.run.coverage if day.run else None
    new = sum(
        each.finding.status is Status.NEW
        and (each.run.cluster, each.run.hunt) == (day.cluster, day.hunt)
        for each in digest.announcements
    )
    return ClusterRow(
        day=day,
        badge=badge(run.outcome if run else Outcome.MISSED, run),
        slot=f"{times.short(run.slot)} UTC" if run else NOTHING,
        events=number(seen.events if seen else None),
        macs=number(seen.macs if seen else None),
        newest_event=digest.page_clock.aged(seen.newest_event)
        if seen and seen.newest_event
        else NOTHING,
        new=number(new if seen else None),
        link=href(here, f"{run.folder}/report.html") if run else "",
        trend=charts.small_trend(day.trend) if day.trend else None,
        fleet=charts.small_fleet(day.trend) if day.trend else None,
    )
