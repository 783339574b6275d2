"""A client for one cluster: from its settings to answers to ES|QL questions."""

from __future__ import annotations

import contextlib
import ssl
import time
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
from elastic_transport import ApiResponse, NodeConfig
from elastic_transport.client_utils import DEFAULT
from elasticsearch import (
    ApiError,
    Elasticsearch,
    ElasticsearchWarning,
    SerializationError,
    TransportError,
)
from pydantic import SecretStr

from tasks.clusters.answers import ROWS_AT_MOST, Answer, AnswerBody, read_answer
from tasks.clusters.bodies import read_body
from tasks.clusters.faults import in_our_words, nothing_readable
from tasks.clusters.folders import folder_of
from tasks.clusters.node import REQUEST_SECONDS, BoundedNode
from tasks.clusters.server import Server, read_server
from tasks.errors import (
    ClusterError,
    DeadlineExceeded,
    NotTrusted,
    QueryRefused,
    SettingsError,
    Unauthorised,
    Unreachable,
)
from tasks.model.costs import Cost
from tasks.settings import Cluster, ReadBlock, no_block, secret

VALUES_A_QUESTION = 1_000
"""Entity ids or hosts in one question."""

DELETE_SECONDS = 10
"""Time limit for deleting a query: after it, a cancelled run uses the cluster no more."""

_FIRST_WAIT = "1s"
"""Wait before the server gives the query an id: without an id it cannot be deleted."""

_POLL = "5s"
_KEEP_ALIVE = "2m"
"""The server drops a killed process's query after this time; its minimum is 1m."""


@dataclass(frozen=True, slots=True)
class Question:
    """One ES|QL question.

    Attributes:
        name: its name in costs, errors and logs.
        query: ES|QL text.
        within: Query DSL filter that every document must also match.
        parameters: values of the `?name` parameters in the text.
    """

    name: str
    query: str
    within: Mapping[str, Any]
    parameters: Mapping[str, Any]

    def about(self, column: str, values: Iterable[str | None]) -> Question:
        """Restrict the question to documents with one of the values; None is left out."""
        terms = {"terms": {column: sorted({value for value in values if value is not None})}}
        return replace(self, within={"bool": {"filter": [self.within, terms]}})


class Client:
    """An open cluster: the official client, the cluster's settings and what was learned so far.

    Attributes:
        elasticsearch: the official client.
        cluster: the cluster's settings.
        costs: costs by the question's name.
        warnings: what the answers lack, in sentences for the run's report; the keys only.
    """

    def __init__(self, elasticsearch: Elasticsearch, cluster: Cluster) -> None:
        """Take the official client, and the settings that it was made with."""
        self.elasticsearch = elasticsearch
        self.cluster = cluster
        self.costs: dict[str, Cost] = {}
        self.warnings: dict[str, None] = {}

    @cached_property
    def server(self) -> Server:
        """The server's version and limit; requested once.

        Raises:
            ClusterError: there is no answer, or the server is not Elasticsearch.
        """
        seconds = min(REQUEST_SECONDS, self.cluster.deadline_minutes * 60)
        with in_our_words(self.cluster), silenced():
            return read_server(self.elasticsearch.options(request_timeout=seconds), self.cluster)

    @property
    def bytes_received(self) -> int:
        """Bytes received in all answers so far; 0 for a folder."""
        nodes = self.elasticsearch.transport.node_pool.all()
        return sum(node.bytes_received for node in nodes if isinstance(node, BoundedNode))

    def require(self, version: str, what: str) -> None:
        """Require a version of the server; an unknown version passes.

        Raises:
            QueryRefused: the server is older.
        """
        if self.server.release is not None and not self.server.is_at_least(version):
            raise QueryRefused(
                f"{self.cluster.name}: {what} needs Elasticsearch {version}; "
                f"this cluster has {self.server.number}.",
                "Upgrade the cluster, or choose a hunt that needs less.",
            )


@contextlib.contextmanager
def connect(cluster: Cluster, read_block: ReadBlock = no_block) -> Iterator[Client]:
    """Open a cluster: a remote one by its URL, or a folder of events.

    Args:
        cluster: the cluster's settings.
        read_block: reads the Secret block that the settings may name.

    Raises:
        Unreachable: the folder does not exist, or the URL is not a valid address.
        NotTrusted: the authority's file cannot be used.
        Unauthorised: the secret is missing or malformed.
    """
    api_key = _api_key(cluster, read_block)
    with (
        _embedded(cluster)
        if cluster.folder is not None
        else _remote(cluster, api_key) as elasticsearch
    ):
        yield Client(elasticsearch, cluster)


