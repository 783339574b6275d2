"""What is old goes when somebody has said how old; what is asked for stays."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from prefect import flow
from prefect.exceptions import ParameterTypeError

from flows.catching_up import catch_up
from flows.hunt_cluster import RunContext, record_and_publish, search
from flows.retention import retention
from tasks.archive import write_run
from tasks.errors import SlotPruned
from tasks.history import History
from tasks.history.upkeep import take_inventory
from tasks.model.findings import Status
from tasks.model.hunts import load_hunt
from tasks.model.runs import Outcome, Plan, minute
from tasks.report import pages_of
from tests.builders import finding, report, run
from tests.flows.site import DAY, Site, fresh, steady
from tests.flows.worker import run_deployed

NOW = minute(datetime.now(UTC))
HUNT = load_hunt("macos-unsigned-network")
FORGOTTEN = NOW - timedelta(days=403.5)


@pytest.fixture
def site(tmp_path) -> Site:
    """A site with five old sightings of one program, a day apart, and one of today."""
    site = Site(tmp_path)
    with History.open(site.history_url) as history:
        for days in (405, 404, 403, 402, 401, 0):
            slot = NOW - timedelta(days=days)
            found = finding(cluster="corp", hunt=HUNT, slot=slot, status=Status.CONTINUING)
            of = run(slot, cluster="corp", hunt=HUNT)
            history.record(report(of, found))
            history.mark_published(of.id)
    return site


def sightings(site: Site) -> int:
    return take_inventory(site.history_url).rows["sightings"]


def test_without_a_number_of_days_everything_is_kept(site):
    """The default forgets nothing."""
    state = run_deployed(retention, history_url=site.history_url)
    assert state.message == "every sighting kept, every report kept"
    assert sightings(site) == 6


def test_old_sightings_go_and_the_final_state_says_how_many(site):
    """Its run in Prefect says what became of them; the next run has nothing to do."""
    for deleted in ("3 sightings", "0 sightings"):
        state = run_deployed(retention, history_url=site.history_url, history_days=400)
        assert state.message == f"{deleted} older than 400 days deleted, every report kept"
    assert sightings(site) == 3


def test_old_reports_go_and_the_final_state_says_how_many(site):
    """The log of its run names each."""
    old, new = (report(run(NOW - timedelta(days=days))) for days in (401, 0))
    for of in (old, new):
        write_run(str(site.archive), of, pages_of(of))
    options = {"history_url": site.history_url, "archive_url": str(site.archive)}
    state = run_deployed(retention, **options, archive_days=400)
    assert state.message == "every sighting kept, 1 report older than 400 days deleted"
    assert [path.parent.name for path in site.archive.rglob("run.json")] == [
        new.run.folder.rpartition("/")[2]
    ]


def test_days_that_late_runs_still_need_cannot_be_pruned(site):
    """A typing error deletes nothing."""
    state = run_deployed(retention, history_url=site.history_url, history_days=1)
    with pytest.raises(ParameterTypeError, match="greater than or equal to 30"):
        state.result()
    assert sightings(site) == 6


def test_a_run_of_a_forgotten_slot_by_hand_says_so(site):
    """It is compared with nothing that is there only in part, and leaves nothing."""
    run_deployed(retention, history_url=site.history_url, history_days=400)
    cluster = site.cluster(*steady(end=FORGOTTEN - DAY / 24), fresh(FORGOTTEN))
    state = site.hunt(cluster, FORGOTTEN)
    with pytest.raises(SlotPruned, match=r"corp: a run for the slot .* Choose a later slot"):
        state.result()
    assert site.reports() == []


def test_a_forgotten_slot_that_is_caught_up_is_recorded_as_failed(site):
    """The slots after it are run all the same, and nobody asks for it again."""
    run_deployed(retention, history_url=site.history_url, history_days=400)
    cluster = site.cluster(*steady(end=FORGOTTEN - DAY / 24), fresh(FORGOTTEN), fresh(NOW - DAY))

    @flow
    def late(history: History) -> None:
        plan = Plan("", HUNT, cluster.name, NOW, stale_after_hours=6, started_at=NOW)
        slots = [FORGOTTEN, NOW - DAY]
        shared = RunContext(cluster, history, str(site.archive), None)
        keep = partial(record_and_publish, shared)
        catch_up(plan, slots, 14, partial(search, shared), keep)

    with History.open(site.history_url) as history:
        late(history)
    forgotten, yesterday = (each.run for each in site.reports())
    assert (forgotten.outcome, forgotten.reason) == (Outcome.FAILED, "settings")
    assert yesterday.outcome is Outcome.COMPLETE
