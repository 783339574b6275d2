"""The official client and the embedded node: requests, answers, headers."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
from elasticsearch import BadRequestError, ConnectionTimeout, Elasticsearch, NotFoundError

from tasks.esql.deadline import Deadline
from tasks.esql.engine import Engine
from tests.tasks.esql.folder import answer, connected, write


def test_the_client_takes_it_for_elasticsearch(nowhere: Elasticsearch):
    """Version and product as the client checks them."""
    info = nowhere.info()
    assert info["version"]["number"].startswith("8.19")
    assert info.meta.headers["x-elastic-product"] == "Elasticsearch"
    assert nowhere.ping() is True


def test_an_answer_has_elasticsearchs_shape(tmp_path: Path):
    """Columns with types, rows, and what the answer cost."""
    write(tmp_path, [{"n": 1}, {"n": 2}])
    with connected(tmp_path) as client:
        body = client.esql.query(
            query="FROM logs-* | SORT n | LIMIT 9",
            allow_partial_results=False,
            filter={"term": {"n": 2}},
        )
    assert body["columns"] == [{"name": "n", "type": "long"}]
    assert body["values"] == [[2]]
    assert body["is_partial"] is False
    assert (body["documents_found"], body["values_loaded"]) == (2, 2)
    assert body["took"] >= 0


def test_an_answer_may_come_by_columns(nowhere: Elasticsearch):
    """`columnar` turns rows into columns."""
    body = nowhere.esql.query(query="ROW a = 1, b = 2 | LIMIT 1", columnar=True)
    assert body["values"] == [[1], [2]]


def test_an_asynchronous_question_is_answered_at_once(nowhere: Elasticsearch):
    """The answer is there with the first request, kept if asked for, and gone once deleted."""
    started = nowhere.esql.async_query(
        query="ROW a = 1 | LIMIT 1",
        wait_for_completion_timeout="1ms",
        keep_on_completion=True,
        keep_alive="1m",
    )
    assert (started["is_running"], started["values"]) == (False, [[1]])
    again = nowhere.esql.async_query_get(id=started["id"], wait_for_completion_timeout="1s")
    assert again["values"] == [[1]]
    assert nowhere.esql.async_query_delete(id=started["id"])["acknowledged"] is True
    with pytest.raises(NotFoundError):
        nowhere.esql.async_query_get(id=started["id"])


def test_an_answer_is_not_kept_unless_asked_for(nowhere: Elasticsearch):
    """No id, nothing to delete."""
    assert "id" not in nowhere.esql.async_query(query="ROW a = 1 | LIMIT 1")


def test_what_the_node_does_not_answer_is_an_error_of_elasticsearchs_shape(nowhere: Elasticsearch):
    """A search is refused in words, with status and cause."""
    with pytest.raises(BadRequestError) as caught:
        nowhere.search(index="logs-*")
    body = caught.value.body
    assert body["status"] == 400
    assert body["error"]["root_cause"][0]["type"] == "illegal_argument_exception"
    assert "an embedded cluster answers / and /_query only" in body["error"]["reason"]


def test_a_field_of_the_request_that_is_unknown_is_refused(nowhere: Elasticsearch):
    """Nothing in a request is ignored."""
    with pytest.raises(BadRequestError, match=r"unknown field \[tables\]"):
        nowhere.perform_request(
            "POST",
            "/_query",
            headers={"accept": "application/json", "content-type": "application/json"},
            body={"query": "ROW a = 1", "tables": {}},
        )


def test_warnings_survive_their_header(nowhere: Elasticsearch):
    """Quotes, percent signs, line breaks and other alphabets come through whole."""
    compared = 'a == """é"%\n"""'
    result = answer(nowhere, f'ROW a = ["é", "x"] | EVAL b = {compared} | LIMIT 1')
    assert f"evaluation of [{compared}] failed" in result.warnings[0]


def test_several_threads_may_share_a_client(tmp_path: Path):
    """Questions queue up; none gets another's answer."""
    write(tmp_path, [{"n": n} for n in range(100)])
    answers: dict[int, object] = {}
    with connected(tmp_path) as client:

        def count(limit: int) -> None:
            query = f"FROM logs-* | WHERE n < {limit} | STATS COUNT(*) | LIMIT 1"
            answers[limit] = client.esql.query(query=query)["values"]

        threads = [threading.Thread(target=count, args=(limit,)) for limit in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {limit: [[limit]] for limit in range(1, 9)}


def test_a_signal_ends_a_question(nowhere: Elasticsearch, monkeypatch):
    """A Ctrl-C, for example; what the handler raises arrives as it is."""

    def answer_for_ever(engine: Engine, *_: object) -> None:
        engine._connection.execute("SELECT sum(range) FROM range(1000000000000000)")

    monkeypatch.setattr(Engine, "_answer", answer_for_ever)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            nowhere.esql.query(query="ROW a = 1 | LIMIT 1")
    finally:
        signal.signal(signal.SIGALRM, before)
    monkeypatch.undo()
    assert answer(nowhere, "ROW a = 1 | LIMIT 1").value == 1, "the next one is answered"


@pytest.mark.parametrize("work", ["in DuckDB", "in Python"])
def test_a_question_ends_with_its_time(nowhere: Elasticsearch, monkeypatch, work):
    """`request_timeout` ends DuckDB's work and loops in Python; the next question is answered."""

    def answer_for_ever(engine: Engine, _: object, deadline: Deadline) -> None:
        if work == "in DuckDB":
            engine._connection.execute("SELECT sum(range) FROM range(1000000000000000)")
        while True:
            deadline.check()

    monkeypatch.setattr(Engine, "_answer", answer_for_ever)
    started = time.monotonic()
    with pytest.raises(ConnectionTimeout):
        nowhere.options(request_timeout=0.3).esql.query(query="ROW a = 1 | LIMIT 1")
    assert time.monotonic() - started < 5
    monkeypatch.undo()
    assert answer(nowhere, "ROW a = 1 | LIMIT 1").value == 1


def test_the_search_for_a_bad_line_ends_with_its_time(tmp_path: Path, monkeypatch):
    """It goes through the file in Python, where DuckDB's interrupt ends nothing."""
    write(tmp_path, [*({"n": n} for n in range(20_000)), "no"])
    checked = []
    check = Deadline.check

    def end_soon(deadline: Deadline) -> None:
        checked.append(deadline)
        if len(checked) > 1_000:
            deadline.end()
        check(deadline)

    monkeypatch.setattr(Deadline, "check", end_soon)
    with connected(tmp_path) as client, pytest.raises(ConnectionTimeout):
        client.options(request_timeout=60).esql.query(query="FROM logs-* | KEEP n | LIMIT 1")


def test_a_question_waits_for_others_no_longer_than_its_time(nowhere: Elasticsearch):
    """A client's connection answers one question at a time."""
    (node,) = nowhere.transport.node_pool.all()
    with node._one_at_a_time, pytest.raises(ConnectionTimeout):
        nowhere.options(request_timeout=0.1).esql.query(query="ROW a = 1 | LIMIT 1")


@pytest.mark.parametrize("value", ["\ud800", float("inf"), 10**400])
def test_a_request_with_no_text_and_no_number_is_refused(nowhere: Elasticsearch, value):
    """Half a surrogate, an infinite number and one beyond all types get no further."""
    body = json.dumps({"query": "ROW x = ?", "params": [value]}).encode()
    (node,) = nowhere.transport.node_pool.all()
    response = node.perform_request("POST", "/_query", body)
    assert response.meta.status == 400
