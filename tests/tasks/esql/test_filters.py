"""The Query DSL filter that goes beside a query."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.esql.folder import ask, refusal, write

MAPPING = {
    "@timestamp": "date",
    "id": "keyword",
    "ip": "ip",
    "port": "long",
    "ok": "boolean",
    "tags": "keyword",
    "gone": "keyword",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three documents, a day apart."""
    documents = [
        {"@timestamp": "2026-11-22T00:00:00Z", "id": "a", "ip": "10.0.0.1", "port": 80, "ok": True},
        {"@timestamp": "2026-11-23T00:00:00Z", "id": "b", "ip": "fe80::1", "tags": ["x", "y"]},
        {"@timestamp": "2026-11-24T00:00:00Z", "id": "c", "port": 443, "tags": "y"},
    ]
    return write(tmp_path_factory.mktemp("filters"), documents, mapping=MAPPING)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"match_all": {}}, "abc"),
        ({"term": {"id": "b"}}, "b"),
        ({"term": {"id": {"value": "b"}}}, "b"),
        ({"terms": {"id": ["a", "c", "z"]}}, "ac"),
        ({"term": {"tags": "y"}}, "bc"),
        ({"terms": {"tags": ["x", "z"]}}, "b"),
        ({"term": {"port": "443"}}, "c"),
        ({"term": {"ok": True}}, "a"),
        ({"term": {"ip": "fe80:0::1"}}, "b"),
        ({"term": {"ip": "10.0.0.0/8"}}, "a"),
        ({"exists": {"field": "port"}}, "ac"),
        ({"exists": {"field": "gone"}}, ""),
        ({"exists": {"field": "never"}}, ""),
        ({"term": {"never": "x"}}, ""),
        ({"range": {"@timestamp": {"gte": "2026-11-23T00:00:00.000Z"}}}, "bc"),
        ({"range": {"@timestamp": {"gt": "2026-11-23T00:00:00Z", "lte": "2026-11-24"}}}, "c"),
        ({"range": {"@timestamp": {"lt": 1795392000000, "format": "epoch_millis"}}}, "a"),
        ({"range": {"port": {"gte": 80, "lt": 443}}}, "a"),
        ({"range": {"tags": {"gte": "y"}}}, "bc"),
        ({"bool": {}}, "abc"),
        ({"bool": {"filter": {"term": {"id": "a"}}}}, "a"),
        ({"bool": {"filter": [{"term": {"tags": "y"}}], "must": [{"term": {"id": "c"}}]}}, "c"),
        ({"bool": {"must_not": [{"term": {"port": 80}}]}}, "bc"),
        ({"bool": {"should": [{"term": {"id": "a"}}, {"term": {"id": "b"}}]}}, "ab"),
        ({"bool": {"filter": [{"match_all": {}}], "should": [{"term": {"id": "a"}}]}}, "abc"),
        (
            {
                "bool": {
                    "should": [{"term": {"id": "c"}}, {"term": {"tags": "y"}}],
                    "minimum_should_match": 2,
                }
            },
            "c",
        ),
    ],
)
def test_a_filter_lets_through_what_matches(folder: Path, query, ids):
    """Any value of a field may match; a field that is not there never does."""
    result = ask(folder, "FROM logs-* | SORT id | KEEP id | LIMIT 9", filter=query)
    assert "".join(row[0] for row in result.rows) == ids


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"match": {"id": "a"}}, "unknown or unsupported query [match] in [filter]"),
        ({"bool": {"nor": []}}, "[bool] query does not support [nor]"),
        ({"term": {"port": "many"}}, "failed to parse [many] as [long] for field [port]"),
        ({"range": {"@timestamp": {"gte": "now-7d"}}}, "failed to parse [now-7d] as [date]"),
        ({"range": {"port": {"from": 1}}}, "[range] query does not support [from]"),
        ({"term": {"ip": "10.0.0/8"}}, "'10.0.0/8' is not an IP string literal."),
    ],
)
def test_a_filter_that_is_not_understood_is_refused(folder: Path, query, said):
    """No part of a filter is left out silently."""
    kind, reason = refusal(folder, "FROM logs-* | LIMIT 9", filter=query)
    assert kind == "parsing_exception"
    assert said in reason


def test_thousands_of_terms_are_one_filter(folder: Path):
    """Enrichment asks for many processes at once."""
    many = {"terms": {"id": [f"id-{n}" for n in range(5000)] + ["b"]}}
    assert ask(folder, "FROM logs-* | STATS COUNT(*)", filter=many).rows == [[1]]
