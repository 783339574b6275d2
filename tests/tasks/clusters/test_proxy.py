import logging

import pytest

from tasks.clusters import connect
from tasks.clusters.proxy import proxy_to
from tasks.errors import SettingsError, Unreachable
from tasks.settings import Cluster
from tasks.text.foreign import presentable
from tests.elasticsearch_server import Access, ElasticsearchServer
from tests.proxy_server import ProxyServer

KEY = "canary-api-key-91d2"
ES = "https://es.example.com:9200"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No proxy but that of the test."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ES_PROD_API_KEY", KEY)
    return monkeypatch


def version(url: str, **settings: object) -> str | None:
    cluster = Cluster(name="prod", url=url, api_key_env="ES_PROD_API_KEY", **settings)
    with connect(cluster) as client:
        return client.server.number


def test_a_cluster_is_reached_through_a_tunnel_that_sees_no_request(environment, authority, caplog):
    """The proxy learns host and port; its own password goes to it, and into no log."""
    caplog.set_level(logging.DEBUG)
    certificate = authority.good()
    with (
        ProxyServer() as proxy,
        ElasticsearchServer(access=Access(KEY), certificate=certificate) as server,
    ):
        url = proxy.url.replace("://", "://scanner:canary%2Fproxy@")
        environment.setenv("HTTPS_PROXY", url)
        assert version(server.url, ca_certs=str(authority.path)) == "8.19.3"
        assert version(server.url, ca_fingerprint=authority.fingerprint) == "8.19.3"
    assert proxy.asked == [server.url.removeprefix("https://")] * 2
    assert proxy.headers[0]["Proxy-Authorization"] == "Basic c2Nhbm5lcjpjYW5hcnkvcHJveHk="
    assert KEY.encode() not in proxy.seen
    assert "Proxy-Authorization" not in server.requests[0].headers
    assert "canary" not in caplog.text


def test_a_cluster_in_no_proxy_and_every_http_address_are_reached_directly(environment, authority):
    """A proxy would see the key of a cluster without TLS."""
    certificate = authority.good()
    with (
        ProxyServer() as proxy,
        ElasticsearchServer() as plain,
        ElasticsearchServer(certificate=certificate) as server,
    ):
        environment.setenv("HTTPS_PROXY", proxy.url)
        environment.setenv("HTTP_PROXY", proxy.url)
        assert version(plain.url) == "8.19.3"
        environment.setenv("NO_PROXY", "es.example.com,127.0.0.1")
        assert version(server.url, ca_certs=str(authority.path)) == "8.19.3"
    assert proxy.asked == []


@pytest.mark.parametrize("status", [403, 407, 503])
def test_a_tunnel_that_is_refused_names_the_proxy_without_its_password(environment, status):
    """An operator asks the right people, and the log may be shown to them."""
    with ProxyServer(refusal=status) as proxy:
        environment.setenv("https_proxy", proxy.url.replace("://", "://scanner:canary-proxy@"))
        with pytest.raises(Unreachable) as caught:
            version(ES)
    assert proxy.asked == ["es.example.com:9200"]
    host = proxy.url.removeprefix("http://")
    assert f"es.example.com:9200, through the proxy {host}, cannot be reached" in str(caught.value)
    assert str(status) in caught.value.problem
    assert "HTTPS_PROXY" in caught.value.remedy
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["socks5://proxy:1080", "https://proxy:3128", "http://", "http://proxy:x", "://"]
)
def test_a_proxy_of_another_kind_is_refused_in_words(environment, address):
    """Silently going around it would be worse."""
    environment.setenv("HTTPS_PROXY", address)
    with pytest.raises(SettingsError, match="HTTPS_PROXY") as caught:
        version(ES)
    assert "http://proxy.example.com:3128" in caught.value.remedy


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("es.example.com", True),
        (".example.com", True),
        ("*", True),
        ("ample.com", False),
        ("es.example.com:9200", True),
        ("es.example.com:443", False),
        ("", False),
    ],
)
def test_no_proxy_is_read_as_pythons_own_client_reads_it(environment, no_proxy, direct):
    """Slack's client is that one, so that both go the same way."""
    environment.setenv("HTTPS_PROXY", "proxy:3128")
    environment.setenv("NO_PROXY", no_proxy)
    assert (proxy_to(ES) is None) is direct


def test_the_password_of_a_proxy_is_masked_where_a_page_repeats_it(environment):
    """Also in the form in which it was sent."""
    environment.setenv("HTTPS_PROXY", "http://scanner:canary-proxy@proxy:3128")
    assert presentable("Basic c2Nhbm5lcjpjYW5hcnktcHJveHk=") == "Basic [secret]"
