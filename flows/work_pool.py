"""The work pool; it is created, or brought to this version, by name.

By Prefect's own template whoever starts a run may choose its command, environment and folder, as
job variables, and so which prefect.yaml counts, or any program. This pool's template has none: a
run's process has the worker's environment and folder.
"""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from flows.prefect_server import POOL

JOB_TEMPLATE = {
    "job_configuration": {"stream_output": True, "working_dir": "."},
    "variables": {"type": "object", "properties": {}},
}


def create_pool() -> None:
    """Create the pool on the current server, or overwrite its template."""
    pool = WorkPoolCreate(name=POOL, type="process", base_job_template=JOB_TEMPLATE)
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)


if __name__ == "__main__":
    create_pool()
