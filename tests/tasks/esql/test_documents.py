"""Files: how documents are read, in which forms, and what happens to bad ones."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from elasticsearch import BadRequestError

from tasks.esql.engine import Engine, Request
from tasks.esql.errors import NotEnoughMemory
from tests.tasks.esql.folder import answer, ask, connected, refusal, write

NETWORK = "logs-endpoint.events.network-default"
SMALL = {"memory_limit": "8MB"}


def test_nested_and_dotted_documents_are_the_same(tmp_path: Path):
    """{"a": {"b": 1}}, {"a.b": 1} and mixtures all hold the field a.b."""
    write(
        tmp_path,
        [
            {"p": {"s": {"x": "1"}}},
            {"p.s.x": "2"},
            {"p": {"s.x": "3"}},
            {"p.s": {"x": "4"}},
        ],
    )
    query = "FROM logs-* | WHERE p.s.x IS NOT NULL | SORT p.s.x | KEEP p.s.x | LIMIT 9"
    assert [row[0] for row in ask(tmp_path, query).rows] == ["1", "2", "3", "4"]


def test_values_load_as_doc_values(tmp_path: Path):
    """Texts and addresses: sorted, each once. Numbers: sorted. One value is no list; [] is none."""
    write(
        tmp_path,
        [{"k": ["b", "a", "b", None], "n": [3, 1, 3], "i": ["9.0.0.1", "10.0.0.1", "9.0.0.1"]}],
        mapping={"k": "keyword", "n": "long", "i": "ip"},
    )
    assert ask(tmp_path, "FROM logs-* | KEEP k, n, i | LIMIT 1").rows == [
        [["a", "b"], [1, 3, 3], ["9.0.0.1", "10.0.0.1"]]
    ]
    write(
        tmp_path,
        [{"k": ["a", "a"], "n": [1], "i": []}],
        mapping={"k": "keyword", "n": "long", "i": "ip"},
    )
    assert ask(tmp_path, "FROM logs-* | KEEP k, n, i | LIMIT 1").rows == [["a", 1, None]]


def test_a_text_that_looks_like_a_list_is_a_text(tmp_path: Path):
    """A command line may begin with a bracket or a brace."""
    write(tmp_path, [{"k": '["a"]'}, {"k": '{"a":1}'}])
    assert ask(tmp_path, "FROM logs-* | SORT k | KEEP k | LIMIT 9").rows == [['["a"]'], ['{"a":1}']]


@pytest.mark.parametrize(
    ("of_type", "value", "expected"),
    [
        ("long", "443", 443),
        ("long", 443.7, 443),
        ("integer", 1, 1),
        ("double", 1, 1.0),
        ("double", "1.5", 1.5),
        ("keyword", 443, "443"),
        ("keyword", True, "true"),
        ("boolean", "true", True),
        ("date", 86_400_000, "1970-01-02T00:00:00.000Z"),
        ("date", "2026-11-24T06:00:00.123456789Z", "2026-11-24T06:00:00.123Z"),
        ("date", "2026-11-24T06:00:00+02:00", "2026-11-24T04:00:00.000Z"),
        ("date", "2026-11-24", "2026-11-24T00:00:00.000Z"),
        ("ip", "::FFFF:8.8.8.8", "8.8.8.8"),
        ("ip", "2001:0DB8::0001", "2001:db8::1"),
    ],
)
def test_values_take_the_type_of_the_mapping(tmp_path: Path, of_type, value, expected):
    """What a cluster coerces is coerced; dates are cut to milliseconds in UTC."""
    write(tmp_path, [{"x": value}], mapping={"x": of_type})
    assert ask(tmp_path, "FROM logs-* | LIMIT 1").rows == [[expected]]


@pytest.mark.parametrize(
    ("of_type", "value"),
    [
        ("long", "many"),
        ("ip", "10.0.0"),
        ("date", "soon"),
        ("boolean", 2),
        ("integer", 2**40),
        ("keyword", {"a": 1}),
    ],
)
def test_a_value_of_a_wrong_type_is_null_and_counted(tmp_path: Path, of_type, value):
    """One bad value neither loses the document nor passes silently."""
    write(tmp_path, [{"x": value, "n": 1}, {"n": 2}], mapping={"x": of_type, "n": "long"})
    result = ask(tmp_path, "FROM logs-* | SORT n | LIMIT 9")
    assert result.rows == [[1, None], [2, None]]
    assert result.warnings == [
        f"Field [x] of [logs-test-default]: 1 document with a value that is no [{of_type}], "
        "treated as null"
    ]


def test_types_are_inferred_where_no_mapping_knows_them(tmp_path: Path):
    """Numbers, truth values and texts as JSON has them; @timestamp is a date, `ip` an address."""
    write(
        tmp_path,
        [
            {"@timestamp": "2026-11-24T00:00:00Z", "l": 1, "d": 1, "b": True, "k": "x"},
            {"host": {"ip": ["10.0.0.1", "fe80::1"]}, "d": 1.5, "k": 2, "none": None},
        ],
    )
    result = ask(tmp_path, "FROM logs-* | LIMIT 9")
    assert dict(zip(result.names, result.types, strict=True)) == {
        "@timestamp": "date",
        "b": "boolean",
        "d": "double",
        "host.ip": "ip",
        "k": "keyword",
        "l": "long",
    }


def test_a_mapped_field_that_no_document_has_is_null(tmp_path: Path):
    """The shipped mapping knows Elastic Defend's fields; an export may lack some."""
    write(tmp_path, [{"process": {"name": "x"}}], stream=NETWORK)
    query = f"FROM {NETWORK} | KEEP process.name, process.code_signature.trusted, host.ip | LIMIT 1"
    result = ask(tmp_path, query)
    assert (result.types, result.rows) == (["keyword", "boolean", "ip"], [["x", None, None]])


