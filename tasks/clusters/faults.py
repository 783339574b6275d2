"""Faults: from the errors of Elasticsearch's client to ours, with a remedy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
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

from tasks.clusters.folders import no_such_subfolder
from tasks.clusters.proxy import proxy_to
from tasks.errors import ClusterError, NotTrusted, QueryRefused, Unauthorised, Unreachable
from tasks.esql.errors import explain_position
from tasks.model.hunts import sources_of
from tasks.settings import Cluster
from tasks.text.foreign import presentable

_POSITION = re.compile(r"\bline (\d+):(\d+)")
"""A position in a query, as in Elasticsearch's messages."""

_TRANSIENT = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

_LOST = frozenset(
    {
        # The way between the cluster's nodes, for example while one of them restarts.
        "connect_transport_exception",
        "node_closed_exception",
        "node_disconnected_exception",
        "node_not_connected_exception",
        "receive_timeout_transport_exception",
        "send_request_transport_exception",
        # A shard on its way to another node.
        "already_closed_exception",
        "illegal_index_shard_state_exception",
        "index_shard_closed_exception",
        "index_shard_not_started_exception",
        "no_shard_available_action_exception",
        "shard_not_found_exception",
        "unavailable_shards_exception",
        # The query is gone: its node restarted, a poll came too late, or its task was cancelled.
        "resource_not_found_exception",
        "task_cancelled_exception",
    }
)
"""Types of errors that pass, whatever their HTTP status says."""

_BREAKER = "circuit_breaking_exception"
_BUSY = frozenset({_BREAKER, "es_rejected_execution_exception", "master_not_discovered_exception"})
"""Types of errors that pass too; a circuit breaker unless it says PERMANENT."""

_NO_SUCH_DATA = frozenset({"index_closed_exception", "index_not_found_exception"})

_WRONG_QUERY = frozenset(
    {
        "esql_illegal_argument_exception",
        "illegal_argument_exception",
        "invalid_argument_exception",
        "no_such_remote_cluster_exception",
        "number_format_exception",
        "parsing_exception",
        "query_shard_exception",
        "verification_exception",
        "x_content_parse_exception",
    }
)

NOTHING_THERE_OR_NOTHING_READABLE = (
    "Check that the data stream exists and that the API key may read it: Elasticsearch gives the "
    "same answer in both cases."
)


@contextlib.contextmanager
def in_our_words(cluster: Cluster, query: str = "") -> Iterator[None]:
    """Translate the client's errors; no other place knows its exceptions.

    An error with a response is not kept as the cause: a proxy's page may repeat the request's
    headers.

    Args:
        cluster: the cluster that the request went to.
        query: the ES|QL text, to mark a position in it.
    """
    name, key = cluster.name, cluster.api_key or "none is set"
    try:
        yield
    except AuthenticationException:
        raise Unauthorised(
            f"{name}: the API key is not accepted (secret {key}).",
            "Store a valid, unexpired API key in that secret for the worker.",
        ) from None
    except AuthorizationException as error:
        raise Unauthorised(
            f"{name}: the API key may not do this (secret {key}): {_reason(error)}",
            "Give it `read` and `view_index_metadata` on the indices that the hunt reads.",
        ) from None
    except UnsupportedProductError:
        raise QueryRefused(
            f"{name}: the server at {host_of(cluster)} is not Elasticsearch.",
            "Correct the cluster's `url`; a proxy must pass on the header X-Elastic-Product.",
        ) from None
    except ApiError as error:
        raise _refused(cluster, query, error, _reason(error)) from None
    except SSLError as error:
        raise NotTrusted(
            f"{name}: the certificate of {host_of(cluster)} is not trusted: {error.message}",
            "Set `ca_certs` to the authority that signed it or `ca_fingerprint` to its SHA-256, "
            "and use a host name that it covers.",
        ) from error
    except ConnectionTimeout as error:
        raise Unreachable(
            f"{name}: {_way_to(cluster)} did not answer in time.",
            "Check the cluster's load and the network in between.",
        ) from error
    except ElasticsearchConnectionError as error:
        raise Unreachable(
            f"{name}: {_way_to(cluster)} cannot be reached: {error.message}",
            "Check the cluster's `url`, the network, the firewall, and HTTPS_PROXY and NO_PROXY on "
            "the worker.",
        ) from error
    except (SerializationError, RecursionError):  # The latter by JSON with endless brackets.
        raise Unreachable(
            f"{name}: the answer from {host_of(cluster)} is incomplete or not from Elasticsearch.",
            "If this persists, check the proxies in between.",
        ) from None


