"""The newest event: from a hunt and a moment to the newest event before it."""

from __future__ import annotations

from datetime import datetime
from string import Template

from tasks.clusters import Client, Question, ask
from tasks.model.hunts import Hunt
from tasks.questions.coverage import subject_of

NEWEST = Template("""\
FROM $sources
| WHERE $population
| STATS newest_event = MAX(@timestamp)
""")


EVERY_EVENT = "true"
"""The population of all events in a hunt's sources."""


def ask_newest_event(
    client: Client, hunt: Hunt, before: datetime, population: str
) -> datetime | None:
    """Ask for the newest event in a hunt's sources, whatever its age.

    Args:
        client: client of a folder: a server would read all that it keeps.
        hunt: for its sources.
        before: aware UTC; later events come from computers whose clock is ahead.
        population: ES|QL condition for the events that count.

    Returns:
        The time of the newest event; None if there is none before that moment.

    Raises:
        ClusterError: the folder cannot be asked.
    """
    query = NEWEST.substitute(subject_of(hunt) | {"population": population})
    earlier = {"range": {"@timestamp": {"lt": before.isoformat()}}}
    (row,) = ask(client, Question("newest", query, earlier, {})).records()
    newest: datetime | None = row["newest_event"]
    return newest
