from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tasks.errors import QueryRefused, RunInProgress
from tasks.history import History, Known, Memory
from tasks.history.database import connect_database
from tasks.history.models import Base
from tasks.model.findings import Finding, Priority, Status, short_id
from tasks.model.runs import Outcome
from tests.builders import CLUSTER, HUNT, SLOT, day, finding, report, run, sha256
from tests.effort import examples
from tests.histories import new_history


def known(
    history: History,
    slot: datetime,
    *findings: Finding,
    cluster: str = CLUSTER,
    hunt_uuid: str = HUNT.uuid,
) -> Known:
    """Ask what is known before a slot about these findings."""
    return history.known(hunt_uuid, cluster, slot, [each.fingerprint for each in findings])


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Give every row of every table."""
    with connect_database(url) as database, database.reading() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.c))]
            for table in Base.metadata.sorted_tables
        }


def test_a_failed_run_is_recorded_whatever_its_reason_holds(history: History) -> None:
    """A cluster's words may hold what neither UTF-8 nor PostgreSQL can: half a pair, and NUL."""
    error = QueryRefused("prod: cannot parse [\ud800\x00\x1b[31m]", "Correct the query.")
    failed = run(outcome=Outcome.FAILED, reason=error.reason, detail=str(error))
    assert history.record(report(failed))
    (recorded,) = history.runs()
    assert recorded.run.detail == r"prod: cannot parse [\ud800\u0000\u001b[31m] Correct the query."


def test_the_first_run_has_nothing_to_compare_itself_with(history: History) -> None:
    """An empty history knows nothing, and gives every finding the short form of its fingerprint."""
    a = finding("mac-a")

    assert known(history, SLOT, a) == Known(None, frozenset(), (), {}, {a.fingerprint: a.id})


def test_an_earlier_run_is_remembered(history: History) -> None:
    """When first and last seen, with which binary, under which id."""
    a = finding("mac-a", binary="updater 1")
    history.record(report(run(day(0), Outcome.BASELINE), a))
    history.record(report(run(day(1)), a))

    assert known(history, day(2), a) == Known(
        comparable=day(1),
        in_comparable=frozenset({a.fingerprint}),
        absent=(),
        memories={a.fingerprint: Memory(a.id, day(0), day(1), sha256("updater 1"))},
        ids={a.fingerprint: a.id},
    )


def test_the_same_run_recorded_twice_changes_nothing(history: History, history_url: str) -> None:
    """A retry after a lost answer leaves every row as it was."""
    history.record(report(run(day(0), Outcome.BASELINE), finding("mac-a"), finding("mac-b")))
    again = report(run(day(1)), finding("mac-b", status=Status.CONTINUING), finding("mac-c"))
    history.record(again)
    before = rows(history_url)

    assert history.record(again)

    assert rows(history_url) == before


def test_a_slot_run_again_with_the_same_answer_changes_only_its_run(
    history: History, history_url: str
) -> None:
    """Another attempt takes the run's place under its own id; nothing is seen twice."""
    seen = (finding("mac-a"), finding("mac-b"))
    history.record(report(run(day(0)), *seen))
    before = rows(history_url)

    assert history.record(report(run(day(0), attempt=2), *seen))

    after = rows(history_url)
    assert [each.run for each in history.runs()] == [run(day(0), attempt=2)]
    assert after.pop("runs") != before.pop("runs")
    assert after == before


def test_a_slot_run_again_describes_its_findings_anew(history: History) -> None:
    """The repetition may have learnt what the first attempt could not."""
    history.record(report(run(day(0)), finding("mac-a", user_name="ada")))
    history.record(report(run(day(0), attempt=2), finding("mac-a", user_name="kim")))
    assert [each.user_name for each in known(history, day(1)).absent] == ["kim"]


