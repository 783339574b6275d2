"""Runs: one hunt on one cluster for one slot, from the plan to the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field, TypeAdapter

from tasks.model.costs import Cost
from tasks.model.coverage import Coverage
from tasks.model.findings import Finding, Status
from tasks.model.hunts import Hunt, Nouns
from tasks.text.times import Clock

SCHEMA_VERSION = 1
"""Version of the schema of findings.json."""

TREND_RUNS = 30
"""Number of runs in a trend."""

ANNOUNCE_RETURNED_AFTER_DAYS = 30
"""Flapping around a threshold is normal; after a longer absence, it may be another actor."""


def minute(moment: datetime) -> datetime:
    """Give the aware time in UTC, cut to the minute: slots are whole minutes.

    Prefect's times are instances of its own class, whose differences cannot be divided; this one
    is a plain `datetime`.
    """
    return datetime.fromtimestamp(moment.timestamp() // 60 * 60, UTC)


def slot_of_newest(newest_event: datetime, now: datetime) -> datetime:
    """Give the first slot whose window holds the newest event, but none in the future."""
    return min(minute(newest_event) + timedelta(minutes=1), minute(now))


class Outcome(StrEnum):
    """How a run ended: six outcomes, which pages and messages keep apart."""

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
        """Its value for a slot: a baseline searched as much as a complete run."""
        return _RANKS.index(Outcome.COMPLETE if self is Outcome.BASELINE else self)


_RANKS = (Outcome.MISSED, Outcome.FAILED, Outcome.NO_DATA, Outcome.PARTIAL, Outcome.COMPLETE)


@dataclass(frozen=True, slots=True)
class Window:
    """The time range that a run searches, `[start, end)` in aware UTC."""

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
    """A run before its questions are asked: everything that is independent of the answers.

    Attributes:
        run_id: 12 hex digits, new for every attempt: a repeated slot gets a new id.
        scheduled: started by a schedule, not by a person.
        stale_after_hours: a newest event older than this as of the slot means "no data".
        announce_returned_after_days: a finding that returns after this time is announced again.
        mask: secrets in command lines are masked in all that is published.
        of_folder: the cluster is a folder of events, which may be an export from the past.
        by_newest_event: neither a person nor a schedule gave the slot of a folder: it will be that
            of its newest event.
        remarks: sentences on how the run was planned, for the run's warnings.
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
    mask: bool = True
    of_folder: bool = False
    by_newest_event: bool = False
    remarks: tuple[str, ...] = ()

    def at(self, slot: datetime) -> Plan:
        """Make the plan for another run that starts now, for another slot."""
        return replace(self, run_id=new_run_id(), slot=slot, started_at=datetime.now(UTC))

    @property
    def window(self) -> Window:
        """The time range that the run searches."""
        return Window.before(self.slot, self.hunt.pipeline.window_days)

    def outcome(self, coverage: Coverage, *, whole: bool, first: bool) -> Outcome:
        """Decide the run's outcome from its answers.

        Args:
            coverage: the hunt's coverage on the cluster.
            whole: nothing is missing from the answer.
            first: this hunt and cluster have no earlier comparable run.
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
        id: the plan's run id.
        hunt: the hunt's slug.
        reason: for a failed run, a key of `tasks.model.wording.REASON_WORDS`.
        detail: for an incomplete run, a sentence with the reason.
        warnings: sentences that a reader must know before trusting the figures.
        compared_with: slot of the comparable earlier run; None on the first.
        flow_run: name of Prefect's flow run; None outside Prefect.
        kibana_url: URL of the Kibana for the cluster's events, in its space.
        sources: the index patterns that the hunt reads.
        costs: the costs of its questions, in the order in which they were asked.
        nouns: the hunt's nouns.
        time_zone: name of its readers' time zone.
        scheduled: as in its plan.
        mask: as in its plan; left out of documents unless it is false, so that older ones keep
            their bytes.
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
    mask: Annotated[bool, Field(exclude_if=bool)] = True

    @property
    def clock(self) -> Clock:
        """The clock for times on its page."""
        return Clock(self.slot, self.time_zone)

    @property
    def folder(self) -> str:
        """Its folder in the archive: `<hunt>/<cluster>/2026/11/24/0600Z-<id>`."""
        return f"{self.hunt}/{self.cluster}/{self.slot:%Y/%m/%d/%H%MZ}-{self.id}"

    @property
    def standing(self) -> tuple[int, datetime, str]:
        """Its rank among a slot's runs: the best outcome stands, and among equals the latest."""
        return self.outcome.rank, self.finished_at, self.id


@dataclass(frozen=True, slots=True)
class Trend:
    """One of the last runs, for charts.

    Attributes:
        hosts: number of hosts with an event in its window; None if they were not counted.
    """

    slot: datetime
    outcome: Outcome
    new: int
    known: int
    hosts: int | None = None

    @classmethod
    def of(cls, run: Run, *, new: int, known: int) -> Trend:
        """Make a run's point in the trend."""
        hosts = run.coverage.macs if run.coverage else None
        return cls(run.slot, run.outcome, new, known, hosts)

    @property
    def found(self) -> int:
        """Number of its findings over the threshold."""
        return self.new + self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The frozen result of a run: the content of findings.json, and the source of every page.

    Attributes:
        schema_version: increased when a field is removed or changes its meaning.
        findings: findings of every status, highest priority first; quiet ones last.
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
        """Give the findings with these statuses that are not acknowledged, in their order."""
        return tuple(
            finding
            for finding in self.findings
            if finding.status in statuses and finding.acknowledgement is None
        )

    @property
    def acknowledged(self) -> tuple[Finding, ...]:
        """The acknowledged findings, of any status."""
        return tuple(finding for finding in self.findings if finding.acknowledgement)

    def to_json(self) -> bytes:
        """Write the report as indented UTF-8 JSON; the same report gives the same bytes."""
        return _REPORT.dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, document: bytes) -> Report:
        """Read the output of `to_json`."""
        return _REPORT.validate_json(document)

    @staticmethod
    @cache
    def schema() -> bytes:
        """Give the JSON Schema for the output of `to_json`."""
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **_REPORT.json_schema(mode="serialization"),
        }
        return json.dumps(schema, indent=1).encode() + b"\n"


_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
