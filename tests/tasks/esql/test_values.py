"""Null, several values, numbers: what expressions answer."""

from __future__ import annotations

import pytest

from tests.tasks.esql.conftest import Row
from tests.tasks.esql.folder import answer

SEVERAL = "java.lang.IllegalArgumentException: single-value function encountered multi-value"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("null AND false", False),
        ("null AND true", None),
        ("null OR true", True),
        ("null OR false", None),
        ("NOT null", None),
        ("null == 1", None),
        ("null IN (1)", None),
        ("1 IN (null, 1)", True),
        ("1 IN (null, 2)", None),
        ("null IS NULL", True),
        ("null IS NOT NULL", False),
        ("1 + null", None),
        ("LENGTH(null)", None),
    ],
)
def test_unknown_stays_unknown_until_it_cannot_matter(row: Row, expression, expected):
    """Null is neither true nor false: AND and OR are decided only by a side that is known."""
    assert row(expression).value is expected


def test_a_comparison_with_several_values_is_null_and_warned_of(row: Row):
    """A field with two values equals neither of them, and the analyst is told where."""
    result = row('a == "x"', a='["x", "y"]')
    assert result.value is None
    assert result.warnings == [
        'Line 1:31: evaluation of [a == "x"] failed, treating result as null. '
        "Only first 20 failures recorded.",
        f"Line 1:31: {SEVERAL}",
    ]


def test_a_list_of_one_value_is_that_value(row: Row):
    """One value in brackets compares like the value."""
    assert row('MV_SLICE(a, 0, 0) == "x"', a='["x", "y"]').value is True


def test_case_takes_a_condition_with_several_values_as_false(row: Row):
    """CASE goes on to its next arm, and warns."""
    result = row('CASE(a == "x", 1, 2)', a='["x", "y"]')
    assert result.value == 2
    assert result.warnings


def test_case_takes_a_null_condition_as_false(row: Row):
    """An unknown condition is not a true one."""
    assert row("CASE(null, 1, 2)").value == 2
    assert row("CASE(false, 1)").value is None


def test_an_arm_that_is_not_taken_does_not_warn(row: Row):
    """The usual guard against division by zero keeps its answer quiet."""
    result = row("CASE(a == 0, 0, 1 / a)", a="0")
    assert (result.value, result.warnings) == (0, [])


def test_arms_keep_several_values(row: Row):
    """CASE and COALESCE pass lists on as they are."""
    assert row("CASE(true, a, 1)", a="[1, 2]").value == [1, 2]
    assert row("COALESCE(null, a)", a="[1, 2]").value == [1, 2]
    assert row("COALESCE(b, a)", a="[1, 2]", b="3").value == 3


def test_is_null_looks_at_all_values(row: Row):
    """Several values are not null."""
    assert row("a IS NOT NULL", a="[1, 2]").value is True


