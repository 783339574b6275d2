"""Mappings that ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.esql.streams import data_streams
from tasks.esql.types import Type

EXPECTED = {
    "logs-endpoint.events.network-default": {
        "@timestamp": Type.DATE,
        "destination.ip": Type.IP,
        "destination.port": Type.LONG,
        "event.type": Type.KEYWORD,
        "process.code_signature.trusted": Type.BOOLEAN,
    },
    "logs-endpoint.events.process-prod": {
        "process.args": Type.KEYWORD,
        "process.Ext.ancestry": Type.KEYWORD,
        "process.hash.sha256": Type.KEYWORD,
        "process.parent.pid": Type.LONG,
    },
    "metrics-endpoint.metadata_current_default": {"host.ip": Type.IP, "agent.id": Type.KEYWORD},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_defends_streams_have_a_mapping_without_a_file(tmp_path: Path, name):
    """An export of Elastic Defend's events has types, whatever the namespace."""
    (tmp_path / name).mkdir()
    (stream,) = data_streams(tmp_path)
    types = {field: stream.mapping[field].type for field in EXPECTED[name]}
    assert types == EXPECTED[name]


def test_another_stream_has_none(tmp_path: Path):
    """Types of other folders are inferred, or come from their mapping.json."""
    (tmp_path / "logs-other-default").mkdir()
    (stream,) = data_streams(tmp_path)
    assert stream.mapping == {}
