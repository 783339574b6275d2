"""What Alembic runs: from the open connection in its configuration to a migrated history."""

from __future__ import annotations

from alembic import context

from tasks.history.models import Base
from tasks.history.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
