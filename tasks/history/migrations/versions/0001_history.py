"""Runs, findings, sightings, and each destination's ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
WORD = sa.String(16)


def upgrade() -> None:
    """Make every table of the first release."""
    _make_what_runs_leave()
    _make_ledgers()


def _make_what_runs_leave() -> None:
    op.create_table(
        "runs",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("hunt_uuid", sa.String(), nullable=False),
        sa.Column("hunt", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("slot", MOMENT, nullable=False),
        sa.Column("outcome", WORD, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sa.UniqueConstraint("cluster", "hunt_uuid", "slot", name="uq_runs_cluster_hunt_uuid_slot"),
    )
    op.create_index("ix_runs_slot", "runs", ["slot"])
    op.create_table(
        "findings",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("id", sa.String(67), nullable=False),
        sa.Column("document_slot", MOMENT, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_findings"),
        sa.UniqueConstraint("fingerprint", name="uq_findings_fingerprint"),
        sa.UniqueConstraint("id", name="uq_findings_id"),
    )
    op.create_table(
        "sightings",
        sa.Column("finding_key", sa.Integer(), nullable=False),
        sa.Column("slot", MOMENT, nullable=False),
        sa.Column("run_key", sa.Integer(), nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("changed_binary", sa.Boolean(), nullable=False),
        sa.Column("hash_sha256", sa.String(64)),
        sa.Column("priority", WORD),
        sa.Column("news", sa.String()),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("finding_key", "slot", name="pk_sightings"),
        sa.ForeignKeyConstraint(["finding_key"], ["findings.key"], name="fk_sightings_finding_key"),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name="fk_sightings_run_key"),
    )
    op.create_index("ix_sightings_run_key_status", "sightings", ["run_key", "status"])
    _make_index_of_some("ix_sightings_news", "sightings", "run_key", "news IS NOT NULL")


def _make_ledgers() -> None:
    op.create_table(
        "destinations",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("medium", WORD, nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_destinations"),
        sa.UniqueConstraint("name", "medium", name="uq_destinations_name_medium"),
    )
    op.create_table(
        "digests",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("destination_key", sa.Integer(), nullable=False),
        sa.Column("slot", MOMENT, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("payload_hash", sa.String(), nullable=False),
        sa.Column("slack_ts", sa.String()),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("settled_at", MOMENT),
        sa.Column("news", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_digests"),
        sa.ForeignKeyConstraint(
            ["destination_key"], ["destinations.key"], name="fk_digests_destination_key"
        ),
    )
    op.create_index("ix_digests_destination_key_slot", "digests", ["destination_key", "slot"])
    _make_index_of_some(
        "uq_digests_sending", "digests", "destination_key", "status = 'sending'", unique=True
    )
    op.create_table(
        "deliveries",
        sa.Column("destination_key", sa.Integer(), nullable=False),
        sa.Column("finding_key", sa.Integer(), nullable=False),
        sa.Column("news", sa.String(), nullable=False),
        sa.Column("digest_id", sa.String(12), nullable=False),
        sa.PrimaryKeyConstraint("destination_key", "finding_key", "news", name="pk_deliveries"),
        sa.ForeignKeyConstraint(
            ["destination_key"], ["destinations.key"], name="fk_deliveries_destination_key"
        ),
        sa.ForeignKeyConstraint(
            ["finding_key"], ["findings.key"], name="fk_deliveries_finding_key"
        ),
        sa.ForeignKeyConstraint(["digest_id"], ["digests.id"], name="fk_deliveries_digest_id"),
    )


def _make_index_of_some(
    name: str, table: str, column: str, condition: str, *, unique: bool = False
) -> None:
    """Index only the rows that meet a condition."""
    where = sa.text(condition)
    op.create_index(
        name, table, [column], unique=unique, sqlite_where=where, postgresql_where=where
    )