def test_a_slot_run_again_without_a_finding_takes_its_sighting_back(history: History) -> None:
    """The finding keeps its id, and counts as seen only where it still is."""
    a, b = finding("mac-a"), finding("mac-b")
    history.record(report(run(day(0)), a))
    history.record(report(run(day(1)), a, b))

    history.record(report(run(day(1), attempt=2)))

    then = known(history, day(2), a, b)
    assert then.memories == {a.fingerprint: Memory(a.id, day(0), day(0), sha256("updater 1"))}
    assert then.ids[b.fingerprint] == b.id
    assert then.in_comparable == frozenset()


@pytest.mark.parametrize(
    "outcome", [Outcome.PARTIAL, Outcome.NO_DATA, Outcome.FAILED, Outcome.MISSED]
)
def test_a_run_that_is_not_complete_is_not_compared_with(
    history: History, outcome: Outcome
) -> None:
    """A failed or partial run in between changes nothing for the next one."""
    a = finding("mac-a")
    history.record(report(run(day(0)), a))
    history.record(report(run(day(1), outcome)))

    then = known(history, day(2), a)

    assert (then.comparable, then.in_comparable) == (day(0), {a.fingerprint})


def test_what_a_partial_run_saw_is_not_new_later(history: History) -> None:
    """A partial run is no measure, but a sighting is a sighting."""
    a = finding("mac-a")
    history.record(report(run(day(0)), finding("mac-b")))
    history.record(report(run(day(1), Outcome.PARTIAL), a))

    then = known(history, day(2), a)

    assert then.memories[a.fingerprint].first_seen == day(1)
    assert a.fingerprint not in then.in_comparable


@pytest.mark.parametrize("other", [{"cluster": "prod-us"}, {"hunt_uuid": "another hunt"}])
def test_a_cluster_and_a_hunt_say_nothing_about_others(
    history: History, other: Mapping[str, str]
) -> None:
    """What runs on one cluster found is no baseline for another, nor for another hunt."""
    history.record(report(run(day(0)), finding("mac-a")))

    then = known(history, day(1), **other)

    assert (then.comparable, then.absent, then.memories) == (None, (), {})


def test_later_runs_have_no_say_but_for_ids(history: History) -> None:
    """A slot that is run late gets the answer that it would have got in time."""
    a = finding("mac-a", id="BH-0123456789AB")
    history.record(report(run(day(5)), a))

    then = known(history, day(5), a)

    assert (then.comparable, then.memories) == (None, {})
    assert then.ids == {a.fingerprint: "BH-0123456789AB"}


def test_an_older_slot_run_later_lowers_first_seen(history: History) -> None:
    """Backfilled runs tell since when a finding is there, and describe it no worse."""
    a = finding("mac-a", binary="updater 2", user_name="grace")
    history.record(report(run(day(3)), a))

    history.record(report(run(day(1)), finding("mac-a", binary="updater 1")))

    memory = known(history, day(4), a).memories[a.fingerprint]
    assert memory == Memory(a.id, day(1), day(3), sha256("updater 2"))
    [shown] = history.findings()
    assert (shown.first_seen, shown.last_seen, shown.user_name) == (day(1), day(3), "grace")


def test_a_binary_is_remembered_past_a_run_that_did_not_learn_it(history: History) -> None:
    """Failed enrichment does not make the next known hash a changed binary."""
    a = finding("mac-a", binary="updater 1")
    history.record(report(run(day(0)), a))
    history.record(report(run(day(1)), finding("mac-a", binary=None)))

    assert known(history, day(2), a).memories[a.fingerprint].hash_sha256 == sha256("updater 1")


def test_a_hash_that_is_none_is_not_remembered(history: History) -> None:
    """What a liar sends in place of a SHA-256 neither breaks the run nor counts as a binary."""
    process = replace(finding().process, hash_sha256="\x00" * 100)
    a = finding(process=process)
    history.record(report(run(day(0)), a))

    assert known(history, day(1), a).memories[a.fingerprint].hash_sha256 is None


