"""A run's report: from its frozen document to everything that its page shows, in its order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from markupsafe import Markup

from tasks.model import wording
from tasks.model.fallback import laid_out
from tasks.model.findings import Finding, Priority, Status
from tasks.model.hunts import Hunt, integral
from tasks.model.runs import Outcome, Report, Run, Trend
from tasks.model.scrutiny import Scrutiny
from tasks.pages import cards, charts
from tasks.pages.cards import Card, Fact, ListedRow
from tasks.pages.explanations import Explanation, explanations
from tasks.pages.formats import number
from tasks.pages.parts import (
    MAX_CARDS,
    SCHEMA,
    Alert,
    Cards,
    FindingGroup,
    PageView,
    Table,
    Tile,
    cards_of,
    href,
    listing,
    news_tiles,
    news_title,
    run_page,
    table_of,
)
from tasks.text import times
from tasks.text.numbers import capitalised, counted, rounded

CONNECTED_WITHIN = timedelta(hours=24)
"""A program that connected within it, up to the slot, goes on as far as a run can know."""


@dataclass(frozen=True, slots=True)
class ReportView:
    """A run's page, from top to bottom.

    Attributes:
        look_first: the finding that an analyst should see before all others.
        flood: the one program that explains most of what is new, with how often.
        runs: the last runs, the newest first.
        query: lines of the hunt's ES|QL, as Discover takes them.
        sha256: of findings.json, in hex.
        schema: relative link to the schema of findings.json.
    """

    page: PageView
    run: Run
    hunt: Hunt
    look_first: Card | None
    flood: ListedRow | None
    lede: tuple[str, ...]
    alerts: tuple[Alert, ...]
    tiles: tuple[Tile, ...]
    trend: Markup | None
    trend_title: str
    runs: tuple[Trend, ...]
    hosts: str
    news: Cards
    known: Table
    acknowledged: FindingGroup[ListedRow]
    quiet: FindingGroup[ListedRow]
    coverage: tuple[Fact, ...]
    fleet: Markup | None
    rule_title: str
    description: str
    remarks: tuple[str, ...]
    rule: tuple[Fact, ...]
    query: tuple[str, ...]
    versions: tuple[Fact, ...]
    sha256: str
    schema: str
    explained: Mapping[str, Explanation]


def report_view(report: Report) -> ReportView:
    """Lay a run's report out."""
    run, hunt = report.run, report.hunt
    announced = tuple(finding for finding in report.findings if _is_carded(finding))
    card = partial(cards.card, run=run, hunt=hunt)
    news = cards_of(
        [laid_out(card, finding) for finding in announced[:MAX_CARDS]],
        len(announced),
        title="Recorded at the first run" if _is_first(report) else news_title(announced),
        nothing=_nothing_new(report),
        counted=run.coverage is not None,
    )
    eyebrow = f"{hunt.name} · {run.cluster}"
    return ReportView(
        page=run_page(
            run, wording.headline(report), run.folder, eyebrow=eyebrow, window=_window_words(run)
        ),
        run=run,
        hunt=hunt,
        look_first=news.rows[0] if announced and announced[0].priority is Priority.HIGH else None,
        flood=_flood(announced),
        lede=tuple(_lede(report, announced)),
        alerts=tuple(_alerts(report, announced)),
        tiles=tuple(_tiles(report, announced)),
        trend=charts.trend_chart(report.trend) if len(report.trend) > 1 else None,
        trend_title=f"Last {counted(len(report.trend), 'run')}",
        runs=report.trend[::-1],
        hosts=capitalised(run.nouns.host[1]),
        news=news,
        known=_others(report, announced[MAX_CARDS:]),
        acknowledged=listing(
            report.acknowledged,
            cards.acknowledged_row,
            title="Acknowledged",
            note="Marked harmless by an analyst, and not announced.",
        ),
        quiet=listing(
            report.having(Status.QUIET),
            partial(cards.quiet_row, clock=run.clock),
            title="Went quiet",
            note=f"In the run before, and not {wording.found_words(report)}. "
            f"That does not mean removed from the {run.nouns.host[0]}.",
        ),
        coverage=tuple(_coverage_facts(run)) if run.coverage else (),
        fleet=charts.fleet_chart(report.trend) if len(report.trend) > 1 else None,
        rule_title="How this was found" if run.coverage else "What this hunt looks for",
        description=" ".join(hunt.description.split()),
        remarks=(*_reproducibility(hunt), *hunt.remarks),
        rule=tuple(_rule(hunt)),
        query=tuple(hunt.paste_ready().splitlines()),
        versions=tuple(_versions(report)),
        sha256=hashlib.sha256(report.to_json()).hexdigest(),
        schema=href(run.folder, SCHEMA),
        explained=explanations(run.nouns),
    )


