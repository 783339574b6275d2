"""Commands: which rows and which columns come out, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from tests.tasks.esql.folder import Result, answer, ask, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five documents with a null and a list."""
    documents = [
        {"n": 1, "k": "b", "tags": ["x", "y"]},
        {"n": 2, "k": "a", "tags": ["y"]},
        {"n": None, "k": "B", "tags": []},
        {"n": 3, "k": "a", "tags": "z"},
        {"n": 3},
    ]
    return write(tmp_path_factory.mktemp("commands"), documents)


def rows(folder: Path, commands: str) -> list[list[object]]:
    """The rows of a query on the five documents."""
    return ask(folder, f"FROM logs-* | {commands}").rows


def test_fields_come_in_alphabetical_order_and_metadata_last(folder: Path):
    """FROM shows every field that the mapping or the files have."""
    result = ask(folder, "FROM logs-* METADATA _index | LIMIT 1")
    assert result.names == ["k", "n", "tags", "_index"]
    assert result.types == ["keyword", "long", "keyword", "keyword"]


def test_subfields_come_after_their_parent(tmp_path: Path):
    """`a.b` stands before `a_b` and after `a`."""
    write(tmp_path, [{"a_b": 1, "a.b": 2, "a-c": 3, "b": 4}])
    assert ask(tmp_path, "FROM logs-* | LIMIT 1").names == ["a.b", "a-c", "a_b", "b"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("n", [1, 2, 3, 3, None]),
        ("n DESC", [None, 3, 3, 2, 1]),
        ("n NULLS FIRST", [None, 1, 2, 3, 3]),
        ("n DESC NULLS LAST", [3, 3, 2, 1, None]),
    ],
)
def test_nulls_sort_as_the_largest(folder: Path, order, expected):
    """Ascending puts nulls last, descending first, unless it is said otherwise."""
    assert [row[0] for row in rows(folder, f"SORT {order} | KEEP n | LIMIT 9")] == expected


def test_sort_goes_by_key_after_key_and_texts_by_bytes(folder: Path):
    """Capital letters stand before small ones; the second key decides among equals."""
    assert rows(folder, "SORT k, n DESC | KEEP k, n | LIMIT 9") == [
        ["B", None],
        ["a", 3],
        ["a", 2],
        ["b", 1],
        [None, 3],
    ]


def test_lists_sort_by_their_smallest_or_largest_value(folder: Path):
    """Ascending looks at the smallest value, descending at the largest."""
    assert rows(folder, "WHERE n < 3 | SORT tags | KEEP n | LIMIT 9") == [[1], [2]]
    assert rows(folder, "SORT tags DESC NULLS LAST, n DESC | KEEP n | LIMIT 3") == [[3], [2], [1]]


def test_addresses_sort_by_their_bytes(tmp_path: Path):
    """9.0.0.1 stands before 10.0.0.1, and both before IPv6."""
    write(tmp_path, [{"ip": "10.0.0.1"}, {"ip": "2001:db8::1"}, {"ip": "9.0.0.1"}])
    result = ask(tmp_path, "FROM logs-* | SORT ip | LIMIT 9")
    assert result.rows == [["9.0.0.1"], ["10.0.0.1"], ["2001:db8::1"]]
    assert result.types == ["ip"]


def test_the_order_survives_what_follows(folder: Path):
    """KEEP, EVAL, WHERE and RENAME do not shuffle, not even without the key."""
    commands = (
        "SORT n DESC NULLS LAST, k | KEEP k, n | RENAME k AS x | WHERE n > 1 | DROP n | LIMIT 9"
    )
    assert rows(folder, commands) == [["a"], [None], ["a"]]


def test_sort_then_limit_keeps_the_first(folder: Path):
    """LIMIT cuts where it stands, not at the end."""
    assert rows(folder, "SORT n | LIMIT 2 | SORT n DESC | KEEP n") == [[2], [1]]


def test_without_limit_a_thousand_rows_come_and_a_warning(tmp_path: Path):
    """The default limit is said, so that nobody takes a part for the whole."""
    write(tmp_path, [{"n": n} for n in range(1001)])
    result = ask(tmp_path, "FROM logs-*")
    assert len(result.rows) == 1000
    assert result.warnings == ["No limit defined, adding default limit of [1000]"]
    assert ask(tmp_path, "FROM logs-* | LIMIT 1001").warnings == []
    assert len(ask(tmp_path, "FROM logs-* | LIMIT 1001").rows) == 1001


def test_more_than_ten_thousand_rows_are_cut_silently(tmp_path: Path):
    """As in a cluster: a page of 10,000 may not be all."""
    write(tmp_path, [{"n": n} for n in range(10_050)])
    result = ask(tmp_path, "FROM logs-* | LIMIT 20000")
    assert (len(result.rows), result.warnings) == (10_000, [])
    assert ask(tmp_path, "FROM logs-* | LIMIT 20000 | STATS COUNT(*)").rows == [[10_050]]


