"""Formats: from a number or a time of ours to how the tables of every page write it.

Templates use them as filters. No finding goes through them: what comes from events may break its
layout, and that is caught where it is laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tasks.model.runs import Outcome
from tasks.model.wording import OUTCOME_WORDS
from tasks.text import times

NOTHING = "–"
"""Stands where there is nothing to say; zero is something."""


def number(count: int | None) -> str:
    """Write a count."""
    return NOTHING if count is None else f"{count:,}"


def counted_by(count: int, outcome: Outcome) -> str:
    """Write what a run counted: a run that did not search has not counted zero."""
    return number(count if outcome.searched else None)


def share(part: int, whole: int) -> str:
    """Write the share of a part, in percent."""
    return f"{100 * part / whole:.1f} %" if whole else NOTHING


def kilobytes(size: int) -> str:
    """Write a size in bytes."""
    return f"{size / 1000:,.0f} kB" if size else NOTHING


def took_text(took: int) -> str:
    """Write how long something took."""
    return times.period(took / 1000)


FILTERS: Mapping[str, Callable[..., str]] = {
    "number": number,
    "counted_by": counted_by,
    "share": share,
    "kilobytes": kilobytes,
    "milliseconds": took_text,
    "short": times.short,
    "full": times.full,
    "words": OUTCOME_WORDS.__getitem__,
}
