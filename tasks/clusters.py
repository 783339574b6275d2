"""Clusters behind the official client: from a setting to a client, from a question to an answer."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
from elastic_transport import ApiResponse, NodeConfig
from elastic_transport.client_utils import DEFAULT
from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    ConnectionTimeout,
    Elasticsearch,
    ElasticsearchWarning,
    SerializationError,
    TransportError,
    UnsupportedProductError,
)
from elasticsearch import ConnectionError as ElasticsearchConnectionError
from elasticsearch.exceptions import SSLError

from tasks.errors import (
    ClusterError,
    DeadlineExceeded,
    QueryRefused,
    SettingsError,
    Unauthorised,
    Unreachable,
)
from tasks.esql import EmbeddedNode, explain_position
from tasks.esql.node import FOLDER, SKIP_BAD_LINES
from tasks.settings import Cluster, ReadBlock, located, no_block, secret

ROWS_AT_MOST = 10_000
"""Elasticsearch cuts every longer ES|QL answer, silently."""

ROWS_WITHOUT_LIMIT = 1_000
"""What a query without LIMIT gets, with a warning."""

DEADLINE_SECONDS = 15 * 60
"""How long one question may take before it is given up, by our own clock."""

REQUEST_TIMEOUT_SECONDS = 60
"""How long one HTTP request may take; the server answers polls well within it."""

_POSITION = re.compile(r"\bline (\d+):(\d+)")
"""How Elasticsearch names a place in a query."""

_POLL = "5s"
_KEEP_ALIVE = "5m"

_MAY_PASS = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a cluster answered to one ES|QL question.

    Attributes:
        rows: one column per answered column, under its ES|QL name; dates are aware UTC timestamps,
            several values are lists, everything else is as Elasticsearch sent it.
        types: Elasticsearch's type of each column.
        is_partial: some shards did not answer.
        is_cut: there may be more rows than could be answered.
        warnings: the texts of the answer's Warning headers.
    """

    rows: pd.DataFrame
    types: Mapping[str, str]
    is_partial: bool = False
    is_cut: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return not (self.is_partial or self.is_cut)

    def records(self) -> list[dict[str, Any]]:
        """Give the rows as dicts of column name to value."""
        return [
            dict(zip(self.types, row, strict=True))
            for row in self.rows.itertuples(index=False, name=None)
        ]


@contextlib.contextmanager
def connect(cluster: Cluster, read_block: ReadBlock = no_block) -> Iterator[Elasticsearch]:
    """Open the official client for a cluster: a remote one by its URL, or a folder of events.

    Args:
        cluster: which, and how to reach it.
        read_block: what reads the Secret block that its settings may name.

    Raises:
        Unreachable: there is no such folder, or no address that can be called.
        Unauthorised: there is no such secret, or it cannot be a key.
    """
    embedded = cluster.url.startswith("file://")
    client = _embedded(cluster) if embedded else _remote(cluster, read_block)
    with client:
        yield client


def _embedded(cluster: Cluster) -> Elasticsearch:
    folder = Path(unquote(urlsplit(located(cluster.url)).path))
    if not (folder.is_absolute() and folder.is_dir()):
        raise Unreachable(
            f"{cluster.name}: there is no folder {folder}.",
            "Correct `url` of the cluster: file:// and the absolute path of a folder of events.",
        )
    node = NodeConfig(
        scheme="http",
        host="embedded",
        port=9200,
        _extras={FOLDER: folder, SKIP_BAD_LINES: cluster.skip_bad_lines},
    )
    return Elasticsearch([node], node_class=EmbeddedNode, max_retries=0, retry_on_timeout=False)


def _remote(cluster: Cluster, read_block: ReadBlock) -> Elasticsearch:
    try:
        return Elasticsearch(
            cluster.url,
            api_key=_api_key(cluster, read_block),
            ca_certs=cluster.ca_certs or DEFAULT,
            http_compress=True,
            request_timeout=REQUEST_TIMEOUT_SECONDS,
            # Prefect owns the retries: the client's own come without a pause.
            max_retries=0,
            retry_on_timeout=False,
        )
    except ValueError:
        # Its words repeat the whole URL.
        raise Unreachable(
            f"{cluster.name}: its `url` is not an address that can be called.",
            "Give scheme, host and port, for example https://es.example.com:9200; `ca_certs` goes "
            "with https only.",
        ) from None


