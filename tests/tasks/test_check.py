"""A preflight of all that deployments need: storage, Slack, and the clusters beside them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.check import PreflightScope, preflight, try_archive, try_destination, try_history
from tasks.fleet.documents import NETWORK, PROCESS
from tasks.preflight.checks import Check, Verdict
from tasks.preflight.cluster import HuntSettings
from tasks.settings import Cluster, Destination
from tests.events import SLOT, network_event, process_event, write_events
from tests.histories import new_history
from tests.slack_server import Behaviour, SlackServer, channel, fault, known, no

CANARY = "canary-slack-token-c09a"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOPS_TOKEN", CANARY)


def destination(slack: SlackServer, *clusters: str, **changes: str) -> Destination:
    settings = {"name": "secops", "channel": "C1", "token_env": "SECOPS_TOKEN"}
    return Destination(
        **settings | changes, api_url=slack.url, clusters=clusters or ("prod-us", "prod-eu")
    )


def looked_up(
    hunted: tuple[str, ...] = ("prod-us", "prod-eu"), **methods: Behaviour
) -> list[Check]:
    with SlackServer(**methods) as slack:
        checks = try_destination("secops", destination(slack), hunted)
        assert slack.messages == []
    return list(checks)


def verdicts(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.verdict.value) for check in checks]


def test_a_destination_that_can_be_told_is_ok():
    """Workspace, app and channel stand there by name; nothing is posted."""
    checks = looked_up()
    assert verdicts(checks) == [("token", "ok"), ("Slack", "ok"), ("clusters", "ok")]
    assert "beaconhunt in the workspace Example, which can post to #secops" in checks[1].said


def test_a_token_that_is_not_set_is_named_and_slack_is_not_asked():
    """As a scheduled digest would say it."""
    with SlackServer() as slack:
        checks = try_destination("secops", destination(slack, token_env="NO_TOKEN"), ["prod-us"])
        assert slack.tokens == set()
    assert verdicts(list(checks))[:2] == [("token", "failed"), ("Slack", "skipped")]
    assert "NO_TOKEN" in checks[0].said


@pytest.mark.parametrize(
    ("methods", "remedy"),
    [
        ({"auth_test": no("invalid_auth")}, "token_env"),
        ({"conversations_info": no("channel_not_found")}, "`channel`"),
        ({"conversations_info": channel(is_member=False)}, "/invite"),
        ({"auth_test": fault(500)}, "way to Slack"),
    ],
)
def test_a_channel_that_cannot_be_posted_to_fails_with_its_remedy(methods, remedy):
    """A day before the digest would."""
    check = looked_up(**methods)[1]
    assert (check.name, check.verdict) == ("Slack", Verdict.FAILED)
    assert remedy in check.remedy
    assert CANARY not in str(check)


def test_without_the_scope_to_look_the_channel_is_a_warning():
    """The app works with `chat:write` alone; nobody knows before the first digest."""
    check = looked_up(
        auth_test=lambda call: known(call, "chat:write"), conversations_info=no("missing_scope")
    )[1]
    assert check.verdict is Verdict.WARNING
    assert "channels:read" in check.remedy


def test_without_the_scope_to_find_a_lost_message_there_is_a_warning():
    """An operator decides whether a digest may appear twice."""
    checks = looked_up(auth_test=lambda call: known(call, "chat:write,channels:read"))
    assert verdicts(checks)[1:3] == [("Slack", "ok"), ("Slack", "warning")]
    assert "channels:history" in checks[2].remedy


def test_a_cluster_that_nobody_hunts_is_a_warning():
    """Every digest would call it late."""
    check = looked_up(hunted=("prod-us",))[2]
    assert check.verdict is Verdict.WARNING
    assert "prod-eu" in check.said


def test_a_history_is_opened_as_a_run_opens_it(tmp_path: Path):
    """A missing one fails with the command that makes it, and is not made."""
    url = f"sqlite:///{tmp_path}/history.db"
    (missing,) = try_history(url)
    assert missing.verdict is Verdict.FAILED
    assert "beaconhunt history upgrade" in missing.remedy
    assert list(tmp_path.iterdir()) == []
    new_history(url)
    (there,) = try_history(url)
    assert (there.subject, there.verdict) == ("storage", Verdict.OK)


def test_an_archive_is_written_to_and_left_as_it_was(tmp_path: Path):
    """A file in the way fails; a folder that can be made is ok and is not made."""
    (fine,) = try_archive(str(tmp_path / "archive"))
    assert fine.verdict is Verdict.OK
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "archive").write_text("a file")
    (broken,) = try_archive(str(tmp_path / "archive"))
    assert broken.verdict is Verdict.FAILED
    assert "`archive_url`" in broken.remedy


def test_everything_is_checked_in_the_order_of_the_deployments(tmp_path: Path):
    """Clusters, storage, destinations: one that is broken hides none of the others."""
    for stream, event in ((NETWORK, network_event), (PROCESS, process_event)):
        write_events(tmp_path / "events", [event(at=SLOT - timedelta(hours=1))], stream)
    hunts = [
        HuntSettings(name, Cluster(name=name, url=url), "macos-unsigned-network", {}, 6)
        for name, url in (
            ("gone", (tmp_path / "no-such-folder").as_uri()),
            ("corp", (tmp_path / "events").as_uri()),
        )
    ]
    with SlackServer() as slack:
        site = PreflightScope(
            hunts=hunts,
            destinations={"secops": destination(slack, "corp")},
            hunted=frozenset({"gone", "corp"}),
            history_urls=[f"sqlite:///{tmp_path}/history.db"],
            archive_urls=[str(tmp_path / "archive")],
        )
        checks = preflight(site, SLOT)
    subjects = list(dict.fromkeys(check.subject for check in checks))
    assert subjects == ["gone", "corp", "storage", "secops"]
    failed = {(c.subject, c.name) for c in checks if c.verdict is Verdict.FAILED}
    assert failed == {("gone", "settings"), ("storage", "history")}
    assert {c.verdict for c in checks if c.subject == "corp"} == {Verdict.OK}
