"""Whatever comes back is an answer, an error in words, or an empty cell with a warning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig, ObjectApiResponse
from elasticsearch import ApiError
from hypothesis import assume, given
from hypothesis import strategies as st

from tasks.clusters import Client, Question, ask, catalogue, connect, missing_privileges, values
from tasks.clusters.answers import AnswerBody, read_answer
from tasks.clusters.bodies import read_body
from tasks.clusters.faults import in_our_words
from tasks.errors import ClusterError, QueryRefused, Unreachable
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import Behaviour, Call, answer, deleted, running
from tests.elasticsearch_server import ElasticsearchServer

PROD = Cluster(name="prod", url="https://es.example.com:9200")
QUESTION = Question("hunt", "FROM logs-*", {"match_all": {}}, {})

ES_DATES = st.integers(-9_223_372_036_854_775_808, 9_223_372_036_854_775_807)
"""Milliseconds: the whole range of Elasticsearch's dates."""

HALVES = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=12)
"""Text with halves of surrogate pairs, which JSON can hold."""

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | HALVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HALVES, inner, max_size=3),
    max_leaves=6,
)
"""Any JSON."""

TYPES = """
    boolean cartesian_point cartesian_shape counter_double counter_integer counter_long date
    date_nanos date_period double geo_point geo_shape geohash histogram integer ip keyword long
    null semantic_text text time_duration unsigned_long unsupported version _source dense_vector
    aggregate_metric_double some_later_type
""".split()  # noqa: SIM905 - a list of so many would fill a page.


def meta(status: int = 200) -> ApiResponseMeta:
    node = NodeConfig("https", "es.example.com", 9200)
    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, node)


def read(columns: dict[str, str], *rows: list[Any], warning: str = "") -> Any:
    body = {"columns": [{"name": n, "type": k} for n, k in columns.items()], "values": rows}
    response = ObjectApiResponse(body=json.loads(json.dumps(body)), meta=meta())
    return read_answer(read_body(PROD, response, AnswerBody), warning)


Y2K = datetime(2000, 1, 1, tzinfo=UTC)


def written(milliseconds: int) -> str:
    """A date as Elasticsearch writes it: a sign before a year that has not four digits."""
    days, rest = divmod(milliseconds, 86_400_000)
    cycles, days = divmod(days, 146_097)  # 400 years of the calendar.
    inside = Y2K + timedelta(days=days - 10_957)
    year = inside.year + 400 * cycles
    sign = "" if 0 <= year <= 9999 else "-" if year < 0 else "+"
    clock = (Y2K + timedelta(milliseconds=rest)).strftime("%H:%M:%S")
    return f"{sign}{abs(year):04d}-{inside:%m-%d}T{clock}.{rest % 1000:03d}Z"


def test_the_writer_of_dates_writes_as_elasticsearch_does():
    """Its two ends, and the epoch."""
    assert written(-9_223_372_036_854_775_808) == "-292275055-05-16T16:47:04.192Z"
    assert written(9_223_372_036_854_775_807) == "+292278994-08-17T07:12:55.807Z"
    assert written(0) == "1970-01-01T00:00:00.000Z"


@given(ES_DATES | st.integers(-70_000_000_000_000, 260_000_000_000_000))
def test_every_date_of_elasticsearch_is_read_or_left_out_with_a_warning(milliseconds: int):
    """A broken clock on one Mac must not cost the answer of the others."""
    said = read({"at": "date", "host": "keyword"}, [written(milliseconds), "a"])
    try:
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        expected = None
    assert said.records() == [{"at": expected, "host": "a"}]
    assert bool(said.warnings) == (expected is None) == bool(said.unreadable)


@pytest.mark.parametrize(
    "cell",
    [
        "0000-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999999999Z",
        "now",
        "10:30",
        "",
        "2026-13-01T00:00:00Z",
        "2026-11-24T06:00:00Z\n",
        1_764_482_400_000,
        {"at": 1},
        ["2026-11-24T06:00:00Z", "-10000-01-01T00:00:00.000Z"],
    ],
)
@pytest.mark.parametrize("kind", ["date", "date_nanos"])
def test_what_is_no_date_is_left_out_with_a_warning(cell: object, kind: str):
    """And nothing is guessed: pandas takes `10:30` for a time of today."""
    said = read({"at": kind}, [cell], ["2026-11-24T06:00:00.123456789Z"])
    assert len(values(said.records()[0]["at"])) == isinstance(cell, list)
    assert said.records()[1]["at"] == pd.Timestamp("2026-11-24T06:00:00.123456789Z")
    (warning,) = said.warnings
    assert "`at`" in warning


def test_a_column_of_dates_sorts_whatever_their_unit():
    """A year far away has no nanoseconds in pandas."""
    days = ["9999-12-31T00:00:00.000Z", "2026-11-24T06:00:00.123456789Z", "0001-01-01T00:00:00Z"]
    rows = read({"at": "date"}, *([day] for day in [*days, "-10000-01-01T00:00:00.000Z"])).rows
    assert [day and day.year for day in rows.sort_values("at")["at"]] == [1, 2026, 9999, None]