def _api_key(cluster: Cluster, read_block: ReadBlock) -> str | None:
    if cluster.api_key is None:
        return None
    try:
        key = secret(cluster.api_key, f"API key of {cluster.name}", read_block)
    except SettingsError as error:
        raise Unauthorised(f"{cluster.name}: {error.problem}", error.remedy) from error
    return key.get_secret_value()


def ask(
    client: Elasticsearch,
    cluster: Cluster,
    query: str,
    *,
    parameters: Mapping[str, Any],
    within: Mapping[str, Any],
) -> Answer:
    """Ask one ES|QL question and wait for its answer; the query never outlives the call.

    Args:
        client: from `connect`.
        cluster: for the words of errors.
        query: ES|QL text.
        parameters: values of its `?name` parameters.
        within: Query DSL filter that every document must also match.

    Raises:
        Unreachable: no answer, or one that says: later.
        Unauthorised: the key is not accepted, or may not read.
        QueryRefused: the cluster will not answer this question.
        DeadlineExceeded: no answer in `DEADLINE_SECONDS`.
    """
    body = {
        "query": query,
        "params": [{name: value} for name, value in parameters.items()],
        "filter": within,
        "wait_for_completion_timeout": _POLL,
        "keep_alive": _KEEP_ALIVE,
    }
    deadline = time.monotonic() + DEADLINE_SECONDS
    running: str | None = None
    with _in_our_words(cluster, query), warnings.catch_warnings():
        # The client repeats Warning headers as Python warnings; we read the headers.
        warnings.simplefilter("ignore", ElasticsearchWarning)
        try:
            response = client.esql.async_query(body=body)
            while _is_running(response):
                running = response.body["id"]
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(
                        f"{cluster.name}: no answer in {DEADLINE_SECONDS // 60} minutes.",
                        "Look at the cluster's load, or shorten `window_days` in the hunt.",
                    )
                response = client.esql.async_query_get(
                    id=running, wait_for_completion_timeout=_POLL, keep_alive=_KEEP_ALIVE
                )
        finally:
            if running is not None:
                # A failed delete must not hide how the query ended; keep_alive ends it too.
                with contextlib.suppress(ApiError, TransportError):
                    client.esql.async_query_delete(id=running)
    return _answer(response.body, response.meta.headers.get("warning") or "")


def answered(client: Elasticsearch, cluster: Cluster, query: str) -> Answer:
    """Ask a question of one's own, without parameters or a window.

    Raises:
        QueryRefused: with the place in the text, marked below it.
    """
    everything: dict[str, Any] = {"match_all": {}}
    return ask(client, cluster, query, parameters={}, within=everything)


def _is_running(response: ApiResponse[Any]) -> bool:
    """Whether the answer is still to come.

    Raises:
        SerializationError: it is neither an answer nor the promise of one, as a proxy's page.
    """
    body = response.body
    if isinstance(body, Mapping) and (body.get("is_running") or {"columns", "values"} <= set(body)):
        return bool(body.get("is_running"))
    raise SerializationError("Not an answer to a question")


def _answer(body: Mapping[str, Any], warning_header: str) -> Answer:
    types = {column["name"]: column["type"] for column in body["columns"]}
    readers = [_READERS.get(kind, _well_formed) for kind in types.values()]
    values = [list(map(_each, readers, row)) for row in body["values"]]
    rows = pd.DataFrame(values, columns=list(types), dtype=object)
    said = _warnings(warning_header)
    limited = any("default limit" in text for text in said) and len(rows) >= ROWS_WITHOUT_LIMIT
    return Answer(
        rows,
        types,
        is_partial=bool(body.get("is_partial")),
        is_cut=limited or len(rows) >= ROWS_AT_MOST,
        warnings=said,
    )


def _each(convert: Callable[[Any], object], value: Any) -> object:  # noqa: ANN401 - any JSON.
    """Convert one value or each of several; None stays."""
    if isinstance(value, list):
        return [convert(one) for one in value]
    return None if value is None else convert(value)


