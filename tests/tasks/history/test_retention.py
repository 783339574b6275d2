"""What is pruned is missed by nobody: later runs and digests say what they would have said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tasks.clusters import Answer
from tasks.collect import collect_digest
from tasks.diff import compared, identified
from tasks.errors import SlotPruned, Unreachable
from tasks.history import History, Known, retention, upgrade_history
from tasks.history.database import connect_database
from tasks.history.models import FindingRow, SightingRow
from tasks.history.retention import prune_history
from tasks.mark import marked
from tasks.model.digests import DigestStatus, Medium
from tasks.model.findings import Finding, Status
from tasks.model.runs import Outcome, Plan
from tasks.record import build_report, not_searched_report
from tasks.settings import Destination
from tasks.slack.compose import compose_message
from tests.builders import CLUSTER, HUNT, SLOT, coverage, day, finding, report, run, sha256
from tests.effort import examples
from tests.histories import new_history
from tests.postgresql import Server

HOSTS = ("mac-a", "mac-b")
KEYWORDS = ("host.id", "process.executable", "destination.address")


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else writes into these histories."""
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)


@pytest.fixture
def one_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every transaction take the sightings of one run."""
    monkeypatch.setattr(retention, "SIGHTINGS_AT_ONCE", 1)


def kept(history_url: str) -> set[tuple[str, int, Status]]:
    """Give the Mac, day and status of every sighting."""
    sightings = select(FindingRow.document, SightingRow.slot, SightingRow.status).join(SightingRow)
    with connect_database(history_url) as database, database.reading() as session:
        return {
            (found.host.id, (slot - SLOT).days, status)
            for found, slot, status in session.execute(sightings).tuples()
        }


def days_of(host: str, history_url: str) -> list[int]:
    return sorted(number for whose, number, _ in kept(history_url) if whose == host)


def seen(history: History, host: str, days: Sequence[int], **changes) -> None:
    """Record a complete run a day that sees nothing but one finding."""
    for number in days:
        status = Status.NEW if number == days[0] else Status.CONTINUING
        of = finding(host, slot=day(number), status=status, **changes)
        history.record(report(run(day(number)), of))


def test_of_a_finding_its_first_its_newest_and_its_newest_known_hash_stay(
    history: History, history_url: str
) -> None:
    """When it came, when it was last there, and which binary it had: later runs ask no more."""
    seen(history, "mac-a", range(4))
    seen(history, "mac-a", range(4, 7), binary=None)
    seen(history, "mac-b", range(7, 9))

    done = prune_history(history_url, day(8))

    assert days_of("mac-a", history_url) == [0, 3, 6]
    assert days_of("mac-b", history_url) == [7, 8]
    assert (done.deleted, done.kept) == (4, 4)


def test_the_newest_runs_that_searched_stay_whole(history: History, history_url: str) -> None:
    """They are what the next run is compared with, and what people list, however old they are."""
    hosts = ("mac-a", "mac-b", "mac-c")
    for number in range(4):
        partial = run(day(number), Outcome.PARTIAL if number == 3 else Outcome.COMPLETE)
        at = day(number)
        found = (finding(host, slot=at, status=Status.CONTINUING) for host in hosts)
        history.record(report(partial, *found, finding("mac-d", status=Status.QUIET)))
    listed = history.findings()

    prune_history(history_url, day(400))

    assert {number for _, number, _ in kept(history_url)} == {0, 2, 3}
    assert {number for *_, number, status in kept(history_url) if status is Status.QUIET} == {2, 3}
    assert history.findings() == listed


def test_news_stays_until_every_destination_has_heard_it(
    history: History, history_url: str
) -> None:
    """A channel that cannot be reached for long misses nothing."""
    destinations = [
        Destination(name=name, channel="C1", clusters=(CLUSTER,)) for name in ("soc", "managers")
    ]
    ledgers = [history.ledger(each, Medium.SLACK) for each in destinations]
    for ledger in ledgers:
        ledger.start_scope(day(0))

    def tell(number: int, slot: int) -> None:
        digest = collect_digest(ledgers[number], destinations[number], Medium.SLACK, day(slot))
        begun = ledgers[number].begin(digest, compose_message(digest, report_base_url=None).outline)
        ledgers[number].posted(begun, dict.fromkeys(begun.missing, "1.0"))
        ledgers[number].settle(begun, DigestStatus.SENT)

    seen(history, "mac-a", range(2))
    tell(0, 1)
    tell(1, 1)
    changed = {"status": Status.CONTINUING, "changed_binary": True, "binary": "updater 2"}
    history.record(report(run(day(2)), finding("mac-a", slot=day(2), **changed)))
    later = ((number, finding("mac-a", slot=day(number), **changed)) for number in range(3, 6))
    for number, found in later:
        history.record(report(run(day(number)), replace(found, changed_binary=False)))

    tell(0, 6)
    prune_history(history_url, day(6))
    assert days_of("mac-a", history_url) == [0, 2, 5]

    tell(1, 6)
    prune_history(history_url, day(6))
    assert days_of("mac-a", history_url) == [0, 5]


def test_runs_keep_their_counts(history: History, history_url: str) -> None:
    """The bars of a trend, and the list of runs, are of what was found and not of what is kept."""
    seen(history, "mac-a", range(6))
    trend = history.trend(HUNT.uuid, CLUSTER, day(6))
    runs = history.runs()

    assert prune_history(history_url, day(5)).deleted == 3

    assert history.trend(HUNT.uuid, CLUSTER, day(6)) == trend
    assert history.runs() == runs


def test_a_dry_run_counts_and_changes_nothing(history: History, history_url: str) -> None:
    """It says what would be deleted, which then is."""
    seen(history, "mac-a", range(6))
    before = kept(history_url)

    counted = prune_history(history_url, day(5), dry_run=True)

    assert kept(history_url) == before
    assert history.known(HUNT.uuid, CLUSTER, day(3), []).comparable == day(2)
    assert prune_history(history_url, day(5)) == counted
    assert counted.deleted == 3


def test_what_is_interrupted_goes_on_when_it_is_run_again(
    history: History, history_url: str, one_run_at_once: None
) -> None:
    """At any moment everything that is needed is there."""
    seen(history, "mac-a", range(8))

    def interrupt(done: int, of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_history(history_url, day(7), progress=interrupt)
    assert days_of("mac-a", history_url) == [0, 3, 4, 5, 6, 7]

    assert prune_history(history_url, day(7)).deleted == 3
    assert days_of("mac-a", history_url) == [0, 6, 7]
    assert prune_history(history_url, day(7)).deleted == 0


def test_others_write_while_it_goes_on(
    history: History, history_url: str, one_run_at_once: None
) -> None:
    """Between two transactions nothing is locked, and the progress counts up to the end."""
    seen(history, "mac-a", range(6))
    progress = []

    def record(done: int, of: int) -> None:
        progress.append((done, of))
        impatient = "" if history_url.startswith("postgresql") else "?timeout=0.1"
        with History.open(f"{history_url}{impatient}") as other:
            other.record(report(run(day(10 + done)), finding(slot=day(10 + done))))

    prune_history(history_url, day(5), progress=record)

    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(history.runs()) == 10


def test_a_slot_of_which_something_is_forgotten_is_refused(
    history: History, history_url: str
) -> None:
    """What is known in part would call findings returned, or new, that never went away."""
    seen(history, "mac-a", range(6))
    prune_history(history_url, day(4))

    for number in range(4):
        with pytest.raises(SlotPruned, match=r"pruned up to 2026-11-27 06:00 UTC\. Choose a later"):
            history.known(HUNT.uuid, CLUSTER, day(number), [])
    assert history.known(HUNT.uuid, CLUSTER, day(4), []).comparable == day(3)
    assert history.known(HUNT.uuid, "another", day(0), []).comparable is None


def test_a_file_becomes_smaller(tmp_path: Path) -> None:
    """SQLite gives the room back to the disk, without being asked and without room of its own."""
    path = tmp_path / "history.db"
    upgrade_history(f"sqlite:///{path}")
    hosts = [f"mac-{number}" for number in range(300)]
    with History.open(f"sqlite:///{path}") as history:
        for number in range(12):
            at = day(number)
            found = (finding(host, slot=at, status=Status.CONTINUING) for host in hosts)
            history.record(report(run(at), *found))
            history.mark_published(run(at).id)
    before = path.stat().st_size

    done = prune_history(f"sqlite:///{path}", day(12))

    assert (done.deleted, done.kept) == (3_000, 600)
    assert path.stat().st_size < before * 0.8


def searched(history: History, plan: Plan, outcome: Outcome, binaries: Mapping[str, str | None]):
    """Give what a run finds where Macs have these binaries; None could not be enriched."""
    if outcome is Outcome.FAILED:
        return not_searched_report(plan, Unreachable("It is away.", "Wait."))
    rows = [(host, "/opt/agent", "203.0.113.9") for host in HOSTS if binaries[host] != ABSENT]
    types = dict.fromkeys(KEYWORDS, "keyword")
    answer = Answer(pd.DataFrame(rows, columns=list(KEYWORDS), dtype=object), types)
    candidates = identified(answer, plan.hunt, plan.cluster)
    known = history.known(plan.hunt.uuid, plan.cluster, plan.slot, [*candidates["fingerprint"]])
    if outcome is Outcome.COMPLETE and known.comparable is None:
        outcome = Outcome.BASELINE
    findings = tuple(
        enriched(each, binaries) for each in compared(candidates, known, plan, outcome)
    )
    findings = marked(findings, known, plan)
    return build_report(
        plan,
        outcome,
        answer,
        coverage(plan.slot),
        findings=findings,
        compared_with=known.comparable,
        costs=(),
    )


def enriched(of: Finding, binaries: Mapping[str, str | None]) -> Finding:
    if of.status is Status.QUIET:
        return of
    binary = binaries[of.host.id]
    return replace(of, process=replace(of.process, hash_sha256=binary and sha256(binary)))


@dataclass
class Site:
    """A cluster that is hunted daily, and a destination, as one history knows them."""

    history: History
    url: str
    number: int
    said: list[object] = field(default_factory=list)

    @property
    def cluster(self) -> str:
        return f"corp-{self.number}"

    @property
    def destination(self) -> Destination:
        return Destination(name=f"soc-{self.number}", channel="C1", clusters=(self.cluster,))

    def run(self, number: int, outcome: Outcome, binaries: Mapping[str, str | None]) -> None:
        """Run a day's slot, and look at all that people get to see of it."""
        slot = day(number)
        id = sha256(f"{self.cluster} {number}")[:12]
        plan = Plan(id, HUNT, self.cluster, slot, 6, slot, announce_returned_after_days=3)
        found = searched(self.history, plan, outcome, binaries)
        found = replace(found, run=replace(found.run, finished_at=slot + timedelta(minutes=1)))
        self.history.record(found)
        self.said += [
            found,
            self.history.trend(HUNT.uuid, self.cluster, slot),
            self.history.runs(self.cluster),
            self.history.findings(cluster=self.cluster),
        ]

    def known(self, number: int) -> Known:
        """Give all that a run of a day's slot would be compared with."""
        programs = (
            finding(host, "/opt/agent", "203.0.113.9", cluster=self.cluster) for host in HOSTS
        )
        fingerprints = [each.fingerprint for each in programs]
        return self.history.known(HUNT.uuid, self.cluster, day(number), fingerprints)

    def digest(self, number: int, status: DigestStatus) -> None:
        """Tell what is pending, or fail to."""
        slot = day(number) + timedelta(hours=1)
        ledger = self.history.ledger(self.destination, Medium.SLACK)
        ledger.start_scope(slot)
        self.said.append(ledger.pending(slot))
        digest = collect_digest(ledger, self.destination, Medium.SLACK, slot)
        if message := compose_message(digest, report_base_url=None):
            begun = ledger.begin(digest, message.outline)
            if status is DigestStatus.SENT:
                ledger.posted(begun, dict.fromkeys(begun.missing, "1.0"))
            ledger.settle(begun, status)

    def acknowledge(self, number: int) -> None:
        """Say of the first finding that people see that it is harmless, for two days."""
        for each in self.history.findings(cluster=self.cluster, limit=1):
            now = day(number)
            word, of = self.history.acknowledgements.give(
                each.id, by="ada", why="Ours.", until=now + timedelta(days=2), now=now
            )
            self.said.append((replace(word, key=0), of))


