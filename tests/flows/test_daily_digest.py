from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from flows.daily_digest import daily_digest
from tasks.digests import DigestStatus
from tasks.errors import RunInProgress, SlackBusy, SlackRefused, SlackUnreachable
from tasks.findings import Status
from tasks.history import History, upgrade
from tasks.runs import Outcome
from tasks.settings import Destination
from tests.builders import SLOT, day, finding, report, run
from tests.slack_server import SlackServer, no, ok, taken_then_dropped, too_many

CANARY = "canary-5d1f"


class Office:
    """A history with runs in it, an archive, and a Slack to talk to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history_url = f"sqlite:///{folder}/history.db"
        self.archive = folder / "archive"
        upgrade(self.history_url)

    def record(self, *reports) -> None:
        with History.open(self.history_url) as history:
            for each in reports:
                history.record(each)

    def destination(self, slack: SlackServer | None = None, **changes) -> Destination:
        settings = {"name": "secops", "channel": "C1", "clusters": ("demo-eu",)}
        if slack:
            settings |= {"api_url": slack.url, "token_env": "CANARY_TOKEN"}
        return Destination(**settings | changes)

    def digest(self, destination: Destination, slot=SLOT, **changes):
        """Run the flow, and give its final state."""
        return daily_digest(
            destination,
            slot=slot,
            history_url=self.history_url,
            archive_url=str(self.archive),
            **changes,
            return_state=True,
        )

    def statuses(self) -> list[str]:
        engine = create_engine(self.history_url)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT status FROM digests ORDER BY begun_at"))
            statuses = [row[0] for row in rows]
        engine.dispose()
        return statuses

    def pages(self) -> list[Path]:
        return sorted(self.archive.glob("daily/**/*.html"))


@pytest.fixture
def office(tmp_path, monkeypatch) -> Office:
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    return Office(tmp_path)


def new_day(slot=SLOT, *hosts: str):
    """A complete run with one new finding a host."""
    found = (finding(host, slot=slot, status=Status.NEW) for host in hosts or ("mac-a",))
    return report(run(slot), *found)


def test_what_is_new_is_told_once(office):
    """The security team reads it in the morning, and never again."""
    office.record(new_day())
    with SlackServer(ok) as slack:
        first = office.digest(office.destination(slack))
        again = office.digest(office.destination(slack))
    assert first.message == "1 new, posted to Slack"
    assert again.message == "nothing to tell: every cluster searched, nothing new"
    assert len(slack.messages) == 1


def test_the_day_leaves_a_page(office):
    """Also a day on which nothing is told."""
    office.record(report(run()))
    assert office.digest(office.destination()).message.startswith("nothing to tell")
    (page,) = office.pages()
    assert "daily/secops/2026/11/24/0600Z-" in str(page)


def test_without_a_token_the_digest_is_printed_and_not_told_to_slack(office):
    """A demo repeats nothing either; Slack's own ledger stays empty."""
    office.record(new_day())
    printed = office.digest(office.destination())
    assert printed.message == "1 new, no token: printed, not posted"
    assert "1 new beaconing process on 1 Mac" in printed.result()["digest"]
    assert office.digest(office.destination()).result()["digest"] == ""
    with SlackServer(ok) as slack:
        office.digest(office.destination(slack))
    assert len(slack.messages) == 1


def test_a_dry_run_posts_and_writes_nothing(office):
    """What would be told, again and again."""
    office.record(new_day())
    with SlackServer(ok) as slack:
        for _ in range(2):
            shown = office.digest(office.destination(slack), dry_run=True)
            assert shown.message == "1 new, dry run"
    assert slack.messages == []
    assert office.statuses() == []
    assert office.pages() == []


