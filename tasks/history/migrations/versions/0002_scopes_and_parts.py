"""What a destination hears of, since when, for each cluster and hunt; each part of a digest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Keep what every destination has heard, and lose nothing that it has not."""
    _hear_of_each_cluster_and_hunt()
    _keep_each_part()
    _number_digests()


def _hear_of_each_cluster_and_hunt() -> None:
    """Which ones were in a destination's scope was not kept: it goes on to hear of all of them."""
    op.create_table(
        "scopes",
        sa.Column("destination_key", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("hunt", sa.String(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("destination_key", "cluster", "hunt", name="pk_scopes"),
        sa.ForeignKeyConstraint(
            ["destination_key"], ["destinations.key"], name="fk_scopes_destination_key"
        ),
    )
    op.execute(
        """
        INSERT INTO scopes (destination_key, cluster, hunt, since)
        SELECT DISTINCT destinations.key, runs.cluster, runs.hunt, destinations.since
        FROM destinations
        CROSS JOIN runs
        """
    )
    op.drop_column("destinations", "since")


def _keep_each_part() -> None:
    """Until now a digest was one part, posted when it was sent."""
    op.create_table(
        "parts",
        sa.Column("digest_id", sa.String(12), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("news", sa.Text(), nullable=False),
        sa.Column("posted_at", MOMENT),
        sa.Column("slack_ts", sa.String()),
        sa.PrimaryKeyConstraint("digest_id", "number", name="pk_parts"),
        sa.ForeignKeyConstraint(["digest_id"], ["digests.id"], name="fk_parts_digest_id"),
    )
    op.execute(
        """
        INSERT INTO parts (digest_id, number, news, posted_at, slack_ts)
        SELECT id, 1, news, CASE status WHEN 'sent' THEN settled_at END, slack_ts
        FROM digests
        """
    )
    op.drop_column("digests", "news")
    op.drop_column("digests", "slack_ts")


def _number_digests() -> None:
    """Number each destination's digests; whoever was sending one has ended by now."""
    # With defaults, because SQLite adds no other columns that must not be empty.
    for column, kind, default in (
        ("number", sa.Integer(), "0"),
        ("sender", sa.String(12), ""),
        ("lease_until", MOMENT, "1970-01-01 00:00:00"),
        ("gaps", sa.Text(), "[]"),
    ):
        op.add_column("digests", sa.Column(column, kind, nullable=False, server_default=default))
    op.execute(
        """
        UPDATE digests
        SET lease_until = begun_at,
            number = (
                SELECT COUNT(*)
                FROM digests AS other
                WHERE other.destination_key = digests.destination_key
                  AND (other.begun_at, other.id) <= (digests.begun_at, digests.id)
            )
        """
    )
    op.drop_index("ix_digests_destination_key_slot", "digests")
    op.create_index(
        "uq_digests_destination_key_number", "digests", ["destination_key", "number"], unique=True
    )
