"""The names that a server on loopback answers to."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from flows.host_check import HostCheck

SERVER = HostCheck(PlainTextResponse("findings"))


def asked(host):
    """Ask for a page in the name of a host."""

    async def answer():
        transport = httpx.ASGITransport(SERVER)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
            return await browser.get("/", headers={"host": host})

    return asyncio.run(answer())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9000", "127.0.0.1:4200"])
def test_this_machine_is_answered(host):
    """By both of its names, and with any port: a tunnel ends at another one."""
    assert (asked(host).status_code, asked(host).text) == (200, "findings")


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127a0b0c1", "[::1]"],
)
def test_another_name_is_refused(host):
    """The web site that has this name gets nothing."""
    assert (asked(host).status_code, "findings" in asked(host).text) == (421, False)


def test_a_websocket_to_another_name_is_refused_before_it_is_accepted():
    """No message goes either way."""
    sent = []

    async def send(message):
        sent.append(message["type"])

    scope = {"type": "websocket", "headers": [(b"host", b"evil.example")]}
    asyncio.run(SERVER(scope, None, send))
    assert sent == ["websocket.close"]
