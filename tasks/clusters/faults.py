"""Faults: from what Elasticsearch's client raises to our errors, each with its remedy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    SerializationError,
    UnsupportedProductError,
)
from elasticsearch import ConnectionError as ElasticsearchConnectionError
from elasticsearch.exceptions import SSLError
from pydantic import SecretStr

from tasks.errors import ClusterError, NotTrusted, QueryRefused, Unauthorised, Unreachable
from tasks.esql.errors import explain_position
from tasks.settings import Cluster

_POSITION = re.compile(r"\bline (\d+):(\d+)")
"""How Elasticsearch names a place in a query."""

_MAY_PASS = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

NOTHING_THERE_OR_NOTHING_READABLE = (
    "Either no such data stream exists there, or the API key may not read it: Elasticsearch says "
    "the same for both."
)


@contextlib.contextmanager
def in_our_words(
    cluster: Cluster, query: str = "", api_key: SecretStr | None = None
) -> Iterator[None]:
    """Translate what the client raises: the only place that knows its exceptions.

    What came back is not kept as a cause, because a proxy's page may repeat the request's headers.

    Args:
        cluster: who was asked.
        query: the ES|QL text, to mark a place in it.
        api_key: that was sent, to keep it out of every text.
    """
    name, key = cluster.name, cluster.api_key or "none is set"
    try:
        yield
    except AuthenticationException:
        raise Unauthorised(
            f"{name}: the API key is not accepted (secret {key}).",
            "Put a valid, unexpired API key there, for the worker.",
        ) from None
    except AuthorizationException as error:
        raise Unauthorised(
            f"{name}: the API key may not do this (secret {key}): {_said(error, api_key)}",
            "Give it `read` and `view_index_metadata` on the indices that the hunt reads.",
        ) from None
    except UnsupportedProductError:
        raise QueryRefused(
            f"{name}: what answers at {host_of(cluster)} is not Elasticsearch.",
            "Correct `url` of the cluster; a proxy must pass the header X-Elastic-Product on.",
        ) from None
    except ApiError as error:
        raise _refused(cluster, query, error, _said(error, api_key)) from None
    except SSLError as error:
        raise NotTrusted(
            f"{name}: the certificate of {host_of(cluster)} is not to be trusted: {error.message}",
            "Set `ca_certs` to the authority that signed it or `ca_fingerprint` to its SHA-256, "
            "and use a host name that it covers.",
        ) from error
    except ConnectionTimeout as error:
        raise Unreachable(
            f"{name}: {host_of(cluster)} did not answer in time.",
            "Look at the cluster's load and at the network between.",
        ) from error
    except ElasticsearchConnectionError as error:
        raise Unreachable(
            f"{name}: {host_of(cluster)} cannot be reached: {error.message}",
            "Check `url` of the cluster, the network and the firewall.",
        ) from error
    except SerializationError:
        raise Unreachable(
            f"{name}: the answer of {host_of(cluster)} is broken off or not Elasticsearch's.",
            "If it stays so, look at the proxies between.",
        ) from None


def _refused(cluster: Cluster, query: str, error: ApiError, said: str) -> ClusterError:
    if error.status_code in _MAY_PASS and "PERMANENT" not in str(error.body):
        return Unreachable(
            f"{cluster.name}: the cluster says: later (status {error.status_code}): {said}",
            "If it stays so, look at the cluster's load.",
        )
    if not isinstance(error.body, Mapping):
        return QueryRefused(
            f"{cluster.name}: {host_of(cluster)} answers with a page (status {error.status_code}).",
            "Correct `url` of the cluster, or look at the proxies between.",
        )
    if "Unknown index" in said:
        return QueryRefused(f"{cluster.name}: {said}", NOTHING_THERE_OR_NOTHING_READABLE)
    position = _POSITION.search(said)
    if position:
        line, column = (int(number) for number in position.groups())
        said = f"{said}\n{explain_position(query, line, column)}"
    return QueryRefused(f"{cluster.name}: {said}", "Correct the query, or the events it reads.")


def _said(error: ApiError, api_key: SecretStr | None) -> str:
    """Give the reason in Elasticsearch's error body, which may be the whole of it."""
    detail = error.body.get("error") if isinstance(error.body, Mapping) else None
    reason = detail.get("reason") if isinstance(detail, Mapping) else detail
    said = str(reason or "no reason given")
    return said.replace(api_key.get_secret_value(), "[the API key]") if api_key else said


def host_of(cluster: Cluster) -> str:
    """Give the address without a user name: some put a token there."""
    return urlsplit(cluster.url).netloc.rpartition("@")[2] or "the folder"
