"""An S3 server on loopback: moto's, with real sockets, and gone after the tests.

```python
with running() as bucket:
    write_run(f"{bucket}/archive", ...)
```
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "s3://reports"


@contextmanager
def running() -> Iterator[str]:
    """Start the server, let this environment name it, and give the URL of a bucket in it."""
    # It writes a line a request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Nothing of the user's own, and no question to a cloud that is not there.
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            environment.setenv(name, value)
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield BUCKET
    server.stop()
