"""Whatever order Prefect starts late runs in, the history is the one of an ordinary week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule
from sqlalchemy import select

from flows.slots import Timetable, never_run
from tasks.errors import Unreachable
from tasks.history import History
from tasks.history.database import connect_database
from tasks.history.models import FindingRow, RunRow, SightingRow
from tasks.model.hunts import Hunt
from tasks.model.runs import Outcome, Plan, Report
from tasks.record import not_searched_report
from tests.builders import CLUSTER, HUNT, SLOT, day
from tests.effort import examples
from tests.searching import row, searched

LATE = (1, 2, 3, 4)
DAILY = (CronSchedule(cron="0 6 * * *", timezone="UTC"),)
HOSTS = ("mac-a", "mac-b", "mac-c")

ANSWERS = st.tuples(
    st.sampled_from([Outcome.COMPLETE, Outcome.COMPLETE, Outcome.PARTIAL, Outcome.FAILED]),
    st.sets(st.sampled_from(HOSTS)),
)


@dataclass(frozen=True)
class Cluster:
    """A cluster that is hunted at six each day, and what it answers as of each day."""

    hunt: Hunt
    answers: Sequence[tuple[Outcome, set[str]]]

    def start(self, history: History, number: int, waiting: Sequence[int]) -> None:
        """Do what a scheduled run does: first what was never run, then its own slot."""
        plan = Plan("", self.hunt, CLUSTER, day(number), 6, SLOT, scheduled=True)
        since = day(min(waiting)) if waiting else None
        late = never_run(history, plan, Timetable(DAILY, timedelta(0), since))
        for slot in (*late, plan.slot):
            history.record(self.searched(history, plan.at(slot)))

    def searched(self, history: History, plan: Plan) -> Report:
        """Ask as of the plan's slot."""
        outcome, hosts = self.answers[(plan.slot - SLOT).days]
        if outcome is Outcome.FAILED:
            return not_searched_report(plan, Unreachable("It is away.", "Wait."))
        return searched(history, plan, [row(host) for host in sorted(hosts)], outcome)


def remembered(url: str, hunt: Hunt) -> tuple[Mapping[datetime, Outcome], list[tuple[Any, ...]]]:
    """Give all that a history says of a hunt, but for ids and when it was written."""
    with connect_database(url) as database, database.reading() as session:
        runs = select(RunRow.slot, RunRow.outcome).where(RunRow.hunt_uuid == hunt.uuid)
        seen = (
            select(FindingRow.document, FindingRow.document_slot, SightingRow)
            .join(SightingRow, SightingRow.finding_key == FindingRow.key)
            .join(RunRow, RunRow.key == SightingRow.run_key)
            .where(RunRow.hunt_uuid == hunt.uuid)
        )
        return dict(session.execute(runs).tuples().all()), sorted(
            (sighting.slot, finding.host.id, sighting.status, str(sighting.news), described)
            for finding, described, sighting in session.execute(seen).tuples()
        )


def test_late_runs_leave_the_same_history_in_whatever_order_they_start(
    history: History, history_url: str
) -> None:
    """Also where some are started again, and where the first of them is the first of all."""
    numbers = count()

    @given(
        answers=st.lists(ANSWERS, min_size=5, max_size=5),
        started=st.permutations(LATE),
        again=st.lists(st.sampled_from(LATE), max_size=2),
        first_of_all=st.booleans(),
    )
    @settings(max_examples=examples(40, history_url))
    def check(
        answers: list[tuple[Outcome, set[str]]],
        started: list[int],
        again: list[int],
        first_of_all: bool,
    ) -> None:
        histories = []
        for order in (sorted(LATE), [*started, *again]):
            hunt = HUNT.model_copy(update={"uuid": f"example {next(numbers)}"})
            cluster = Cluster(hunt, answers)
            if not first_of_all:
                cluster.start(history, 0, ())
            for place, number in enumerate(order):
                cluster.start(history, number, order[place + 1 : len(LATE)])
            histories.append(remembered(history_url, hunt))
        in_order, late = histories
        assert late == in_order

    check()
