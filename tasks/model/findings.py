"""Findings: a hunt's candidates with a stable identity, as values without behaviour."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from tasks.model.acknowledgements import Acknowledgement, ByIdentity
from tasks.text.masking import masked, masked_command

IDENTITY_VERSION = 1
"""Part of every fingerprint: increased when the rules below change, for new identities."""

_OF_ONE_HOST = ("host.", "agent.", "process.entity_id")
"""Columns of an identity whose values belong to one host."""

_ANY_CLUSTER = "*"
"""Not a valid name of a cluster, which has letters, digits and hyphens."""

Scalar = str | int | float | bool | None
Value = Scalar | tuple[Scalar, ...]
"""The content of a cell in an ES|QL answer; several values are a sorted tuple."""

_UNSIGNED = frozenset(
    {"errseccsunsigned", "-67062", "code object is not signed at all", "nosignature"}
)
"""Statuses that mean "no signature": Apple's name, number and text, and Elastic Defend's own name.

Not errSecCSUnsignedNestedCode, which is signed code with unsigned code in it."""

NO_EVIDENCE = "no connection times"
"""Beginning of the fault of a finding without evidence."""

NOT_ENRICHED = "not enriched"
"""Beginning of the fault of a finding without process metadata."""

LEFT_OUT = "the hunt leaves them out"
"""End of a fault that the hunt's author chose."""

UNSHOWN = "cannot be shown"
"""Beginning of the fault of a finding that breaks its layout or its document."""


class Status(StrEnum):
    """A finding's status in one run, compared with the newest earlier comparable run."""

    BASELINE = "baseline"
    NEW = "new"
    CONTINUING = "continuing"
    RETURNED = "returned"
    QUIET = "quiet"


class Disposition(StrEnum):
    """How a run treats a finding.

    Attributes:
        ANNOUNCED: new, with a changed binary, or back after a long time: announced once in every
            destination.
        BASELINE: from a first run: digests give only the number.
        RETURNED: back, but not away long enough to be announced again.
        ACKNOWLEDGED: not announced, since an acknowledgement covers it.
    """

    ANNOUNCED = "announced"
    BASELINE = "baseline"
    CONTINUING = "continuing"
    RETURNED = "returned"
    ACKNOWLEDGED = "acknowledged"
    QUIET = "quiet"