def test_a_field_beside_the_mapping_is_read_from_the_files(tmp_path: Path):
    """A mapping need not be complete."""
    write(tmp_path, [{"process": {"name": "x"}, "mine": 3}], stream=NETWORK)
    assert ask(tmp_path, f"FROM {NETWORK} | KEEP mine | LIMIT 1").rows == [[3]]


def test_a_multi_field_has_the_values_of_its_parent(tmp_path: Path):
    """`process.name.text` is process.name, with another type."""
    write(tmp_path, [{"p": "x"}])
    (tmp_path / "logs-test-default" / "mapping.json").write_text(
        '{"logs": {"mappings": {"properties": {"p": {"type": "keyword", '
        '"fields": {"text": {"type": "match_only_text"}}}, "g": {"type": "geo_point"}}}}}'
    )
    result = ask(tmp_path, "FROM logs-* | KEEP p, p.text | LIMIT 1")
    assert (result.types, result.rows) == (["keyword", "text"], [["x", "x"]])
    kind, reason = refusal(tmp_path, "FROM logs-* | WHERE g == 1")
    assert reason.endswith("Cannot use field [g] with unsupported type [geo_point]")
    assert kind == "verification_exception"


def test_data_streams_come_together(tmp_path: Path):
    """A field that one stream lacks is null there; one that has two types cannot be used."""
    write(tmp_path, [{"a": 1, "x": 1}], stream="logs-1")
    write(tmp_path, [{"a": [1, 2], "b": "k", "x": "1"}], stream="logs-2")
    result = ask(
        tmp_path, "FROM logs-* METADATA _index | SORT _index | KEEP a, b, _index | LIMIT 9"
    )
    assert result.rows == [[1, None, "logs-1"], [[1, 2], "k", "logs-2"]]
    _, reason = refusal(tmp_path, "FROM logs-* | WHERE x == 1")
    assert "ambiguities being mapped as [2] incompatible types: [keyword], [long]" in reason


