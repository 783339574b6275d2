"""What happened: one run of one hunt on one cluster for one slot, and the document it leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter

from tasks.model.costs import Cost
from tasks.model.coverage import Coverage
from tasks.model.findings import Finding, Status
from tasks.model.hunts import Hunt, Nouns
from tasks.text.times import Clock

SCHEMA_VERSION = 1
"""Of findings.json."""

TREND_RUNS = 30
"""So many of the last runs are shown beside each other."""

ANNOUNCE_RETURNED_AFTER_DAYS = 30
"""Flapping around a threshold is normal; who is back after so long may be somebody else."""


def minute(moment: datetime) -> datetime:
    """Give the aware time in UTC, cut to the minute: slots are whole minutes.

    Prefect's times are of a class of its own whose differences do not divide; this is a plain one.
    """
    return datetime.fromtimestamp(moment.timestamp() // 60 * 60, UTC)


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

    @property
    def rank(self) -> int:
        """How much it says about its slot: a baseline searched as much as a complete run."""
        return _RANKS.index(Outcome.COMPLETE if self is Outcome.BASELINE else self)


_RANKS = (Outcome.MISSED, Outcome.FAILED, Outcome.NO_DATA, Outcome.PARTIAL, Outcome.COMPLETE)


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

    @property
    def parameters(self) -> dict[str, str]:
        """The window under the parameter names that Kibana's time picker fills."""
        return {"_tstart": self.start.isoformat(), "_tend": self.end.isoformat()}

    @property
    def filter(self) -> dict[str, Any]:
        """The window as Query DSL: shards without events in it are skipped."""
        return {
            "range": {"@timestamp": {"gte": self.start.isoformat(), "lt": self.end.isoformat()}}
        }


def new_run_id() -> str:
    """Give an id that no other run has."""
    return uuid4().hex[:12]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before it is asked: everything that its outcome cannot change.

    Attributes:
        run_id: 12 hex digits, new for every attempt: a repeated slot gets a new id.
        scheduled: a schedule asks for it, not a person.
        stale_after_hours: a newest event older than this as of the slot means "no data".
        announce_returned_after_days: a finding that was away for so long is announced again.
    """

    run_id: str
    hunt: Hunt
    cluster: str
    slot: datetime
    stale_after_hours: float
    started_at: datetime
    flow_run: str | None = None
    kibana_url: str | None = None
    time_zone: str = "UTC"
    scheduled: bool = False
    announce_returned_after_days: int = ANNOUNCE_RETURNED_AFTER_DAYS

    def at(self, slot: datetime) -> Plan:
        """Give the plan of another run, for another slot, that starts now."""
        return replace(self, run_id=new_run_id(), slot=slot, started_at=datetime.now(UTC))

    @property
    def window(self) -> Window:
        """What the run looks at."""
        return Window.before(self.slot, self.hunt.pipeline.window_days)

    def outcome(self, coverage: Coverage, *, whole: bool, first: bool) -> Outcome:
        """Say how the run ends once it has its answers.

        Args:
            coverage: what the cluster could have seen.
            whole: nothing is missing from the answer.
            first: no earlier run of this hunt and cluster can be compared with.
        """
        if coverage.is_partial:
            # The newest event may be among those that were not counted.
            return Outcome.PARTIAL
        if coverage.is_stale(self.slot, self.stale_after_hours):
            return Outcome.NO_DATA
        if not whole:
            return Outcome.PARTIAL
        return Outcome.BASELINE if first else Outcome.COMPLETE


@dataclass(frozen=True, slots=True)
class Run:
    """One hunt on one cluster for one slot.

    Attributes:
        id: of its plan.
        hunt: the hunt's slug.
        reason: for a failed run one word, of `tasks.model.wording.REASON_WORDS`.
        detail: for a run that is not complete a sentence that says why.
        warnings: what a reader must know before believing the figures, each a sentence.
        compared_with: slot of the comparable earlier run; None on the first.
        flow_run: name of Prefect's flow run; None outside Prefect.
        kibana_url: of the Kibana, in its space, where the cluster's events can be seen.
        sources: the index patterns that the hunt reads.
        costs: what its questions took from the cluster, in the order in which they were asked.
        nouns: of the hunt.
        time_zone: name of the zone in which its readers live.
        scheduled: of its plan.
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
    kibana_url: str | None = None
    sources: str = ""
    costs: tuple[Cost, ...] = ()
    nouns: Nouns = field(default_factory=Nouns)
    time_zone: str = "UTC"
    scheduled: bool = False

    @property
    def clock(self) -> Clock:
        """How its page tells times."""
        return Clock(self.slot, self.time_zone)

    @property
    def folder(self) -> str:
        """Where its files stand below the archive: `<hunt>/<cluster>/2026/11/24/0600Z-<id>`."""
        return f"{self.hunt}/{self.cluster}/{self.slot:%Y/%m/%d/%H%MZ}-{self.id}"

    @property
    def standing(self) -> tuple[int, datetime, str]:
        """Which of several runs of a slot stands: what says most, and among equals the latest."""
        return self.outcome.rank, self.finished_at, self.id


@dataclass(frozen=True, slots=True)
class Trend:
    """One of the last runs, as charts show it.

    Attributes:
        hosts: how many sent an event within its window; None where nobody counted.
    """

    slot: datetime
    outcome: Outcome
    new: int
    known: int
    hosts: int | None = None

    @classmethod
    def of(cls, run: Run, *, new: int, known: int) -> Trend:
        """Give what charts show of a run with so many findings."""
        hosts = run.coverage.macs if run.coverage else None
        return cls(run.slot, run.outcome, new, known, hosts)

    @property
    def found(self) -> int:
        """How many findings it has that are over the threshold."""
        return self.new + self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The frozen result of a run: findings.json is this, and every page is rendered from it.

    Attributes:
        schema_version: a field that goes, or means something else, makes another.
        findings: of every status, highest priority first; quiet ones last.
        trend: up to 30 runs, oldest first, this one last.
        beaconhunt: the version that made it.
    """

    schema_version: int = SCHEMA_VERSION
    beaconhunt: str
    run: Run
    hunt: Hunt
    findings: tuple[Finding, ...] = ()
    trend: tuple[Trend, ...] = ()

    def having(self, *statuses: Status) -> tuple[Finding, ...]:
        """Give the findings of these statuses that are not acknowledged, in their order."""
        return tuple(
            finding
            for finding in self.findings
            if finding.status in statuses and finding.acknowledgement is None
        )

    @property
    def acknowledged(self) -> tuple[Finding, ...]:
        """Those of any status that an analyst's word covers."""
        return tuple(finding for finding in self.findings if finding.acknowledgement)

    def to_json(self) -> bytes:
        """Give the document as indented UTF-8 JSON, the same bytes for the same report."""
        return _REPORT.dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, document: bytes) -> Report:
        """Read what `to_json` wrote."""
        return _REPORT.validate_json(document)

    @staticmethod
    @cache
    def schema() -> bytes:
        """Give the JSON Schema of what `to_json` writes."""
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **_REPORT.json_schema(mode="serialization"),
        }
        return json.dumps(schema, indent=1).encode() + b"\n"


_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