def _refused(cluster: Cluster, query: str, error: ApiError, reason: str) -> ClusterError:
    kinds = _kinds(error)
    if _BREAKER in kinds and "PERMANENT" in str(error.body):
        return QueryRefused(
            f"{cluster.name}: {reason}",
            "The question will never fit into the cluster's memory: reduce `window_days` in the "
            "hunt, or add memory.",
        )
    if kinds & _LOST:
        return Unreachable(
            f"{cluster.name}: the cluster lost the query: {reason}",
            "If this persists, check the cluster's nodes and its task list.",
        )
    if error.status_code in _TRANSIENT or kinds & _BUSY:
        return Unreachable(
            f"{cluster.name}: the cluster is temporarily unavailable "
            f"(status {error.status_code}): {reason}",
            "If this persists, check the cluster's load.",
        )
    if not isinstance(error.body, Mapping):
        return page_instead(cluster, error.status_code)
    if "Unknown index" in reason or kinds & _NO_SUCH_DATA:
        return nothing_readable(cluster, query, reason)
    remedy = "Look for this error in the cluster's log."
    if kinds & _WRONG_QUERY:
        remedy = "Correct the query, or the events it reads."
    return QueryRefused(f"{cluster.name}: {_marked(reason, query)}", remedy)


def _marked(reason: str, query: str) -> str:
    """Show below a reason the place in the query that it names, if any."""
    position = _POSITION.search(reason)
    if position is None:
        return reason
    line, column = (int(number) for number in position.groups())
    return f"{reason}\n{explain_position(query, line, column)}"


def nothing_readable(cluster: Cluster, query: str, reason: str) -> QueryRefused:
    """Make the error for a query whose data streams do not exist, or cannot be read."""
    if cluster.folder is not None:
        return no_such_subfolder(cluster, Path(cluster.folder), reason)
    sources = sources_of(query)
    missing = f"no data stream matches {sources}" if sources else "there is no such data stream"
    return QueryRefused(
        f"{cluster.name}: {missing}, or the API key may not read it: {reason}",
        NOTHING_THERE_OR_NOTHING_READABLE,
    )


def page_instead(cluster: Cluster, status: int) -> QueryRefused:
    """Make the error for an answer that is no JSON document."""
    return QueryRefused(
        f"{cluster.name}: {host_of(cluster)} answers with a web page (status {status}), so it is "
        "not Elasticsearch.",
        "Correct the cluster's `url`, or check the proxies in between.",
    )


def _kinds(error: ApiError) -> frozenset[str]:
    """Collect the types in Elasticsearch's error body: of the error and of all its causes."""
    kinds: set[str] = set()
    waiting = [_detail(error)]
    while waiting:
        match waiting.pop():
            case [*several]:
                waiting += several
            case {**cause}:
                kind = cause.get("type")
                kinds |= {kind} if isinstance(kind, str) else set()
                waiting += [cause.get("root_cause"), cause.get("caused_by")]
    return frozenset(kinds)


def _reason(error: ApiError) -> str:
    """Give the reason from Elasticsearch's error body: its `reason`, or the whole error."""
    detail = _detail(error)
    reason = detail.get("reason") if isinstance(detail, Mapping) else detail
    return presentable(str(reason or "no reason given"))


def _detail(error: ApiError) -> object:
    """Give what Elasticsearch's error body has under `error`; None if it is no such body."""
    return error.body.get("error") if isinstance(error.body, Mapping) else None


def _way_to(cluster: Cluster) -> str:
    """Give the cluster's address, and that of the proxy in between."""
    proxy = proxy_to(cluster.url)
    return (
        f"{host_of(cluster)}, through the proxy {proxy.url.netloc}," if proxy else host_of(cluster)
    )


def host_of(cluster: Cluster) -> str:
    """Give the cluster's address without a user name, which may be a token."""
    return urlsplit(cluster.url).netloc.rpartition("@")[2] or "the folder"
