"""Diff a run's candidates against the history: what is new gets announced."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pandas as pd
from prefect import get_run_logger

from tasks.clusters import Answer, values
from tasks.history import History, Known
from tasks.model.coverage import Coverage
from tasks.model.findings import (
    CodeSignature,
    Finding,
    Host,
    NetworkDestination,
    Process,
    Scalar,
    Status,
    Value,
    fingerprint,
)
from tasks.model.hunts import Hunt
from tasks.model.runs import Outcome, Plan
from tasks.orchestration.steps import step

_NUMERIC = frozenset({"integer", "long", "unsigned_long", "double", "date", "boolean"})
"""ES|QL types of figures: part of an identity only if the hunt lists the column."""

_ATTRIBUTES = frozenset(
    {
        "host.id",
        "host.name",
        "user.name",
        "process.name",
        "process.executable",
        "process.entity_id",
        "process.code_signature.exists",
        "process.code_signature.trusted",
        "destination.address",
        "destination.domain",
        "destination.ip",
        "destination.port",
    }
)
"""Columns with their own attribute in a finding; all others are figures."""

_STRENGTH = "count_connections"
"""Column that ranks candidates with the same identity: the strongest describes the finding."""


def identity_columns(hunt: Hunt, answer: Answer) -> tuple[tuple[str, ...], ...]:
    """Choose the identity columns, with their fallbacks.

    The first of these that exists: the hunt's `identity`; the columns of its last STATS .. BY that
    are in the answer; all columns except figures.
    """
    if hunt.pipeline.identity:
        return tuple((c,) if isinstance(c, str) else c for c in hunt.pipeline.identity)
    grouped = tuple((column,) for column in hunt.groups if column in answer.types)
    return grouped or tuple((c,) for c, kind in answer.types.items() if kind not in _NUMERIC)


def identified(answer: Answer, hunt: Hunt, cluster: str) -> pd.DataFrame:
    """Add identity and fingerprint to the candidates.

    Returns:
        The answer's rows, the strongest of an identity first, plus columns `fingerprint` (str) and
        `identity` (dict from column to value).
    """
    columns = identity_columns(hunt, answer)
    rows = answer.rows
    if _STRENGTH in rows:
        rows = rows.sort_values(_STRENGTH, ascending=False, kind="stable")
    identities = [_identity(row, columns) for row in rows.to_dict("records")]
    return rows.assign(
        identity=pd.Series(identities, index=rows.index, dtype=object),
        fingerprint=pd.Series(
            [fingerprint(hunt.uuid, cluster, identity) for identity in identities],
            index=rows.index,
            dtype=object,
        ),
    )


def _identity(
    row: Mapping[Hashable, Any], columns: tuple[tuple[str, ...], ...]
) -> dict[str, Value]:
    chosen = {}
    for alternatives in columns:
        with_value = (column for column in alternatives if row.get(column) is not None)
        column = next(with_value, alternatives[0])
        chosen[column] = _value(row.get(column))
    return chosen


def _value(cell: object) -> Value:
    """Turn a cell into a plain value; several values are sorted: Elasticsearch has no order."""
    if isinstance(cell, list):
        return tuple(sorted(map(_scalar, values(cell)), key=repr))
    return _scalar(cell)


def _scalar(cell: object) -> Scalar:
    return cell.isoformat() if isinstance(cell, pd.Timestamp) else cast("Scalar", cell)


def compared(
    candidates: pd.DataFrame, known: Known, plan: Plan, outcome: Outcome
) -> tuple[Finding, ...]:
    """Turn candidates into findings with a status, and add those that went quiet.

    Only a complete run can tell that a finding went quiet.

    Args:
        candidates: from `identified`.
        known: the findings known from earlier slots of this hunt and cluster.
        plan: this run's plan.
        outcome: this run's outcome.
    """
    present = tuple(
        _finding(rows, known, plan) for _, rows in candidates.groupby("fingerprint", sort=False)
    )
    if outcome is not Outcome.COMPLETE:
        return present
    quiet = (
        replace(finding, status=Status.QUIET, changed_binary=False, candidates=0)
        for finding in known.absent
    )
    return present + tuple(quiet)


def _status(fingerprint: str, known: Known) -> Status:
    if known.comparable is None:
        return Status.BASELINE
    if fingerprint in known.in_comparable:
        return Status.CONTINUING
    return Status.RETURNED if fingerprint in known.memories else Status.NEW


def _away_since(fingerprint: str, known: Known, plan: Plan) -> datetime | None:
    """Give the slot that last saw a returned finding, if it was away long enough to announce."""
    if _status(fingerprint, known) is not Status.RETURNED:
        return None
    last_seen = known.memories[fingerprint].last_seen
    long_enough = timedelta(days=plan.announce_returned_after_days)
    return last_seen if plan.slot - last_seen >= long_enough else None


def _finding(rows: pd.DataFrame, known: Known, plan: Plan) -> Finding:
    """Make one finding from the candidates with the same identity, the strongest first."""
    row = {str(column): cell for column, cell in rows.iloc[0].items()}
    key = row["fingerprint"]
    memory = known.memories.get(key)
    figures = {
        column: _value(cell)
        for column, cell in row.items()
        if column not in _ATTRIBUTES | {"identity", "fingerprint"}
    }
    return Finding(
        fingerprint=key,
        id=known.ids[key],
        cluster=plan.cluster,
        hunt_uuid=plan.hunt.uuid,
        identity=row["identity"],
        status=_status(key, known),
        first_seen=memory.first_seen if memory else plan.slot,
        last_seen=plan.slot,
        away_since=_away_since(key, known, plan),
        host=Host(id=_text(rows, "host.id"), name=_text(rows, "host.name")),
        user_name=_text(rows, "user.name"),
        process=Process(
            name=_text(rows, "process.name"),
            executable=_text(rows, "process.executable"),
            entity_ids=_all_texts(rows, "process.entity_id"),
            code_signature=CodeSignature(
                exists=_flag(row.get("process.code_signature.exists")),
                trusted=_flag(row.get("process.code_signature.trusted")),
            ),
        ),
        destination=NetworkDestination(
            address=_text(rows, "destination.address"),
            ip=next(iter(_all_texts(rows, "destination.ip")), None),
            ports=tuple(sorted(int(port) for port in _all(rows, "destination.port"))),
            domain=next(iter(_all_texts(rows, "destination.domain")), None),
        ),
        figures=figures,
        candidates=len(rows),
    )


def _flag(cell: Any) -> bool | None:  # noqa: ANN401 - a cell of an answer.
    """Give a boolean cell; one with both values counts as None."""
    return None if isinstance(cell, list) else cell


def _all(rows: pd.DataFrame, column: str) -> set[Any]:
    """Collect the distinct values in a column whose cells may have several, one or no value."""
    return {value for cell in rows.get(column, ()) for value in values(cell)}


def _text(rows: pd.DataFrame, column: str) -> str | None:
    """Give a column as one text: any column of a hunt's answer may have several values."""
    return ", ".join(_all_texts(rows, column)) or None


def _all_texts(rows: pd.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(sorted(str(value) for value in _all(rows, column)))


@step  # No retries: it reads the local history, and the rest is pure.
def diff(
    history: History, answer: Answer, coverage: Coverage, plan: Plan
) -> tuple[tuple[Finding, ...], Known, Outcome]:
    """Compare the answer's candidates with the history, which also decides on a baseline."""
    candidates = identified(answer, plan.hunt, plan.cluster)
    fingerprints = frozenset(candidates["fingerprint"])
    known = history.known(plan.hunt.uuid, plan.cluster, plan.slot, fingerprints)
    outcome = plan.outcome(coverage, whole=answer.is_whole, first=known.comparable is None)
    findings = compared(candidates, known, plan, outcome)
    new = sum(finding.status is Status.NEW for finding in findings)
    get_run_logger().info("%d candidates, %d findings, %d new", len(candidates), len(findings), new)
    return findings, known, outcome
