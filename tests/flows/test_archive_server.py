import asyncio
import http.client
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import uvicorn

from flows import archive_server
from flows.loopback import bind_loopback
from tasks.archive import write_index, write_run
from tasks.errors import ArchiveError, SettingsError
from tasks.report import pages_of
from tests.builders import finding, report, run
from tests.terminal import CTRL_C, Terminal, free_port, without_prefect

OF = report(run(), finding())


@dataclass(frozen=True)
class Answer:
    """What came back; headers are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes


class Served:
    """An archive, and the server of it at a terminal."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "archive"
        self.port = free_port()
        self.report = Path(write_run(str(self.archive), OF, pages_of(OF)).removeprefix("file://"))
        write_index(str(self.archive))
        self.terminal = Terminal(
            folder / "said",
            *("serve-archive", "--archive-url", str(self.archive), "--port", str(self.port)),
            env=without_prefect(),
        )

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Send a path as it is: a client with manners would tidy it up first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection._validate_path = lambda _: None
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, content)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served"))
    with served.terminal:
        served.terminal.wait_for("Ready: ")
        yield served


def path_of(served, name):
    """Give the path of a file of the run."""
    return f"/{served.report.with_name(name).relative_to(served.archive)}"


def test_it_answers_when_it_says_so_and_at_the_root_with_the_index(served):
    """Who opens the address that is printed sees the archive."""
    assert f"Ready: http://127.0.0.1:{served.port}/ " in served.terminal.said
    assert served.ask("/").content == (served.archive / "index.html").read_bytes()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("findings.json", "application/json"),
        ("run.json", "application/json"),
        ("findings.csv", "text/csv; charset=utf-8"),
    ],
)
def test_every_file_of_a_run_comes_as_it_is_with_its_type(served, name, kind):
    """A browser shows pages and schema, and takes nothing for what it is not."""
    answer = served.ask(path_of(served, name))
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.content == served.report.with_name(name).read_bytes()
    assert served.ask("/schema/findings-1.json").status == 200


def test_head_is_get_without_the_content(served):
    """Programs that watch a page ask so."""
    head, get = served.ask("/", "HEAD"), served.ask("/")
    assert (head.status, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "MKCOL", "TRACE"])
def test_nothing_but_reading(served, method):
    """The archive's server changes nothing."""
    answer = served.ask("/index.html", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8600", ""]
)
def test_another_name_for_this_machine_gets_nothing(served, host):
    """A web site that resolves its own name to loopback cannot read findings."""
    answer = served.ask("/", host=host)
    assert answer.status == 421
    assert b"beaconing" not in answer.content


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1"])
def test_this_machine_has_two_names(served, host):
    """A tunnel ends at another port."""
    assert served.ask("/", host=host).status == 200


def outside(served):
    """Make what nobody may read: beside the archive, hidden in it, or linked out of it."""
    secret = served.archive.parent / "secret.html"
    secret.write_text("canary")
    (served.archive / "linked.html").unlink(missing_ok=True)
    (served.archive / "linked.html").symlink_to(secret)
    (served.archive / "loop.html").unlink(missing_ok=True)
    (served.archive / "loop.html").symlink_to("loop.html")
    shutil.rmtree(served.archive / "folder", ignore_errors=True)
    (served.archive / "folder").unlink(missing_ok=True)
    (served.archive / "folder").symlink_to(secret.parent)
    for name in (".hidden.html", "index.html.0a.tmp", "secret.txt", "run.json~", "page.html.gz"):
        (served.archive / name).write_text("canary")
    (served.archive / "directory.html").mkdir(exist_ok=True)
    if not (served.archive / "pipe.html").exists():
        os.mkfifo(served.archive / "pipe.html")
    return secret


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/%2E%2E%2Fsecret.html",
        "/..%2fsecret.html",
        "/%252e%252e/secret.html",
        "/..%5csecret.html",
        "/schema/../../secret.html",
        "/schema/%2e%2e/%2e%2e/secret.html",
        "/./index.html",
        "//index.html",
        "/schema//findings-1.json",
        "{secret}",
        "/{secret}",
        "/%2f{secret}",
        "file://{secret}",
        "/file:{secret}",
        "http://127.0.0.1/../secret.html",
        "/index.html%00",
        "/%00/index.html",
        "/index.html%00.html",
        "/index.html%0a",
        "/linked.html",
        "/folder/secret.html",
        "/loop.html",
        "/pipe.html",
        "/directory.html",
        "/.hidden.html",
        "/%2ehidden.html",
        "/index.html.0a.tmp",
        "/secret.txt",
        "/run.json~",
        "/page.html.gz",
        "/INDEX.HTML",
        "/index.html/",
        "/schema",
        "/schema/",
        "/schema/.html",
        "/no-such-page.html",
        "/%ff.html",
        "/%C0%AE%C0%AE/secret.html",
    ],
)
def test_what_is_no_file_of_the_archive_is_not_found(served, path):
    """No listing, nothing outside, nothing half written, however the path is spelt."""
    secret = outside(served)
    answer = served.ask(path.replace("{secret}", str(secret)))
    assert answer.status == 404
    assert b"canary" not in answer.content
    assert b"The archive has no such page." in answer.content
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_every_answer_has_the_policies(served):
    """Also a refusal is a page."""
    answers = [
        served.ask("/"),
        served.ask("/no-such-page.html"),
        served.ask("/", "POST"),
        served.ask(path_of(served, "findings.json")),
    ]
    assert [answer.status for answer in answers] == [200, 404, 405, 200]
    for headers in (answer.headers for answer in answers):
        policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
        for directive in ("default-src", "frame-ancestors", "base-uri", "form-action"):
            assert policy[directive] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_only_this_machine_is_answered(served):
    """It listens on 127.0.0.1 and on no other address of the machine."""
    with pytest.raises(OSError, match=r"refused|assign|timed out"):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)