@pytest.mark.parametrize(
    ("expression", "expected", "of_type"),
    [
        ("7 / 2", 3, "integer"),
        ("-7 / 2", -3, "integer"),
        ("-7 % 2", -1, "integer"),
        ("7 / 2.0", 3.5, "double"),
        ("7.5 % 2", 1.5, "double"),
        ("1 + 2147483648", 2147483649, "long"),
        ("2147483647", 2147483647, "integer"),
        ("-2147483648", -2147483648, "integer"),
        ("2147483648", 2147483648, "long"),
        ("9223372036854775808", 9223372036854775808, "unsigned_long"),
        ("18446744073709551616", 18446744073709551616.0, "double"),
        ("1e2", 100.0, "double"),
        ("2 + 3 * 4 - -1", 15, "integer"),
        ("(2 + 3) * 4", 20, "integer"),
        ("10 - 3 - 2", 5, "integer"),
    ],
)
def test_numbers_keep_their_type(row: Row, expression, expected, of_type):
    """Whole numbers divide to whole numbers, towards zero; the wider type wins."""
    result = row(expression)
    assert (result.value, result.types) == (expected, [of_type])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "java.lang.ArithmeticException: / by zero"),
        ("1 % 0", "java.lang.ArithmeticException: / by zero"),
        ("2147483647 + 1", "java.lang.ArithmeticException: integer overflow"),
        ("9223372036854775807 * 2", "java.lang.ArithmeticException: long overflow"),
        ("1.0 / 0", "java.lang.ArithmeticException: / by zero"),
        ("1e308 * 10", "java.lang.ArithmeticException: double overflow"),
        ("SQRT(-1)", "java.lang.ArithmeticException: Square root of negative"),
        ("LOG10(0)", "java.lang.ArithmeticException: Log of non-positive number"),
    ],
)
def test_what_cannot_be_computed_is_null_and_warned_of(row: Row, expression, message):
    """No infinity, no wrap-around, no broken query: null, and a warning with the position."""
    result = row(expression)
    assert result.value is None
    assert result.warnings[1].endswith(message)
    assert f"evaluation of [{expression}] failed" in result.warnings[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("TO_INT(7.5)", 8),
        ("TO_INT(7.4)", 7),
        ("TO_INT(6.5)", 7),
        ("TO_INT(-2.5)", -2),
        ("TO_LONG(0.49999999999999994)", 0),
        ("TO_LONG(8.5)", 9),
        ("ROUND(-2.5)", -3.0),
        ("ROUND(2.345, 2)", 2.35),
        ("ROUND(1234, -2)", 1200),
        ('TO_INTEGER("12")', 12),
        ('TO_LONG("7.5")', 8),
        ('TO_DOUBLE("1.5")', 1.5),
        ("TO_DOUBLE(true)", 1.0),
        ("TO_BOOLEAN(0)", False),
        ('TO_BOOLEAN("TRUE")', True),
        ("TO_STRING(1.0)", "1.0"),
        ("TO_STRING(12345678.9)", "1.23456789E7"),
        ("TO_STRING(0.00012)", "1.2E-4"),
        ("TO_STRING(true)", "true"),
        ('TO_LONG(TO_DATETIME("1970-01-02T00:00:00Z"))', 86_400_000),
        ("TO_DATETIME(86400000)", "1970-01-02T00:00:00.000Z"),
        ('"12"::int + 1', 13),
        ('TO_STRING(TO_IP("::ffff:1.2.3.4"))', "1.2.3.4"),
        ('TO_STRING(TO_IP("FE80:0:0:0:0:0:0:1"))', "fe80::1"),
    ],
)
def test_conversions_round_half_up(row: Row, expression, expected):
    """7 h 30 min are 8 h: TO_INT rounds up at the half, ROUND away from zero."""
    assert row(expression).value == expected


@pytest.mark.parametrize(
    "expression", ["TO_INT(3000000000.0)", 'TO_LONG("x")', 'TO_IP("1.2.3")', 'TO_DATETIME("x")']
)
def test_what_cannot_be_converted_is_null_and_warned_of(row: Row, expression):
    """A bad number, address or date is missing, and the answer says so."""
    result = row(expression)
    assert result.value is None
    assert len(result.warnings) == 2


def test_conversions_convert_each_value(row: Row):
    """A list of texts becomes a list of numbers; what is no number is left out, with a warning."""
    result = row("TO_INT(a)", a='["1", "x", "3"]')
    assert result.value == [1, 3]
    assert result.warnings


def test_a_null_condition_keeps_no_row(nowhere):
    """WHERE keeps what is true, not what is not false."""
    assert answer(nowhere, "ROW a = null | WHERE a == 1 | LIMIT 1").rows == []
    assert answer(nowhere, "ROW a = null | WHERE NOT (a == 1) | LIMIT 1").rows == []


def test_a_cast_binds_tighter_than_a_minus(row: Row):
    """-"5"::int is the negative of 5, not the number of a negative text."""
    assert row('-"5"::int').value == -5


def test_hundreds_of_conditions_may_be_joined(row: Row):
    """Hunts list what they look for; the length of the list is no limit."""
    conditions = " OR ".join(f"(a == {n} AND a != {n + 1})" for n in range(500))
    assert row(conditions, a="499").value is True
    assert row(conditions, a="500").value is False


def test_precedence_of_not_and_or(row: Row):
    """NOT binds tighter than AND, AND tighter than OR."""
    assert row("NOT false AND false").value is False
    assert row("true OR true AND false").value is True