def _well_formed(value: object) -> object:
    """Replace half a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


_READERS: Mapping[str, Callable[[Any], object]] = {"date": pd.Timestamp}
"""By Elasticsearch's type, where JSON's own value is not what it means."""


def _warnings(header: str) -> tuple[str, ...]:
    r"""Read `299 Elasticsearch-<version> "text"` entries; texts may hold `\"` and commas."""
    texts = []
    rest = header
    while (opening := rest.find('"')) >= 0:
        closing = opening + 1
        while closing < len(rest) and rest[closing] != '"':
            closing += 2 if rest[closing] == "\\" else 1
        text = rest[opening + 1 : closing]
        texts.append(unquote(text.replace('\\"', '"').replace("\\\\", "\\")))
        rest = rest[closing + 1 :]
    return tuple(dict.fromkeys(texts))


@contextlib.contextmanager
def _in_our_words(cluster: Cluster, query: str) -> Iterator[None]:
    """Translate what the client raises: the only place that knows its exceptions."""
    name, key = cluster.name, cluster.api_key or "none is set"
    try:
        yield
    except AuthenticationException as error:
        raise Unauthorised(
            f"{name}: the API key is not accepted (secret {key}).",
            "Put a valid, unexpired API key there, for the worker.",
        ) from error
    except AuthorizationException as error:
        raise Unauthorised(
            f"{name}: the API key may not do this (secret {key}): {_said(error)}",
            "Give it `read` and `view_index_metadata` on the indices that the hunt reads.",
        ) from error
    except UnsupportedProductError as error:
        raise QueryRefused(
            f"{name}: what answers at {_host(cluster)} is not Elasticsearch.",
            "Correct `url` of the cluster; a proxy must pass the header X-Elastic-Product on.",
        ) from error
    except ApiError as error:
        raise _refused(cluster, query, error) from error
    except SSLError as error:
        raise ClusterError(
            f"{name}: the certificate of {_host(cluster)} is not to be trusted: {error.message}",
            "Set `ca_certs` to the authority that signed it, and use a host name it covers.",
        ) from error
    except ConnectionTimeout as error:
        raise Unreachable(
            f"{name}: {_host(cluster)} did not answer in {REQUEST_TIMEOUT_SECONDS} s.",
            "Look at the cluster's load and at the network between.",
        ) from error
    except ElasticsearchConnectionError as error:
        raise Unreachable(
            f"{name}: {_host(cluster)} cannot be reached: {error.message}",
            "Check `url` of the cluster, the network and the firewall.",
        ) from error
    except SerializationError as error:
        raise Unreachable(
            f"{name}: the answer of {_host(cluster)} is broken off or not Elasticsearch's.",
            "If it stays so, look at the proxies between.",
        ) from error


def _refused(cluster: Cluster, query: str, error: ApiError) -> ClusterError:
    said = _said(error)
    if error.status_code in _MAY_PASS and "PERMANENT" not in str(error.body):
        return Unreachable(
            f"{cluster.name}: the cluster says: later (status {error.status_code}): {said}",
            "If it stays so, look at the cluster's load.",
        )
    if not isinstance(error.body, Mapping):
        return QueryRefused(
            f"{cluster.name}: {_host(cluster)} answers with a page (status {error.status_code}).",
            "Correct `url` of the cluster, or look at the proxies between.",
        )
    if "Unknown index" in said:
        return QueryRefused(
            f"{cluster.name}: {said}",
            "Either no such data stream exists there, or the API key may not read it: "
            "Elasticsearch says the same for both.",
        )
    position = _POSITION.search(said)
    if position:
        line, column = (int(number) for number in position.groups())
        said = f"{said}\n{explain_position(query, line, column)}"
    return QueryRefused(f"{cluster.name}: {said}", "Correct the query, or the events it reads.")


def _said(error: ApiError) -> str:
    """Give the reason in Elasticsearch's error body, which may be the whole of it."""
    detail = error.body.get("error") if isinstance(error.body, Mapping) else None
    reason = detail.get("reason") if isinstance(detail, Mapping) else detail
    return str(reason or "no reason given")


def _host(cluster: Cluster) -> str:
    return urlsplit(cluster.url).netloc.rpartition("@")[2] or "the folder"
