import pytest

from tasks.esql.conditions import filter_conditions, parts_of
from tasks.esql.errors import EsqlError
from tasks.model.hunts import load_hunt


def texts(condition: str) -> list[str]:
    return [part.text for part in parts_of(condition)]


def fields_of(query: str) -> list[set[str]]:
    return [set(part.singles) for part in filter_conditions(f"FROM events | {query}")]


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        ("true", ["true"]),
        ('a == "x AND y" AND b > 1', ['a == "x AND y"', "b > 1"]),
        ("a == 1 AND (b == 2 AND c == 3)", ["a == 1", "b == 2", "c == 3"]),
        ("(a == 1 OR b == 2) and not c IN (3, 4)", ["a == 1 OR b == 2", "not c IN (3, 4)"]),
        ("NOT (a == 1 AND b == 2) // why", ["NOT (a == 1 AND b == 2)"]),
    ],
)
def test_a_condition_is_split_at_its_outer_ands_only(condition: str, parts: list[str]):
    """An OR, a NOT and a text that holds the word stay in one piece."""
    assert texts(condition) == parts


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ('WHERE a == "x" OR TO_LOWER(b) LIKE "y*"', [{"a", "b"}]),
        ('WHERE MV_MAX(a) == "x" AND MV_CONCAT(b, ",") LIKE "*y*"', [set(), set()]),
        ("WHERE a IS NULL AND b IS NOT NULL", [set(), set()]),
        ('WHERE CIDR_MATCH(ip, "10.0.0.0/8") AND a IN (1, 2)', [{"ip"}, {"a"}]),
        ('EVAL b = a | RENAME c AS d | WHERE b == "x" AND d == 1', [{"a"}, {"c"}]),
        ("EVAL b = MV_COUNT(a) | WHERE b > 1", [set()]),
        ("MV_EXPAND a | WHERE a == 1", [set()]),
        ("WHERE a == 1 | STATS n = COUNT(*) BY b | WHERE n > 1", [{"a"}]),
    ],
)
def test_a_field_is_single_where_a_where_reads_one_value_of_it(query: str, fields: list[set]):
    """MV_ functions and IS NULL see every value; after STATS there are no events any more."""
    assert fields_of(query) == fields


def test_a_condition_on_a_made_column_is_not_about_events():
    """Alone, the cluster would not know its column."""
    made, plain = filter_conditions("FROM e | EVAL b = a + 1 | WHERE b == 2 AND c == 3")
    assert (made.is_about_events, made.field) == (False, "")
    assert (plain.is_about_events, plain.field, plain.literal) == (True, "c", "3")


def test_a_comparison_has_its_field_and_literal_whichever_stands_first():
    """As ES|QL has them, quotes included."""
    (left,), (right,) = parts_of('a.b == "x"'), parts_of('"x" == a.b')
    assert (left.field, left.literal) == (right.field, right.literal) == ("a.b", '"x"')


def test_the_shipped_hunt_compares_five_fields():
    """These are the fields with which an event can hide from it."""
    hunt = load_hunt("macos-unsigned-network")
    fields = frozenset().union(*(part.singles for part in filter_conditions(hunt.query)))
    assert fields == {
        "@timestamp",
        "destination.ip",
        "event.category",
        "host.os.family",
        "process.code_signature.exists",
        "process.code_signature.trusted",
    }


def test_a_query_that_only_a_cluster_can_read_is_an_error():
    """Its caller says what is not assessed."""
    with pytest.raises(EsqlError):
        list(filter_conditions("FROM e | CHANGE_POINT x ON y"))
