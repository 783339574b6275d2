"""Digests in processes: killed after each of their steps, and two at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from flows.daily_digest import daily_digest
from tasks import post
from tasks.history import Ledger
from tasks.history import ledger as ledgers
from tasks.model.digests import DigestStatus
from tasks.settings import Destination
from tasks.slack import channel
from tasks.slack.channel import Channel
from tests.builders import SLOT
from tests.flows.office import CANARY, Office, hosts_told, new_day
from tests.flows.worker import run_deployed
from tests.postgresql import Server
from tests.processes import at_once, killed_after, public
from tests.slack_server import Behaviour, SlackServer, fault, is_gone, no, ok

STEPS = [
    *public(Ledger),
    *public(Channel),
    "tasks.collect:collect_digest",
    "tasks.slack.compose:compose_message",
    "tasks.archive.steps:write_daily",
    "tasks.archive.steps:write_index",
]
"""Between any two of these a process may end: whatever it does that others can see is one."""

SENDING = [step for step in STEPS if step.endswith((".begin", ".post", ".posted", ".settle"))]
"""Those of them between which it matters most: each leaves another ledger, or another channel."""

READABLE, UNREADABLE = (ok,), (no("missing_scope"),)


def hurried() -> None:
    """Make no pauses, and let a process be gone as soon as it has done something."""
    channel.SECONDS_BETWEEN_POSTS = post.SECONDS_BETWEEN_ATTEMPTS = 0
    ledgers.LEASE = timedelta(0)


def digest(destination: Destination, history_url: str, archive_url: str) -> None:
    """Run the flow in the process that will be killed."""
    hurried()
    places = {"history_url": history_url, "archive_url": archive_url}
    run_deployed(daily_digest, destination=destination, slot=SLOT, **places).result()


@pytest.fixture
def offices(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    """Any number of offices, on the database that a test names, or on SQLite."""
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    for module, name in (
        (channel, "SECONDS_BETWEEN_POSTS"),
        (post, "SECONDS_BETWEEN_ATTEMPTS"),
    ):
        monkeypatch.setattr(module, name, 0)

    def another() -> Iterator[Office]:
        for number in count():
            folder = tmp_path / str(number)
            folder.mkdir()
            if getattr(request, "param", "") == "postgresql":
                server: Server = request.getfixturevalue("postgresql_server")
                yield Office(folder, server.new_schema())
            else:
                yield Office(folder)

    return another()


def killed_everywhere(
    offices: Iterator[Office],
    hosts: Sequence[str],
    steps: Sequence[str] = STEPS,
    reading: Sequence[Behaviour] = READABLE,
) -> Iterator[tuple[str, Office, SlackServer]]:
    """Kill a digest after its first step, after its second and so on; give each after a restart.

    The last one came to its end.
    """
    for number in count(1):
        office = next(offices)
        office.record(new_day(SLOT, *hosts))
        with SlackServer(reading=reading) as slack:
            destination = office.destination(slack)
            step = killed_after(
                steps,
                number,
                digest,
                destination,
                office.history_url,
                str(office.archive),
                environment={"CANARY_TOKEN": CANARY},
            )
            again = office.digest(destination)
        assert again.is_completed(), step
        yield step or "the end", office, slack
        if step is None:
            return


def ledger(office: Office) -> list[tuple[object, ...]]:
    """What the destination has heard."""
    return office.rows(
        """
        SELECT findings.id, deliveries.news
        FROM deliveries
        JOIN findings ON findings.key = deliveries.finding_key
        ORDER BY findings.id
        """
    )


@pytest.mark.parametrize(
    ("offices", "steps"), [("sqlite", STEPS), ("postgresql", SENDING)], indirect=["offices"]
)
def test_a_killed_digest_is_told_as_if_nothing_had_happened(
    offices: Iterator[Office], steps: Sequence[str]
):
    """The same message and the same ledger, wherever the process was killed."""
    *killed, (_, expected, heard) = killed_everywhere(offices, ["mac-a"], steps)
    assert len(heard.messages) == 1
    assert set(SENDING) <= {step for step, _, _ in killed}
    for step, office, slack in killed:
        assert [each["text"] for each in slack.messages] == [heard.messages[0]["text"]], step
        assert ledger(office) == ledger(expected), step
        assert DigestStatus.SENDING not in office.statuses(), step
        assert office.pages(), step


def test_without_the_scope_to_look_a_killed_digest_appears_twice_at_most_and_says_so(
    offices: Iterator[Office],
):
    """Twice only where it was killed with its message already posted."""
    *killed, (_, expected, heard) = killed_everywhere(offices, ["mac-a"], SENDING, UNREADABLE)
    (plain,) = heard.messages
    assert {len(slack.messages) for _, _, slack in killed} == {1, 2}
    for step, office, slack in killed:
        *first, last = slack.messages
        assert [each["text"] for each in first] in ([], [plain["text"]]), step
        assert "may repeat" in last["text"] or not first, step
        assert ledger(office) == ledger(expected), step
        assert DigestStatus.SENDING not in office.statuses(), step


def test_of_a_thread_that_was_killed_every_finding_is_told_once(offices: Iterator[Office]):
    """What its message and replies told is not repeated, the rest is told by the next digest."""
    hosts = [f"mac-{number:02}" for number in range(25)]
    for step, office, slack in killed_everywhere(offices, hosts, SENDING):
        assert Counter(hosts_told(slack)) == Counter(hosts), step
        assert len(ledger(office)) == len(hosts), step
        assert DigestStatus.SENDING not in office.statuses(), step


def another(destination: Destination, history_url: str, archive_url: str) -> None:
    """Run the flow beside another process that does the same; one of them may be refused."""
    places = {"history_url": history_url, "archive_url": archive_url}
    run_deployed(daily_digest, destination=destination, slot=SLOT, **places)


@pytest.mark.parametrize("lost", [False, True], ids=["fresh", "after a lost one"])
@pytest.mark.parametrize("offices", ["sqlite", "postgresql"], indirect=True)
def test_two_processes_that_tell_the_same_at_once_post_it_once(
    offices: Iterator[Office], lost: bool
):
    """Also where both find that an earlier sender is gone."""
    office = next(offices)
    office.record(new_day())
    with SlackServer(*([is_gone] if lost else []), ok, reading=(fault(500), ok)) as slack:
        destination = office.destination(slack)
        if lost:
            assert office.digest(destination).is_failed()
        at_once(
            2,
            another,
            destination,
            office.history_url,
            str(office.archive),
            environment={"CANARY_TOKEN": CANARY},
        )
    assert hosts_told(slack) == ["mac-a"]
    assert Counter(office.statuses())[DigestStatus.SENT] == 1
    assert DigestStatus.SENDING not in office.statuses()
