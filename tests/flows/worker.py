"""A worker's prefect.yaml: a run may use only what is listed there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from prefect.flows import Flow
from pydantic import BaseModel

from flows.allowed import CONFIG_VARIABLE, RunSettings

Deployed = tuple[Flow, Mapping[str, Any]]
"""A flow, and the parameters of its deployment."""


@contextmanager
def worker_with(*deployed: Deployed) -> Iterator[None]:
    """Be a worker whose prefect.yaml lists these deployments."""
    document = [
        {
            "name": str(number),
            "entrypoint": f"{flow.fn.__module__}.{flow.fn.__name__}",
            "parameters": {name: _plain(value) for name, value in parameters.items()},
        }
        for number, (flow, parameters) in enumerate(deployed)
    ]
    # Below the tests' home, which goes at the end: a test may kill this process.
    with TemporaryDirectory(dir=os.environ["PREFECT_HOME"]) as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(json.dumps({"deployments": document}))
        with mock.patch.dict(os.environ, {CONFIG_VARIABLE: str(file)}):
            yield


def run_deployed(flow: Flow, *, return_state: bool = True, **parameters: Any) -> Any:
    """Run a flow on a worker whose prefect.yaml lists these parameters; give its final state."""
    listed = {name: parameters[name] for name in RunSettings.model_fields if name in parameters}
    with worker_with((flow, listed)):
        return flow(**parameters, return_state=return_state)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
