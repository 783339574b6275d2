"""What an API key opens: from index patterns to the privileges on them and the fields behind."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from elasticsearch import BadRequestError, Elasticsearch

from tasks.clusters.client import Client, silenced
from tasks.clusters.faults import in_our_words

PRIVILEGES = ("read", "view_index_metadata")
"""What a hunt needs on the indices that it reads."""

PATIENCE_SECONDS = 15
"""How long such a question may take: nothing is searched for it."""

_BACKING_INDEX = re.compile(r"^(?P<remote>[^:]+:)?.*?\.ds-(?P<stream>.+)-\d{4}\.\d\d\.\d\d-\d{6,}$")
"""Of a data stream, also where it is frozen (`partial-.ds-...`) or on a remote cluster."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is to read behind index patterns.

    Attributes:
        streams: names of the data streams, and of indices that belong to none, sorted.
        types: by field: its types, each with the streams where it has that type. A field of one
            type names none: it has it wherever it is mapped.
    """

    streams: tuple[str, ...]
    types: Mapping[str, Mapping[str, tuple[str, ...]]]


def missing_privileges(client: Client, patterns: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Ask which privileges the API key lacks, by index pattern; those that lack none are left out.

    Privileges on remote clusters cannot be asked for, and a cluster without security has none.

    Raises:
        Unauthorised: the key is not accepted.
        ClusterError: no answer, or one that cannot be used.
    """
    names = sorted(pattern for pattern in patterns if ":" not in pattern and pattern[:1] != "-")
    asked = [{"names": names, "privileges": PRIVILEGES}] if names else []
    with in_our_words(client.cluster), silenced():
        try:
            body = _patient(client).security.has_privileges(cluster=["monitor"], index=asked).body
        except BadRequestError as error:
            if "no handler found" in str(error.body):
                return {}
            raise
    missing = {
        name: tuple(privilege for privilege, has in granted.items() if not has)
        for name, granted in body["index"].items()
    }
    return {name: lacking for name, lacking in missing.items() if lacking}


def catalogue(client: Client, patterns: Sequence[str], fields: Collection[str]) -> Catalogue:
    """Ask which data streams there are behind patterns, and of which types their fields are.

    Args:
        client: of a remote cluster.
        patterns: as FROM takes them.
        fields: names of those in question.

    Raises:
        ClusterError: no answer, or one that cannot be used.
    """
    with in_our_words(client.cluster), silenced():
        body = (
            _patient(client)
            .field_caps(
                index=",".join(patterns),
                fields=sorted(fields),
                allow_no_indices=True,
                ignore_unavailable=True,
            )
            .body
        )
    return Catalogue(
        streams=_streams(body["indices"]),
        types={
            field: {kind: _streams(said.get("indices") or ()) for kind, said in kinds.items()}
            for field, kinds in body["fields"].items()
        },
    )


def _patient(client: Client) -> Elasticsearch:
    return client.elasticsearch.options(request_timeout=PATIENCE_SECONDS)


def _streams(indices: Collection[str]) -> tuple[str, ...]:
    """Name the data streams that backing indices belong to."""
    return tuple(sorted({_BACKING_INDEX.sub(r"\g<remote>\g<stream>", name) for name in indices}))