ABSENT = "absent"
RUNS = st.tuples(
    st.sampled_from([*[Outcome.COMPLETE] * 4, Outcome.PARTIAL, Outcome.FAILED]),
    st.fixed_dictionaries(dict.fromkeys(HOSTS, st.sampled_from(["1", "2", None, ABSENT]))),
)
AFTERWARDS = st.sampled_from(["nothing", "acknowledge", DigestStatus.SENT, DigestStatus.DEAD])
DAYS = st.tuples(RUNS, AFTERWARDS)
KEPT_DAYS = st.integers(0, 2)  # Sightings of those before are pruned.


@pytest.fixture
def pruned_url(history_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Another history on the same kind of database."""
    if history_url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path}/pruned.db"
    else:
        server: Server = request.getfixturevalue("postgresql_server")
        url = server.new_schema()
    new_history(url)
    return url


def test_nothing_that_is_said_later_depends_on_what_was_pruned(
    history_url: str, pruned_url: str
) -> None:
    """Runs, digests, trends and lists are those of the whole history, in every sequence."""
    urls = (history_url, pruned_url)
    numbers, deleted = count(), []
    with ExitStack() as stack:
        histories = [stack.enter_context(History.open(url)) for url in urls]

        @given(
            st.lists(DAYS, min_size=5, max_size=8),
            KEPT_DAYS,
            st.lists(st.one_of(DAYS, st.tuples(KEPT_DAYS)), max_size=4),
        )
        @settings(max_examples=examples(16, history_url))
        def check(past: list[object], days: int, later: list[object]) -> None:
            number = next(numbers)
            sites = [Site(*both, number) for both in zip(histories, urls, strict=True)]
            take(sites, [step for steps in (*past, (days,), *later) for step in steps], deleted)

        check()
    assert sum(deleted) > 0


def take(sites: list[Site], steps: Sequence[object], deleted: list[int]) -> None:
    """Take the steps in both histories, and prune the second one."""
    whole, pruned = sites
    today, forgotten = 0, -1
    for step in steps:
        match step:
            case int(days):
                deleted.append(prune_history(pruned.url, day(today - days)).deleted)
                forgotten = max(forgotten, today - days - 1)
            case DigestStatus():
                for site in sites:
                    site.digest(today, step)
            case "acknowledge":
                for site in sites:
                    site.acknowledge(today)
            case outcome, binaries:
                today += 1
                for site in sites:
                    site.run(today, outcome, binaries)
        assert pruned.said == whole.said
    for number in range(forgotten + 1, today + 2):
        assert pruned.known(number) == whole.known(number)
