"""Bodies: from a cluster's response to values of the shape that Elasticsearch documents."""

from __future__ import annotations

from typing import Any, TypeVar

from elastic_transport import ApiResponse
from elasticsearch import SerializationError
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.clusters.faults import page_instead
from tasks.settings import Cluster
from tasks.text.foreign import scrubbed


class Body(BaseModel):
    """The part of a response's body that we read; there may be more."""

    model_config = ConfigDict(frozen=True)


B = TypeVar("B", bound=Body)


def read_body(cluster: Cluster, response: ApiResponse[Any], shape: type[B]) -> B:
    """Read a response's body; its texts hold no secret and no half surrogate pair.

    Raises:
        QueryRefused: a page came instead of JSON.
        SerializationError: the JSON has another shape.
    """
    if isinstance(response.body, str | bytes):
        raise page_instead(cluster, response.meta.status)
    try:
        return shape.model_validate(scrubbed(response.body))
    except ValidationError:
        raise SerializationError("Not an answer of Elasticsearch") from None