def test_a_run_that_is_archived_meanwhile_is_shown(served):
    """The index is read anew each time."""
    later = report(run(cluster="demo-later"), finding())
    write_run(str(served.archive), later, pages_of(later))
    assert b"demo-later" not in served.ask("/").content
    write_index(str(served.archive))
    assert b"demo-later" in served.ask("/").content


def test_a_file_that_cannot_be_read_says_so(served):
    """Somebody took the permission away: a page says it, and the server goes on."""
    forbidden = served.archive / "forbidden.html"
    forbidden.write_text("canary")
    forbidden.chmod(0)
    expected = 200 if os.access(forbidden, os.R_OK) else 503
    assert served.ask("/forbidden.html").status == expected
    assert served.ask("/").status == 200


def closed_after(connection: socket.socket, seconds: float = 30) -> bytes:
    """Give what came back until the server closed the connection; `seconds` only ends the test."""
    connection.settimeout(seconds)
    came = b""
    try:
        while more := connection.recv(65536):
            came += more
    except ConnectionResetError:
        pass
    return came


@pytest.fixture(scope="module")
def impatient(served) -> Iterator[int]:
    """Serve the archive in this process with half a second for headers, to three connections."""
    config = archive_server.configuration(str(served.archive), header_seconds=0.5, connections=3)
    server = uvicorn.Server(config)
    with bind_loopback(0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HTTP/1.1\r\n",
        b"GET /no HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n",
    ],
    ids=["nothing", "half a request", "half a second request", "no body"],
)
def test_a_connection_without_a_whole_request_is_closed(impatient, begun):
    """A program that sends a byte now and then holds no connection open."""
    with socket.create_connection(("127.0.0.1", impatient)) as slow:
        slow.sendall(begun)
        assert closed_after(slow).count(b"HTTP/1.1 ") == begun.count(b"\r\n\r\n")


def trickle(slow: socket.socket) -> None:
    """Send a header every tenth of a second, for half a minute."""
    for _ in range(300):
        slow.sendall(b"X: y\r\n")
        time.sleep(0.1)


def test_a_byte_now_and_then_gains_no_time(impatient):
    """The time is for all headers together."""
    with socket.create_connection(("127.0.0.1", impatient)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):
            trickle(slow)


def test_connections_beyond_the_limit_are_closed_at_once(impatient):
    """What holds them open is closed in the end, and the archive is served again."""
    held = [socket.create_connection(("127.0.0.1", impatient)) for _ in range(3)]
    with socket.create_connection(("127.0.0.1", impatient)) as one_more:
        assert closed_after(one_more, seconds=0.4) == b""
    for each in held:
        assert closed_after(each) == b""
        each.close()
    assert httpx.get(f"http://127.0.0.1:{impatient}/").status_code == 200


