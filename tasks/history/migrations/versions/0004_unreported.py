"""Reports with their runs, until the archive has them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Runs of before have left theirs."""
    op.add_column("runs", sa.Column("unreported", sa.Text()))
