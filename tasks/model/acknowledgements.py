"""Acknowledgements: findings marked harmless by an analyst, with author, reason and end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.errors import AcknowledgementError

LONGEST = timedelta(days=365)
"""Longest acknowledgement: after that, an analyst should look again."""

NAMED_IDS = 5
"""Most ids that an error lists for an ambiguous beginning of an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """An acknowledgement of one finding, or of its program and destination on every host.

    It is for the binary that was looked at, and does not cover another one. It covers findings in
    runs for slots before its end; from its end on, it covers nothing.

    Attributes:
        key: its number in the history.
        finding: id of the finding that was looked at.
        fingerprint: that finding's fingerprint.
        anywhere: that finding's `Finding.anywhere`; None if only that finding is covered.
        hash_sha256: the binary's hash; None if no run has a hash.
        by: its author.
        until: its planned end. Aware UTC, as all times here.
        ended_at: time of an earlier end by hand; None without one.
        ended_by: author of that earlier end.
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
        """Whether it covers every host, including hosts seen later."""
        return self.anywhere is not None

    @property
    def covers(self) -> str:
        """The identity that it covers: of one finding, or of all findings with its `anywhere`."""
        return self.anywhere or self.fingerprint

    @property
    def end(self) -> datetime:
        """The first moment at which it is no longer active."""
        return min(self.until, self.ended_at or self.until)

    def is_of(self, hash_sha256: str | None, *, changed: bool) -> bool:
        """Whether a binary is the one that was looked at.

        Args:
            hash_sha256: the binary's hash; None is unknown and matches every binary.
            changed: whether the binary is known to have changed: then the hash must be equal.
        """
        if changed:
            return self.hash_sha256 == hash_sha256
        return None in {self.hash_sha256, hash_sha256} or self.hash_sha256 == hash_sha256


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A finding's acknowledgements that were ended by hand.

    Attributes:
        words: the acknowledgements, at least one.
        covered_by: ids of other findings whose acknowledgement for every host covers this one too.
    """

    words: tuple[Acknowledgement, ...]
    covered_by: tuple[str, ...] = ()


ByIdentity = Mapping[str, Sequence[Acknowledgement]]
"""Acknowledgements by the identity that they cover."""


def by_identity(acknowledgements: Iterable[Acknowledgement]) -> ByIdentity:
    """Group acknowledgements by the identity that they cover."""
    grouped: dict[str, list[Acknowledgement]] = defaultdict(list)
    for acknowledgement in acknowledgements:
        grouped[acknowledgement.covers].append(acknowledgement)
    return dict(grouped)


def validate_acknowledgement(*, by: str, why: str, until: datetime, now: datetime) -> None:
    """Refuse an acknowledgement without a valid author, reason or end.

    Raises:
        AcknowledgementError: author or reason is empty, or the end is in the past or too far away.
    """
    validate_author(by)
    if not why.strip():
        raise AcknowledgementError(
            "An acknowledgement needs a reason.",
            "State with `why` what the program is, and why it is harmless.",
        )
    if until <= now:
        raise AcknowledgementError(
            f"The acknowledgement's end, {until:%Y-%m-%d %H:%M} UTC, is in the past.",
            "Choose a later `until`. To end an acknowledgement, use `beaconhunt unack`.",
        )
    if until > now + LONGEST:
        raise AcknowledgementError(
            f"The acknowledgement's end, {until:%Y-%m-%d}, is more than {LONGEST.days} days away.",
            f"Choose `until` on {now + LONGEST:%Y-%m-%d} or earlier, and look again then.",
        )


def validate_author(by: str) -> None:
    """Refuse an acknowledgement without an author.

    Raises:
        AcknowledgementError: the author is empty.
    """
    if not by.strip():
        raise AcknowledgementError(
            "An acknowledgement needs an author.", "Name yourself with `by`."
        )


def id_prefix(named: str) -> str:
    """Normalise the beginning of an id: `bh-24a3`, `24A3` and `BH-24A3` are the same."""
    return f"BH-{named.strip().upper().removeprefix('BH-')}"


def resolve_id(named: str, ids: Sequence[str]) -> str:
    """Resolve the beginning of an id to one id.

    Args:
        named: an id or its beginning, as typed.
        ids: all ids with this beginning.

    Raises:
        AcknowledgementError: no id has this beginning, or several have.
    """
    if id_prefix(named) in ids:
        return id_prefix(named)
    if id_prefix(named) == id_prefix(""):
        raise AcknowledgementError(
            "An empty id names no finding.", "Take the id from the digest or the report."
        )
    if not ids:
        raise AcknowledgementError(
            f"The history has no finding {named!r}.",
            "Take the id from the digest or the report, or from `beaconhunt findings`.",
        )
    if len(ids) > 1:
        more = " or another" if len(ids) > NAMED_IDS else ""
        raise AcknowledgementError(
            f"{named!r} is ambiguous: it may be {', '.join(sorted(ids)[:NAMED_IDS])}{more}.",
            "Give the whole id.",
        )
    return ids[0]


def nothing_in_common(finding: str) -> AcknowledgementError:
    """Make the error for a finding that cannot be acknowledged everywhere."""
    return AcknowledgementError(
        f"{finding} is identified by its host alone, so no other host can have it.",
        "Acknowledge it without `everywhere`.",
    )


def not_acknowledged(finding: str, covering: Iterable[str]) -> AcknowledgementError:
    """Make the error for a finding without an acknowledgement to end.

    Args:
        finding: its id.
        covering: ids of other findings whose acknowledgement for every host covers it.
    """
    if others := sorted(set(covering)):
        return AcknowledgementError(
            f"{finding} is covered by the acknowledgement of {' and '.join(others)} on every host.",
            f"End that acknowledgement, for every host, with `beaconhunt unack {others[0]}`.",
        )
    return AcknowledgementError(
        f"{finding} is not acknowledged.", "List the acknowledgements with `beaconhunt acks`."
    )
