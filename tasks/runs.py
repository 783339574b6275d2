"""What happened: one run of one hunt on one cluster for one slot, and the document it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter

from tasks.coverage import Coverage
from tasks.findings import Finding, Status
from tasks.hunts import Hunt


class Outcome(StrEnum):
    """How a run ended. What people read keeps these six apart."""

    COMPLETE = "complete"
    BASELINE = "baseline"
    PARTIAL = "partial"
    NO_DATA = "no_data"
    FAILED = "failed"
    MISSED = "missed"

    @property
    def searched(self) -> bool:
        """Whether the cluster was searched, at least in part."""
        return self in {Outcome.COMPLETE, Outcome.BASELINE, Outcome.PARTIAL}

    @property
    def comparable(self) -> bool:
        """Whether a later run may compare itself with this one."""
        return self in {Outcome.COMPLETE, Outcome.BASELINE}


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a run looks at, `[start, end)` in aware UTC."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, slot: datetime, days: int) -> Window:
        """Give the window of `days` times 24 hours that ends at the slot."""
        return cls(slot - timedelta(days=days), slot)

    @property
    def hours(self) -> int:
        """Whole hours in the window."""
        return int((self.end - self.start) / timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class Run:
    """One hunt on one cluster for one slot.

    Attributes:
        id: 12 hex digits, new for every attempt: a repeated slot gets a new id.
        reason: for a failed run one word: unreachable, unauthorised, query, deadline, internal.
        detail: for a run that is not complete a sentence that says why.
        warnings: what a reader must know before believing the figures, each a sentence.
        compared_with: slot of the comparable earlier run; None on the first.
        flow_run: name of Prefect's flow run; None outside Prefect.
    """

    id: str
    hunt_uuid: str
    hunt: str
    cluster: str
    slot: datetime
    window: Window
    outcome: Outcome
    started_at: datetime
    finished_at: datetime
    reason: str | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()
    coverage: Coverage | None = None
    compared_with: datetime | None = None
    flow_run: str | None = None

    @property
    def folder(self) -> str:
        """Where its files stand below the archive: `<hunt>/<cluster>/2026/11/24/0600Z-<id>`."""
        return f"{self.hunt}/{self.cluster}/{self.slot:%Y/%m/%d/%H%MZ}-{self.id}"


@dataclass(frozen=True, slots=True)
class Trend:
    """One earlier run as the 30-run chart shows it."""

    slot: datetime
    outcome: Outcome
    new: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The frozen result of a run: findings.json is this, and every page is rendered from it.

    Attributes:
        findings: of every status, highest priority first; quiet ones last.
        trend: up to 30 runs, oldest first, this one last.
        beaconhunt: the version that made it.
    """

    schema_version: int = 1
    beaconhunt: str
    run: Run
    hunt: Hunt
    findings: tuple[Finding, ...] = ()
    trend: tuple[Trend, ...] = ()

    def having(self, *statuses: Status) -> tuple[Finding, ...]:
        """Give the findings of these statuses, in their order."""
        return tuple(finding for finding in self.findings if finding.status in statuses)

    def to_json(self) -> bytes:
        """Give the document as indented UTF-8 JSON, the same bytes for the same report."""
        return _REPORT.dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, document: bytes) -> Report:
        """Read what `to_json` wrote."""
        return _REPORT.validate_json(document)


_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
