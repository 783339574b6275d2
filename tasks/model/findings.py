"""What a hunt's candidates become: findings with a stable identity, in values without behaviour."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tasks.model.acknowledgements import Acknowledgement, ByIdentity

IDENTITY_VERSION = 1
"""Part of every fingerprint: a change of the rules below gives new identities, knowingly."""

_OF_ONE_HOST = ("host.", "agent.", "process.entity_id")
"""Columns of an identity that no other host shares."""

_ANY_CLUSTER = "*"
"""Not the name of a cluster: those are of letters, digits and hyphens."""

Scalar = str | int | float | bool | None
Value = Scalar | tuple[Scalar, ...]
"""What a cell of an ES|QL answer holds; several values are a sorted tuple."""

UNSHOWN = "cannot be shown"
"""How the fault of a finding begins that breaks its layout or its document."""


class Status(StrEnum):
    """What a finding is in one run, compared with the newest earlier complete run."""

    BASELINE = "baseline"
    NEW = "new"
    CONTINUING = "continuing"
    RETURNED = "returned"
    QUIET = "quiet"


class Disposition(StrEnum):
    """What comes of a finding in a run: for every one of them there is one.

    Attributes:
        ANNOUNCED: new, with another binary, or back after long: destinations are told, each once.
        BASELINE: of a first run: destinations are told how many.
        RETURNED: it is back, and was not away for long enough to be announced again.
        ACKNOWLEDGED: an analyst's word keeps it from being announced.
    """

    ANNOUNCED = "announced"
    BASELINE = "baseline"
    CONTINUING = "continuing"
    RETURNED = "returned"
    ACKNOWLEDGED = "acknowledged"
    QUIET = "quiet"


class Priority(StrEnum):
    """How soon an analyst should look, by the stated rules of `tasks.score`."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


RANKS: Mapping[Priority | None, int] = {
    priority: rank for rank, priority in enumerate((*Priority, None))
}
"""Where findings stand wherever they are listed: highest priority first, unscored ones last."""


@dataclass(frozen=True, slots=True)
class Host:
    """The Mac, as ECS `host.*` names it."""

    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkDestination:
    """Where the process connects to, as ECS `destination.*` names it."""

    address: str | None = None
    ip: str | None = None
    ports: tuple[int, ...] = ()
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class CodeSignature:
    """ECS `process.code_signature.*`; None is what no event said."""

    exists: bool | None = None
    trusted: bool | None = None
    status: str | None = None
    subject_name: str | None = None
    signing_id: str | None = None
    team_id: str | None = None

    @property
    def word(self) -> str:
        """What people read: no signature, ad hoc, expired, revoked, untrusted, trusted or unknown.

        Ad hoc is a signature that names a program and no signer. Where only `exists` and `trusted`
        are known, it cannot be told from another untrusted one, and is called untrusted.
        """
        status = (self.status or "").lower()
        if self.exists is False or "unsigned" in status:
            return "no signature"
        if self.trusted:
            return "trusted"
        if flaw := next((word for word in ("expired", "revoked") if word in status), None):
            return flaw
        if self.trusted is None:
            return "unknown"
        anonymous = self.signing_id and not (self.subject_name or self.team_id)
        return "ad hoc" if anonymous else "untrusted"


