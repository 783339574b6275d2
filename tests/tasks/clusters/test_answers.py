from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tasks.clusters import (
    ROWS_AT_MOST,
    ROWS_WITHOUT_LIMIT,
    Answer,
    Question,
    ask,
    connect,
    values,
)
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import Behaviour, answer
from tests.elasticsearch_server import ElasticsearchServer


def read_back(behaviour: Behaviour) -> Answer:
    """What is read from an answer that came over a real socket, through the official client."""
    with (
        ElasticsearchServer(behaviour) as server,
        connect(Cluster(name="prod", url=server.url)) as client,
    ):
        return ask(client, Question("hunt", "FROM eu:logs-*", {"match_all": {}}, {}))


@pytest.mark.parametrize(
    ("cell", "held"),
    [(None, ()), ("", ("",)), (False, (False,)), (["b", "a"], ("b", "a")), ([1, None], (1,))],
)
def test_a_cell_holds_no_value_one_or_several(cell: object, held: tuple[object, ...]):
    """Any field of Elasticsearch may be a list; what is empty or false is a value too."""
    assert values(cell) == held


@pytest.mark.parametrize(
    ("headers", "texts"),
    [
        ((), ()),
        (('"No limit defined"',), ("No limit defined",)),
        ((r'"field [\"a\"], \"b\""',), ('field ["a"], "b"',)),
        ((r'"a back\\slash"',), (r"a back\slash",)),
        (('"one, two"', '"three"'), ("one, two", "three")),
        (('"one", 299 Elasticsearch-8.19.3-abc "two"',), ("one", "two")),
        (('"twice"', '"twice"'), ("twice",)),
        (('"50%25 of caf%C3%A9"',), ("50% of café",)),
        (('"it breaks off',), ("it breaks off",)),
    ],
)
def test_warnings_are_read_as_they_were_written(headers: tuple[str, ...], texts: tuple[str, ...]):
    """A reader of the report must know what the cluster said, word for word, once."""
    assert read_back(answer({"a": "long"}, [1], warnings=headers)).warnings == texts


def test_times_are_aware_utc_and_what_is_missing_stays_none():
    """A column of times may hold none, one or several."""
    six = "2026-11-24T06:00:00.123Z"
    said = read_back(answer({"at": "date"}, [six], [None], [[six, six]]))
    at = datetime(2026, 11, 24, 6, 0, 0, 123_000, tzinfo=UTC)
    assert [row["at"] for row in said.records()] == [at, None, [at, at]]
    assert said.records()[0]["at"].utcoffset().total_seconds() == 0
    assert read_back(answer({"at": "date"}, [six], [None])).records()[1]["at"] is None


def test_values_stay_as_they_were_sent():
    """Numbers keep their kind, several values stay a list, no value stays none."""
    types = {"n": "long", "x": "double", "ok": "boolean", "names": "keyword"}
    rows = [[2**53 + 1, 0.5, True, ["b", "a"]], [None, None, None, None]]
    said = read_back(answer(types, *rows))
    assert [list(row.values()) for row in said.records()] == rows
    assert said.types == types


def test_an_answer_without_rows_has_its_columns():
    """Nothing found is an answer."""
    said = read_back(answer({"a": "long", "b": "keyword"}))
    assert (said.records(), list(said.rows.columns)) == ([], ["a", "b"])


def test_half_a_surrogate_pair_is_replaced():
    """A process name may hold one, and then nothing could be written down."""
    said = read_back(answer({"a": "keyword"}, ["x\ud800y"], [["\udc00", "z"]]))
    assert [row["a"] for row in said.records()] == ["x?y", ["?", "z"]]


def test_a_partial_answer_is_not_whole():
    """Shards that failed are said, whatever the rows."""
    said = read_back(answer({"a": "long"}, [1], is_partial=True))
    assert (said.is_partial, said.is_cut, said.is_whole) == (True, False, False)


@pytest.mark.parametrize(("rows", "cut"), [(ROWS_AT_MOST - 1, False), (ROWS_AT_MOST, True)])
def test_an_answer_of_ten_thousand_rows_may_have_been_cut(rows: int, cut: bool):
    """Elasticsearch cuts there and says nothing."""
    said = read_back(answer({"a": "long"}, *([n] for n in range(rows))))
    assert (said.is_cut, said.is_whole) == (cut, not cut)


@pytest.mark.parametrize("rows", [0, ROWS_WITHOUT_LIMIT - 1, ROWS_WITHOUT_LIMIT])
def test_only_a_short_answer_proves_that_nothing_was_cut(rows: int):
    """An administrator may have set a lower limit than Elasticsearch's own."""
    said = read_back(answer({"a": "long"}, *([n] for n in range(rows))))
    assert said.may_go_on == (rows >= ROWS_WITHOUT_LIMIT)


REMOTES = {
    "(local)": {"status": "successful", "indices": "logs-*"},
    "eu": {"status": "skipped", "failures": [{"reason": {"type": "x", "reason": "no route"}}]},
    "us": {"status": "partial"},
}


def test_a_remote_cluster_that_was_skipped_is_named_with_its_reason():
    """What it holds was not searched, whatever the rows of the others."""
    said = read_back(answer({"a": "long"}, [1], is_partial=True, _clusters={"details": REMOTES}))
    assert said.skipped == ("eu (no route)", "us (partial)")
    assert not said.is_partial, "no shard of this cluster failed"
    assert not said.is_whole


def test_remote_clusters_that_all_answered_are_no_flaw():
    """Searching through another cluster is nothing to warn of."""
    remotes = {"eu": {"status": "successful"}}
    said = read_back(answer({"a": "long"}, [1], _clusters={"details": remotes}))
    assert said.is_whole
