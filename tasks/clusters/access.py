"""Access of an API key: from index patterns to missing privileges, data streams and fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from elasticsearch import BadRequestError, Elasticsearch

from tasks.clusters.bodies import Body, read_body
from tasks.clusters.client import Client, silenced
from tasks.clusters.faults import in_our_words

PRIVILEGES = ("read", "view_index_metadata")
"""The privileges that a hunt needs on the indices it reads."""

PATIENCE_SECONDS = 15
"""Time limit for these requests: they search nothing."""

_BACKING_INDEX = re.compile(r"^(?P<remote>[^:]+:)?.*?\.ds-(?P<stream>.+)-\d{4}\.\d\d\.\d\d-\d{6,}$")
"""A data stream's backing index, also frozen (`partial-.ds-...`) or on a remote cluster."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The data streams and fields that match index patterns.

    Attributes:
        streams: names of the data streams, and of indices outside data streams, sorted.
        types: types by field, with the streams where the field has that type; no streams for a
            field that has the same type everywhere.
    """

    streams: tuple[str, ...]
    types: Mapping[str, Mapping[str, tuple[str, ...]]]


class _Privileges(Body):
    index: Mapping[str, Mapping[str, bool]]


class _Capability(Body):
    indices: tuple[str, ...] | None = None


class _Fields(Body):
    indices: tuple[str, ...]
    fields: Mapping[str, Mapping[str, _Capability]]


def missing_privileges(client: Client, patterns: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Find the privileges that the API key lacks, for every index pattern that lacks any.

    Privileges on remote clusters cannot be queried, and a cluster without security has none.

    Raises:
        Unauthorised: the key is not accepted.
        ClusterError: there is no answer, or it cannot be used.
    """
    names = sorted(pattern for pattern in patterns if ":" not in pattern and pattern[:1] != "-")
    asked = [{"names": names, "privileges": PRIVILEGES}] if names else []
    with in_our_words(client.cluster), silenced():
        try:
            response = _patient(client).security.has_privileges(cluster=["monitor"], index=asked)
        except BadRequestError as error:
            if "no handler found" in str(error.body):
                return {}
            raise
        privileges = read_body(client.cluster, response, _Privileges)
    missing = {
        name: tuple(privilege for privilege, has in granted.items() if not has)
        for name, granted in privileges.index.items()
    }
    return {name: lacking for name, lacking in missing.items() if lacking}


def catalogue(client: Client, patterns: Sequence[str], fields: Collection[str]) -> Catalogue:
    """Find the data streams that match patterns, and the types of their fields.

    Args:
        client: client of a remote cluster.
        patterns: index patterns, as in FROM.
        fields: names of the fields.

    Raises:
        ClusterError: there is no answer, or it cannot be used.
    """
    with in_our_words(client.cluster), silenced():
        response = _patient(client).field_caps(
            index=",".join(patterns),
            fields=sorted(fields),
            allow_no_indices=True,
            ignore_unavailable=True,
        )
        found = read_body(client.cluster, response, _Fields)
    return Catalogue(
        streams=_streams(found.indices),
        types={
            field: {kind: _streams(each.indices or ()) for kind, each in kinds.items()}
            for field, kinds in found.fields.items()
        },
    )


def _patient(client: Client) -> Elasticsearch:
    return client.elasticsearch.options(request_timeout=PATIENCE_SECONDS)


def _streams(indices: Collection[str]) -> tuple[str, ...]:
    """Give the data streams of backing indices."""
    return tuple(sorted({_BACKING_INDEX.sub(r"\g<remote>\g<stream>", name) for name in indices}))
