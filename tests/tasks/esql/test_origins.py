"""Which data stream a document belongs to: what it says first, then where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import NotImported
from tasks.esql.flattening import FoundDocument
from tasks.esql.origins import Origin, Whereabouts

NETWORK = "logs-endpoint.events.network-default"
A_X = {"type": "logs", "dataset": "a", "namespace": "x"}


def stream_of(document: dict, index: str = "", *folders: str, chosen: str = "") -> str:
    where = Whereabouts(Path("a.ndjson"), folders, chosen)
    return where.stream_of(Origin.of_document(FoundDocument(document, (), index)))


@pytest.mark.parametrize(
    ("index", "stream"),
    [
        (".ds-logs-a-default-2026.11.20-000001", "logs-a-default"),
        ("corp:.ds-logs-a-default-2026.11.20-000001", "logs-a-default"),
        ("partial-.ds-logs-a-b-c-2026.11.20-1000001", "logs-a-b-c"),
        ("corp:winlogbeat-7.9.3-2020.09.16", "winlogbeat-7.9.3-2020.09.16"),
        ("logs-a-default", "logs-a-default"),
    ],
)
def test_an_index_behind_a_data_stream_is_that_data_stream(index, stream):
    """Also of a remote cluster, and mounted from a snapshot; other indices keep their names."""
    assert stream_of({"data_stream": A_X}, index) == stream


@pytest.mark.parametrize(
    "document",
    [
        {"data_stream": A_X},
        {"data_stream.type": "logs", "data_stream": {"dataset": "a", "namespace": "x"}},
        {f"data_stream.{name}": [value] for name, value in A_X.items()},
        {"data_stream": [A_X]},
    ],
    ids=["nested", "mixed", "as Kibana has it", "in an array"],
)
def test_a_document_says_its_data_stream_in_any_spelling(document):
    """It counts before its dataset and its folder."""
    also = {"event": {"dataset": "b"}}
    assert stream_of({**document, **also}, "", "logs-c-default", chosen="d") == "logs-a-x"


@pytest.mark.parametrize(
    ("dataset", "folders", "stream"),
    [
        ("endpoint.events.network", (), NETWORK),
        ("endpoint.metadata", (), "metrics-endpoint.metadata-default"),
        ("a", ("logs-a-corp",), "logs-a-corp"),
        ("a", ("logs-b-corp",), "logs-a-default"),
        ("a", ("logs-aa-corp",), "logs-a-default"),
    ],
)
def test_a_dataset_belongs_to_its_usual_data_stream(dataset, folders, stream):
    """Metrics stay metrics, and a folder of that dataset keeps its namespace."""
    assert stream_of({"event": {"dataset": dataset}}, "", *folders) == stream


@pytest.mark.parametrize(
    ("folders", "stream"),
    [
        (("logs-a-x",), "logs-a-x"),
        (("2026", "metrics-endpoint.metadata_current_default"), None),
        (("logs-2026",), "chosen"),
        (("Downloads", "logs"), "chosen"),
    ],
)
def test_a_folder_names_a_data_stream_only_if_it_is_like_one(folders, stream):
    """`logs-2026` is a folder of logs; the nearest one counts."""
    assert stream_of({"n": 1}, "", *folders, chosen="chosen") == (stream or folders[-1])


def test_nothing_is_guessed():
    """A part of a name is none."""
    for document in ({}, {"data_stream": {"dataset": "a"}}, {"event": {"dataset": {"a": 1}}}):
        with pytest.raises(NotImported, match="do not say which data stream"):
            stream_of(document, "", "Downloads")
