"""The embedded Elasticsearch: a folder of events that answers ES|QL through the official client."""

from tasks.esql.errors import (
    DocumentError,
    EsqlError,
    ParsingError,
    VerificationError,
    explain_position,
)
from tasks.esql.node import FOLDER, SKIP_BAD_LINES, EmbeddedNode
from tasks.esql.reads import Reads, fits, reads, usual_types
from tasks.esql.syntax import Query, parse

__all__ = [
    "FOLDER",
    "SKIP_BAD_LINES",
    "DocumentError",
    "EmbeddedNode",
    "EsqlError",
    "ParsingError",
    "Query",
    "Reads",
    "VerificationError",
    "explain_position",
    "fits",
    "parse",
    "reads",
    "usual_types",
]
