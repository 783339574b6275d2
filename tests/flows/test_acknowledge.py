"""A finding's way through a word: found, acknowledged, muted, and told when the word ends."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client

from flows.acknowledge import acknowledge, unacknowledge
from flows.daily_digest import daily_digest
from tasks.errors import AcknowledgementError
from tasks.history import History
from tasks.model.findings import Status
from tasks.model.runs import minute
from tasks.settings import Destination
from tests.flows.site import Site, fresh, steady
from tests.flows.worker import run_deployed

DAY = timedelta(days=1)
TODAY = minute(datetime.now(UTC)) - timedelta(hours=1)
"""Words are given now, so runs are of these days too."""

TOMORROW = TODAY + DAY
SECOPS = Destination(name="secops", channel="C1", clusters=("corp",))


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def digest(site: Site, slot: datetime):
    """Run the digest an hour after its run."""
    return run_deployed(
        daily_digest,
        destination=SECOPS,
        slot=slot + timedelta(hours=1),
        history_url=site.history_url,
        archive_url=str(site.archive),
    )


def give(site: Site, finding: str, **changes):
    """Run the flow as Prefect's UI does, and give its final state."""
    word = {"why": "Our own agent.", "until": TODAY + 1.5 * DAY, "by": "ada"}
    word |= {"finding": finding, "history_url": site.history_url}
    return run_deployed(acknowledge, **word | changes)


@pytest.mark.parametrize("until", [datetime(2027, 2, 1), "2027-02-01T06:00", "in March"])  # noqa: DTZ001 - without a zone.
def test_an_end_without_a_zone_is_refused(site, until):
    """Every worker would read another moment: whoever types it in Prefect's UI learns how."""
    state = give(site, "BH-24A3C0CA", until=until)
    assert state.is_failed()
    assert "`until` is not a time with its zone. Write it like 2026-11-24T06:00Z" in state.message


@pytest.fixture
def found(site) -> Site:
    """A site on which a first run found nothing, and today's run found an agent on one Mac."""
    ends = [TODAY + number * DAY - timedelta(hours=1) for number in range(3)]
    steadily = [event for end in ends for event in steady(f"{end:%d}", end)]
    quiet_days = [fresh(TODAY + number * DAY) for number in range(-1, 3)]
    site.corp = site.cluster(*steadily, *quiet_days)
    site.hunt(site.corp, TODAY - DAY)
    site.hunt(site.corp, TODAY)
    return site


def the_id(site: Site) -> str:
    return site.reports()[-1].findings[0].id


def test_a_finding_is_told_acknowledged_muted_and_told_again_when_the_word_ends(found):
    """The way of a harmless program: announced once, then silent until its word ends."""
    assert digest(found, TODAY).message == "1 new, no token: printed, not posted"
    said = give(found, the_id(found)).message
    assert said.startswith(f"{the_id(found)} is acknowledged by ada until ")

    # Tomorrow's events are ahead of this computer's clock, which the run says.
    told = found.hunt(found.corp, TOMORROW).message
    assert told == "0 new, 0 continuing, 1 acknowledged (clock ahead)"
    (muted,) = found.reports()[-1].findings
    assert (muted.status, muted.acknowledgement.why) == (Status.CONTINUING, "Our own agent.")
    page = next(found.archive.glob(f"*/corp/{TOMORROW:%Y/%m/%d}/*/report.html")).read_text()
    assert "Our own agent." in page
    assert digest(found, TOMORROW).result()["digest"] == ""

    found.hunt(found.corp, TOMORROW + DAY)
    ended = digest(found, TOMORROW + DAY)
    assert ended.message == "0 new, 1 acknowledgement ended, no token: printed, not posted"
    assert re.search(r"still active: agentd on \S+ → 45\.45\.45\[\.\]45", ended.result()["digest"])
    assert digest(found, TOMORROW + DAY + timedelta(hours=1)).result()["digest"] == ""


def test_who_reads_the_report_before_the_digest_saves_it_a_line(found):
    """The day's page counts what is muted."""
    give(found, the_id(found))
    assert digest(found, TODAY).result()["digest"] == ""
    (page,) = found.archive.glob("daily/secops/**/*.html")
    assert "Acknowledged" in page.read_text()


def test_the_run_history_says_who_acknowledged_what(found):
    """The name of the flow run, its parameters and its final state."""
    state = give(found, the_id(found), everywhere=True)
    assert state.message.startswith(f"{the_id(found)} is acknowledged by ada until ")
    assert "/agentd on every host, calling 45.45.45[.]45, with the binary of" in state.message
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.name == f"ada: {the_id(found)}"
    assert (run.parameters["by"], run.parameters["why"]) == ("ada", "Our own agent.")


def test_a_word_is_taken_back_in_prefects_ui_too(found):
    """By somebody else, and the history knows by whom."""
    give(found, the_id(found))
    word = {"finding": the_id(found), "by": "kim", "history_url": found.history_url}
    back = run_deployed(unacknowledge, **word)
    assert back.message == (
        f"{the_id(found)} is not acknowledged any more (ada's reason: Our own agent.)"
    )
    with History.open(found.history_url) as history:
        ((word, _),) = history.acknowledgements.all()
    assert word.ended_by == "kim"


def test_a_word_that_cannot_be_given_fails_with_what_to_do(found):
    """The state of the flow run has the remedy."""
    state = give(found, the_id(found), why="")
    error = state.result(raise_on_failure=False)
    assert state.is_failed()
    assert isinstance(error, AcknowledgementError)
    assert "State with `why`" in state.message


def test_findings_json_has_the_whole_word(found):
    """For whoever audits what is muted."""
    give(found, the_id(found), everywhere=True)
    found.hunt(found.corp, TOMORROW)
    path = next(found.archive.glob(f"*/corp/{TOMORROW:%Y/%m/%d}/*/findings.json"))
    ((finding),) = json.loads(path.read_text())["findings"]
    word = finding["acknowledgement"]
    assert (word["by"], word["finding"], len(word["anywhere"])) == ("ada", the_id(found), 64)
