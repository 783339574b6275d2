"""The hunt's question to a remote cluster: long, partial and remote answers, over a socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.clusters import Answer, connect
from tasks.errors import Unreachable
from tasks.fleet.documents import NETWORK
from tasks.model.hunts import Hunt, load_hunt
from tasks.model.runs import Plan
from tasks.questions.candidates import ask_candidates
from tasks.settings import Cluster
from tests.elasticsearch_behaviours import partial_of, real, skipping
from tests.elasticsearch_server import ElasticsearchServer
from tests.events import SLOT, network_event, write_events


def lonely(count: int, folder: Path) -> Path:
    """A folder of so many processes with one event each."""
    write_events(folder, (network_event(entity_id=f"e{number:06}") for number in range(count)))
    return folder


EVERY_PROCESS = load_hunt("macos-unsigned-network").model_copy(
    update={
        "query": """\
FROM logs-endpoint.events.network-*
| STATS count_connections = COUNT(*) BY process.entity_id
| SORT process.entity_id
| LIMIT 10000"""
    }
)


def candidates(server: ElasticsearchServer, hunt: Hunt = EVERY_PROCESS, **how: bool) -> Answer:
    """What a hunt finds there, through the official client, over a real socket."""
    with connect(Cluster(name="prod", url=server.url)) as client:
        return ask_candidates(client, Plan("abc", hunt, "prod", SLOT, 6, SLOT), **how)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25,000 processes with one event each."""
    return lonely(25_000, tmp_path_factory.mktemp("crowd"))


@pytest.mark.parametrize(
    ("rows_at_most", "questions"), [(10_000, 4), (5_000, 6)], ids=["as shipped", "lowered"]
)
def test_every_candidate_comes_once_wherever_a_server_cuts(
    crowd: Path, rows_at_most: int, questions: int
):
    """An administrator may have lowered the limit, and the answer does not say so."""
    with ElasticsearchServer(folder=crowd, rows_at_most=rows_at_most) as server:
        answer = candidates(server)
    assert list(answer.rows["process.entity_id"]) == [f"e{n:06}" for n in range(25_000)]
    assert answer.is_whole
    assert len(server.asked()) == questions
    assert server.most_running == 1


def test_exactly_ten_thousand_candidates_are_whole(tmp_path: Path):
    """The next page is empty: that is the proof."""
    with ElasticsearchServer(folder=lonely(10_000, tmp_path)) as server:
        answer = candidates(server)
    assert (len(answer.rows), answer.is_whole, len(server.asked())) == (10_000, True, 2)


def test_beyond_the_stated_maximum_the_answer_is_cut(crowd: Path, monkeypatch: pytest.MonkeyPatch):
    """Nobody should believe that these are all."""
    monkeypatch.setattr("tasks.questions.candidates.CANDIDATES_AT_MOST", 20_000)
    with ElasticsearchServer(folder=crowd) as server:
        answer = candidates(server)
    assert (len(answer.rows), answer.is_cut, len(server.asked())) == (20_000, True, 2)


def test_a_hunt_that_cannot_be_continued_is_cut_when_it_is_full(crowd: Path):
    """Without a full key at its end nobody knows what comes next."""
    any_order = EVERY_PROCESS.query.replace("| SORT process.entity_id\n", "")
    with ElasticsearchServer(folder=crowd) as server:
        answer = candidates(server, EVERY_PROCESS.model_copy(update={"query": any_order}))
    assert (len(answer.rows), answer.is_cut, len(server.asked())) == (10_000, True, 1)


def test_a_short_answer_needs_no_second_question(tmp_path: Path):
    """The common case costs the cluster one hunt."""
    with ElasticsearchServer(folder=lonely(999, tmp_path)) as server:
        assert candidates(server).is_whole
    assert len(server.asked()) == 1


def test_what_the_other_shards_have_is_used_and_labelled(tmp_path: Path):
    """Some of the rows are better than none, as long as everybody knows."""
    with ElasticsearchServer(partial_of(3), folder=lonely(9, tmp_path)) as server:
        answer = candidates(server, allow_partial=True)
    assert (len(answer.rows), answer.is_partial, answer.is_whole) == (3, True, False)


def test_a_partial_answer_without_rows_is_no_answer(tmp_path: Path):
    """What the failed shards hold may be all of it; asking again may help."""
    with (
        ElasticsearchServer(partial_of(0), folder=lonely(9, tmp_path)) as server,
        pytest.raises(Unreachable, match="the others found nothing"),
    ):
        candidates(server, allow_partial=True)


def test_a_remote_cluster_that_was_skipped_is_named(tmp_path: Path):
    """Its events were not searched; those of the others were, and are whole."""
    for alias in ("eu", "us"):
        events = [network_event(entity_id=f"{alias}-1")]
        write_events(tmp_path, events, f"{alias}:{NETWORK}")
    remotes = EVERY_PROCESS.query.replace(
        "FROM logs-endpoint.events.network-*",
        "FROM eu:logs-endpoint.events.network-*,us:logs-endpoint.events.network-*",
    )
    hunt = EVERY_PROCESS.model_copy(update={"query": remotes})
    with ElasticsearchServer(real, skipping("us"), folder=tmp_path) as server:
        whole, part = candidates(server, hunt), candidates(server, hunt)
    assert (list(whole.rows["process.entity_id"]), whole.is_whole) == (["eu-1", "us-1"], True)
    assert list(part.rows["process.entity_id"]) == ["eu-1"]
    assert [name.partition(" ")[0] for name in part.skipped] == ["us"]
    assert not part.is_whole