def test_a_second_one_is_refused_with_a_remedy(served, tmp_path):
    """Two archives need two ports."""
    with Terminal(
        tmp_path / "said",
        *("serve-archive", "--archive-url", str(served.archive), "--port", str(served.port)),
        env=without_prefect(),
    ) as second:
        assert second.end() == 1
    assert f"error: Port {served.port} is not available: Address already in use." in second.said
    assert "remedy: Choose another port with --port" in second.said


def test_ctrl_c_ends_it_with_a_sentence(served):
    """Also while a browser holds its connection open and another has asked only half of it."""
    held = http.client.HTTPConnection("127.0.0.1", served.port)
    held.request("GET", "/")
    held.getresponse().read()
    with socket.create_connection(("127.0.0.1", served.port)) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        served.terminal.press(CTRL_C)
        assert served.terminal.end() == 0, served.terminal.said
    held.close()
    after = served.terminal.said.partition("Ready: ")[2].splitlines()[1:]
    assert [line.removeprefix("^C") for line in after if line not in {"", "^C"}] == [
        "Ended: the archive is no longer served."
    ]


def test_an_archive_in_s3_is_served_too(bucket):
    """What an object store keeps, a browser on this machine reads; what it does not is no page."""
    archive = f"{bucket}/{uuid.uuid4().hex}"
    write_run(archive, OF, pages_of(OF))
    write_index(archive)
    paths = (f"/{OF.run.folder}/findings.json", f"/{OF.run.folder}/no-such-file.json")
    there, gone = asyncio.run(answered(archive_server.ArchiveServer(archive), paths))
    assert there.content == OF.to_json()
    assert gone.status_code == 404


async def answered(server, paths):
    """Ask a server that has no socket."""
    transport = httpx.ASGITransport(server)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
        return [await browser.get(path) for path in paths]


class FallingSilent(BaseHTTPRequestHandler):
    """A store with one page, until it answers no more."""

    asked = threading.Event()
    silent = threading.Event()

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()

    def do_GET(self):
        if self.silent.is_set():
            self.asked.set()
            threading.Event().wait()
        self.do_HEAD()
        self.wfile.write(b"page")

    def log_message(self, *_):
        """Say nothing."""


def test_ctrl_c_does_not_wait_for_a_store_that_is_silent(bucket, tmp_path):
    """Its own patience is minutes; the person at the terminal has less."""
    store = ThreadingHTTPServer(("127.0.0.1", 0), FallingSilent)
    store.daemon_threads = True
    threading.Thread(target=store.serve_forever, daemon=True).start()
    port = free_port()
    with Terminal(
        tmp_path / "said",
        *("serve-archive", "--archive-url", bucket, "--port", str(port)),
        env=without_prefect(AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{store.server_port}"),
    ) as terminal:
        terminal.wait_for("Ready: ")
        FallingSilent.silent.set()
        browser = http.client.HTTPConnection("127.0.0.1", port)
        browser.request("GET", "/")
        assert FallingSilent.asked.wait(60)
        terminal.press(CTRL_C)
        assert terminal.end() == 0, terminal.said
    browser.close()
    store.shutdown()
    store.server_close()
    assert terminal.said.splitlines()[-1].endswith("Ended: the archive is no longer served.")


def test_where_there_is_no_archive_yet_the_remedy_is_a_run(tmp_path):
    """A folder that is missing or empty is no archive."""
    for archive in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ArchiveError) as caught:
            archive_server.serve_archive(str(archive), free_port(), print)
        assert caught.value.problem.startswith(f"There is no archive in {archive} yet")
        assert "Run a hunt" in caught.value.remedy


def test_a_url_that_nothing_reads_is_refused():
    """What is wrong is named, as it is when a run is archived."""
    with pytest.raises(ArchiveError, match="nosuch") as caught:
        archive_server.serve_archive("nosuch://bucket/archive", free_port(), print)
    assert caught.value.remedy


def test_a_port_for_root_is_refused_with_a_remedy(monkeypatch):
    """The system's words alone do not say which ports there are."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(SettingsError) as caught:
        bind_loopback(80)
    assert caught.value.problem == "Port 80 is not available: Permission denied."
    assert "1024" in caught.value.remedy


def test_a_port_that_is_taken_is_no_one_else_s():
    """Between taking it and serving on it, no other process can come in between."""
    with bind_loopback(0) as taken, pytest.raises(SettingsError, match="is not available"):
        bind_loopback(taken.getsockname()[1])
