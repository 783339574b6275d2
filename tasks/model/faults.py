"""Faults in words: from a run's coverage to the sentences on what is wrong with its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tasks.model.coverage import FAULTS, Coverage, Fault
from tasks.model.hunts import Nouns
from tasks.model.scrutiny import ConditionEvents, HostSample, HostStates, Scrutiny
from tasks.text.numbers import counted
from tasks.text.untrusted import shortened, visible

MAX_NAMED = 5
"""Hosts, fields or data streams named in one sentence."""

MAX_EVENT_TEXT = 80
"""Characters of a host's name or of a field's value in a sentence."""

UNMATCHED_REMEDY = (
    "The agents do send: correct `population` and the query in the hunt, or the ingest pipeline "
    "that writes these values."
)

Quote = Callable[[str], str]
"""Shows a name or value from events or from a hunt in a sentence."""


def plain(text: str) -> str:
    """Show text from events in a sentence without markup."""
    return visible(shortened(text, MAX_EVENT_TEXT))


def fault_sentences(fault: Fault, coverage: Coverage, nouns: Nouns) -> str:
    """Give who or what has a fault, what it does to the hunt, and the remedy."""
    description = FAULTS[fault]
    return f"{description.sentence(fault_subject(fault, coverage, nouns))} {description.remedy}"


def fault_subject(fault: Fault, coverage: Coverage, nouns: Nouns, quote: Quote = plain) -> str:
    """Give who or what has a fault of a run's coverage, as the subject of its sentence."""
    if fault in coverage.faulty:
        return f"agents of version {', '.join(coverage.faulty[fault])}"
    seen = coverage.scrutiny or Scrutiny()
    match fault:
        case Fault.SEVERAL:
            parts = {each.field: f"{each.events:,}" for each in seen.several}
            return _events(seen.unjudged, seen.candidates, parts, quote)
        case Fault.OUTSIDE:
            parts = {each.text: f"{each.strays:,}" for each in seen.conditions if each.strays}
            return _events(seen.strays, seen.strays + seen.candidates, parts, quote)
        case Fault.TWICE:
            streams = [each for each in seen.streams if each.repeated]
            parts = {
                each.name: f"{percent(each.repeated_share)}, rates {each.factor:.1f} times as high"
                for each in streams
            }
            total = sum(each.with_id for each in seen.streams)
            return _events(sum(each.repeated for each in streams), total, parts, quote)
        case _:
            return _hosts(fault, seen.hosts, nouns, quote) if seen.hosts else nouns.host[1]


def _hosts(fault: Fault, hosts: HostStates, nouns: Nouns, quote: Quote) -> str:
    match fault:
        case Fault.AHEAD:
            owners = counted(hosts.ahead.count, *nouns.host) + _names(hosts.ahead, quote)
            return f"{counted(hosts.ahead_events, 'event')} of {owners}"
        case Fault.CLONED:
            ids = counted(hosts.cloned.count, "host.id", "values of host.id")
            return ids + _names(hosts.cloned, quote)
        case _:
            of_all = f"{hosts.stopped.count:,} of {counted(hosts.known, *nouns.host)}"
            silence = f"silent for at least {hosts.stopped_after_hours} hours"
            return f"{of_all}, {silence}{_names(hosts.stopped, quote)},"


def _events(number: int, total: int, parts: dict[str, str], quote: Quote) -> str:
    listed = _listed((f"{quote(name)}: {figure}" for name, figure in parts.items()), len(parts))
    return f"{number:,} of {counted(total, 'event')} ({percent(number / total)}; {listed})"


def _names(sample: HostSample, quote: Quote) -> str:
    return f" ({_listed(map(quote, sample.names), sample.count)})" if sample.names else ""


def _listed(parts: Iterable[str], count: int) -> str:
    """List the first few, and count the rest."""
    shown = list(parts)[:MAX_NAMED]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return f"{', '.join(shown)}{more}"


def silence_words(coverage: Coverage, nouns: Nouns) -> str:
    """Give for example `, 3 of 60 Macs silent for over 6 hours`; nothing if all of them send."""
    hosts = coverage.scrutiny and coverage.scrutiny.hosts
    if not hosts or not hosts.silent:
        return ""
    of_all = f"{hosts.silent:,} of {counted(hosts.known, *nouns.host)}"
    return f", {of_all} silent for over {hosts.silent_after_hours:g} hours"


def percent(share: float) -> str:
    """Give a share in whole percent; what is less than one is not nothing."""
    return "less than 1%" if 0 < share < 0.01 else f"{share:.0%}"  # noqa: PLR2004 - one percent.


def unmatched_words(seen: Scrutiny, quote: Quote = plain) -> str:
    """Give how many events came, and which conditions of the population kept them out.

    For example `1,301 events came, none with host.os.family == "macos" (macOS: 1,301)`.
    """
    came = f"{counted(seen.sent, 'event')} came"
    unmet = [_condition(each, quote) for each in seen.conditions if not each.met]
    if unmet:
        return f"{came}, none with {' and none with '.join(unmet)}"
    met = ", ".join(f"{quote(each.text)}: {each.met:,}" for each in seen.conditions)
    return f"{came}, none in the hunt's population{f' ({met})' if met else ''}"


def _condition(condition: ConditionEvents, quote: Quote) -> str:
    others = [f"{quote(value)}: {events:,}" for value, events in condition.others]
    values = f" ({_listed(others, len(others))})" if others else ""
    return f"{quote(condition.text)}{values}"