def test_a_cluster_that_was_not_searched_is_named(office):
    """Silence must not look like safety."""
    failed = run(outcome=Outcome.FAILED, reason="unauthorised", detail="No.", coverage=None)
    office.record(report(failed))
    with SlackServer(ok) as slack:
        office.digest(office.destination(slack, clusters=("demo-eu", "demo-us")))
    (message,) = slack.messages
    assert "demo-eu was not searched (unauthorised" in message["text"]
    assert "demo-us was not searched (late" in message["text"]


def test_a_refused_digest_fails_with_the_remedy_and_stays_pending(office):
    """After somebody invited the app, all of it is told."""
    office.record(new_day())
    with SlackServer(no("not_in_channel"), ok) as slack:
        refused = office.digest(office.destination(slack))
        error = refused.result(raise_on_failure=False)
        assert isinstance(error, SlackRefused)
        assert "invite" in error.remedy.lower()
        office.record(new_day(day(1), "mac-b"))
        told = office.digest(office.destination(slack), day(1))
    assert told.message == "2 new, posted to Slack"
    assert office.statuses() == [DigestStatus.REFUSED, DigestStatus.SENT]


def test_a_busy_slack_is_told_later_without_a_word_of_repeating(office):
    """Slack said that it took nothing."""
    office.record(new_day())
    with SlackServer(too_many(999), ok) as slack:
        busy = office.digest(office.destination(slack))
        assert isinstance(busy.result(raise_on_failure=False), SlackBusy)
        office.digest(office.destination(slack))
    assert "may repeat" not in slack.messages[-1]["text"]


def lose_the_sender(office: Office) -> None:
    """Make the digest that is being sent an hour old: its process is gone."""
    engine = create_engine(office.history_url)
    with engine.begin() as connection:
        before = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(
            text("UPDATE digests SET begun_at = :before"),
            {"before": f"{before:%Y-%m-%d %H:%M:%S.%f}"},
        )
    engine.dispose()


def test_a_lost_receipt_is_told_again_and_says_so(office):
    """At most one message more, never one less."""
    office.record(new_day())
    with SlackServer(taken_then_dropped, ok) as slack:
        lost = office.digest(office.destination(slack))
        assert isinstance(lost.result(raise_on_failure=False), SlackUnreachable)
        assert office.statuses() == [DigestStatus.SENDING]
        lose_the_sender(office)
        told = office.digest(office.destination(slack))
    assert told.message == "1 new, posted to Slack"
    assert "may repeat" in slack.messages[-1]["text"]
    assert office.statuses() == [DigestStatus.LOST, DigestStatus.SENT]


def test_two_digests_at_once_do_not_both_post(office):
    """The other one says that it let the first one go on."""
    office.record(new_day())
    with SlackServer(taken_then_dropped, ok) as slack:
        office.digest(office.destination(slack))
        second = office.digest(office.destination(slack))
    assert isinstance(second.result(raise_on_failure=False), RunInProgress)
    assert len(slack.messages) == 1


def test_each_destination_hears_its_own(office):
    """One channel's failure costs the other nothing."""
    office.record(new_day())
    with SlackServer(no("channel_not_found"), ok) as slack:
        office.digest(office.destination(slack, name="first"))
        told = office.digest(office.destination(slack, name="second"))
    assert told.message == "1 new, posted to Slack"


def test_the_token_stands_in_no_file_and_no_error(office):
    """A secret goes to Slack and nowhere else."""
    office.record(new_day())
    with SlackServer(no("invalid_auth"), ok) as slack:
        state = office.digest(office.destination(slack))
        office.digest(office.destination(slack))
    assert set(slack.tokens) == {CANARY}
    assert CANARY not in f"{state!r}{state.result(raise_on_failure=False)!r}"
    held = [
        p for p in office.folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()
    ]
    assert held == []


def test_a_slot_without_a_zone_is_refused(office):
    """Every worker would read another moment."""
    state = office.digest(office.destination(), SLOT.replace(tzinfo=None))
    assert state.is_failed()
    assert "slot: Input should have timezone info" in state.message
