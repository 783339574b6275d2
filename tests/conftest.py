"""Prefect's settings for tests: a home of its own, nothing sent anywhere, no noise.

They stand in the environment before anything imports Prefect, which reads them once.
"""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from hypothesis import settings

from tests import postgresql, s3_server, sqlite  # noqa: F401 - it makes SQLite forgetful.
from tests.certificates import Authority

_END = b"-----END CERTIFICATE-----\n"
_HOME = tempfile.mkdtemp(prefix="beaconhunt-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
Path(f"{_HOME}/authority.pem").write_bytes(
    Path(certifi.where()).read_bytes().partition(_END)[0] + _END
)

os.environ.update(
    {
        "PREFECT_HOME": _HOME,
        "BEACONHUNT_HOME": f"{_HOME}/beaconhunt",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        # Without these services a flow run of a test takes a tenth of a second, not two.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
        # These look after deployments, of which tests make none here.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
        # A client reads all of the world's authorities, for servers on loopback without TLS.
        "PREFECT_API_SSL_CERT_FILE": f"{_HOME}/authority.pem",
        # To say whose line a cluster's warning is about, a new process would read every module.
        "DISABLE_WARN_STACKLEVEL": "1",
    }
)
for variable in ("PREFECT_API_URL", "PREFECT_PROFILE", "SLACK_BOT_TOKEN"):
    os.environ.pop(variable, None)

# A job in the background ignores Ctrl-C, and so would all that tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example may take longer than the 200 ms of the default.
settings.register_profile("beaconhunt", deadline=None)
settings.load_profile("beaconhunt")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Sign certificates for servers on loopback."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """One server for the session, started by the first test that asks for it."""
    with postgresql.running(postgresql.require_binaries()) as server:
        yield server


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """Give the URL of a bucket in S3; one server for the session, as above."""
    with s3_server.running() as bucket:
        yield bucket
