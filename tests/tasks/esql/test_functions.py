"""Functions of texts, addresses, dates and lists."""

from __future__ import annotations

import pytest

from tasks.esql.expressions import supported_functions
from tasks.esql.functions import FUNCTIONS, KINDS, OPERATORS
from tests.tasks.esql.conftest import Row


@pytest.mark.parametrize(
    ("block", "address", "expected"),
    [
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("::1", "::1", True),
        ("FE80::/10", "fe80::1", True),
        ("FE80::/10", "fec0::1", False),
        ("FF00::/8", "ff02::fb", True),
        ("::/0", "8.8.8.8", False),
        ("::/0", "2001:db8::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
    ],
)
def test_an_address_is_in_a_block_of_its_own_kind(row: Row, block, address, expected):
    """IPv4 in IPv6 clothes is IPv4; an IPv6 block never holds an IPv4 address."""
    assert row(f'CIDR_MATCH(TO_IP("{address}"), "{block}")').value is expected


def test_blocks_are_alternatives(row: Row):
    """One block that holds the address is enough, also among neighbours that are joined."""
    blocks = '"10.0.0.0/9", "10.128.0.0/9", "::1"'
    assert row(f'CIDR_MATCH(TO_IP("10.200.0.1"), {blocks})').value is True
    assert row(f'CIDR_MATCH(TO_IP("11.0.0.1"), {blocks})').value is False


def test_no_address_is_in_no_block_and_in_no_complement(row: Row):
    """An event without address is dropped by NOT CIDR_MATCH: its answer is unknown."""
    assert row('NOT CIDR_MATCH(TO_IP(a), "10.0.0.0/8")', a="null").value is None


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("foo*", "foobar", True),
        ("foo*", "a foobar", False),
        ("f?o", "fxo", True),
        ("f?o", "fxxo", False),
        ("f\\\\*o", "f*o", True),
        ("f\\\\*o", "fxo", False),
        ("50%_", "50%_", True),
        ("50%_", "50xx", False),
        ("[a-z]", "b", False),
        ("FOO", "foo", False),
        ("*a\\\\\\\\b", "xa\\\\b", True),
    ],
)
def test_like_knows_stars_and_question_marks_only(row: Row, pattern, text, expected):
    """LIKE is about the whole text, minds case, and has no classes."""
    assert row(f'"{text}" LIKE "{pattern}"').value is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a.c", "abc", True),
        ("a.c", "xabc", False),
        ("[^.]+", "abc", True),
        ("a|bc", "bc", True),
        ("^a$", "a", False),
        ("^a$", "^a$", True),
        ("@b", "xxb", True),
        ("a{2,3}", "aaa", True),
        ("\\\\.x", ".x", True),
        (".*", "a\\nb", True),
    ],
)
def test_rlike_is_lucenes(row: Row, pattern, text, expected):
    """RLIKE is about the whole text; `^` and `$` are letters, `@` is any text."""
    assert row(f'"{text}" RLIKE "{pattern}"').value is expected