def _embedded(cluster: Cluster) -> Elasticsearch:
    from tasks.esql.node import (  # noqa: PLC0415 - it loads DuckDB: not for remote clusters.
        FOLDER,
        SKIP_BAD_LINES,
        EmbeddedNode,
    )

    node = NodeConfig(
        scheme="http",
        host="embedded",
        port=9200,
        _extras={FOLDER: folder_of(cluster), SKIP_BAD_LINES: cluster.skip_bad_lines},
    )
    return Elasticsearch([node], node_class=EmbeddedNode, max_retries=0, retry_on_timeout=False)


def _remote(cluster: Cluster, api_key: SecretStr | None) -> Elasticsearch:
    try:
        elasticsearch = Elasticsearch(
            cluster.url,
            api_key=api_key.get_secret_value() if api_key else None,
            ca_certs=cluster.ca_certs or DEFAULT,
            ssl_assert_fingerprint=cluster.ca_fingerprint or DEFAULT,
            node_class=BoundedNode,
            http_compress=True,
            request_timeout=REQUEST_SECONDS,
            # Prefect owns the retries: the client retries without a pause.
            max_retries=0,
            retry_on_timeout=False,
        )
    except ValueError:
        # Its message repeats the whole URL.
        raise Unreachable(
            f"{cluster.name}: its `url` is not a valid address.",
            "Give scheme, host and port, for example https://es.example.com:9200; `ca_certs` and "
            "`ca_fingerprint` need https.",
        ) from None
    _check_authority(cluster)
    return elasticsearch


def _check_authority(cluster: Cluster) -> None:
    """Read `ca_certs` before the client does, because the client's errors do not name the file."""
    try:
        ssl.create_default_context(cafile=cluster.ca_certs)
    except OSError as error:
        raise NotTrusted(
            f"{cluster.name}: `ca_certs` {cluster.ca_certs} cannot be used: {error.strerror}.",
            "Give the path to a readable PEM file on the worker with the authority's certificate.",
        ) from error


def _api_key(cluster: Cluster, read_block: ReadBlock) -> SecretStr | None:
    if cluster.api_key is None:
        return None
    try:
        return secret(cluster.api_key, f"API key of {cluster.name}", read_block)
    except SettingsError as error:
        raise Unauthorised(f"{cluster.name}: {error.problem}", error.remedy) from error


def ask(client: Client, question: Question, *, allow_partial: bool = False) -> Answer:
    """Ask one question and wait for its answer; the query never outlives the call.

    Args:
        client: from `connect`.
        question: the question.
        allow_partial: accept an answer without the shards that failed; servers before 8.19 may give
            one even if this is not set.

    Raises:
        Unreachable: there was no answer, or the cluster is too busy.
        NotTrusted: the certificate does not prove the cluster's identity.
        Unauthorised: the key is not accepted, or may not read.
        QueryRefused: the cluster refused the question.
        DeadlineExceeded: there was no answer within the cluster's `deadline_minutes`.
    """
    cost = client.costs.get(question.name, Cost(question.name))
    client.costs[question.name] = cost.with_failure()
    received = client.bytes_received
    with in_our_words(client.cluster, question.query):
        response = _answered(client, question, allow_partial=allow_partial)
        body = read_body(client.cluster, response, AnswerBody)
    client.costs[question.name] = cost.with_answer(
        took_ms=body.took or 0,
        documents_found=body.documents_found,
        values_loaded=body.values_loaded,
        bytes_received=client.bytes_received - received,
    )
    warning_header = response.meta.headers.get("warning") or ""
    answer = read_answer(body, warning_header, client.server.longest_answer or ROWS_AT_MOST)
    client.warnings |= dict.fromkeys(answer.unreadable)
    if set(answer.types) == {"<no-fields>"}:
        raise nothing_readable(client.cluster, question.query, "the answer has no field at all.")
    return answer