@given(st.dictionaries(HALVES, st.sampled_from(TYPES), min_size=1, max_size=3), st.data())
def test_any_cell_of_any_type_is_read(columns: dict[str, str], data: st.DataObject):
    """Names and texts are UTF-8 afterwards, since history and pages are."""
    row = [data.draw(ODD, label=kind) for kind in columns.values()]
    assume(len({name.encode(errors="replace") for name in columns}) == len(columns))
    said = read(columns, row, warning=data.draw(HALVES.map(lambda text: f'299 E "{text}"')))
    shown = [str(cell) for cell in said.records()[0].values() if not isinstance(cell, dict | list)]
    "".join((*said.types, *said.warnings, *shown)).encode()


@given(ODD, st.sampled_from([200, 300, 400, 403, 404, 429, 500, 503]))
def test_an_error_of_any_shape_is_one_in_our_words(error: object, status: int):
    """A reason may be a list, a number or nothing; what is shown is UTF-8."""
    for body in ({"error": error}, {"error": {"reason": error, "root_cause": error}}, error):
        with pytest.raises(ClusterError) as caught, in_our_words(PROD, "FROM logs-*"):
            raise ApiError("message", meta=meta(status), body=body)
        assert str(caught.value).encode()
        assert caught.value.remedy


# Over the wire


@pytest.fixture(scope="module")
def said() -> Iterator[SimpleNamespace]:
    """One server for all that is said here: `body` is what it answers, everywhere."""
    holder = SimpleNamespace(body="", kind="application/json")

    def odd(call: Call) -> None:
        product = ("X-Elastic-Product", "Elasticsearch")
        call.send(holder.body, 200, ("Content-Type", holder.kind), product)

    with ElasticsearchServer(odd, info=odd, privileges=odd, fields=odd) as server:
        holder.url = server.url
        yield holder


def asked(url: str) -> Iterator[ClusterError]:
    """What each question to the cluster raises."""
    for ask_for in (
        lambda client: client.server,
        lambda client: missing_privileges(client, ["logs-*"]),
        lambda client: catalogue(client, ["logs-*"], ["host.id"]),
        lambda client: ask(knowing(client), QUESTION),
    ):
        with connect(Cluster(name="prod", url=url)) as client, pytest.raises(ClusterError) as error:
            ask_for(client)
        yield error.value


def knowing(client: Client) -> Client:
    """Spare the client the question for the server's version."""
    client.__dict__["server"] = SimpleNamespace(
        can_refuse_partial_answers=False, can_name_remotes=False
    )
    return client


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8"])
def test_a_page_with_the_products_header_is_not_elasticsearch(said: SimpleNamespace, kind: str):
    """A proxy may add the header to all that passes, also to its sign-in page."""
    said.body, said.kind = "<!doctype html><title>Sign in</title>", kind
    for error in asked(said.url):
        assert isinstance(error, QueryRefused)
        assert "answers with a web page (status 200), so it is not Elasticsearch" in error.problem


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "1", "[]", '[{"version": {}}]', "{", "{}", "[" * 100_000),
        '{"version": [], "index": [], "fields": [], "indices": 1, "columns": {}, "values": 1}',
        '{"version": {"number": 1}, "index": {"a": 1}, "fields": {"a": 1}, "indices": []}',
        '{"is_running": true, "columns": [], "values": []}',
        '{"is_running": true, "id": "\\ud800", "version": null}',
        '{"columns": [{"name": "a"}], "values": []}',
        '{"columns": [{"name": "a", "type": "long"}], "values": [[1, 2]]}',
        '{"columns": [{"name": "a", "type": "long"}, {"name": "a", "type": "ip"}], "values": []}',
    ],
)
def test_json_of_another_shape_is_not_elasticsearchs(said: SimpleNamespace, body: str):
    """A key that is missing, or holds something else, is no fault of ours."""
    said.body, said.kind = body, "application/vnd.elasticsearch+json;compatible-with=8"
    for error in asked(said.url):
        assert isinstance(error, Unreachable)
        assert "is incomplete or not from Elasticsearch" in error.problem


def test_a_page_in_the_middle_of_a_query_leaves_no_query_behind():
    """The query that it interrupts is deleted."""

    def page(call: Call) -> None:
        product = ("X-Elastic-Product", "Elasticsearch")
        call.send("<p>Sign in", 200, ("Content-Type", "text/html"), product)

    behaviours: tuple[Behaviour, ...] = (running, page)
    with ElasticsearchServer(*behaviours, delete=deleted) as server:
        with (
            connect(Cluster(name="prod", url=server.url)) as client,
            pytest.raises(QueryRefused, match="web page"),
        ):
            ask(client, QUESTION)
        assert server.kept == set()


def test_a_lost_date_is_remembered_for_the_report_of_the_run():
    """Also where it stood in the answer to a question that adds to findings."""
    far = answer({"@timestamp": "date"}, ["+10000-01-01T00:00:00.000Z"])
    with (
        ElasticsearchServer(far) as server,
        connect(Cluster(name="prod", url=server.url)) as client,
    ):
        said = ask(client, QUESTION)
    assert tuple(client.warnings) == said.unreadable == said.warnings != ()
    assert said.with_warnings(client.warnings).warnings == said.warnings