def test_patterns_come_in_lists_too(row: Row):
    """One of several patterns is enough."""
    assert row('"b" LIKE ("a*", "b*")').value is True
    assert row('"b" RLIKE ("a.*", "c.*")').value is False


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('LENGTH("né🙂")', 3),
        ('SUBSTRING("abcdef", 2, 3)', "bcd"),
        ('SUBSTRING("abcdef", -3)', "def"),
        ('SUBSTRING("abcdef", 0, 2)', "ab"),
        ('SUBSTRING("abc", -9)', "abc"),
        ('LEFT("abc", 2)', "ab"),
        ('RIGHT("abc", 2)', "bc"),
        ('CONCAT("a", "b", "c")', "abc"),
        ('REPLACE("a1b22", "[0-9]+", "-")', "a-b-"),
        ('REPLACE("ab", "(a)(b)", "$2$1")', "ba"),
        ('TRIM("  a\\t")', "a"),
        ('TO_UPPER("aé")', "AÉ"),
        ('TO_LOWER("AÉ")', "aé"),
        ('STARTS_WITH("abc", "ab")', True),
        ('ENDS_WITH("abc", "ab")', False),
        ('CONTAINS("abc", "b")', True),
        ('SPLIT("a;b", ";")', ["a", "b"]),
        ('SPLIT("a", ";")', "a"),
        ('"a" == "A"', False),
        ('"B" < "a"', True),
        ("GREATEST(1, 3, 2)", 3),
        ("LEAST(1, null)", None),
        ("GREATEST(1, 2.5)", 2.5),
        ("ROUND(1e308, 5)", 1e308),
        ("ABS(-3)", 3),
        ("FLOOR(-1.5)", -2.0),
        ("CEIL(1.2)", 2.0),
        ("POW(2, 3)", 8.0),
        ("SQRT(9)", 3.0),
        ("LOG10(1000)", 3.0),
        ('"""a"b\\n"""', 'a"b\\n'),
        ('"a\\"b\\t"', 'a"b\t'),
    ],
)
def test_texts_and_numbers(row: Row, expression, expected):
    """Text counts in code points, from one; case matters; raw strings keep their backslashes."""
    assert row(expression).value == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MV_COUNT(a)", 3),
        ("MV_MIN(a)", 1),
        ("MV_MAX(a)", 3),
        ("MV_SUM(a)", 6),
        ("MV_AVG(a)", 2.0),
        ("MV_FIRST(a)", 3),
        ("MV_LAST(a)", 2),
        ("MV_SORT(a)", [1, 2, 3]),
        ('MV_SORT(a, "desc")', [3, 2, 1]),
        ("MV_SLICE(a, 1)", 1),
        ("MV_SLICE(a, 0, 1)", [3, 1]),
        ("MV_SLICE(a, -2, -1)", [1, 2]),
        ("MV_DEDUPE(b)", [1, 2]),
        ('MV_CONCAT(c, ", ")', "x, y"),
        ("MV_CONTAINS(a, 3)", True),
        ("MV_CONTAINS(a, [1, 4])", False),
        ("MV_COUNT(d)", 1),
        ("MV_MAX(d)", 7),
        ("MV_COUNT(null)", None),
    ],
)
def test_multivalue_functions_see_all_values(row: Row, expression, expected):
    """MV_ functions are what several values are for; a single value is a list of one."""
    columns = {"a": "[3, 1, 2]", "b": "[1, 2, 1]", "c": '["x", "y"]', "d": "7"}
    assert row(expression, **columns).value == expected


def test_split_takes_one_text(row: Row):
    """Several texts are not split: null, with a warning."""
    result = row('SPLIT(a, ";")', a='["x;y", "z"]')
    assert result.value is None
    assert result.warnings


def test_a_list_that_sums_up_too_high_is_null_and_warned_of(row: Row):
    """A sum of values keeps their type, or is none."""
    result = row("MV_SUM(a)", a="[2147483647, 1]")
    assert result.value is None
    assert result.warnings[1].endswith("java.lang.ArithmeticException: integer overflow")


NOON = 'TO_DATETIME("2026-11-24T13:45:56.789Z")'


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("1 hour", "2026-11-24T13:00:00.000Z"),
        ("2 Hours", "2026-11-24T12:00:00.000Z"),
        ("30 min", "2026-11-24T13:30:00.000Z"),
        ("10 s", "2026-11-24T13:45:50.000Z"),
        ("1 day", "2026-11-24T00:00:00.000Z"),
        ("1 week", "2026-11-23T00:00:00.000Z"),
        ("7 days", "2026-11-23T00:00:00.000Z"),
        ("1 month", "2026-11-01T00:00:00.000Z"),
        ("3 months", "2026-10-01T00:00:00.000Z"),
        ("1 quarter", "2026-10-01T00:00:00.000Z"),
        ("1 year", "2026-01-01T00:00:00.000Z"),
    ],
)
def test_dates_are_cut_to_spans(row: Row, span, expected):
    """Weeks start on Monday; hours and shorter align to the epoch; months to the calendar."""
    assert row(f"DATE_TRUNC({span}, {NOON})").value == expected