class Priority(StrEnum):
    """How soon an analyst should look, by the rules of `tasks.scoring.priorities`."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


RANKS: Mapping[Priority | None, int] = {
    priority: rank for rank, priority in enumerate((*Priority, None))
}
"""Order of findings in every list: highest priority first, unscored ones last."""


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
    """ECS `process.code_signature.*`; None if no event has the field."""

    exists: bool | None = None
    trusted: bool | None = None
    status: str | None = None
    subject_name: str | None = None
    signing_id: str | None = None
    team_id: str | None = None

    @property
    def is_missing(self) -> bool:
        """Whether the program has no signature: `exists` is false, or the status says so.

        A status with several values must mean it in all of them.
        """
        status = {value.strip().lower() for value in (self.status or "").split(",")}
        return self.exists is False or (not self.trusted and status <= _UNSIGNED)

    @property
    def word(self) -> str:
        """Label for people: no signature, ad hoc, expired, revoked, untrusted, trusted, unknown.

        An ad hoc signature names a program and no signer. If only `exists` and `trusted` are known,
        it looks like any other untrusted signature, and the label is `untrusted`.
        """
        if self.is_missing:
            return "no signature"
        if self.trusted:
            return "trusted"
        status = (self.status or "").lower()
        if flaw := next((flaw for flaw in ("expired", "revoked") if flaw in status), None):
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
        entity_ids: one for every start of the process, sorted: attributes, never identity.
        args: distinct and sorted, as ES|QL reads keyword fields; the command line has the order.
        ancestry: entity ids of parent, grandparent and so on, distinct and sorted.
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
        connections: connections in the window, counted once whatever their encoding.
        hourly: connections by hour of the window, oldest first; None for hours in which the Mac
            sent no event at all (asleep or off), which is not the same as no connection.
        first_connection: first connection in the window, aware UTC.
        last_connection: last connection in the window, aware UTC.
        regularity: 0 to 1, `max(0, 1 - MAD/median)` of the gaps; None below three gaps.
        period_seconds: the median gap.
        jitter_percent: the share of the period by which gaps vary, 0 to 100.
        hours_active: hours in the window with any connection.
        hours_at_threshold: hours with at least the hunt's threshold of connections per hour; None
            for a hunt without that threshold.
        median_per_hour: median number of connections in the active hours.
        gaps: histogram of the gaps' lengths, in twentieths of the period: 0, 1 and so on up to
            twice the period, then all longer gaps. Empty without a period.
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
    """The direction in which a reason moves the priority."""

    RAISES = "raises"
    LOWERS = "lowers"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a priority, as a text that stands alone."""

    effect: Effect
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One identity on one cluster, as one run saw it.

    Attributes:
        fingerprint: SHA-256 in hex, see `fingerprint`.
        id: its id for people, for example `BH-4F2A91C0`; unique in a history.
        identity: the identity columns and their values.
        figures: the hunt's own columns of the strongest candidate (ECS or hunt names); empty for a
            quiet finding, which has no candidate in this run.
        candidates: number of rows in the answer with this identity (several process starts).
        first_seen: slot of the earliest run that saw it. Aware UTC, as all times here.
        last_seen: slot of the newest run that saw it.
        away_since: for a returned finding that is announced again, slot of the run that last saw
            it before.
        changed_binary: its SHA-256 differs from the one in the history.
        acknowledgement: the acknowledgement that covers it in its run and has the latest end.
        why: one plain sentence for the priority.
        faults: what is missing or must not be trusted, with the reason: "not enriched: ...". A
            finding that its run saw has evidence, or a fault that says why not.
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
        """How its run treats it."""
        if self.status is Status.QUIET:
            return Disposition.QUIET
        if self.acknowledgement:
            return Disposition.ACKNOWLEDGED
        if self.status is Status.NEW or self.changed_binary or self.away_since:
            return Disposition.ANNOUNCED
        return Disposition(self.status)

    def with_fault(self, fault: str) -> Finding:
        """Add a fault: a reason why the finding is incomplete."""
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
    def masked(self) -> Finding:
        """The finding without the secrets in its command lines, and in the hunt's own columns."""
        process, parent = self.process, self.process.parent
        command_line, args = masked_command(process.command_line, process.args)
        started_by, _ = masked_command(parent.command_line, ())
        return replace(
            self,
            identity=_masked_values(self.identity),
            figures=_masked_values(self.figures),
            process=replace(
                process,
                command_line=command_line,
                args=args,
                parent=replace(parent, command_line=started_by),
            ),
        )

    @property
    def lacks(self) -> tuple[str, ...]:
        """The beginnings of its faults, without those that the hunt's author chose."""
        missed = (fault for fault in self.faults if not fault.endswith(LEFT_OUT))
        return tuple(dict.fromkeys(fault.partition(": ")[0] for fault in missed))

    @property
    def unshown(self) -> str:
        """The fault that keeps it from being shown in full; usually empty."""
        return next((fault for fault in self.faults if fault.startswith(UNSHOWN)), "")

    @property
    def anywhere(self) -> str | None:
        """Identity of the same program and destination on every host and cluster.

        None if the identity has only columns of one host.
        """
        common = {
            column: value
            for column, value in self.identity.items()
            if not column.startswith(_OF_ONE_HOST)
        }
        return fingerprint(self.hunt_uuid, _ANY_CLUSTER, common) if common else None


def _masked_values(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """Mask the secrets in columns, which may be command lines or lists of arguments."""
    return {column: _masked_value(value) for column, value in values.items()}


def _masked_value(value: Value) -> Value:
    match value:
        case str():
            return masked(value)
        case tuple():
            texts = [each for each in value if isinstance(each, str)]
            shown = dict(zip(texts, masked_command(None, texts)[1], strict=True))
            return tuple(shown[each] if isinstance(each, str) else each for each in value)
        case _:
            return value


def with_acknowledgement(finding: Finding, among: ByIdentity, slot: datetime) -> Finding:
    """Set or clear a finding's acknowledgement, as of the slot of its run.

    Args:
        finding: as its run saw it.
        among: acknowledgements by the identity that they cover.
        slot: the run's slot. It may be earlier than the acknowledgement: only the end counts.
    """
    last = last_acknowledgement(finding, among)
    return replace(finding, acknowledgement=last if last and slot < last.end else None)


def last_acknowledgement(finding: Finding, among: ByIdentity) -> Acknowledgement | None:
    """Give the acknowledgement that covers a finding and has the latest end."""
    if not among or finding.status is Status.QUIET:
        return None
    given = (*among.get(finding.fingerprint, ()), *among.get(finding.anywhere or "", ()))
    binary, changed = finding.process.hash_sha256, finding.changed_binary
    fitting = (each for each in given if each.is_of(binary, changed=changed))
    return max(fitting, key=lambda each: (each.end, each.key), default=None)


def fingerprint(hunt_uuid: str, cluster: str, identity: Mapping[str, Value]) -> str:
    """Give the stable identity of a finding: the same program, Mac and destination, for ever.

    JSON keeps types and boundaries apart: null, "null" and "" differ, and so do
    `("x, y", "z")` and `("x", "y, z")`. The order of columns does not matter.

    Args:
        hunt_uuid: the hunt's uuid; hunts do not share findings.
        cluster: the cluster's name; clusters do not share findings.
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
    """Shorten a fingerprint to an id for people, for example `BH-4F2A91C0`."""
    return f"BH-{fingerprint[:digits].upper()}"
