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


def ask_newest_event(client: Client, hunt: Hunt, before: datetime) -> datetime | None:
    """Ask for the newest event that a hunt could have seen, whatever its age.

    Args:
        client: client of a folder: a server would read all that it keeps.
        hunt: for its sources and population.
        before: aware UTC; later events come from computers whose clock is ahead.

    Returns:
        The time of the newest event in the hunt's population, else in its sources; None if they
        have no event before that moment.

    Raises:
        ClusterError: the folder cannot be asked.
    """
    subject = subject_of(hunt)
    earlier = {"range": {"@timestamp": {"lt": before.isoformat()}}}
    for population in (hunt.pipeline.population, "true"):
        query = NEWEST.substitute(subject | {"population": population})
        (row,) = ask(client, Question("newest", query, earlier, {})).records()
        if row["newest_event"] is not None:
            newest: datetime = row["newest_event"].to_pydatetime()
            return newest
    return None