def test_dates_before_the_epoch_are_cut_downwards(row: Row):
    """Cutting goes back in time also before 1970."""
    date = 'TO_DATETIME("1969-12-31T23:30:00Z")'
    assert row(f"DATE_TRUNC(1 hour, {date})").value == "1969-12-31T23:00:00.000Z"


@pytest.mark.parametrize(
    ("unit", "start", "end", "expected"),
    [
        ("hours", "2026-11-24T00:00:00Z", "2026-11-24T07:59:59.999Z", 7),
        ("hours", "2026-11-24T07:59:59.999Z", "2026-11-24T00:00:00Z", -7),
        ("days", "2026-11-24T12:00:00Z", "2026-11-25T11:00:00Z", 0),
        ("month", "2026-01-15T00:00:00Z", "2026-03-14T00:00:00Z", 1),
        ("year", "2025-11-25T00:00:00Z", "2026-11-24T00:00:00Z", 0),
        ("ms", "2026-11-24T00:00:00Z", "2026-11-24T00:00:01Z", 1000),
    ],
)
def test_date_differences_count_whole_units(row: Row, unit, start, end, expected):
    """A unit that is not over does not count."""
    expression = f'DATE_DIFF("{unit}", TO_DATETIME("{start}"), TO_DATETIME("{end}"))'
    assert row(expression).value == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"{NOON} + 1 day", "2026-11-25T13:45:56.789Z"),
        (f"{NOON} - 7 days", "2026-11-17T13:45:56.789Z"),
        (f"1 month + {NOON}", "2026-12-24T13:45:56.789Z"),
        (f"{NOON} - 1 ms", "2026-11-24T13:45:56.788Z"),
        (f'{NOON} == "2026-11-24T13:45:56.789Z"', True),
        (f'{NOON} >= "2026-11-24"', True),
        (f'{NOON} < "2026-11-24T14:45:56+01:00"', False),
        (f"DATE_FORMAT({NOON})", "2026-11-24T13:45:56.789Z"),
        (f'DATE_FORMAT("yyyy-MM-dd HH:mm", {NOON})', "2026-11-24 13:45"),
        (f"DATE_FORMAT(\"EEE d MMM 'at' h a\", {NOON})", "Tue 24 Nov at 1 PM"),
        (f'DATE_EXTRACT("hour_of_day", {NOON})', 13),
        (f'DATE_EXTRACT("day_of_week", {NOON})', 2),
        ("NOW() == NOW()", True),
        ('NOW() > "2020-01-01"', True),
    ],
)
def test_dates_add_compare_and_show_themselves(row: Row, expression, expected):
    """Dates are UTC with milliseconds; a text compared with a date is read as one."""
    assert row(expression).value == expected


def test_a_text_that_is_no_date_is_refused_where_a_date_is_due(row: Row):
    """The question is wrong, not the data."""
    with pytest.raises(Exception, match=r"Cannot convert string \[soon\] to \[DATETIME\]"):
        row(f'{NOON} > "soon"')


def test_every_function_can_be_asked_for():
    """The documentation may list the registry's names, but operators are no functions."""
    assert supported_functions() >= FUNCTIONS.keys() - OPERATORS.keys()
    assert supported_functions() >= {"to_int", "case", "coalesce", "now", "cidr_match", "top"}
    assert not supported_functions() & OPERATORS.keys()


def test_a_function_is_of_one_kind():
    """Of two entries with one name the registry would lose one."""
    assert len(FUNCTIONS) == sum(len(kind) for kind in KINDS)
