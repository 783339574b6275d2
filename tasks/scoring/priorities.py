"""How soon an analyst should look: from a finding to reasons, and from reasons to a priority."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from tasks.model.findings import Effect, Evidence, Finding, Priority, Reason
from tasks.model.runs import Window
from tasks.text.untrusted import is_hidden

STEADY = 0.8
"""From this regularity on a program keeps time; random traffic has 0.306."""

DAY_AND_NIGHT_HOURS = 20
"""A program active in this many different hours of the day does not wait for its user."""

COMMON_PORTS = frozenset({80, 443})

RAISED_FOR_HIGH = 4
"""High: at least so many more reasons raise the priority than lower it."""

RAISED_FOR_MEDIUM = 2

_SUSPECT_PLACES = (
    (re.compile(r"^/(private/)?(tmp|var/tmp)/"), "runs from a temporary folder"),
    (re.compile(r"^/Users/Shared/"), "runs from /Users/Shared"),
    (re.compile(r"/\.[^/]+/"), "runs from a hidden folder"),
    (re.compile(r"/Downloads/"), "runs from a Downloads folder"),
)

_USUAL_PLACES = (
    (re.compile(r"^/Applications/"), "installed in /Applications"),
    (re.compile(r"^/(opt/homebrew|usr/local/(Cellar|opt))/"), "installed by Homebrew"),
    (re.compile(r"/Xcode[^/]*\.app/"), "part of Xcode"),
)


def reasons_for(finding: Finding, window: Window) -> tuple[Reason, ...]:
    """List what raises and what lowers the priority of a finding, in a stated order."""
    raising = [*_signature(finding), *_place(finding, _SUSPECT_PLACES), *_name(finding)]
    raising += [*_destination(finding), *_rhythm(finding.evidence, window)]
    lowering = [*_place(finding, _USUAL_PLACES), *_once_trusted(finding)]
    return tuple(Reason(Effect.RAISES, text) for text in raising) + tuple(
        Reason(Effect.LOWERS, text) for text in lowering
    )


def priority_of(reasons: Iterable[Reason]) -> Priority:
    """Weigh reasons: each counts one, and none hides behind a score."""
    balance = sum(1 if reason.effect is Effect.RAISES else -1 for reason in reasons)
    if balance >= RAISED_FOR_HIGH:
        return Priority.HIGH
    return Priority.MEDIUM if balance >= RAISED_FOR_MEDIUM else Priority.LOW


def why(reasons: Iterable[Reason]) -> str:
    """Say the reasons in one plain sentence: what raises, then what lowers."""
    listed = tuple(reasons)
    raising, lowering = (
        ", ".join(reason.text for reason in listed if reason.effect is effect) for effect in Effect
    )
    sentence = "; but ".join(filter(None, (raising or "nothing about it stands out", lowering)))
    return f"{sentence[0].upper()}{sentence[1:]}."


def _signature(finding: Finding) -> Iterator[str]:
    if finding.process.code_signature.is_missing:
        yield "no code signature"


def _once_trusted(finding: Finding) -> Iterator[str]:
    signature = finding.process.code_signature
    if "expired" in (signature.status or "").lower():
        yield "its signature was trusted once and has expired"


def _place(finding: Finding, places: Iterable[tuple[re.Pattern[str], str]]) -> Iterator[str]:
    executable = finding.process.executable or ""
    yield from (text for pattern, text in places if pattern.search(executable))


def _name(finding: Finding) -> Iterator[str]:
    shown = f"{finding.process.name or ''}{finding.process.executable or ''}"
    if any(is_hidden(character) for character in shown):
        yield "its name holds hidden characters"


def _destination(finding: Finding) -> Iterator[str]:
    destination = finding.destination
    if destination.domain is None and _is_ip(destination.address):
        yield "calls a bare address without a name"
    odd = sorted(set(destination.ports) - COMMON_PORTS)
    if odd:
        yield f"uses port {', '.join(str(port) for port in odd)}"


def _is_ip(address: str | None) -> bool:
    try:
        ip_address(address or "")
    except ValueError:
        return False
    return True


def _rhythm(evidence: Evidence | None, window: Window) -> Iterator[str]:
    if evidence is None:
        return
    if evidence.regularity is not None and evidence.regularity >= STEADY:
        yield "keeps time like a clock"
    active = (hour for hour, count in enumerate(evidence.hourly) if count)
    of_day = {(window.start.hour + hour) % 24 for hour in active}
    if len(of_day) >= DAY_AND_NIGHT_HOURS:
        yield "calls day and night"
