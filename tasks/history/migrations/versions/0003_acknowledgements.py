"""Analysts' words on findings, and which sightings were not announced for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Keep acknowledgements; nothing that was recorded so far is acknowledged."""
    op.create_table(
        "acknowledgements",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("finding_key", sa.Integer(), nullable=False),
        sa.Column("anywhere", sa.String(64)),
        sa.Column("hash_sha256", sa.String(64)),
        sa.Column("given_by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("given_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("ended_by", sa.String()),
        sa.PrimaryKeyConstraint("key", name="pk_acknowledgements"),
        sa.ForeignKeyConstraint(
            ["finding_key"], ["findings.key"], name="fk_acknowledgements_finding_key"
        ),
    )
    # Alembic would copy the largest table: SQLite adds no constraint, but takes one with a column.
    op.execute(
        """
        ALTER TABLE sightings
        ADD COLUMN acknowledgement_key INTEGER
        CONSTRAINT fk_sightings_acknowledgement_key REFERENCES acknowledgements (key)
        """
    )
    muted = sa.text("acknowledgement_key IS NOT NULL")
    op.create_index(
        "ix_sightings_acknowledged",
        "sightings",
        ["run_key", "status"],
        sqlite_where=muted,
        postgresql_where=muted,
    )
