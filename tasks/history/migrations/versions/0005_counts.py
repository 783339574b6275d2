"""How many findings a run had, with the run: its sightings may be pruned."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


_FINDINGS = """
SELECT run_key, status, COUNT(*)
FROM sightings
GROUP BY run_key, status
"""

_ACKNOWLEDGED = """
SELECT run_key, status, COUNT(*)
FROM sightings
WHERE acknowledgement_key IS NOT NULL
GROUP BY run_key, status
"""

_KEEP = """
UPDATE runs
SET counts = :counts, acknowledged = :acknowledged
WHERE key = :key
"""


def upgrade() -> None:
    """Count what every run saw."""
    # With defaults, because SQLite adds no other columns that must not be empty.
    for column, kind, default in (
        ("counts", sa.Text(), "{}"),
        ("acknowledged", sa.Integer(), "0"),
        ("pruned", sa.Boolean(), sa.false()),
    ):
        op.add_column("runs", sa.Column(column, kind, nullable=False, server_default=default))
    acknowledged = _counts(_ACKNOWLEDGED)
    for key, seen in _counts(_FINDINGS).items():
        muted = acknowledged[key]
        kept = {"key": key, "counts": json.dumps(seen - muted), "acknowledged": muted.total()}
        op.get_bind().execute(sa.text(_KEEP), kept)
    op.drop_index("ix_sightings_acknowledged", "sightings")


def _counts(query: str) -> defaultdict[int, Counter[str]]:
    """Count findings by run and status."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for run_key, status, count in op.get_bind().execute(sa.text(query)):
        counts[run_key][status] = count
    return counts
