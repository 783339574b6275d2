from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.clusters import Client, Question, ask, connect
from tasks.clusters.paging import PagedQuery, paged_query
from tasks.fleet.documents import NETWORK
from tasks.model.hunts import Hunt, load_hunt, shipped_hunts
from tasks.settings import Cluster
from tests.builders import HUNT
from tests.effort import examples
from tests.events import network_event, write_events

GROUPED = "FROM a | STATS n = COUNT(*) BY x, y | KEEP n, x, y "


def hunt(query: str) -> Hunt:
    return HUNT.model_copy(update={"query": query})


@pytest.mark.parametrize("name", shipped_hunts())
def test_every_shipped_hunt_can_be_continued(name: str):
    """None of ours is cut at 10,000 rows."""
    assert paged_query(load_hunt(name), 10_000)


@pytest.mark.parametrize(
    ("end", "key"),
    [
        ("| SORT x, y | LIMIT 10000", ("x", "y")),
        ("| sort y asc,\n  x ASC\n| limit 20000\n", ("y", "x")),
        ("| SORT `x`, y, n | LIMIT 10000 // all of them | LIMIT 5", ("x", "y", "n")),
        ("| SORT x | LIMIT 10000", None),
        ("| SORT x, y DESC | LIMIT 10000", None),
        ("| SORT x, y NULLS FIRST | LIMIT 10000", None),
        ("| SORT x, y | LIMIT 100", None),
        ("| SORT x, y", None),
        ("| LIMIT 10000", None),
        ("| SORT x, y | LIMIT 10000 | WHERE n > 5", None),
        ("| SORT x, LENGTH(y) | LIMIT 10000", None),
    ],
)
def test_a_query_is_continued_where_its_end_has_a_full_key(end: str, key: tuple[str, ...] | None):
    """Else rows could be lost between two pages, and the run says instead that it was cut."""
    found = paged_query(hunt(GROUPED + end), 10_000)
    assert (found.key if found else None) == key
    if found:
        assert found.before + found.end == GROUPED + end


def test_a_query_without_groups_is_not_continued():
    """Nobody knows what makes its rows different."""
    assert paged_query(hunt("FROM a | KEEP x | SORT x | LIMIT 10000"), 10_000) is None


def test_a_sort_within_a_literal_is_none():
    """Only structure counts."""
    query = GROUPED + '| WHERE x != "| SORT x, y | LIMIT 10000"'
    assert paged_query(hunt(query), 10_000) is None


def test_what_comes_behind_a_row_is_greater_in_its_first_difference():
    """Null is the last of all."""
    behind = PagedQuery("FROM a\n", "| SORT x, y | LIMIT 5", ("x", "y"))
    text, values = behind.after({"x": "q", "y": 7})
    assert text == (
        "FROM a\n"
        "| WHERE ((`x` > ?_after_0 OR `x` IS NULL))"
        " OR (`x` == ?_after_0 AND (`y` > ?_after_1 OR `y` IS NULL))\n"
        "| SORT x, y | LIMIT 5"
    )
    assert values == {"_after_0": "q", "_after_1": 7}
    assert behind.after({"x": None, "y": "z"}) == (
        "FROM a\n| WHERE (`x` IS NULL AND (`y` > ?_after_1 OR `y` IS NULL))\n| SORT x, y | LIMIT 5",
        {"_after_1": "z"},
    )


NAMES = st.one_of(st.none(), st.sampled_from(["a", "b", 'a"b', "ä", "z"]))
KEYS = st.sets(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=20)


def ask_pages(client: Client, limit: int) -> list[tuple[str | None, ...]]:
    """Ask page after page until one is empty."""
    columns = "process.name, process.executable, user.name"
    query = f"FROM {NETWORK} | STATS n = COUNT(*) BY {columns}\n| SORT {columns} | LIMIT {limit}"
    further = paged_query(hunt(query), limit)
    assert further
    rows: list[tuple[str | None, ...]] = []
    text, values = query, {}
    while page := ask(client, Question("hunt", text, {"match_all": {}}, values)).records():
        rows += [tuple(row[column] for column in further.key) for row in page]
        text, values = further.after(page[-1])
    return rows


@settings(max_examples=examples(25))
@given(KEYS, st.integers(1, 7))
def test_page_after_page_gives_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, keys: set[tuple[str | None, ...]], limit: int
):
    """Whatever the key holds, also no value, the pages are the whole answer in its order."""
    folder = tmp_path_factory.mktemp("events")
    names = ("process.name", "process.executable", "user.name")
    events = [network_event(**dict(zip(names, key, strict=True))) for key in keys]
    write_events(folder, events)
    with connect(Cluster(name="folder", url=folder.as_uri())) as client:
        rows = ask_pages(client, limit)
    last_first = [tuple((part is None, part or "") for part in row) for row in rows]
    assert last_first == sorted(last_first)
    assert set(rows) == keys
    assert len(rows) == len(keys)
