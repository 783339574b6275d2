"""What is refused, where, and in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import SettingsError
from tasks.esql.errors import ParsingError, explain_position
from tasks.esql.parsing import parse
from tests.tasks.esql.folder import ask, refusal, write

PROBLEM = "Found 1 problem\nline "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One document."""
    return write(tmp_path, [{"host": {"name": "mac", "ip": "10.0.0.1"}, "n": 1}])


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("WHERE host.nam == 1", "1:32: Unknown column [host.nam], did you mean [host.name]?"),
        ("WHERE zzz == 1", "1:32: Unknown column [zzz]"),
        ("KEEP x*", "1:31: No matches found for pattern [x*]"),
        ("DROP zzz", "1:31: Unknown column [zzz]"),
        ("EVAL x = ZZZ(n)", "1:35: Unknown function [zzz]"),
        ("EVAL x = LENGHT(host.name)", "1:35: Unknown function [lenght], did you mean [length]?"),
        (
            "EVAL x = LENGTH(n)",
            "1:35: argument of [LENGTH(n)] must be [string], found value [n] type [long]",
        ),
        (
            'WHERE n == "a"',
            '1:32: first argument of [n == "a"] is [numeric] so second argument must also be '
            "[numeric] but was [keyword]",
        ),
        ("WHERE n", "1:32: Condition expression needs to be boolean, found [long]"),
        (
            "WHERE COUNT(n) > 1",
            "1:32: aggregate function [COUNT(n)] not allowed outside STATS command",
        ),
        (
            "STATS n + 1",
            "1:32: column [n] must appear in the STATS BY clause or be used in an "
            "aggregate function",
        ),
        (
            "STATS MAX(MIN(n))",
            "1:36: nested aggregations [MIN(n)] not allowed inside other aggregations "
            "[MAX(MIN(n))]",
        ),
        (
            'EVAL x = CASE(true, 1, "a")',
            '1:35: third argument of [CASE(true, 1, "a")] must be [integer], found value ["a"] '
            "type [keyword]",
        ),
        (
            'EVAL x = CIDR_MATCH(host.ip, "10.0.0/8")',
            "1:55: '10.0.0/8' is not an IP string literal.",
        ),
    ],
)
def test_a_wrong_question_says_what_and_where(folder: Path, command, reason):
    """Each refusal names the thing, its line and column, and the nearest name that exists."""
    kind, said = refusal(folder, f"FROM logs-test-default | {command} | LIMIT 1")
    assert (kind, said) == ("verification_exception", PROBLEM + reason)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (
            'FROM a | DISSECT b "%{c}"',
            "line 1:10: mismatched input 'DISSECT': command [DISSECT] is unknown or not supported",
        ),
        ("FROM a | WHERE", "line 1:15: mismatched input '<EOF>' expecting"),
        ("FROM a | LIMIT x", "line 1:16: mismatched input 'x' expecting"),
        ("FROM a\n| WHERE b = 1", "line 2:11: mismatched input '='"),
        ('FROM a | WHERE b == "x', "line 1:21: token recognition error at: '\"'"),
        ("", "line 1:1: mismatched input '<EOF>'"),
        ("FROM a /* b", "line 1:8: comment without end"),
        ("ROW a = 3 fortnights", "line 1:9: Unexpected temporal unit: 'fortnights'"),
        ("ROW a = 1::colour", "line 1:9: Unknown data type named [colour]"),
    ],
)
def test_text_that_is_no_esql_says_where_it_stops_being(query, reason):
    """A syntax error, or a command that the engine lacks, comes with its position."""
    with pytest.raises(ParsingError) as caught:
        parse(query)
    assert str(caught.value).startswith(reason)
    assert caught.value.kind == "parsing_exception"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("nope", "nope"),
        ("nope-*", "nope-*"),
        ("logs-test-default,nope", "nope"),
        ("logs-*,-logs-test-*", "logs-*,-logs-test-*"),
    ],
)
def test_an_index_that_does_not_exist_is_refused(folder: Path, pattern, said):
    """A typo in a pattern is an error, never an empty answer."""
    kind, reason = refusal(folder, f"FROM {pattern} | LIMIT 1")
    assert (kind, reason) == ("verification_exception", f"{PROBLEM}1:1: Unknown index [{said}]")


