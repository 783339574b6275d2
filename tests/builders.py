"""From the few words that a test cares about to whole findings, runs and reports."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from tasks.model.acknowledgements import Acknowledgement
from tasks.model.coverage import AgentCoverage, Coverage
from tasks.model.findings import (
    CodeSignature,
    Evidence,
    Finding,
    Host,
    Priority,
    Process,
    Status,
    fingerprint,
    short_id,
)
from tasks.model.findings import NetworkDestination as Address
from tasks.model.hunts import Hunt, Nouns, Pipeline
from tasks.model.runs import Outcome, Report, Run, Trend, Window
from tasks.model.scrutiny import ConditionEvents, HostSample, HostStates, Scrutiny, StreamEvents

SLOT = datetime(2026, 11, 24, 6, tzinfo=UTC)
"""A Tuesday; `day(n)` counts from it."""

CLUSTER = "demo-eu"

HUNT = Hunt(
    slug="macos-unsigned-network",
    name="Unsigned programs with a steady connection",
    uuid="5c3f5e0e-1f6b-4a0f-9d1c-6f1f5a0e7d11",
    query="FROM logs-endpoint.events.network-* | LIMIT 10",
    author="beaconhunt",
    mitre=("T1071",),
    pipeline=Pipeline(
        identity=("host.id", "process.executable", "destination.address"),
        nouns=Nouns(finding=("beaconing process", "beaconing processes"), host=("Mac", "Macs")),
    ),
)


def day(number: int) -> datetime:
    """Give the slot that many days after `SLOT`."""
    return SLOT + timedelta(days=number)


def sha256(word: str) -> str:
    """Give a hash that stands for the binary of that name."""
    return hashlib.sha256(word.encode()).hexdigest()


def evidence(
    slot: datetime = SLOT, per_hour: int = 120, *, hours: int = 168, asleep: int = 0
) -> Evidence:
    """Give a steady connection over the window that ends at the slot, after `asleep` hours."""
    active = hours - asleep
    return Evidence(
        connections=per_hour * active,
        hourly=(None,) * asleep + (per_hour,) * active,
        first_connection=slot - timedelta(hours=active),
        last_connection=slot - timedelta(seconds=30),
        regularity=0.97,
        period_seconds=3600 / per_hour,
        jitter_percent=3.0,
        hours_active=active,
        hours_at_threshold=active,
        median_per_hour=float(per_hour),
        gaps=(*[0] * 20, per_hour * active - 1, *[0] * 20),
    )


def finding(
    host_id: str = "mac-a",
    executable: str = "/Users/ada/Library/updater",
    address: str = "203.0.113.47",
    *,
    cluster: str = CLUSTER,
    hunt: Hunt = HUNT,
    slot: datetime = SLOT,
    status: Status = Status.NEW,
    binary: str | None = "updater 1",
    priority: Priority | None = Priority.MEDIUM,
    **changes: Any,
) -> Finding:
    """Give a finding whose identity is Mac, executable and address, seen only at the slot.

    The binary is a word of which the SHA-256 is made; None stands for a finding that could not be
    enriched. Any further field of `Finding` may be given.
    """
    identity = {
        "host.id": host_id,
        "process.executable": executable,
        "destination.address": address,
    }
    whose = fingerprint(hunt.uuid, cluster, identity)
    name = executable.rpartition("/")[2]
    plain = Finding(
        fingerprint=whose,
        id=short_id(whose),
        cluster=cluster,
        hunt_uuid=hunt.uuid,
        identity=identity,
        status=status,
        first_seen=slot,
        last_seen=slot,
        host=Host(id=host_id, name=f"{host_id}.example"),
        user_name="ada",
        process=Process(
            name=name,
            executable=executable,
            entity_ids=(f"{host_id}-{name}-1",),
            args=(executable, "--quiet"),
            command_line=f"{executable} --quiet",
            hash_sha256=None if binary is None else sha256(binary),
            code_signature=CodeSignature(exists=False, trusted=False),
        ),
        destination=Address(address=address, ip=address, ports=(443,)),
        figures={"connections": 20_160, "duration_hours": 168.0},
        candidates=1,
        evidence=evidence(slot),
        priority=priority,
        why="Unsigned, and it has called one address every 30 seconds for 7 days.",
    )
    return replace(plain, **changes)


def acknowledgement(
    of: Finding, until: datetime | None = None, *, everywhere: bool = False, **changes: Any
) -> Acknowledgement:
    """Give Ada's word on a finding, with the binary that it has; by default for 30 days.

    Any further field of `Acknowledgement` may be given.
    """
    plain = Acknowledgement(
        key=1,
        finding=of.id,
        fingerprint=of.fingerprint,
        anywhere=of.anywhere if everywhere else None,
        hash_sha256=of.process.hash_sha256,
        by="ada",
        why="Our own agent, not signed yet.",
        given_at=SLOT,
        until=until or day(30),
    )
    return replace(plain, **changes)


def coverage(slot: datetime = SLOT, *, events: int = 310_000, macs: int = 60) -> Coverage:
    """Give the coverage of a healthy cluster."""
    agent = AgentCoverage(
        version="8.14.3",
        events=events,
        groups=events // 4,
        single_event_groups=events // 40,
        merged_events=0,
        unsigned_unknown_events=0,
    )
    return Coverage(
        events=events, macs=macs, newest_event=slot - timedelta(minutes=2), agents=(agent,)
    )


def scrutiny(*, events: int = 310_000, macs: int = 60, **changes: Any) -> Scrutiny:
    """Give what the events of a healthy cluster show, where other hosts share its data stream.

    Any field of `Scrutiny` may be given, and any of `HostStates` by its own name.
    """
    of_hosts = {field.name for field in fields(HostStates)} & changes.keys()
    hosts = HostStates(
        macs, macs, 2, 6, HostSample(), 24, HostSample(), HostSample(), ahead_events=0
    )
    plain = Scrutiny(
        streams=(StreamEvents("logs-endpoint.events.network-default", 2 * events, *[events] * 3),),
        conditions=(ConditionEvents('host.os.family == "macos"', events),),
        candidates=events,
        hosts=replace(hosts, **{name: changes.pop(name) for name in of_hosts}),
    )
    return replace(plain, **changes)


def run(
    slot: datetime = SLOT,
    outcome: Outcome = Outcome.COMPLETE,
    *,
    cluster: str = CLUSTER,
    hunt: Hunt = HUNT,
    attempt: int = 1,
    **changes: Any,
) -> Run:
    """Give the run of a slot; each further attempt has an id of its own and starts an hour later.

    Any further field of `Run` may be given.
    """
    started_at = slot + timedelta(minutes=15, hours=attempt - 1)
    plain = Run(
        id=sha256(f"{hunt.uuid} {cluster} {slot:%F %T} {attempt}")[:12],
        hunt_uuid=hunt.uuid,
        hunt=hunt.slug,
        cluster=cluster,
        slot=slot,
        window=Window.before(slot, hunt.pipeline.window_days),
        outcome=outcome,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=42),
        coverage=coverage(slot) if outcome.searched else None,
        sources=hunt.sources,
        nouns=hunt.pipeline.nouns,
    )
    return replace(plain, **changes)


def report(of: Run, *findings: Finding, hunt: Hunt = HUNT, trend: tuple[Trend, ...] = ()) -> Report:
    """Give the report of a run with these findings."""
    return Report(
        beaconhunt=version("beaconhunt"), run=of, hunt=hunt, findings=findings, trend=trend
    )