def test_what_the_run_did_not_see_comes_back_as_quiet(history: History) -> None:
    """As it was last described, most urgent first, without figures that would pass for today's."""
    high = finding("mac-a", priority=Priority.HIGH)
    low = finding("mac-b", priority=Priority.LOW)
    unscored = finding("mac-c", priority=None)
    here = finding("mac-d")
    history.record(report(run(day(0)), unscored, low, here, high))
    history.record(report(run(day(1)), low, unscored, here, high))

    absent = known(history, day(2), here).absent

    assert [each.id for each in absent] == [high.id, low.id, unscored.id]
    assert absent[0] == replace(
        high,
        status=Status.QUIET,
        first_seen=day(0),
        last_seen=day(1),
        figures={},
        candidates=0,
        evidence=None,
    )


def test_quiet_does_not_count_as_seen(history: History) -> None:
    """A run that says a finding went quiet is no sighting of it."""
    a = finding("mac-a")
    history.record(report(run(day(0)), a))
    [gone] = known(history, day(1)).absent
    history.record(report(run(day(1)), gone))

    then = known(history, day(2), a)

    assert then.memories[a.fingerprint].last_seen == day(0)
    assert then.in_comparable == frozenset()
    assert known(history, day(2)).absent == ()


def test_ids_are_unique_where_fingerprints_begin_alike(history: History) -> None:
    """Two findings never share an id: the later one gets a longer one, and keeps it."""
    first, second, third = ("4f2a91c0" + digit * 56 for digit in "012")
    history.record(report(run(day(0)), finding("mac-a", fingerprint=first, id=short_id(first))))

    ids = history.known(HUNT.uuid, CLUSTER, day(1), [third, second, first]).ids

    assert ids == {
        first: "BH-4F2A91C0",
        second: "BH-4F2A91C01111",
        third: "BH-4F2A91C02222",
    }
    history.record(report(run(day(1)), finding("mac-b", fingerprint=third, id=ids[third])))
    assert history.known(HUNT.uuid, CLUSTER, day(2), [third]).ids == {third: "BH-4F2A91C02222"}


def test_ids_are_unique_within_one_run(history: History) -> None:
    """Fingerprints that begin alike and are new together get ids of different lengths."""
    alike = ["4f2a91c0" + "0" * 8 + digit * 48 for digit in "01"]

    ids = history.known(HUNT.uuid, CLUSTER, day(0), alike).ids

    assert list(ids.values()) == ["BH-4F2A91C0", "BH-4F2A91C00000"]


def test_two_runs_that_took_the_same_id_do_not_share_it(history: History, history_url: str) -> None:
    """The later one writes nothing, says so, and gets another id when it runs again."""
    first, second = ("4f2a91c0" + digit * 56 for digit in "01")
    history.record(report(run(day(0)), finding("mac-a", fingerprint=first, id="BH-4F2A91C0")))
    before = rows(history_url)
    late = report(
        run(day(0), cluster="prod-us"), finding("mac-b", fingerprint=second, id="BH-4F2A91C0")
    )

    with pytest.raises(RunInProgress, match=r"Nothing was written\. Run again\."):
        history.record(late)

    assert rows(history_url) == before


@pytest.mark.parametrize("outcome", [Outcome.NO_DATA, Outcome.FAILED, Outcome.MISSED])
def test_a_run_that_did_not_search_does_not_replace_one_that_did(
    history: History, history_url: str, outcome: Outcome
) -> None:
    """A second attempt that fails takes nothing away."""
    history.record(report(run(day(0)), finding("mac-a")))
    before = rows(history_url)

    assert not history.record(report(run(day(0), outcome, attempt=2)))

    assert rows(history_url) == before


def test_a_run_that_searched_replaces_a_failed_one(history: History) -> None:
    """Running a failed slot again makes it good."""
    history.record(report(run(day(0), Outcome.FAILED, reason="unreachable")))

    assert history.record(report(run(day(0), attempt=2), finding("mac-a")))

    [recorded] = history.runs()
    assert (recorded.run.outcome, recorded.counts) == (Outcome.COMPLETE, {Status.NEW: 1})


def test_a_partial_repetition_takes_nothing_back(history: History) -> None:
    """What a complete run saw stays seen, and the run stays the measure of later ones."""
    a = finding("mac-a")
    history.record(report(run(day(0)), a))

    assert not history.record(report(run(day(0), Outcome.PARTIAL, attempt=2)))

    [recorded] = history.runs()
    assert (recorded.run.outcome, recorded.counts) == (Outcome.COMPLETE, {Status.NEW: 1})
    assert known(history, day(1), a).in_comparable == {a.fingerprint}


