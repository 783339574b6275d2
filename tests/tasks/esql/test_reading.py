"""Reading: whatever form an export has, its documents are read, or named with the reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.tasks.esql.folder import Result, ask, connected, refusal, write

NETWORK = "logs-endpoint.events.network-default"
TIME = "2026-11-24T06:00:00.000Z"
Document = dict[str, Any]


def document(number: int, **fields: Any) -> Document:
    """A document of a data stream."""
    return {"@timestamp": TIME, "number": number, **fields}


def nested(doc: Document) -> Document:
    """Dotted names as objects."""
    made: Document = {}
    for name, value in doc.items():
        *above, last = name.split(".")
        place = made
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return made


def in_lists(doc: Document) -> Document:
    """Every object as a list with one object."""
    return {
        key: [in_lists(value)] if isinstance(value, dict) else value for key, value in doc.items()
    }


def lines(values: list[object]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def hit(doc: Document) -> Document:
    return {"_index": ".ds-x-000001", "_id": "a", "_source": nested(doc)}


FORMS: dict[str, Callable[[list[Document]], str]] = {
    "nested": lambda docs: lines([nested(doc) for doc in docs]),
    "dotted": lambda docs: lines(list(docs)),
    "objects in lists": lambda docs: lines([in_lists(nested(doc)) for doc in docs]),
    "hits": lambda docs: lines([hit(doc) for doc in docs]),
    "fields of hits": lambda docs: lines(
        [
            {"_id": "a", "fields": {n: v if isinstance(v, list) else [v] for n, v in doc.items()}}
            for doc in docs
        ]
    ),
    "answer of a search": lambda docs: json.dumps(
        {"took": 3, "hits": {"hits": [hit(d) for d in docs]}}
    ),
    "list": lambda docs: json.dumps([nested(doc) for doc in docs]),
    "list over lines": lambda docs: json.dumps([nested(doc) for doc in docs], indent=2),
    "bulk": lambda docs: "".join(lines([{"create": {"_index": "x"}}, nested(doc)]) for doc in docs),
    "values over lines": lambda docs: "\n".join(json.dumps(nested(doc), indent=1) for doc in docs),
}
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "compressed": lambda text: gzip.compress(text.encode()),
}
NAMES = ("a.ndjson", "b.json", "c.jsonl.1", "d", "e.log.gz", "deep/f.ndjson.2.gz")
VALUES = st.one_of(
    st.sampled_from(["x", "[x]", '{"a": 1}', "", "é \u2028 ☃"]),
    st.lists(st.sampled_from(["x", "y", "["]), max_size=3),
    st.none(),
)
NUMBERS = st.one_of(
    st.integers(-5, 5), st.sampled_from([7.0, "8"]), st.lists(st.integers(0, 3), max_size=3)
)


@st.composite
def files(draw: st.DrawFn) -> list[tuple[str, str, str, list[Document]]]:
    """Files of a data stream: name, form, encoding, documents."""
    made, number = [], 0
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        docs = []
        for _ in range(draw(st.integers(1, 4))):
            number += 1
            fields = {"process.name": draw(VALUES), "process.code.count": draw(NUMBERS)}
            docs.append(document(number, **fields))
        made.append(
            (name, draw(st.sampled_from(list(FORMS))), draw(st.sampled_from(list(ENCODINGS))), docs)
        )
    return made


def expected(doc: Document) -> list[object]:
    """What a question sees of a document: number, process.name, process.code.count."""

    def loaded(value: object, of: Callable[[Any], Any], *, distinct: bool) -> object:
        values = [of(v) for v in (value if isinstance(value, list) else [value]) if v is not None]
        values = sorted(
            set(values) if distinct else values,
            key=lambda v: v.encode() if isinstance(v, str) else v,
        )
        return values if len(values) > 1 else values[0] if values else None

    return [
        doc["number"],
        loaded(doc["process.name"], str, distinct=True),
        loaded(doc["process.code.count"], lambda v: int(float(v)), distinct=False),
    ]


@settings(max_examples=examples(40))
@given(files())
def test_every_document_is_read_as_it_is_whatever_form_its_file_has(tmp_path_factory, made):
    """Random mixtures of forms, encodings and names in one folder, asked in two ways."""
    folder = tmp_path_factory.mktemp("forms")
    mapping = {
        "@timestamp": "date",
        "number": "long",
        "process.name": "keyword",
        "process.code.count": "long",
    }
    write(folder, [], name="empty.ndjson", mapping=mapping)
    for name, form, encoding, docs in made:
        path = folder / "logs-test-default" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(ENCODINGS[encoding](FORMS[form](docs)))
    rows = [expected(doc) for *_, docs in made for doc in docs]
    query = "FROM logs-* | SORT number | KEEP number, process.name, process.code.count | LIMIT 99"
    result = ask(folder, query)
    assert (result.rows, result.warnings) == (sorted(rows), [])
    everything = ask(folder, "FROM logs-* | SORT number | LIMIT 99")
    assert everything.warnings == []
    names = ["number", "process.name", "process.code.count"]
    places = [everything.names.index(name) for name in names]
    assert [[row[place] for place in places] for row in everything.rows] == sorted(rows)


BROKEN = ("no", '{"a": ', "[1]", "7", '{"a": 1} {"b": 2}', '{"a": "\\ud800"}', '{"b": 1, "b": 2}')


@settings(max_examples=examples(30))
@given(
    st.lists(st.one_of(st.integers(0, 9), st.sampled_from(BROKEN)), min_size=1, max_size=8),
    st.booleans(),
)
def test_documents_read_and_documents_named_are_all_that_there_are(
    tmp_path_factory, made, is_timed
):
    """Whatever is broken between them, no document is lost without being counted."""
    folder = tmp_path_factory.mktemp("counted")
    docs = [document(v) if is_timed else {"number": v} for v in made if isinstance(v, int)]
    first = document(-1) if is_timed else {"number": -1}
    write(folder, [first, *(line if isinstance(line, str) else docs.pop(0) for line in made)])
    bad = sum(isinstance(line, str) for line in made)
    query = "FROM logs-* | STATS documents = COUNT(*) | LIMIT 1"
    result = ask(folder, query, skip_bad_lines=True)
    assert result.value == 1 + len(made) - bad
    counted = [int(w.split()[0]) for w in result.warnings if "unreadable line" in w]
    assert counted == ([bad] if bad else [])
    if bad:
        _, reason = refusal(folder, query)
        assert "events.ndjson:" in reason


# --- A scan and a rewriting answer the same ---


def both(tmp_path: Path, docs: list[Document], query: str, **options: Any) -> tuple[Result, Result]:
    """The answer over documents as they are scanned, and as they are rewritten."""
    text = lines(list(docs))
    scanned, rewritten = tmp_path / "scanned", tmp_path / "rewritten"
    for folder, content in ((scanned, text.encode()), (rewritten, text.encode("utf-8-sig"))):
        write(folder, [], mapping=options.get("mapping"))
        (folder / "logs-test-default/events.ndjson").write_bytes(content)
    return ask(scanned, query), ask(rewritten, query)


WHATEVER = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(
        [
            "x",
            "",
            "7",
            "7.9",
            "true",
            "yes",
            "8.8.8.8",
            "::1",
            "[",
            "{}",
            TIME,
            "2026-11-24T08:00:00+02:00",
            "1700000000000",
        ]
    ),
)
ODD = st.one_of(WHATEVER, st.lists(WHATEVER, max_size=3), st.fixed_dictionaries({"b": WHATEVER}))


@settings(max_examples=examples(60))
@given(
    st.sampled_from(["long", "integer", "double", "boolean", "keyword", "ip", "date"]),
    st.lists(st.tuples(st.sampled_from(["a.v", "nested", "both"]), ODD), min_size=1, max_size=5),
)
def test_a_scan_and_a_rewriting_give_the_same_values(tmp_path_factory, of_type, values):
    """Any JSON value under a field of any type: the same value, or null with the same warning."""
    docs = []
    for number, (way, value) in enumerate(values):
        doc = document(number)
        if way in {"a.v", "both"}:
            doc["a.v"] = value
        if way in {"nested", "both"}:
            doc["a"] = {"v": value}
        docs.append(doc)
    query = "FROM logs-* | SORT number | KEEP number, a.v | LIMIT 99"
    mapping = {"@timestamp": "date", "number": "long", "a.v": of_type}
    scanned, rewritten = both(tmp_path_factory.mktemp("both"), docs, query, mapping=mapping)
    assert scanned == rewritten


# --- What is odd in later documents ---


def test_several_values_in_a_late_document_are_counted(tmp_path: Path):
    """Where the first documents have one value, a condition on several still reads the others."""
    tags = [["a"] for _ in range(3_000)] + [["a", "b"], ["b", "c"]]
    write(tmp_path, [document(n, tags=all_of, k="x") for n, all_of in enumerate(tags)])
    query = (
        'FROM logs-* | EVAL several = CASE(MV_COUNT(tags) > 1 AND k == "x", 1, 0) '
        "| STATS n = SUM(several) | LIMIT 1"
    )
    assert ask(tmp_path, query).rows == [[2]]


@pytest.mark.parametrize(
    "odd",
    [
        {"process.name": "odd"},
        {"process": [{"name": "odd"}]},
        {"process": {"name": ["odd"]}},
        {"process": {"name": ["odd", "odd"]}},
    ],
)
def test_a_late_document_in_another_shape_is_read_as_well(tmp_path: Path, odd):
    """The first documents decide how a scan begins, and not what it sees."""
    usual = [nested(document(n, **{"process.name": "usual"})) for n in range(3_000)]
    write(tmp_path, [*usual, document(3_000) | odd], stream=NETWORK)
    query = f"FROM {NETWORK} | STATS n = COUNT(*) BY process.name | SORT process.name | LIMIT 9"
    assert ask(tmp_path, query).rows == [[1, "odd"], [3_000, "usual"]]


@pytest.mark.parametrize("wrapper", ["_source", "fields"])
def test_a_late_document_in_a_wrapper_is_read_as_well(tmp_path: Path, wrapper):
    """Also by a question that reads no field, or drops the row for another reason."""
    usual = [nested(document(n, **{"process.name": "usual"})) for n in range(3_000)]
    odd = {"_id": "x", wrapper: document(3_000, **{"process.name": "odd"})}
    write(tmp_path, [*usual, odd], stream=NETWORK)
    for condition, count in (("true", 3_001), ('process.name == "odd"', 1)):
        query = f"FROM {NETWORK} | WHERE {condition} | STATS COUNT(*) | LIMIT 1"
        assert ask(tmp_path, query).value == count


@pytest.mark.parametrize("unused", ["", "| EVAL x = process.name "])
def test_a_line_that_is_no_document_is_not_counted(tmp_path: Path, unused):
    """Also by a question that computes no field: an action of a bulk request is no document."""
    usual = [document(n, **{"process.name": "usual"}) for n in range(3_000)]
    write(tmp_path, [*usual, {"create": {"_index": "x"}}, document(3_000)], stream=NETWORK)
    assert ask(tmp_path, f"FROM {NETWORK} {unused}| STATS COUNT(*) | LIMIT 1").value == 3_001


def test_documents_without_a_time_are_read_and_named(tmp_path: Path):
    """No document of a data stream is without @timestamp: such an export is not what it seems."""
    saved = [{"attributes": {"title": "x"}, "type": "search"}, document(1)]
    write(tmp_path, saved, stream=NETWORK)
    result = ask(tmp_path, f"FROM {NETWORK} | STATS COUNT(*) | LIMIT 1")
    assert result.value == 2
    assert result.warnings[0].startswith(f"1 document of [{NETWORK}] without @timestamp")
    assert f"{tmp_path}/{NETWORK}/events.ndjson:1" in result.warnings[0]


def test_a_stream_without_times_is_not_called_wrong(tmp_path: Path):
    """A folder with lists for look-ups has no times, and no mapping that asks for them."""
    write(tmp_path, [{"n": 1}])
    assert ask(tmp_path, "FROM logs-* | KEEP n | LIMIT 1").warnings == []


def test_files_that_are_not_read_are_named(tmp_path: Path):
    """And what a Mac leaves beside files is hidden, and ignored."""
    write(tmp_path, [document(1)])
    stream = tmp_path / "logs-test-default"
    (stream / "notes.txt").write_text("call Ann")
    (stream / "._events.ndjson").write_bytes(b"\x00\x05\x16\x07")
    (stream / ".DS_Store").write_bytes(b"\x00\x00")
    (tmp_path / ".git").mkdir()
    result = ask(tmp_path, "FROM * | KEEP number | LIMIT 9")
    assert result.rows == [[1]]
    assert result.warnings == [
        f"1 file of [logs-test-default] not read, for example [{stream}/notes.txt]: neither its "
        "name nor its content is that of NDJSON, JSON or Parquet"
    ]


def test_a_file_compressed_with_zstd_is_rewritten_as_well(tmp_path: Path):
    """DuckDB unpacks it; what Python reads is the same."""
    stream = tmp_path / "logs-test-default"
    stream.mkdir()
    odd = [in_lists(nested(document(n, **{"process.name": f'"{n}"'}))) for n in range(50)]
    packed = stream / "a.ndjson.zst"
    duckdb.execute(
        f"COPY (SELECT unnest(string_split(rtrim(?, chr(10)), chr(10)))) TO '{packed}' "
        "(FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x1e', COMPRESSION zstd)",
        [lines(list(odd))],
    )
    query = "FROM logs-* | STATS COUNT(*), COUNT_DISTINCT(process.name) | LIMIT 1"
    assert ask(tmp_path, query).rows == [[50, 50]]


def test_parquet_with_objects_in_lists_has_their_values(tmp_path: Path):
    """As in JSON."""
    stream = tmp_path / NETWORK
    stream.mkdir()
    duckdb.sql(
        """
        SELECT TIMESTAMP '2026-11-24' AS "@timestamp",
            {'code_signature': [{'exists': true}, {'exists': false}]} AS process
        """
    ).write_parquet(str(stream / "a.parquet"))
    query = f"FROM {NETWORK} | KEEP process.code_signature.exists | LIMIT 1"
    assert ask(tmp_path, query).rows == [[[False, True]]]


def test_a_typing_error_is_refused_before_a_file_is_read(tmp_path: Path):
    """A name near a mapped one that no first document has: the refusal need not read gigabytes."""
    write(tmp_path, [*map(document, range(3_000)), "broken"], stream=NETWORK)
    for rest in ("KEEP destination.adress", 'WHERE destination.adress == "x"'):
        _, reason = refusal(tmp_path, f"FROM {NETWORK} | {rest} | LIMIT 1")
        assert "Unknown column [destination.adress], did you mean any of [destination." in reason


@pytest.mark.parametrize(
    "at", [-9_223_372_022_400_001, 2**63 - 1, -(2**63), "294247-01-10T04:00:54Z"]
)
def test_a_time_at_the_end_of_time_is_read_or_null(tmp_path: Path, at):
    """DuckDB's times end in the year 294247; Elasticsearch's end later."""
    docs = [document(1), {"@timestamp": at, "number": 2}]
    scanned, rewritten = both(
        tmp_path,
        docs,
        "FROM logs-* | SORT number | LIMIT 9",
        mapping={"@timestamp": "date", "number": "long"},
    )
    assert scanned == rewritten
    assert [row[1] for row in scanned.rows] == [1, 2]


def test_rewritten_files_are_removed_at_the_end(tmp_path: Path, monkeypatch):
    """They hold events: only this user may read them, and only while the client is open."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    folder = write(tmp_path / "data", [{"process.name": "x", "process": {"name": "y"}}])
    with connected(folder) as client:
        client.esql.query(query="FROM logs-* | KEEP process.name | LIMIT 1")
        (made,) = scratch.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700
        assert list(made.iterdir())
    assert list(scratch.iterdir()) == []