@pytest.mark.parametrize(
    ("keep", "names"),
    [
        ("c, a", ["c", "a"]),
        ("*, a", ["bb", "b", "c", "a"]),
        ("a, *", ["a", "bb", "b", "c"]),
        ("b*, a", ["bb", "b", "a"]),
        ("b*, b", ["bb", "b"]),
        ("b, b*", ["b", "bb"]),
        ("a, c, a", ["c", "a"]),
        ("*b", ["bb", "b"]),
    ],
)
def test_keep_orders_by_the_narrowest_mention(nowhere: Elasticsearch, keep, names):
    """An exact name beats a pattern beats a star; among equals the last mention places it."""
    query = f"ROW a = 1, bb = 2, b = 3, c = 4 | KEEP {keep} | LIMIT 1"
    assert answer(nowhere, query).names == names


def columns(client: Elasticsearch, commands: str) -> dict[str, object]:
    """The only row, by names, in the order of its columns."""
    result = answer(client, f"ROW a = 1, b = 2, c = 3 | {commands} | LIMIT 1")
    return dict(zip(result.names, result.rows[0], strict=True))


def test_eval_moves_what_it_redefines_to_the_end(nowhere: Elasticsearch):
    """Later items see earlier ones; a column that is redefined stands last."""
    made = columns(nowhere, "EVAL a = a + 1, d = a * 10")
    assert list(made.items()) == [("b", 2), ("c", 3), ("a", 2), ("d", 20)]


def test_eval_without_a_name_is_named_by_its_text(nowhere: Elasticsearch):
    """The text names the column, and backquotes reach it."""
    made = columns(nowhere, "EVAL a + b, (c) | KEEP `a + b`, c")
    assert made == {"a + b": 3, "c": 3}


def test_rename_keeps_the_place_and_goes_in_turn(nowhere: Elasticsearch):
    """The second renaming sees the first; a name that is taken gives way."""
    assert list(columns(nowhere, "RENAME a AS x, x AS y").items()) == [("y", 1), ("b", 2), ("c", 3)]
    assert list(columns(nowhere, "RENAME c AS a").items()) == [("b", 2), ("a", 3)]
    assert list(columns(nowhere, "RENAME x = b").items()) == [("a", 1), ("x", 2), ("c", 3)]


def test_drop_takes_names_and_patterns(nowhere: Elasticsearch):
    """What is dropped is gone."""
    assert columns(nowhere, "DROP a, c*") == {"b": 2}


def test_odd_names_live_in_backquotes(nowhere: Elasticsearch):
    """A backquote in a name is doubled."""
    assert columns(nowhere, "EVAL `x ``y`.z = 9 | KEEP `x ``y`.z") == {"x `y.z": 9}


def test_mv_expand_gives_a_row_for_each_value_in_place(nowhere: Elasticsearch):
    """Other columns are repeated; null stays a row."""
    result = answer(nowhere, "ROW a = [3, 1], b = 2 | MV_EXPAND a | LIMIT 9")
    assert (result.names, result.rows) == (["a", "b"], [[3, 2], [1, 2]])
    assert answer(nowhere, "ROW a = null | MV_EXPAND a | LIMIT 9").rows == [[None]]


def test_mv_expand_keeps_the_order_of_sort(folder: Path):
    """Rows stay sorted, and values in their own order within."""
    commands = "WHERE tags IS NOT NULL | SORT n DESC | MV_EXPAND tags | KEEP n, tags | LIMIT 9"
    assert rows(folder, commands) == [[3, "z"], [2, "y"], [1, "x"], [1, "y"]]


def test_comments_and_case_do_not_matter(nowhere: Elasticsearch):
    """Keywords in any case; comments may nest and stand anywhere but in texts."""
    query = 'row A = "// no" /* a /* b */ c */ | EvAl b = length(A) // end\n| limit 1'
    assert answer(nowhere, query).rows == [["// no", 5]]


def test_parameters_are_values_never_text(nowhere: Elasticsearch):
    """A parameter may stand wherever a value may, and cannot become syntax."""
    hostile = '" | DROP a // '
    result = answer(
        nowhere,
        "ROW a = ?who, n = ?many + 1 | WHERE n IN (?many, 4) AND a LIKE ?like | LIMIT ?many",
        params=[{"who": hostile}, {"many": 3}, {"like": "*DROP*"}],
    )
    assert result.rows == [[hostile, 4]]
    result = answer(nowhere, "ROW a = ?, b = ?, c = ?1, d = ?3", params=["x", 2.5, None])
    assert result.rows == [["x", 2.5, "x", None]]


def test_nameless_parameters_go_by_their_place_in_the_text(nowhere: Elasticsearch):
    """The first `?` is the first value, whatever is computed first."""
    query = "ROW a = 1 | STATS x = MAX(a + ?) BY y = a + ? | LIMIT ?"
    assert answer(nowhere, query, params=[10, 20, 30]).rows == [[11, 21]]


