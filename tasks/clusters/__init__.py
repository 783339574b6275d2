"""Clusters: from settings to a client, and from an ES|QL question to its answer.

Only this package knows Elasticsearch's client and how servers really behave.
"""

from tasks.clusters.access import PRIVILEGES, Catalogue, catalogue, missing_privileges
from tasks.clusters.answers import ROWS_AT_MOST, ROWS_WITHOUT_LIMIT, Answer, values
from tasks.clusters.client import Client, Question, ask, ask_about, connect, silenced
from tasks.clusters.faults import NOTHING_THERE_OR_NOTHING_READABLE, host_of
from tasks.clusters.server import Server

__all__ = [
    "NOTHING_THERE_OR_NOTHING_READABLE",
    "PRIVILEGES",
    "ROWS_AT_MOST",
    "ROWS_WITHOUT_LIMIT",
    "Answer",
    "Catalogue",
    "Client",
    "Question",
    "Server",
    "ask",
    "ask_about",
    "catalogue",
    "connect",
    "host_of",
    "missing_privileges",
    "silenced",
    "values",
]
