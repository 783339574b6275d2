"""Acknowledgements: an analyst's word that a finding is harmless, with who, why and until when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.errors import AcknowledgementError

LONGEST = timedelta(days=365)
"""Nobody's word holds for longer without a second look."""

NAMED_IDS = 5
"""So many ids an error names of those that a person may mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """A word on one finding, or on its program and destination on every host.

    It is of what was looked at: it does not cover another binary. What runs say of slots before
    its end is acknowledged; what they say of its end and later is not.

    Attributes:
        key: its number in the history.
        finding: id of the finding that was looked at.
        fingerprint: of that finding.
        anywhere: of that finding, see `Finding.anywhere`; None where only that finding is meant.
        hash_sha256: of the binary that was looked at; None where no run has known it.
        by: who gave it.
        until: when it ends. Aware UTC, as every time here.
        ended_at: when somebody ended it before that.
        ended_by: who did.
    """

    key: int
    finding: str
    fingerprint: str
    anywhere: str | None
    hash_sha256: str | None
    by: str
    why: str
    given_at: datetime
    until: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None

    @property
    def everywhere(self) -> bool:
        """Whether it covers every host, also those that are seen later."""
        return self.anywhere is not None

    @property
    def covers(self) -> str:
        """The identity that it covers: of one finding, or of all with its `anywhere`."""
        return self.anywhere or self.fingerprint

    @property
    def end(self) -> datetime:
        """The first moment at which it does not hold any more."""
        return min(self.until, self.ended_at or self.until)

    def is_of(self, hash_sha256: str | None, *, changed: bool) -> bool:
        """Whether a binary is the one that was looked at.

        Args:
            hash_sha256: of the binary; None, where it is not known, may be the same.
            changed: whether it is known to differ from the one before: then it must be the same.
        """
        if changed:
            return self.hash_sha256 == hash_sha256
        return None in {self.hash_sha256, hash_sha256} or self.hash_sha256 == hash_sha256


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The words on one finding, ended by somebody.

    Attributes:
        words: at least one.
        covered_by: ids of findings on which a word for every host holds, and covers this one too.
    """

    words: tuple[Acknowledgement, ...]
    covered_by: tuple[str, ...] = ()


ByIdentity = Mapping[str, Sequence[Acknowledgement]]
"""Acknowledgements by what they cover."""


def by_identity(acknowledgements: Iterable[Acknowledgement]) -> ByIdentity:
    """Sort acknowledgements by what they cover."""
    sorted_ones: dict[str, list[Acknowledgement]] = defaultdict(list)
    for each in acknowledgements:
        sorted_ones[each.covers].append(each)
    return dict(sorted_ones)


def validate_acknowledgement(*, by: str, why: str, until: datetime, now: datetime) -> None:
    """Refuse a word without who, why or an end.

    Raises:
        AcknowledgementError: who or why is empty, or the end is in the past or too far away.
    """
    validate_author(by)
    if not why.strip():
        raise AcknowledgementError(
            "An acknowledgement without a reason tells nobody why it is harmless.",
            "Say in `why` what the program is, and how you know.",
        )
    if until <= now:
        raise AcknowledgementError(
            f"The acknowledgement's end, {until:%Y-%m-%d %H:%M} UTC, is in the past.",
            "Choose a later `until`. To end an acknowledgement, use `beaconhunt unack`.",
        )
    if until > now + LONGEST:
        raise AcknowledgementError(
            f"The acknowledgement's end, {until:%Y-%m-%d}, is more than {LONGEST.days} days away.",
            f"Choose an `until` of {now + LONGEST:%Y-%m-%d} or earlier, and look again then.",
        )


def validate_author(by: str) -> None:
    """Refuse a word of nobody.

    Raises:
        AcknowledgementError: it is empty.
    """
    if not by.strip():
        raise AcknowledgementError("Nobody stands for this word.", "Say who does, with `by`.")


def id_prefix(named: str) -> str:
    """Give how the id begins that a person typed: `bh-24a3`, `24A3` and `BH-24A3` are the same."""
    return f"BH-{named.strip().upper().removeprefix('BH-')}"


def resolve_id(named: str, ids: Sequence[str]) -> str:
    """Choose the finding that a person means.

    Args:
        named: what was typed.
        ids: all that begin so.

    Raises:
        AcknowledgementError: there is none, or several.
    """
    if id_prefix(named) in ids:
        return id_prefix(named)
    if id_prefix(named) == id_prefix(""):
        raise AcknowledgementError(
            "An empty id names no finding.", "Take the id from the digest or the report."
        )
    if not ids:
        raise AcknowledgementError(
            f"The history knows no finding {named!r}.",
            "Take the id from the digest or the report, or from `beaconhunt findings`.",
        )
    if len(ids) > 1:
        more = " or another" if len(ids) > NAMED_IDS else ""
        raise AcknowledgementError(
            f"{named!r} may be {', '.join(sorted(ids)[:NAMED_IDS])}{more}.",
            "Write the whole id.",
        )
    return ids[0]


def nothing_in_common(finding: str) -> AcknowledgementError:
    """Say why a finding cannot be acknowledged everywhere."""
    return AcknowledgementError(
        f"{finding} is identified by its host alone: no other host has the same.",
        "Acknowledge it without `everywhere`.",
    )


def not_acknowledged(finding: str, covering: Iterable[str]) -> AcknowledgementError:
    """Say why there is nothing to end for a finding.

    Args:
        finding: its id.
        covering: ids of those whose acknowledgement covers it too, as it covers every host.
    """
    if others := sorted(set(covering)):
        return AcknowledgementError(
            f"{finding} is covered by the word on {' and '.join(others)}, which is for every host.",
            f"End that one, for every host: `beaconhunt unack {others[0]}`.",
        )
    return AcknowledgementError(
        f"{finding} is not acknowledged.", "`beaconhunt acks` lists those that are."
    )
