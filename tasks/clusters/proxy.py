"""Proxies: from HTTPS_PROXY and NO_PROXY to the way to a cluster, as Slack's client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3.util import Url, make_headers, parse_url

from tasks.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that opens a tunnel to a cluster: it sees the host's name and no request.

    Attributes:
        url: its address, without user and password.
        headers: headers for the proxy itself; they may hold its password.
    """

    url: Url
    headers: Mapping[str, str]


def proxy_to(url: str) -> Proxy | None:
    """Find the proxy for a cluster; None for a direct way, which every http:// address has.

    Raises:
        SettingsError: HTTPS_PROXY is not the address of a proxy.
    """
    address = urlsplit(url)
    proxy = getproxies().get("https")
    if address.scheme != "https" or not proxy or proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    try:
        found = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        found = Url()
    if found.scheme != "http" or not found.host:
        raise SettingsError(
            "HTTPS_PROXY is not the address of a proxy.",
            "Give its host and port on the worker, for example http://proxy.example.com:3128.",
        )
    headers = make_headers(proxy_basic_auth=unquote(found.auth)) if found.auth else {}
    return Proxy(Url("http", host=found.host, port=found.port or 80), headers)
