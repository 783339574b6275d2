"""Whatever an attacker writes into events: every finding is kept, shown and posted."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest

from flows.daily_digest import daily_digest
from tasks.archive import verify_archive
from tasks.fleet.documents import PROCESS
from tasks.history import History
from tasks.report import pages_of
from tasks.settings import Destination
from tests.effort import examples
from tests.events import SLOT, network_event, process_event, write_events
from tests.flows.site import DAY, Site, fresh
from tests.flows.worker import run_deployed
from tests.poison import HOSTILE
from tests.slack_server import SlackServer

PIECES = (
    *(HOSTILE, "\x00", "\x1b]0;x\x07", "\u2028", "\u202e", "\ufeff", "\U000e0041", "\ufdd0"),
    *("a{0}", "{}", "%s", "$1", "?", "'", '"', "`", "\\", "/", "//", "../..", "|", ";", "--", "&"),
    *("<b>", "</script>", "<!channel>", "<@U1>", "[x](y)", "=cmd()", "\uff1d1+1", "@SUM(1)", "-1"),
    *("token=abc", "--password x", "null", "NaN", "1e400", "e\u0301" * 40, "\u200b" * 9, "x" * 999),
)


def hostile(texts: random.Random) -> str:
    """Some pieces that broke something once, with characters from anywhere between them."""
    parts: Sequence[str] = texts.choices(PIECES, k=texts.randint(1, 4))
    planes = [chr(texts.choice((texts.randrange(1, 0xD800), texts.randrange(0xE000, 0x110000))))]
    return "".join((*parts, *planes))


@pytest.fixture
def site(tmp_path, monkeypatch) -> Site:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-hostile-events")
    return Site(tmp_path)


def test_no_finding_is_lost_whatever_its_events_hold(site):
    """From the events through history, archive and Slack; nothing raises on the way."""
    texts, number = random.Random(20261124), examples(100)
    calls, processes = [], []
    for place in range(number):
        names = {"entity_id": f"e{place}", "executable": f"/{place}/{hostile(texts)}"}
        said = {"host.name": hostile(texts), "destination.domain": [hostile(texts)]}
        calls += [
            network_event(f"mac-{place}", at=at, user=hostile(texts), **names, **said)
            for at in (SLOT - timedelta(hours=3), SLOT - timedelta(hours=1, minutes=30))
        ]
        arguments = (hostile(texts), hostile(texts))
        line = {"process.command_line": " ".join(arguments)}
        processes.append(process_event(f"mac-{place}", args=arguments, **names, **line))
    cluster = site.cluster(fresh(SLOT - DAY), *calls, fresh(), processes=False)
    write_events(site.folder / "corp", processes, PROCESS)
    lowered = {"min_duration_hours": 1, "min_events_per_hour": 1}
    storage = {"history_url": site.history_url, "archive_url": str(site.archive)}

    with SlackServer() as slack:
        secops = Destination(name="secops", channel="C1", clusters=("corp",), api_url=slack.url)
        first = run_deployed(daily_digest, destination=secops, slot=SLOT - DAY, **storage)
        states = [first, site.hunt(cluster, SLOT - DAY), site.hunt(cluster, thresholds=lowered)]
        later = SLOT + timedelta(hours=1)
        states.append(run_deployed(daily_digest, destination=secops, slot=later, **storage))
        posted = json.dumps(slack.messages)

    assert [state.name for state in states] == ["Completed", "Baseline", "Completed", "Completed"]
    with History.open(site.history_url) as history:
        recorded = {each.id for each in history.findings(limit=number + 1)}
    assert len(recorded) == number
    (report,) = [each for each in site.reports() if each.run.slot == SLOT]
    assert {each.id for each in report.findings} == recorded
    page = (site.archive / report.run.folder / "report.html").read_text()
    table = (site.archive / report.run.folder / "findings.csv").read_text()
    assert [id for id in recorded if id not in page or id not in table] == []
    assert set(verify_archive(str(site.archive), pages_of)) == {()}
    assert f"{number:,} new" in posted
