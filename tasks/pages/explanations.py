"""Explanations: what a figure of a page means, in a sentence or two that open beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.model.hunts import Nouns
from tasks.text.numbers import capitalised


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one word of a page means."""

    term: str
    text: str


_EXPLANATIONS = (
    ("new", "New", "No earlier run of this hunt on this cluster saw it."),
    (
        "changed",
        "Changed binary",
        "A known program whose SHA-256 differs from the one that earlier runs saw.",
    ),
    (
        "back",
        "Back after long",
        "A known program that no run has seen for as long as the deployment sets "
        "(announce_returned_after_days): announced again, because someone else may use it now.",
    ),
    ("recorded", "Recorded", "Seen by the first run, which has nothing to compare with."),
    (
        "known",
        "Known",
        "Seen by an earlier run too. Continuing: also by the run before; returned: not by "
        "that one.",
    ),
    (
        "acknowledged",
        "Acknowledged",
        "An analyst calls it harmless until the day that is said. It is not announced, "
        "unless its binary is another than the one that was looked at.",
    ),
    (
        "quiet",
        "Went quiet",
        "In the run before, not in this one. Only a run that searched everything may say so.",
    ),
    (
        "affected",
        "{Hosts} affected",
        "{Hosts} that a finding is on, of all that sent an event within the window.",
    ),
    ("events", "Events", "Those within the window that the hunt could have seen."),
    (
        "priority",
        "Priority",
        "Each reason in the sentence counts one up or down: four make high, two medium.",
    ),
    (
        "hours",
        "Hours",
        "Each bar is an hour of the window, as high as its connections. Grey is an hour in "
        "which the {host} sent nothing at all: asleep, or off.",
    ),
    (
        "gaps",
        "Gaps",
        "How many gaps between two connections of a process have which length, up to twice the "
        "median. A clock is one bar, a beacon with jitter a block, chance a slope.",
    ),
    (
        "signature",
        "Signature",
        "What the events say of the code signature. Ad hoc names a program and no signer; "
        "untrusted is not trusted by its system; unknown: no event says.",
    ),
    (
        "seen",
        "First seen",
        "The slot of the first run that saw it; it may have connected before.",
    ),
    (
        "rate",
        "Rate",
        "Events an hour are what the hunt counts and its threshold is for. Connections are "
        "counted once each: an attempt and its disconnect are two events. Theirs is the "
        "median of the hours with any.",
    ),
    (
        "period",
        "Calls every",
        "The median gap between two connections of a process, and its jitter: the share by which "
        "gaps vary.",
    ),
    (
        "regularity",
        "Regularity",
        "1 is a clock, 0.31 is chance: 1 - MAD / median of the gaps between connections.",
    ),
    (
        "last",
        "Last connection",
        "The newest within the window, in UTC: it says whether the program goes on.",
    ),
    ("active", "Hours active", "Hours of the window with any connection."),
    ("days", "Days known", "Since the first run that saw it."),
    (
        "trend",
        "Runs",
        "Each bar is a run with what it found. The axis ends at three times the median; a "
        "bar that is cut says its number.",
    ),
    (
        "fleet",
        "{hosts} seen",
        "Each bar is a run with how many it could see; a dashed one knows nothing of them.",
    ),
    ("compared", "Compared with", "The newest earlier run that searched everything."),
    ("groups", "Groups", "Distinct process, destination address and port."),
    (
        "single",
        "Single events",
        "Groups of exactly one event. Where nearly all are, the agent drops repeated "
        "events, and a hunt that counts sees nothing.",
    ),
    ("merged", "Merged", "Documents that hold a connection's attempt and end in one."),
    ("unsigned", "No signature block", "Events that say nothing of a code signature."),
)
"""Key, term and text; `{host}` and `{hosts}` are what the hunt calls them."""


def explanations(nouns: Nouns) -> Mapping[str, Explanation]:
    """Give every explanation by its key, which is part of its element's id."""
    host, hosts = nouns.host
    names = {"host": host, "hosts": hosts, "Hosts": capitalised(hosts)}
    return {
        key: Explanation(term.format(**names), text.format(**names))
        for key, term, text in _EXPLANATIONS
    }