def _answered(client: Client, question: Question, *, allow_partial: bool) -> ApiResponse[Any]:
    """Send the question, wait for its answer, and leave no query on the server."""
    deadline = time.monotonic() + client.cluster.deadline_minutes * 60
    running: str | None = None
    with _within(deadline, client.cluster):
        server = client.server
        body: dict[str, Any] = {
            "query": question.query,
            "params": [{name: value} for name, value in question.parameters.items()],
            "filter": question.within,
            "wait_for_completion_timeout": _FIRST_WAIT,
            "keep_alive": _KEEP_ALIVE,
        }
        if server.can_name_remotes and _reads_remotes(question.query):
            body["include_ccs_metadata"] = True
        try:
            response: ApiResponse[Any] = _esql(client, deadline).async_query(
                body=body,
                allow_partial_results=allow_partial if server.can_refuse_partial_answers else None,
            )
            while query_id := _running_id(response):
                running = query_id
                response = _esql(client, deadline).async_query_get(
                    id=running, wait_for_completion_timeout=_POLL, keep_alive=_KEEP_ALIVE
                )
        finally:
            if running is not None:
                _delete(client, running)
    return response


def _esql(client: Client, deadline: float) -> Any:  # noqa: ANN401 - the official client's own.
    """Give the ES|QL part of the official client, with the remaining time as its timeout.

    Raises:
        DeadlineExceeded: no time remains.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise _too_late(client.cluster)
    return client.elasticsearch.options(request_timeout=left).esql


@contextlib.contextmanager
def _within(deadline: float, cluster: Cluster) -> Iterator[None]:
    """Distinguish a request that ended at the deadline from one that the network ended."""
    with silenced():
        try:
            yield
        except (ApiError, TransportError, Unreachable) as error:
            if time.monotonic() < deadline:
                raise
            raise _too_late(cluster) from error


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep the client from repeating Warning headers as Python warnings: we read the headers.

    Several threads need one common block around them: the filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ElasticsearchWarning)
        yield


def _too_late(cluster: Cluster) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{cluster.name}: no answer in {cluster.deadline_minutes:g} minutes.",
        "Check the cluster's load, reduce `window_days` in the hunt, or increase "
        "`deadline_minutes` of the cluster.",
    )


def _delete(client: Client, query_id: str) -> None:
    # A failed delete must not hide the query's own error; keep_alive ends the query too.
    with contextlib.suppress(ApiError, TransportError):
        client.elasticsearch.options(request_timeout=DELETE_SECONDS).esql.async_query_delete(
            id=query_id
        )


def _reads_remotes(query: str) -> bool:
    """Whether FROM names a remote cluster, as in `FROM alias:logs-*`."""
    return ":" in query.partition("|")[0]


def _running_id(response: ApiResponse[Any]) -> str | None:
    """Give the id of the query if it is still running; None for all that may be its answer.

    Raises:
        SerializationError: the query is running, and its id is missing or none of Elasticsearch's.
    """
    body = response.body
    if not (isinstance(body, Mapping) and body.get("is_running")):
        return None
    query_id = body.get("id")
    if isinstance(query_id, str) and query_id and query_id.isascii():
        return query_id
    raise SerializationError("Not the id of a query")


def ask_about(
    client: Client, question: Question, column: str, values: Iterable[str | None]
) -> pd.DataFrame:
    """Ask one question about many values of a column, in chunks: 10 or 1,000 are one question.

    If the server may have cut an answer, the next chunk starts at the answer's last value, whose
    rows may be incomplete. If that is also the chunk's last value, the answer counts as complete
    unless it is known to be cut. A value with more rows than fit an answer keeps the first ones.

    Args:
        client: from `connect`.
        question: its query sorts by the column first.
        column: the column.
        values: the column's values, in any order.

    Returns:
        The rows in all answers.

    Raises:
        ClusterError: also if some shards did not answer: the counts would be wrong.
    """
    waiting = sorted({value for value in values if value is not None})
    tables = [pd.DataFrame()]
    while waiting:
        chunk = waiting[:VALUES_A_QUESTION]
        answer = ask(client, question.about(column, chunk))
        if answer.is_partial or answer.skipped:
            raise ClusterError(
                f"{client.cluster.name}: a part of the {question.name} is missing from the answer.",
                "Check the cluster's failed shards.",
            )
        rows, reached = answer.rows, len(chunk)
        if answer.is_cut or (answer.may_go_on and rows[column].iloc[-1] != chunk[-1]):
            first, last = rows[column].iloc[0], rows[column].iloc[-1]
            if first != last:
                rows = rows[rows[column] != last]
            reached = (bisect_left if first != last else bisect_right)(chunk, last)
        tables.append(rows)
        waiting = waiting[max(reached, 1) :]
    return pd.concat(tables, ignore_index=True)