def test_a_run_that_says_more_wins_whenever_the_other_was_recorded(history: History) -> None:
    """What a run found is not lost to one that failed beside it."""
    history.record(report(replace(run(day(0), Outcome.FAILED), finished_at=day(1))))

    assert history.record(report(run(day(0), attempt=2), finding("mac-a")))

    [recorded] = history.runs()
    assert recorded.run == run(day(0), attempt=2)


def test_of_two_runs_of_one_slot_at_once_one_wins_and_the_other_says_so(
    history_url: str,
) -> None:
    """Whichever is recorded first stands; the other changes nothing."""
    both = [
        replace(run(day(0)), id=id, started_at=day(0), finished_at=day(0).replace(minute=1))
        for id in ("aaaaaaaaaaaa", "bbbbbbbbbbbb")
    ]
    together = Barrier(2)

    def attempt(number: int) -> str:
        with History.open(history_url) as history:
            together.wait()
            try:
                history.record(report(both[number], finding("mac-a")))
            except RunInProgress:
                return "said so"
        return both[number].id

    with ThreadPoolExecutor(2) as pool:
        ended = set(pool.map(attempt, range(2)))

    with History.open(history_url) as history:
        [recorded] = history.runs()
    assert ended == {recorded.run.id, "said so"}
    assert recorded.counts == {Status.NEW: 1}


def test_a_run_owes_its_report_until_the_archive_has_it(history: History) -> None:
    """Whoever is killed between the two leaves it to the next run of the hunt on the cluster."""
    later, first = report(run(day(1)), finding("mac-a")), report(run(day(0), Outcome.BASELINE))
    for each in (later, first, report(run(day(0), cluster="prod-us"))):
        history.record(each)

    assert history.unpublished(HUNT.uuid, CLUSTER) == (first, later)

    history.mark_published(first.run.id)
    assert history.unpublished(HUNT.uuid, CLUSTER) == (later,)


def test_of_a_slot_only_the_run_that_stands_owes_its_report(history: History) -> None:
    """It takes over what the one before it owed, and nobody else can settle it."""
    first, again = (report(run(day(0), attempt=n), finding("mac-a")) for n in (1, 2))
    history.record(first)
    history.record(again)
    history.record(report(run(day(0), Outcome.FAILED, attempt=3)))
    history.mark_published(first.run.id)

    assert history.unpublished(HUNT.uuid, CLUSTER) == (again,)


def test_hostile_text_comes_back_as_it_was(history: History) -> None:
    """NUL, bidi controls and quotes in a command line neither break a run nor change."""
    process = replace(
        finding().process,
        args=("\x00", "\u202e", "'; DROP TABLE runs; --", "\U0001f4a3"),
        command_line="\x00" * 1000,
    )
    history.record(report(run(day(0)), finding(process=process, user_name="<!channel>")))

    [shown] = history.findings()

    assert (shown.process, shown.user_name) == (process, "<!channel>")


def test_the_newest_slot_of_a_schedule_is_found_among_others(history: History) -> None:
    """Runs by hand and failed ones are passed over, and so are later slots."""
    assert history.last_scheduled(HUNT.uuid, CLUSTER, day(9)) is None
    for number in (0, 1, 8):
        history.record(report(run(day(number), scheduled=True)))
    history.record(report(run(day(2), Outcome.FAILED, scheduled=True)))
    for number in range(3, 7):
        history.record(report(run(day(number))))

    assert history.last_scheduled(HUNT.uuid, CLUSTER, day(8)) == day(1)
    assert history.last_scheduled(HUNT.uuid, CLUSTER, day(1)) == day(0)
    assert history.last_scheduled(HUNT.uuid, "prod-us", day(8)) is None


