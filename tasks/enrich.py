"""Enrich findings with process metadata from the process events for their entity ids."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
from prefect import get_run_logger

from tasks.clusters import Client, values
from tasks.errors import PipelineError, Unexpected
from tasks.model.findings import (
    LEFT_OUT,
    NOT_ENRICHED,
    CodeSignature,
    Finding,
    Host,
    Parent,
    Process,
    Status,
)
from tasks.model.runs import Plan
from tasks.orchestration.retries import cluster_step
from tasks.questions.processes import ask_processes

_LOG = logging.getLogger(__name__)

_LISTS = frozenset({"process.args", "process.Ext.ancestry"})

NO_PROCESS_EVENT = f"{NOT_ENRICHED}: the cluster has no process event of it"

NO_ENTITY_ID = f"{NOT_ENRICHED}: its events have no process.entity_id"

NO_HASH = "no SHA-256: its process events have none"


def described(findings: tuple[Finding, ...], processes: pd.DataFrame) -> tuple[Finding, ...]:
    """Add metadata to findings from the process events for their entity ids.

    A finding keeps values from network events where process events have no value.

    Args:
        findings: a run's findings; quiet ones stay as the history has them.
        processes: answers to `tasks.questions.processes`, newest event for an entity first.
    """
    single = processes.explode("process.entity_id")
    newest = single.groupby("process.entity_id", sort=False).first()
    return tuple(
        finding if finding.status is Status.QUIET else _described_by_itself(finding, newest)
        for finding in findings
    )


def _described_by_itself(finding: Finding, newest: pd.DataFrame) -> Finding:
    try:
        return _described(finding, newest)
    except Exception as fault:  # noqa: BLE001 - one finding's fault must not lose the others.
        _LOG.exception("%s is not enriched", finding.id)
        return finding.with_fault(f"{NOT_ENRICHED}: {Unexpected.of(fault).problem}")


def _described(finding: Finding, newest: pd.DataFrame) -> Finding:
    if not finding.process.entity_ids:
        return finding.with_fault(NO_ENTITY_ID)
    known = [entity for entity in finding.process.entity_ids if entity in newest.index]
    if not known:
        return finding.with_fault(NO_PROCESS_EVENT)
    event = newest.loc[known].sort_values("@timestamp").iloc[-1]
    fields = {column: value for column, value in _columns(event) if not _is_absent(value)}
    process, signature = finding.process, finding.process.code_signature
    enriched = replace(
        finding,
        host=Host(id=finding.host.id, name=finding.host.name or fields.get("host.name")),
        user_name=finding.user_name or fields.get("user.name"),
        process=Process(
            name=process.name or fields.get("process.name"),
            executable=process.executable or fields.get("process.executable"),
            entity_ids=process.entity_ids,
            args=tuple(map(str, values(fields.get("process.args")))),
            command_line=fields.get("process.command_line"),
            hash_sha256=fields.get("process.hash.sha256"),
            code_signature=CodeSignature(
                exists=fields.get("process.code_signature.exists", signature.exists),
                trusted=fields.get("process.code_signature.trusted", signature.trusted),
                status=fields.get("process.code_signature.status"),
                subject_name=fields.get("process.code_signature.subject_name"),
                signing_id=fields.get("process.code_signature.signing_id"),
                team_id=fields.get("process.code_signature.team_id"),
            ),
            parent=Parent(
                name=fields.get("process.parent.name"),
                executable=fields.get("process.parent.executable"),
                command_line=fields.get("process.parent.command_line"),
            ),
            ancestry=tuple(map(str, values(fields.get("process.Ext.ancestry")))),
        ),
    )
    return enriched if enriched.process.hash_sha256 else enriched.with_fault(NO_HASH)


def _columns(event: pd.Series) -> Iterator[tuple[str, Any]]:
    """Give an event's columns; any Elasticsearch field may have several values.

    Texts are joined, as in a hunt's answer. Contradicting flags are left out.
    """
    for column, value in event.items():
        if not isinstance(value, list) or column in _LISTS:
            yield str(column), value
        elif all(isinstance(item, str) for item in value):
            yield str(column), ", ".join(sorted(value))


def _is_absent(value: object) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and pd.isna(value))


def not_enriched(findings: tuple[Finding, ...], error: PipelineError) -> tuple[Finding, ...]:
    """Keep every finding, with the reason why its process metadata is missing."""
    return _without_metadata(findings, f"{NOT_ENRICHED}: {error.problem}")


def _without_metadata(findings: tuple[Finding, ...], fault: str) -> tuple[Finding, ...]:
    return tuple(
        finding if finding.status is Status.QUIET else finding.with_fault(fault)
        for finding in findings
    )


def entity_ids(findings: tuple[Finding, ...]) -> list[str]:
    """Collect the entity ids from the findings that this run saw, sorted."""
    seen = (f.process.entity_ids for f in findings if f.status is not Status.QUIET)
    return sorted({entity for entities in seen for entity in entities})


@cluster_step
def enrich(client: Client, plan: Plan, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Fetch process metadata for this run's findings; a failure loses no finding."""
    if not plan.hunt.pipeline.enrich:
        return _without_metadata(findings, f"{NOT_ENRICHED}: {LEFT_OUT}")
    entities = entity_ids(findings)
    if not entities:
        return _without_metadata(findings, NO_ENTITY_ID)
    processes = ask_processes(client, plan, entities)
    get_run_logger().info("%d process events for %d processes", len(processes), len(entities))
    return described(findings, processes)