@pytest.mark.parametrize(
    ("command", "place", "reason"),
    [
        (
            'EVAL y = 1, z = REPLACE("q", bad, "")',
            '1:38: cannot compute [z = REPLACE("q", bad, "")]',
            "missing ): x(",
        ),
        (
            'WHERE n == 1 | WHERE host.name RLIKE "("',
            '1:47: cannot compute [host.name RLIKE "("]',
            "missing ): (",
        ),
        (
            'STATS c = COUNT(*), m = MAX(REPLACE(bad, bad, "")) BY n',
            '1:46: cannot compute [m = MAX(REPLACE(bad, bad, ""))]',
            "missing ): x(",
        ),
        (
            "EVAL d = TO_DATETIME(9223372036854775807)",
            "1:31: cannot compute [d = TO_DATETIME(9223372036854775807)]",
            "with these values",
        ),
        ("LIMIT 99999999999999999999", "1:32: cannot compute [99999", "with these values"),
        ("EVAL x = IS_NULL(n, n)", "1:35: error building [IS_NULL(n, n)]", "expects 1 argument(s)"),
        ("EVAL x = " + "9" * 400, "1:35: Number [9999", "is too large"),
        ("EVAL x = 1e400", "1:35: Number [1e400]", "is too large"),
        ("WHERE " + "NOT " * 2000 + "true", "the query nests deeper", "this engine can follow"),
        ("LIMIT 1 // " + "x" * 1_000_000, "1:1: ES|QL statement is too large", "> 1000000]"),
    ],
)
def test_what_cannot_be_computed_is_named_without_sql(tmp_path: Path, command, place, reason):
    """DuckDB's and Python's own errors never reach the caller: the expression does."""
    write(tmp_path, [{"host": {"name": "mac"}, "n": 1, "bad": "x("}])
    _, said = refusal(tmp_path, f"FROM logs-test-default | {command}")
    assert place in said
    assert reason in said
    assert "SELECT" not in said
    assert "LINE 1" not in said


def test_patterns_choose_data_streams(tmp_path: Path):
    """Stars, commas and exclusions, as in a cluster."""
    for name in ("logs-a", "logs-b", "metrics-a"):
        write(tmp_path, [{"n": 1}], stream=name)

    def chosen(pattern: str) -> list[str]:
        query = f"FROM {pattern} METADATA _index | SORT _index | KEEP _index | LIMIT 9"
        return [row[0] for row in ask(tmp_path, query).rows]

    assert chosen("logs-*") == ["logs-a", "logs-b"]
    assert chosen("logs-*,-logs-b") == ["logs-a"]
    assert chosen('"logs-b", metrics-*') == ["logs-b", "metrics-a"]


def test_a_missing_folder_is_a_setting_to_correct(tmp_path: Path):
    """Nothing is asked of a folder that does not exist."""
    with pytest.raises(SettingsError, match="does not exist"):
        ask(tmp_path / "nope", "ROW a = 1")


def test_a_mapping_that_is_none_is_a_setting_to_correct(tmp_path: Path):
    """A broken mapping.json is named."""
    write(tmp_path, [{"n": 1}])
    (tmp_path / "logs-test-default" / "mapping.json").write_text("{")
    with pytest.raises(SettingsError, match=r"mapping\.json"):
        ask(tmp_path, "ROW a = 1")


def test_a_caret_stands_under_the_position():
    """`beaconhunt query` shows the line with the place."""
    assert explain_position("FROM a\n| WHERE\tx", 2, 9) == "| WHERE\tx\n       \t^"
    assert explain_position("FROM a", 1, 7) == "FROM a\n      ^"


def test_a_remote_cluster_loads_neither_duckdb_nor_the_parser():
    """Both are slow to import, and only a folder of events needs them."""
    loaded = "import sys, tasks.clusters; print({'duckdb', 'lark'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