def test_outcomes_are_told_by_slot(history: History) -> None:
    """Between two moments, of one hunt on one cluster."""
    history.record(report(run(day(0))))
    history.record(report(run(day(1), Outcome.MISSED)))
    history.record(report(run(day(2), cluster="prod-us")))
    history.record(report(run(day(3), Outcome.FAILED)))

    told = history.outcomes(HUNT.uuid, CLUSTER, day(0), day(4))

    assert told == {day(1): Outcome.MISSED, day(3): Outcome.FAILED}


def test_the_trend_ends_with_the_slot(history: History) -> None:
    """The chart's runs, oldest first, failed ones included, later ones not."""
    a, b = finding("mac-a"), finding("mac-b")
    history.record(report(run(day(0), Outcome.BASELINE), replace(a, status=Status.BASELINE)))
    history.record(report(run(day(2)), replace(a, status=Status.CONTINUING), b))
    history.record(report(run(day(1), Outcome.FAILED)))
    history.record(
        report(run(day(3)), replace(a, status=Status.QUIET), replace(b, status=Status.RETURNED))
    )

    trend = history.trend(HUNT.uuid, CLUSTER, day(2))

    assert [(each.slot, each.outcome, each.new, each.known) for each in trend] == [
        (day(0), Outcome.BASELINE, 0, 1),
        (day(1), Outcome.FAILED, 0, 0),
        (day(2), Outcome.COMPLETE, 1, 1),
    ]
    assert [each.slot for each in history.trend(HUNT.uuid, CLUSTER, day(9), limit=2)] == [
        day(2),
        day(3),
    ]
    assert history.trend(HUNT.uuid, CLUSTER, day(3))[-1].known == 1
    assert [each.hosts for each in trend] == [60, None, 60]


def test_runs_are_listed_newest_first(history: History) -> None:
    """With their counts, and only of the cluster or hunt that is asked for."""
    quiet = finding("mac-b", status=Status.QUIET)
    history.record(report(run(day(0)), finding("mac-a"), quiet))
    history.record(report(run(day(1), Outcome.FAILED)))
    history.record(report(run(day(2), cluster="prod-us")))

    assert [each.run.slot for each in history.runs()] == [day(2), day(1), day(0)]
    assert [each.run.slot for each in history.runs(limit=1)] == [day(2)]
    assert [each.run.slot for each in history.runs(cluster=CLUSTER)] == [day(1), day(0)]
    assert history.runs(hunt="another-hunt") == ()
    assert history.runs()[-1].counts == {Status.NEW: 1, Status.QUIET: 1}


def test_findings_are_those_of_each_newest_searched_run(history: History) -> None:
    """What is known now: a failed or stale run does not hide it, an older run does not add."""
    gone, high = finding("mac-a"), finding("mac-b", priority=Priority.HIGH)
    elsewhere = finding("mac-c", cluster="prod-us")
    history.record(report(run(day(0)), gone, finding("mac-z")))
    history.record(report(run(day(1)), replace(gone, status=Status.QUIET), high))
    history.record(report(run(day(2), Outcome.FAILED)))
    history.record(report(run(day(3), Outcome.NO_DATA), finding("mac-z")))
    history.record(report(run(day(0), cluster="prod-us"), elsewhere))

    def shown(**filters: Any) -> list[str]:
        return [each.id for each in history.findings(**filters)]

    assert shown()[0] == high.id
    assert set(shown()) == {high.id, gone.id, elsewhere.id}
    assert shown(status=Status.QUIET) == [gone.id]
    assert shown(cluster="prod-us") == [elsewhere.id]
    assert shown(limit=1) == [high.id]


def test_ten_thousand_findings_fit_into_one_question(history: History) -> None:
    """A flood is remembered like any other run, whatever a database says of parameters."""
    flood = [finding(f"mac-{number}", evidence=None) for number in range(10_000)]
    history.record(report(run(day(0)), *flood))

    then = known(history, day(1), *flood[5_000:])

    assert len(then.in_comparable) == 10_000
    assert len(then.absent) == len(then.memories) == len(then.ids) == 5_000