def test_files_lie_at_any_depth_compressed_or_not(tmp_path: Path):
    """All NDJSON files below the data stream's folder are its documents."""
    write(tmp_path, [{"n": 1}], name="a.ndjson")
    write(tmp_path, [{"n": 2}], name="day/b.ndjson.gz")
    duckdb.sql("SELECT 4 AS n").write_parquet(str(tmp_path / "logs-test-default" / "d.parquet"))
    copy = f"COPY (SELECT 3 AS n) TO '{tmp_path}/logs-test-default/c.ndjson.zst' (FORMAT json)"
    duckdb.sql(copy)
    write(tmp_path, ["no document"], name="notes.txt")
    result = ask(tmp_path, "FROM logs-* | SORT n | KEEP n | LIMIT 9")
    assert result.rows == [[1], [2], [3], [4]]


@pytest.mark.parametrize("name", ["a[1]*?.ndjson", 'it\'s "quoted".ndjson', "day=24/a.ndjson"])
def test_file_names_are_names_and_nothing_else(tmp_path: Path, name):
    """No character in a path is a pattern, ends a text, or makes a field."""
    write(tmp_path, [{"n": 1}], name=name)
    write(tmp_path, [{"n": 2}], name="a1xx.ndjson", stream="other")
    assert ask(tmp_path, "FROM logs-* | LIMIT 9").rows == [[1]]


def test_parquet_columns_are_fields(tmp_path: Path):
    """A dotted column is a field, a struct holds fields, a list holds several values."""
    folder = tmp_path / NETWORK
    folder.mkdir()
    duckdb.sql(
        """
        SELECT TIMESTAMP '2026-11-24 06:00:00.123456' AS "@timestamp",
            '8.8.8.8' AS "destination.ip",
            {'name': 'x', 'code_signature': {'exists': true}} AS process,
            ['b', 'a'] AS "event.type",
            443::INTEGER AS "destination.port",
            ['network'] AS "event.category"
        """
    ).write_parquet(str(folder / "a.parquet"))
    query = (
        (
            f"FROM {NETWORK} | KEEP @timestamp, destination.*, process.name, "
            "process.code_signature.exists, event.type, event.category, mine* | LIMIT 1"
        )
        .replace(", mine*", "")
        .replace("destination.*", "destination.ip, destination.port")
    )
    assert ask(tmp_path, query).rows == [
        ["2026-11-24T06:00:00.123Z", "8.8.8.8", 443, "x", True, ["a", "b"], "network"]
    ]


@pytest.mark.parametrize("line", ['{"n": }', "no json", '{"n": 1', "[1]", "3", '{"n": 1} {"n": 2}'])
def test_a_line_that_is_no_document_ends_the_question(tmp_path: Path, line):
    """A broken export is named with file and line: a part must not pass for the whole."""
    write(tmp_path, [{"n": 1}, "", line, {"n": 2}])
    kind, reason = refusal(tmp_path, "FROM logs-* | KEEP n | LIMIT 9")
    assert kind == "document_parsing_exception"
    assert f"{tmp_path}/logs-test-default/events.ndjson:3]" in reason


def test_bad_lines_can_be_skipped_and_are_counted(tmp_path: Path):
    """Who asks for it gets the rest, and how much is missing."""
    write(tmp_path, [{"n": 1}, '{"n": }', {"n": 2}, "[3]"])
    result = ask(tmp_path, "FROM logs-* | SORT n | KEEP n | LIMIT 9", skip_bad_lines=True)
    assert result.rows == [[1], [2]]
    place = f"[{tmp_path}/logs-test-default/events.ndjson:2] failed to parse"
    assert result.warnings[0].startswith(f"2 unreadable lines skipped, for example {place}")
    assert ask(tmp_path, "FROM logs-* | STATS COUNT(*)", skip_bad_lines=True).rows == [[2]]


def test_bad_lines_are_found_in_compressed_files_too(tmp_path: Path):
    """The line's number counts in the text, not in the archive."""
    write(tmp_path, [*({"n": n} for n in range(5000)), "no"], name="a.ndjson.gz")
    _, reason = refusal(tmp_path, "FROM logs-* | KEEP n | LIMIT 9")
    assert "a.ndjson.gz:5001]" in reason


