"""Clusters: from a setting to a client that can be asked, from a question to its answer.

The only place that knows Elasticsearch's client and how servers really behave.
"""

from tasks.clusters.answers import ROWS_AT_MOST, ROWS_WITHOUT_LIMIT, Answer
from tasks.clusters.client import Client, Question, Server, ask, ask_about, connect
from tasks.clusters.faults import in_our_words

__all__ = [
    "ROWS_AT_MOST",
    "ROWS_WITHOUT_LIMIT",
    "Answer",
    "Client",
    "Question",
    "Server",
    "ask",
    "ask_about",
    "connect",
    "in_our_words",
]