_OUTCOME_ALERTS = {
    Outcome.FAILED: ("This cluster was not searched.", "bad"),
    Outcome.MISSED: ("This run never started.", "bad"),
    Outcome.NO_DATA: ("No current events.", "bad"),
    Outcome.PARTIAL: ("Part of the answer is missing.", "warn"),
}


def _is_carded(finding: Finding) -> bool:
    is_recorded = finding.status is Status.BASELINE and finding.acknowledgement is None
    return is_recorded or wording.is_news(finding)


def _nothing_new(report: Report) -> str:
    run = report.run
    if run.outcome.searched:
        words = wording.searched_words(run.coverage, run.nouns)
        muted = ", or is acknowledged" if report.acknowledged else ""
        return f"Every finding of this run was known before{muted}. {words}"
    if run.outcome is Outcome.NO_DATA and report.findings:
        return "Nothing is new in the events that there are. What happened since is not known."
    return " ".join(("Nothing was searched, so there may be something new.", *_last_search(report)))


def _last_search(report: Report) -> Iterator[str]:
    before = [entry for entry in report.trend if entry.slot < report.run.slot]
    if searched := [entry for entry in before if entry.outcome.searched]:
        yield f"The last run that searched was that of {report.run.clock.full(searched[-1].slot)}."


def _known(report: Report) -> tuple[Finding, ...]:
    """Give what is listed only: known findings that are not announced again."""
    known = report.having(Status.CONTINUING, Status.RETURNED)
    return tuple(finding for finding in known if not wording.is_news(finding))


def _others(report: Report, new: tuple[Finding, ...]) -> Table:
    """Lay out what has no card: new findings beyond the cards, and what was known before."""
    known = _known(report)
    scored = report.hunt.pipeline.score
    found = capitalised(wording.found_words(report))
    note = f"{found}, and known from earlier runs: not announced again."
    if report.run.outcome is Outcome.NO_DATA:
        title = "Known before"
        note += " What happened since is not known."
    else:
        returned = any(finding.status is Status.RETURNED for finding in known)
        title = "Continuing and returned" if returned else "Continuing"
        note += " The last connection says whether it goes on." if scored else ""
    if new:
        title, note = "All others", "Those beyond the cards above stand first."
    return table_of(
        (*new, *known), report.run.slot, report.run.nouns, title=title, note=note, scored=scored
    )


def _window_words(run: Run) -> str:
    start, end = run.window.start, run.window.end
    days = counted((end - start).days, "day")
    return f"{times.short(start)} to {run.clock.full(end)}, {days}"


def _flood(announced: Sequence[Finding]) -> ListedRow | None:
    if (explained := wording.one_program(announced)) is None:
        return None
    size, example = explained
    return laid_out(partial(cards.listed_row, note=number(size)), example)


def _lede(report: Report, announced: Sequence[Finding]) -> Iterator[str]:
    """Say what else there is, behind what to look at first and what explains a flood."""
    run = report.run
    if words := wording.known_words(report):
        yield words
    elif run.outcome.searched and not announced:
        yield wording.searched_words(run.coverage, run.nouns)


def _is_first(report: Report) -> bool:
    """Whether there was nothing to compare with; a first run may also be partial, or stale."""
    recorded = any(finding.status is Status.BASELINE for finding in report.findings)
    return recorded or report.run.outcome is Outcome.BASELINE


def _alerts(report: Report, announced: Sequence[Finding]) -> Iterator[Alert]:
    run = report.run
    if run.outcome in _OUTCOME_ALERTS:
        title, css = _OUTCOME_ALERTS[run.outcome]
        if run.coverage and run.coverage.is_unmatched:
            title = "No event for this hunt."
        yield Alert(title, run.detail or "", css)
    if run.outcome is Outcome.BASELINE:
        yield Alert(
            "First run of this hunt on this cluster.",
            "What is there now counts as known. From the next run on, only what is not in it "
            "is announced.",
            "info",
        )
    elif len(list(filter(wording.is_news, announced))) > wording.FLOOD:
        yield Alert(
            f"More than {wording.FLOOD} at once.", "They are announced as groups, not singly."
        )
    for warning in run.warnings:
        yield Alert("", warning)


