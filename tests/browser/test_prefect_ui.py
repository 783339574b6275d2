"""What attackers wrote, in Prefect's own UI: it draws artifacts as Markdown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_server import start_process
from tasks.publish import publish
from tasks.report import markdown_summary
from tests.builders import finding, report, run
from tests.poison import poisoned
from tests.terminal import ROOT, free_port

HOSTILE = poisoned(report(run(), finding()))
OF = replace(HOSTILE, run=replace(HOSTILE.run, cluster="corp", hunt="unsigned"))
"""The names of cluster and hunt are ours: a setting and a hunt file's name, both checked."""


@flow
def publish_hostile() -> None:
    """Publish as a hunt does."""
    publish(OF, markdown_summary(OF), "/archive/report.html")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """Publish a hostile run on a Prefect server, and give the addresses of its artifacts."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    server = f"http://127.0.0.1:{port}"
    own = {"PREFECT_HOME": folder, "PREFECT_UI_STATIC_DIRECTORY": folder / "ui"}
    own |= {"PREFECT_API_URL": f"{server}/api"}
    env = {**os.environ, **{name: str(value) for name, value in own.items()}}
    start = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with (
        (folder / "said").open("wb") as said,
        start_process(start, env, signal.SIGTERM, said) as process,
        temporary_settings({PREFECT_API_URL: f"{server}/api"}),
    ):
        while process.poll() is None and not answers(f"{server}/api/health"):
            time.sleep(0.2)
        # In a process of its own: this one would wait at its end for a server that is gone by then.
        subprocess.run(
            [sys.executable, "-c", f"from {__name__} import publish_hostile; publish_hostile()"],
            check=True,
            cwd=ROOT,
            env=env,
        )
        with get_client(sync_client=True) as client:
            written = client.read_artifacts()
        yield {each.key: f"{server}/artifacts/artifact/{each.id}" for each in written}


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("key", ["corp-unsigned-summary", "corp-unsigned-findings"])
def test_an_artifact_shows_hostile_names_and_does_nothing(visit, artifacts, key):
    """No script, picture, link or request comes from a name; the name is there to be read."""
    address = artifacts[key]
    page = visit(address)
    page.get_by_text("PWNED").first.wait_for()
    page.wait_for_timeout(200)
    assert page.title() != "PWNED"
    assert page.locator("img[src='x'], a[href*='evil.example']").count() == 0
    server = address.partition("/artifacts/")[0]
    asked = [heard for heard in page.heard if "evil.example" in heard.removeprefix(server)]
    assert (asked, "dialog" in page.heard) == ([], False)
