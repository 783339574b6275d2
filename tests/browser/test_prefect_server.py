"""Prefect's server as a browser sees it: from its own pages, and from a page of somebody else."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from tests.terminal import ROOT, without_prefect

SERVER = """
import os, sys
from pathlib import Path
from flows.prefect_server import QUIET, own_prefect, start_server
os.environ |= QUIET
folder = Path(sys.argv[1])
own = own_prefect(0, folder / "prefect")
with (folder / "log").open("wb") as log, start_server(own, log):
    print(own.url, own.login, flush=True)
    sys.stdin.read()
"""


class Server(NamedTuple):
    """Where it is, and how to log in."""

    url: str
    login: str


@pytest.fixture(scope="module")
def prefect(browser, tmp_path_factory) -> Iterator[Server]:
    """Start one server for the module, unless there is no browser."""
    folder = tmp_path_factory.mktemp("prefect")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, folder],
        cwd=ROOT,
        env=without_prefect(BEACONHUNT_HOME=str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        started = process.stdout.readline()
        assert started, (folder / "log").read_text()
        yield Server(*started.split())
        process.stdin.close()


class SomebodyElses(BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Prizes</title>")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Give the address of a page of another origin, in the same browser."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SomebodyElses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def log_in(page, login):
    page.get_by_placeholder("admin:pass").fill(login)
    page.get_by_role("button", name="Login").click()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_prefect_s_ui_works_once_the_login_is_typed_in(visit, prefect, name):
    """It asks for the line in the file; another one shows nothing."""
    page = visit(prefect.url.replace("127.0.0.1", name))
    log_in(page, "beaconhunt:guessed")
    page.get_by_text("Invalid credentials").first.wait_for()
    log_in(page, prefect.login)
    page.get_by_role("link", name="Deployments").wait_for()
    page.get_by_text("Run a task or flow to get started").wait_for()


TRY = """async ([url, login]) => {
    const known = {"content-type": "application/json", authorization: "Basic " + btoa(login)};
    const outcome = (path, options) =>
        fetch(url + path, options).then(answer => answer.type, () => "refused");
    const listed = {method: "POST", headers: known, body: "{}"};
    return {
        health: await outcome("/api/health"),
        read: await outcome("/api/admin/version"),
        readWithLogin: await outcome("/api/flows/filter", listed),
        start: await outcome("/api/flows/", {
            method: "POST", mode: "no-cors", body: JSON.stringify({name: "evil"}),
        }),
        stream: await new Promise(resolve => {
            const address = url.replace("http", "ws") + "/api/events/out";
            const socket = new WebSocket(address, ["prefect"]);
            socket.onopen = () => socket.send(JSON.stringify({type: "auth", token: "guessed"}));
            socket.onmessage = event => resolve(event.data);
            socket.onclose = event => resolve(event.reason);
        }),
    };
}"""

FORM = """url => {
    const form = document.createElement("form");
    form.method = "post";
    form.enctype = "text/plain";
    form.action = url + "/api/flows/";
    const field = document.createElement("input");
    field.name = '{"name": "evil", "ignored": "';
    field.value = '"}';
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


def test_a_page_of_another_origin_neither_reads_nor_starts_anything(visit, prefect, elsewhere):
    """Also in the browser whose user has just logged in."""
    page = visit(prefect.url)
    log_in(page, prefect.login)
    page.get_by_role("link", name="Deployments").wait_for()
    page.goto(elsewhere)
    assert page.evaluate(TRY, [prefect.url, prefect.login]) == {
        "read": "refused",
        "readWithLogin": "refused",
        "health": "refused",
        "start": "opaque",
        "stream": "Invalid token",
    }
    page.evaluate(FORM, prefect.url)
    page.get_by_text("Unauthorized").wait_for()
    assert flows_of(page, prefect) == []


def flows_of(page, prefect):
    """List the flows, as a program with the login may."""
    user, password = prefect.login.split(":")
    context = page.context.browser.new_context(
        http_credentials={"username": user, "password": password, "send": "always"}
    )
    flows = context.request.post(f"{prefect.url}/api/flows/filter", data={}).json()
    context.close()
    return flows