@pytest.mark.parametrize("skip_bad_lines", [False, True])
def test_a_file_that_ends_early_ends_the_question(tmp_path: Path, skip_bad_lines):
    """A truncated archive is no bad line: what is missing cannot be counted."""
    write(tmp_path, ({"n": n} for n in range(5000)), name="a.ndjson.gz")
    path = tmp_path / "logs-test-default" / "a.ndjson.gz"
    path.write_bytes(path.read_bytes()[:500])
    kind, reason = refusal(tmp_path, "FROM logs-* | STATS COUNT(*)", skip_bad_lines=skip_bad_lines)
    assert kind == "document_parsing_exception"
    assert "a.ndjson.gz" in reason


def test_field_names_mind_their_case(tmp_path: Path):
    """`Foo` is not `foo`; both together are refused, not mixed up."""
    write(tmp_path, [{"Foo": 1}])
    _, reason = refusal(tmp_path, "FROM logs-* | KEEP foo")
    assert "Unknown column [foo]" in reason
    write(tmp_path, [{"Foo": 1, "foo": 2}])
    assert ask(tmp_path, "FROM logs-* | KEEP Foo | LIMIT 1").rows == [[1]]
    assert ask(tmp_path, "FROM logs-* | KEEP foo | LIMIT 1").rows == [[2]]
    _, reason = refusal(tmp_path, "FROM logs-* | KEEP Foo, foo")
    assert "[Foo] and [foo] differ only in case" in reason


def test_a_bad_file_does_not_spoil_the_next_question(tmp_path: Path):
    """A question that fails leaves the others as they were."""
    write(tmp_path, [{"n": 1}], stream="logs-good")
    write(tmp_path, [{"n": 1}, "no"], stream="logs-bad")
    with connected(tmp_path) as client:
        for _ in range(2):
            with pytest.raises(BadRequestError, match="failed to parse"):
                answer(client, "FROM logs-* | STATS SUM(n)")
            assert answer(client, "FROM logs-good | STATS SUM(n)").rows == [[1]]


def test_an_object_where_a_field_should_be_ends_the_question(tmp_path: Path):
    """Elasticsearch would not have taken such a document."""
    write(tmp_path, [{"process": {"name": "x"}}, {"process": "x"}], stream=NETWORK)
    kind, reason = refusal(tmp_path, f"FROM {NETWORK} | KEEP process.name | LIMIT 9")
    assert kind == "document_parsing_exception"
    assert "events.ndjson:2]" in reason
    assert "Expected OBJECT" in reason


def test_later_questions_may_ask_for_other_fields(tmp_path: Path):
    """One client asks several questions of one folder; each gets its own columns."""
    write(tmp_path, [{"a": 1, "b": 2, "c": [3, 4]}])
    with connected(tmp_path) as client:
        assert answer(client, "FROM logs-* | KEEP a | LIMIT 1").rows == [[1]]
        assert answer(client, "FROM logs-* | KEEP b, c | LIMIT 1").rows == [[2, [3, 4]]]
        assert answer(client, "FROM logs-* | STATS COUNT(*) | LIMIT 1").rows == [[1]]
        assert answer(client, "FROM logs-* | LIMIT 1").rows == [[1, 2, [3, 4]]]


def test_an_empty_data_stream_has_no_rows(tmp_path: Path):
    """A folder without files is an index without documents."""
    (tmp_path / NETWORK).mkdir()
    query = f'FROM {NETWORK} | WHERE host.os.family == "macos" | STATS COUNT(*), MAX(@timestamp)'
    assert ask(tmp_path, query).rows == [[0, None]]


def test_too_little_memory_is_said_in_words(tmp_path: Path, monkeypatch):
    """A folder that is too large for the machine is no crash."""
    write(tmp_path, ({"k": f"{n:01000d}"} for n in range(20_000)))
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda config: connect(config=config | SMALL))
    engine = Engine(tmp_path)
    with pytest.raises(NotEnoughMemory, match="Out of Memory"):
        engine.answer(Request("FROM logs-* | STATS COUNT_DISTINCT(k)", {}))
    engine.close()