def stats(folder: Path, command: str) -> Result:
    """One STATS over the five documents."""
    return ask(folder, f"FROM logs-* | STATS {command} | LIMIT 99")


def test_stats_puts_aggregates_before_groups(folder: Path):
    """Aggregates first, then what follows BY; null is a group."""
    result = stats(folder, "n = COUNT(*), m = MAX(n) BY k")
    assert (result.names, result.types) == (["n", "m", "k"], ["long", "long", "keyword"])
    assert sorted(result.rows, key=str) == sorted(
        [[1, 1, "b"], [2, 3, "a"], [1, None, "B"], [1, 3, None]], key=str
    )


def test_aggregates_without_a_name_are_named_by_their_text(folder: Path):
    """`COUNT(*)` is a name, in backquotes."""
    assert stats(folder, "COUNT(*), SUM(n) + 1").names == ["COUNT(*)", "SUM(n) + 1"]
    assert ask(folder, "FROM logs-* | STATS COUNT(*) | EVAL x = `COUNT(*)` * 2 | LIMIT 1").rows == [
        [5, 10]
    ]


@pytest.mark.parametrize(
    ("aggregate", "expected", "of_type"),
    [
        ("COUNT(*)", 5, "long"),
        ("COUNT(n)", 4, "long"),
        ("COUNT(tags)", 4, "long"),
        ("COUNT_DISTINCT(tags)", 3, "long"),
        ("COUNT_DISTINCT(n)", 3, "long"),
        ("SUM(n)", 9, "long"),
        ("SUM(n / 2.0)", 4.5, "double"),
        ("AVG(n)", 2.25, "double"),
        ("MEDIAN(n)", 2.5, "double"),
        ("MIN(k)", "B", "keyword"),
        ("MAX(tags)", "z", "keyword"),
        ("VALUES(tags)", ["x", "y", "z"], "keyword"),
        ("VALUES(n)", [1, 2, 3], "long"),
        ('TOP(n, 3, "desc")', [3, 3, 2], "long"),
        ('TOP(tags, 3, "asc")', ["x", "y", "y"], "keyword"),
        ("COUNT(*) WHERE n > 1", 3, "long"),
        ('SUM(n) WHERE k == "a"', 5, "long"),
        ("SUM(MV_COUNT(tags))", 4, "long"),
        ("MAX(n) - MIN(n)", 2, "long"),
        ("SUM(CASE(MV_COUNT(tags) > 1, 1, 0))", 1, "long"),
    ],
)
def test_aggregates_see_every_value(folder: Path, aggregate, expected, of_type):
    """Lists count with all their values, nulls not at all; TOP keeps repetitions."""
    result = stats(folder, f"x = {aggregate}")
    assert (result.rows, result.types) == ([[expected]], [of_type])


def test_aggregates_on_nothing(folder: Path):
    """Without BY there is one row, of zeros and nulls; with BY there is none."""
    query = (
        "FROM logs-* | WHERE n > 99 | STATS COUNT(*), COUNT_DISTINCT(k), SUM(n), VALUES(k), MAX(n)"
    )
    assert ask(folder, f"{query} | LIMIT 9").rows == [[0, 0, None, None, None]]
    assert ask(folder, f"{query} BY k | LIMIT 9").rows == []


def test_a_group_for_each_value_of_a_list(folder: Path):
    """A document with two tags is in two groups, with all of itself."""
    assert sorted(stats(folder, "s = SUM(n), t = COUNT(tags) BY tags").rows, key=str) == sorted(
        [[1, 2, "x"], [3, 3, "y"], [3, 1, "z"], [3, 0, None]], key=str
    )


def test_groups_may_be_computed(folder: Path):
    """BY takes expressions, with a name or named by their text."""
    result = stats(folder, "COUNT(*) BY big = n > 1, LENGTH(k)")
    assert result.names == ["COUNT(*)", "big", "LENGTH(k)"]
    assert len(result.rows) == 4


def test_stats_by_alone_lists_the_groups(folder: Path):
    """No aggregate: the distinct groups."""
    listed = ask(folder, "FROM logs-* | STATS BY k | SORT k | LIMIT 9")
    assert (listed.names, listed.rows) == (["k"], [["B"], ["a"], ["b"], [None]])


def test_of_two_columns_with_one_name_the_last_stays(folder: Path):
    """As in a cluster, with a warning that says which one was lost."""
    result = stats(folder, "k = MIN(n), m = MAX(n) BY k")
    assert result.names == ["m", "k"]
    assert result.warnings == ["Line 1:21: Field 'k' shadowed by field at line 1:47"]


def test_a_sum_that_does_not_fit_is_null_and_warned_of(tmp_path: Path):
    """No wrap-around in sums either."""
    write(tmp_path, [{"n": 2**62}, {"n": 2**62}, {"n": 2**62}])
    result = ask(tmp_path, "FROM logs-* | STATS s = SUM(n) | LIMIT 1")
    assert result.rows == [[None]]
    assert result.warnings[1].endswith("java.lang.ArithmeticException: long overflow")
