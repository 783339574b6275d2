"""Arithmetic and logic equal a few lines of plain Python, whatever the numbers."""

from __future__ import annotations

import ipaddress
import math
import operator

from elasticsearch import BadRequestError, Elasticsearch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.esql.expressions import supported_functions
from tasks.esql.functions.aggregates import AGGREGATES
from tests.effort import examples
from tests.tasks.esql.folder import answer

LIMITS = {"integer": 2**31, "long": 2**63}
several_questions = settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def literal(value: object) -> str:
    """A value as ES|QL text."""
    return {None: "null", True: "true", False: "false"}.get(value) or repr(value)  # type: ignore[arg-type]


def of_type(value: int | float) -> str:
    """The type of a literal."""
    if isinstance(value, float):
        return "double"
    return "integer" if -(2**31) <= value < 2**31 else "long"


def model(sign: str, left: float, right: float) -> float | None:
    """What an operator makes of two numbers; None where it cannot."""
    widest = max(of_type(left), of_type(right), key=["integer", "long", "double"].index)
    if sign in "/%" and right == 0:
        return None
    if widest == "double":
        if sign == "/":
            result: float = left / right
        elif sign == "%":
            result = math.fmod(left, right)
        else:
            result = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](
                float(left), float(right)
            )
        return result if math.isfinite(result) else None
    if sign == "/":
        quotient = abs(left) // abs(right)
        result = quotient if (left < 0) == (right < 0) else -quotient
    elif sign == "%":
        result = left - model_truncated(left, right) * right
    else:
        result = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](left, right)
    limit = LIMITS[widest]
    return result if -limit <= result < limit else None


def model_truncated(left: float, right: float) -> float:
    """Whole division towards zero."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


numbers = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]),
    st.floats(-1e9, 1e9, allow_subnormal=False),
)
signs = st.sampled_from("+-*/%")


@several_questions
@given(left=numbers, sign=signs, right=numbers)
def test_arithmetic_equals_the_model(nowhere: Elasticsearch, left, sign, right):
    """Every operator on every pair of numbers: the same result, or null with a warning."""
    params = [{"a": left}, {"b": right}]
    result = answer(nowhere, f"ROW x = ?a {sign} ?b | LIMIT 1", params=params)
    expected = model(sign, left, right)
    assert result.value == expected
    assert bool(result.warnings) == (expected is None)


COLUMNS = {
    "b": "true",
    "bs": "[true, false]",
    "i": "3",
    "is": "[1, 2]",
    "l": "3000000000",
    "d": "1.5",
    "ds": "[1.5, 2.5]",
    "k": '"x"',
    "ks": '["x", "y"]',
    "ip": 'TO_IP("1.2.3.4")',
    "ips": 'TO_IP(["1.1.1.1", "::1"])',
    "t": 'TO_DATETIME("2026-01-01")',
    "ts": 'TO_DATETIME(["2026-01-01", "2026-01-02"])',
    "n": "null",
}
ROW = "ROW " + ", ".join(f"{name} = {text}" for name, text in COLUMNS.items())
CONSTANTS = ["null", "2", "-1", '"y"', '"desc"', '"day"', "1.5", "true", "1 hour", "NOW()"]
arguments = st.lists(st.sampled_from([*COLUMNS, *CONSTANTS]), min_size=1, max_size=4)


@settings(several_questions, max_examples=examples(400))
@given(function=st.sampled_from(sorted(supported_functions())), given_arguments=arguments)
def test_any_call_is_answered_or_refused_in_words(
    nowhere: Elasticsearch, function, given_arguments
):
    """Whatever a function is called with: an answer, or a 400 that says what is wrong."""
    call = f"{function}({', '.join(given_arguments)})"
    command = f"STATS x = {call} BY k" if function in AGGREGATES else f"EVAL x = {call}"
    reason = refused_with(nowhere, f"{ROW} | {command} | LIMIT 1")
    assert reason is None or reason.startswith("Found 1 problem\nline 1:")


def refused_with(client: Elasticsearch, query: str) -> str | None:
    """The reason of a refusal; None for an answer."""
    try:
        answer(client, query)
    except BadRequestError as error:
        return error.body["error"]["reason"]
    return None


truths = st.sampled_from([True, False, None])
formulas = st.recursive(
    truths,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=6,
)


def text(formula: object) -> str:
    """A formula as ES|QL, in brackets throughout."""
    match formula:
        case ("not", inner):
            return f"(NOT {text(inner)})"
        case (connective, left, right):
            return f"({text(left)} {connective} {text(right)})"
        case _:
            return literal(formula)


def truth(formula: object) -> bool | None:
    """Kleene's three-valued logic."""
    match formula:
        case ("not", inner):
            value = truth(inner)
            return None if value is None else not value
        case (connective, left, right):
            deciding = connective == "or"
            values = (truth(left), truth(right))
            if deciding in values:
                return deciding
            return None if None in values else not deciding
        case _:
            return formula  # type: ignore[return-value]


@several_questions
@given(formula=formulas)
def test_logic_equals_the_model(nowhere: Elasticsearch, formula):
    """AND, OR and NOT over true, false and null are Kleene's."""
    assert answer(nowhere, f"ROW x = {text(formula)} | LIMIT 1").value is truth(formula)


@several_questions
@given(address=st.ip_addresses())
def test_addresses_read_and_show_themselves_as_pythons(nowhere: Elasticsearch, address):
    """Any address comes back in its shortest form."""
    mapped = getattr(address, "ipv4_mapped", None)
    result = answer(nowhere, "ROW x = TO_IP(?a) | LIMIT 1", params=[{"a": address.exploded}])
    assert result.value == str(mapped or address)


@several_questions
@given(address=st.ip_addresses(), network=st.ip_addresses(), bits=st.integers(0, 32))
def test_blocks_hold_the_addresses_that_python_says(nowhere: Elasticsearch, address, network, bits):
    """CIDR_MATCH is membership, for both kinds of addresses."""
    near = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    other = ipaddress.ip_network(f"{network}/{bits}", strict=False)
    mapped = getattr(address, "ipv4_mapped", None)
    for block in (near, other):
        result = answer(
            nowhere,
            "ROW x = CIDR_MATCH(TO_IP(?a), ?b) | LIMIT 1",
            params=[{"a": str(address)}, {"b": str(block)}],
        )
        plain = mapped or address
        assert result.value is (plain.version == block.version and plain in block)


@several_questions
@given(value=st.floats(-1e15, 1e15))
def test_conversion_rounds_half_up_everywhere(nowhere: Elasticsearch, value):
    """TO_LONG is Java's Math.round."""
    below = math.floor(value)
    expected = below + (1 if value - below >= 0.5 else 0)
    assert answer(nowhere, "ROW x = TO_LONG(?a) | LIMIT 1", params=[{"a": value}]).value == expected


@several_questions
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_show_themselves_exactly(nowhere: Elasticsearch, value):
    """The text of a double reads back as the same double, and has a point."""
    shown = answer(nowhere, "ROW x = TO_STRING(?a) | LIMIT 1", params=[{"a": value}]).value
    assert float(shown) == value
    assert "." in shown