@dataclass(frozen=True, slots=True)
class Parent:
    """ECS `process.parent.*`."""

    name: str | None = None
    executable: str | None = None
    command_line: str | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """ECS `process.*`; hashes, arguments and ancestry come from process events.

    Attributes:
        entity_ids: one per start of the process, sorted: attributes, never identity.
        args: distinct and sorted, as ES|QL reads keyword fields; the command line has the order.
        ancestry: entity ids of parent, grandparent and so on; distinct and sorted likewise.
    """

    name: str | None = None
    executable: str | None = None
    entity_ids: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    command_line: str | None = None
    hash_sha256: str | None = None
    code_signature: CodeSignature = CodeSignature()
    parent: Parent = Parent()
    ancestry: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a finding connected within the window.

    Attributes:
        connections: connections in the window, each counted once whatever the encoding.
        hourly: connections in each hour of the window, oldest first; None where its Mac sent no
            event at all in that hour (asleep or off), which is not the same as no connection.
        first_connection: of the connections in the window, aware UTC.
        last_connection: likewise.
        regularity: 0 to 1, `max(0, 1 - MAD/median)` of the gaps; None below three gaps.
        period_seconds: the median gap.
        jitter_percent: the share of the period by which gaps vary, 0 to 100.
        hours_active: hours of the window with any connection.
        hours_at_threshold: hours with at least the hunt's connections per hour; None without one.
        median_per_hour: median connections of the active hours.
        gaps: how many gaps there are of each length, in twentieths of the period: of 0, of 1 and so
            on up to twice the period, and last all longer ones. Empty where there is no period.
    """

    connections: int
    hourly: tuple[int | None, ...]
    first_connection: datetime
    last_connection: datetime
    regularity: float | None
    period_seconds: float | None
    jitter_percent: float | None
    hours_active: int
    hours_at_threshold: int | None
    median_per_hour: float
    gaps: tuple[int, ...] = ()


class Effect(StrEnum):
    """Which way a reason moves the priority."""

    RAISES = "raises"
    LOWERS = "lowers"


@dataclass(frozen=True, slots=True)
class Reason:
    """One stated reason for a priority, in words that stand alone."""

    effect: Effect
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One identity on one cluster, as one run saw it.

    Attributes:
        fingerprint: SHA-256 in hex, see `fingerprint`.
        id: what people see, for example `BH-4F2A91C0`; unique in a history.
        identity: the identity columns and their values.
        figures: the hunt's own columns of the strongest candidate (ECS or hunt names); empty for a
            quiet finding, which has no candidate in this run.
        candidates: how many rows of the answer share the identity (several starts of a process).
        first_seen: slot of the earliest run that saw it. Aware UTC, as every time here.
        last_seen: slot of the newest run that saw it.
        away_since: slot of the run that saw it last, if it is announced again for being back.
        changed_binary: its SHA-256 differs from the one that the history knows.
        acknowledgement: why it is not announced, in its run: the newest word that covers it.
        why: one plain sentence for the priority.
        faults: what could not be found out, for example "not enriched: ...".
    """

    fingerprint: str
    id: str
    cluster: str
    hunt_uuid: str
    identity: Mapping[str, Value]
    status: Status
    first_seen: datetime
    last_seen: datetime
    away_since: datetime | None = None
    changed_binary: bool = False
    acknowledgement: Acknowledgement | None = None
    host: Host = Host()
    user_name: str | None = None
    process: Process = Process()
    destination: NetworkDestination = NetworkDestination()
    figures: Mapping[str, Value] = field(default_factory=dict)
    candidates: int = 0
    evidence: Evidence | None = None
    priority: Priority | None = None
    why: str = ""
    reasons: tuple[Reason, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def disposition(self) -> Disposition:
        """What comes of it in its run."""
        if self.status is Status.QUIET:
            return Disposition.QUIET
        if self.acknowledgement:
            return Disposition.ACKNOWLEDGED
        if self.status is Status.NEW or self.changed_binary or self.away_since:
            return Disposition.ANNOUNCED
        return Disposition(self.status)

    def with_fault(self, fault: str) -> Finding:
        """Give it with one more reason why not everything is known of it."""
        return replace(self, faults=(*self.faults, fault))

    def reduced(self, fault: Exception) -> Finding:
        """Keep what it is and what is news about it, and say why the rest cannot be shown.

        All of that is ours, but for its host and the hash of its binary.
        """
        host = self.identity.get("host.id")
        return Finding(
            fingerprint=self.fingerprint,
            id=self.id,
            cluster=self.cluster,
            hunt_uuid=self.hunt_uuid,
            identity=self.identity,
            status=self.status,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            away_since=self.away_since,
            changed_binary=self.changed_binary,
            acknowledgement=self.acknowledgement,
            host=Host(id=host if isinstance(host, str) else None),
            process=Process(hash_sha256=self.process.hash_sha256),
            priority=self.priority,
            faults=(f"{UNSHOWN}: {type(fault).__name__}, see the log of the flow run",),
        )

    @property
    def unshown(self) -> str:
        """Why it cannot be shown in full; empty for nearly all."""
        return next((fault for fault in self.faults if fault.startswith(UNSHOWN)), "")

    @property
    def anywhere(self) -> str | None:
        """What the same program and destination have in common on every host of every cluster.

        None where its identity is nothing but a host.
        """
        common = {
            column: value
            for column, value in self.identity.items()
            if not column.startswith(_OF_ONE_HOST)
        }
        return fingerprint(self.hunt_uuid, _ANY_CLUSTER, common) if common else None


def with_acknowledgement(finding: Finding, among: ByIdentity, slot: datetime) -> Finding:
    """Give the finding with the word that covers it in the run of a slot, or with none.

    Args:
        finding: as its run saw it.
        among: acknowledgements by what they cover.
        slot: of the run. When the word was given does not matter: it is about the finding.
    """
    word = last_word(finding, among)
    return replace(finding, acknowledgement=word if word and slot < word.end else None)


def last_word(finding: Finding, among: ByIdentity) -> Acknowledgement | None:
    """Give the acknowledgement of a finding that ends or ended last."""
    if not among or finding.status is Status.QUIET:
        return None
    given = (*among.get(finding.fingerprint, ()), *among.get(finding.anywhere or "", ()))
    binary, changed = finding.process.hash_sha256, finding.changed_binary
    fitting = (each for each in given if each.is_of(binary, changed=changed))
    return max(fitting, key=lambda each: (each.end, each.key), default=None)


def fingerprint(hunt_uuid: str, cluster: str, identity: Mapping[str, Value]) -> str:
    """Give the stable identity of a finding: the same program, Mac and destination, for ever.

    JSON keeps types and boundaries apart: null, "null" and "" differ, and so do
    `("x, y", "z")` and `("x", "y, z")`. Order of columns does not count.

    Args:
        hunt_uuid: the hunt's uuid; another hunt's findings are others.
        cluster: the cluster's name; a finding of one cluster says nothing about another.
        identity: identity columns and their values, without figures, times or entity ids.

    Returns:
        64 hex digits.
    """
    canonical = json.dumps(
        {
            "version": IDENTITY_VERSION,
            "hunt": hunt_uuid,
            "cluster": cluster,
            "identity": dict(identity),
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def short_id(fingerprint: str, digits: int = 8) -> str:
    """Give the form of a fingerprint that people see, for example `BH-4F2A91C0`."""
    return f"BH-{fingerprint[:digits].upper()}"
