"""The server at a cluster's address: its version, and how long its answers may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from elasticsearch import ApiError, AuthorizationException, Elasticsearch
from pydantic import Field

from tasks.clusters.bodies import Body, read_body
from tasks.settings import Cluster

_NOT_SHOWN = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.GONE,
    }
)
"""Without the cluster privilege `monitor`; the others from serverless."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server at a cluster's address.

    Attributes:
        number: its version number as text; None if the API key may not read it.
        is_serverless: Elastic's own cloud, which always has the newest version.
        longest_answer: rows that it gives at most in one answer, and cuts the others off without a
            warning; None if the API key may not read it.
    """

    number: str | None
    is_serverless: bool = False
    longest_answer: int | None = None

    @property
    def release(self) -> tuple[int, int] | None:
        """Major and minor version; None if unknown."""
        found = re.match(r"(\d+)\.(\d+)", self.number or "")
        return (int(found[1]), int(found[2])) if found and not self.is_serverless else None

    def is_at_least(self, version: str) -> bool:
        """Whether the server has this version or a later one; False if its version is unknown."""
        major, _, minor = version.partition(".")
        return self.is_serverless or (self.release or (0, 0)) >= (int(major), int(minor))

    @property
    def can_refuse_partial_answers(self) -> bool:
        """Whether it knows `allow_partial_results`; other servers refuse requests with it."""
        return self.is_at_least("8.19") and self.release != (9, 0)

    @property
    def can_name_remotes(self) -> bool:
        """Whether it knows `include_ccs_metadata`."""
        return self.is_at_least("8.16")


class _Version(Body):
    number: str | None = None
    build_flavor: str | None = None


class _Info(Body):
    version: _Version


class _Limits(Body):
    longest_answer: int | None = Field(None, alias="esql.query.result_truncation_max_size", ge=1)


class _Settings(Body):
    transient: _Limits = _Limits()
    persistent: _Limits = _Limits()
    defaults: _Limits = _Limits()


def read_server(elasticsearch: Elasticsearch, cluster: Cluster) -> Server:
    """Ask the server for its version, and for the longest answer that it gives.

    The caller translates the client's errors.
    """
    try:
        response = elasticsearch.info()
    except AuthorizationException:
        return Server(number=None)  # Both need the cluster privilege `monitor`.
    version = read_body(cluster, response, _Info).version
    is_embedded = cluster.folder is not None
    return Server(
        version.number,
        is_serverless=version.build_flavor == "serverless",
        longest_answer=None if is_embedded else _longest_answer(elasticsearch, cluster),
    )


def _longest_answer(elasticsearch: Elasticsearch, cluster: Cluster) -> int | None:
    try:
        response = elasticsearch.cluster.get_settings(
            flat_settings=True, include_defaults=True, filter_path="*.esql*"
        )
    except ApiError as error:
        if error.status_code in _NOT_SHOWN:
            return None
        raise
    found = read_body(cluster, response, _Settings)
    levels = (found.transient, found.persistent, found.defaults)
    return next((each.longest_answer for each in levels if each.longest_answer), None)
