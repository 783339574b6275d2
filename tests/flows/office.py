"""A history with runs in it, an archive, and a Slack to talk to: what a digest needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from sqlalchemy import text

from flows.daily_digest import daily_digest
from tasks.history import History
from tasks.history.database import connect_database
from tasks.model.findings import Status
from tasks.model.runs import Report
from tasks.settings import Destination
from tests.builders import SLOT, finding, report, run
from tests.flows.worker import run_deployed
from tests.histories import new_history
from tests.slack_server import SlackServer

CANARY = "canary-5d1f"


class Office:
    """Where digests are made, on either database."""

    def __init__(self, folder: Path, history_url: str | None = None) -> None:
        self.folder = folder
        self.history_url = history_url or f"sqlite:///{folder}/history.db"
        self.archive = folder / "archive"
        new_history(self.history_url)

    def record(self, *reports: Report) -> None:
        with History.open(self.history_url) as history:
            for each in reports:
                history.record(each)

    def destination(self, slack: SlackServer | None = None, **changes: Any) -> Destination:
        settings = {"name": "secops", "channel": "C1", "clusters": ("demo-eu",)}
        if slack:
            settings |= {"api_url": slack.url, "token_env": "CANARY_TOKEN"}
        return Destination(**settings | changes)

    def digest(self, destination: Destination, slot=SLOT, **changes: Any) -> State:
        """Run the flow, and give its final state."""
        places = {"history_url": self.history_url, "archive_url": str(self.archive)}
        return run_deployed(daily_digest, destination=destination, slot=slot, **places | changes)

    def statuses(self) -> list[str]:
        """Give the statuses of all digests, in the order in which they were begun."""
        return [status for (status,) in self.rows("SELECT status FROM digests ORDER BY number")]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the history."""
        with connect_database(self.history_url) as database, database.reading() as session:
            return [tuple(row) for row in session.execute(text(query))]

    def pages(self) -> list[Path]:
        return sorted(self.archive.glob("daily/**/*.html"))


def new_day(slot=SLOT, *hosts: str) -> Report:
    """A complete run with one new finding a host."""
    found = (finding(host, slot=slot, status=Status.NEW) for host in hosts or ("mac-a",))
    return report(run(slot), *found)


def hosts_told(slack: SlackServer) -> list[str]:
    """Whose findings stand in the channel, in the order in which they are read."""
    return re.findall(r"on (mac-[a-z0-9]+)\.example", "\n".join(m["text"] for m in slack.messages))