HOSTS = ("mac-a", "mac-b", "mac-c")
SEEN = st.tuples(
    st.sampled_from([Status.NEW, Status.CONTINUING, Status.QUIET]),
    st.sampled_from([None, "updater 1", "updater 2"]),
)
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([Outcome.COMPLETE, Outcome.BASELINE, Outcome.PARTIAL, Outcome.FAILED]),
        st.dictionaries(st.sampled_from(HOSTS), SEEN),
    ),
    max_size=8,
)


@dataclass
class PlainHistory:
    """The rules of the history, over a dictionary of what each slot says of each host."""

    slots: dict[int, tuple[Outcome, dict[str, tuple[Status, str | None]]]] = field(
        default_factory=dict
    )

    def record(
        self, slot: int, outcome: Outcome, seen: dict[str, tuple[Status, str | None]]
    ) -> bool:
        """Replace the slot, unless the later run says less of it than the one that is there."""
        if slot in self.slots and outcome.rank < self.slots[slot][0].rank:
            return False
        self.slots[slot] = (outcome, seen)
        return True

    def seen_before(self, slot: int, host: str) -> list[tuple[int, str | None]]:
        """Give the earlier slots that saw a host, with the binary."""
        return [
            (earlier, seen[host][1])
            for earlier, (_, seen) in sorted(self.slots.items())
            if earlier < slot and host in seen and seen[host][0] is not Status.QUIET
        ]

    def comparable(self, slot: int) -> int | None:
        """Give the newest earlier slot to compare with."""
        earlier = (
            number
            for number, (outcome, _) in self.slots.items()
            if number < slot and outcome.comparable
        )
        return max(earlier, default=None)


def expected(
    plain: PlainHistory, slot: int, asked: Iterable[str], findings: Mapping[str, Finding]
) -> tuple[Any, ...]:
    """Give what the plain history knows in the shape that `summary` gives."""
    comparable = plain.comparable(slot)
    in_comparable = {
        host
        for host, (status, _) in (
            plain.slots[comparable][1] if comparable is not None else {}
        ).items()
        if status is not Status.QUIET
    }
    memories = {}
    for host in asked:
        if seen := plain.seen_before(slot, host):
            binaries = [binary for _, binary in seen if binary]
            memories[findings[host].fingerprint] = Memory(
                findings[host].id,
                day(seen[0][0]),
                day(seen[-1][0]),
                sha256(binaries[-1]) if binaries else None,
            )
    return (
        None if comparable is None else day(comparable),
        {findings[host].fingerprint for host in in_comparable},
        {findings[host].id for host in in_comparable.difference(asked)},
        memories,
    )


def test_what_is_known_follows_from_the_rules_alone(tmp_path: Path) -> None:
    """Whatever slots are run, in whatever order and how often, the store keeps to a plain model."""
    url = f"sqlite:///{tmp_path}/history.db"
    new_history(url)
    numbers = count()
    with History.open(url) as history:

        @given(RECORDS, st.sets(st.sampled_from(HOSTS)))
        @settings(max_examples=examples(60))
        def check(
            records: list[tuple[int, Outcome, dict[str, tuple[Status, str | None]]]],
            asked: set[str],
        ) -> None:
            hunt = HUNT.model_copy(update={"uuid": f"example {next(numbers)}"})
            findings = {host: finding(host, hunt=hunt) for host in HOSTS}
            plain = PlainHistory()
            for attempt, (slot, outcome, said) in enumerate(records, 1):
                seen = said if outcome.searched else {}
                made = [
                    finding(host, hunt=hunt, status=status, binary=binary)
                    for host, (status, binary) in seen.items()
                ]
                recorded = history.record(
                    report(run(day(slot), outcome, hunt=hunt, attempt=attempt), *made)
                )
                assert recorded == plain.record(slot, outcome, seen)
            for slot in range(6):
                then = known(
                    history,
                    day(slot),
                    *(findings[host] for host in asked),
                    hunt_uuid=hunt.uuid,
                )
                assert (
                    then.comparable,
                    then.in_comparable,
                    {each.id for each in then.absent},
                    then.memories,
                ) == expected(plain, slot, asked, findings)

        check()