def _tiles(report: Report, announced: Sequence[Finding]) -> Iterator[Tile]:
    """Count what is known; of a run that searched nothing there is nothing to count."""
    run, seen = report.run, report.run.coverage
    if seen is None:
        return
    found = [each for each in report.findings if each.status is not Status.QUIET]
    if _is_first(report):
        priorities = wording.priorities_words(announced)
        yield Tile("Recorded", f"{len(announced):,}", priorities, about="recorded")
    else:
        yield from news_tiles(announced)
        yield from _known_tiles(report)
    if report.acknowledged:
        count = f"{len(report.acknowledged):,}"
        yield Tile("Acknowledged", count, "by an analyst", about="acknowledged")
    yield Tile(
        f"{capitalised(run.nouns.host[1])} affected",
        f"{wording.host_count(found):,}",
        f"of {seen.macs:,} seen",
        about="affected",
    )
    yield Tile(
        "Events searched",
        rounded(seen.events),
        f"newest: {run.clock.age(seen.newest_event)}" if seen.newest_event else "",
        about="events",
    )


def _known_tiles(report: Report) -> Iterator[Tile]:
    known = _known(report)
    count = f"{len(known):,}"
    if report.run.outcome is Outcome.NO_DATA:
        yield Tile("Known before", count, "what they do now is not known", about="known")
        return
    returned = any(finding.status is Status.RETURNED for finding in known)
    label = "Continuing and returned" if returned else "Continuing"
    yield Tile(label, count, _recently(known, report.run.slot), about="known")
    quiet = f"{len(report.having(Status.QUIET)):,}"
    yield Tile("Went quiet", quiet, "since the run before", about="quiet")


def _recently(findings: Sequence[Finding], slot: datetime) -> str:
    """Say how many of them go on, as far as a run can know."""
    evidences = [finding.evidence for finding in findings if finding.evidence]
    recent = sum(slot - seen.last_connection <= CONNECTED_WITHIN for seen in evidences)
    return f"{recent:,} connected in the last {times.span(CONNECTED_WITHIN)}" if evidences else ""


def _coverage_facts(run: Run) -> Iterator[Fact]:
    clock = run.clock
    yield Fact("Cluster", run.cluster, code=True)
    if seen := run.coverage:
        yield Fact("Events", f"{seen.events:,}", about="events")
        yield Fact(capitalised(run.nouns.host[1]), f"{seen.macs:,}")
        yield Fact("Newest event", clock.aged(seen.newest_event) if seen.newest_event else "none")
        yield from _scrutiny_facts(run, seen.scrutiny or Scrutiny())
    before = clock.aged(run.compared_with) if run.compared_with else "nothing, no earlier run"
    yield Fact("Compared with", before, about="compared")


def _scrutiny_facts(run: Run, seen: Scrutiny) -> Iterator[Fact]:
    """Give what is normal in part: other hosts in the same data streams, and hosts that sleep."""
    if run.coverage and (outside := seen.sent - run.coverage.events) > 0:
        yield Fact("Outside the population", f"{outside:,} of {counted(seen.sent, 'event')}")
    if hosts := seen.hosts:
        label = f"Silent for over {hosts.silent_after_hours:g} hours"
        yield Fact(label, f"{hosts.silent:,} of {counted(hosts.known, *run.nouns.host)}")


def _reproducibility(hunt: Hunt) -> Iterator[str]:
    if not hunt.reproducible:
        yield "The query uses NOW(): its answer is not reproducible as of a slot."


def _rule(hunt: Hunt) -> Iterator[Fact]:
    for threshold, value in hunt.pipeline.thresholds.items():
        yield Fact("Threshold", f"{threshold} = {integral(value)}", code=True)
    yield Fact("Window", counted(hunt.pipeline.window_days, "day"))
    if hunt.pipeline.identity:
        columns = (
            column if isinstance(column, str) else " or ".join(column)
            for column in hunt.pipeline.identity
        )
        yield Fact("One finding for each", ", ".join(columns), code=True)
    if hunt.mitre:
        yield Fact("ATT&CK", ", ".join(hunt.mitre))


def _versions(report: Report) -> Iterator[Fact]:
    run, hunt = report.run, report.hunt
    yield Fact("Run", run.id, code=True)
    yield Fact("Slot", run.clock.full(run.slot))
    yield Fact("Flow run", run.flow_run or "outside Prefect")
    yield Fact("Finished", run.clock.full(run.finished_at))
    yield Fact("Hunt", f"{hunt.slug} {hunt.uuid}", code=True)
    yield Fact("beaconhunt", report.beaconhunt)
