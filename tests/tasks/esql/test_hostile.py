"""Names, shapes and files that somebody else made: answered as they are, or refused in words."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import duckdb
import pytest
from elasticsearch import BadRequestError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import SettingsError
from tasks.esql.engine import Engine
from tests.tasks.esql.folder import ask, refusal, write

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
NAMES = [
    *("a{0}", "a{}", "a{1}", "{}", 'a"b', "a'b", "a`b", "a;b--", "a/*b", "a%s", "$1", "?", "*"),
    *("a\nb", "a\0b", "a\\b", "\\u0041", "é", "😀", "select", "NULL", "n" * 100_000),
    # DuckDB's own names, and those of our SQL.
    *("rowid", "filename", "file_row_number", "json", "_id", "_index", "stream_name", "one"),
    *("f0", "l0", "m0", "r0", "s0", "c1", "element"),
]


def all_fields(folder: Path, documents: list[dict | str], **options) -> dict[str, list]:
    """The values of every field of some documents, one list a field."""
    result = ask(write(folder, documents), "FROM logs-* | LIMIT 9", **options)
    return dict(zip(result.names, map(list, zip(*result.rows, strict=True)), strict=True))


@pytest.mark.parametrize("shape", ["plain", "in an object", "a list", "mixed"])
def test_a_name_is_a_name_and_nothing_else(tmp_path: Path, shape):
    """No character ends a quoted name, is a slot, a parameter, a pattern, or a column of ours."""
    values = {name: place for place, name in enumerate(NAMES)}
    if shape == "in an object":
        written: list = [{"o": values}]
    elif shape == "a list":
        written = [{name: [value, -1] for name, value in values.items()}]
    else:
        written = [values] + [dict.fromkeys(NAMES, "x")] * (shape == "mixed")
    read = all_fields(tmp_path, written)
    for name, value in values.items():
        expected = {
            "plain": [value],
            "in an object": [value],
            "a list": [[-1, value]],
            "mixed": [str(value), "x"],
        }[shape]
        full = f"o.{name}" if shape == "in an object" else name
        assert sorted(read[full], key=str) == sorted(expected, key=str), name


def test_a_name_in_parquet_is_a_name_too(tmp_path: Path):
    """Of a column, and of a field in a struct."""
    folder = tmp_path / "logs-test-default"
    folder.mkdir()
    names = [name for name in NAMES if "\0" not in name and len(name) < 100]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    columns = [f"{place} AS {name}" for place, name in enumerate(quoted)]
    inner = [f"{name} := {place}" for place, name in enumerate(quoted)]
    table = duckdb.sql(f"SELECT struct_pack({', '.join(inner)}) AS o, {', '.join(columns)}")
    table.write_parquet(str(folder / "a.parquet"))
    result = ask(tmp_path, "FROM logs-* | LIMIT 9")
    read = dict(zip(result.names, result.rows[0], strict=True))
    assert [read[name] for name in names] == list(range(len(names)))
    assert [read[f"o.{name}"] for name in names] == list(range(len(names)))


def test_the_name_of_a_field_may_stand_in_a_question(tmp_path: Path):
    """In backquotes any name can be asked for, also where braces are slots of our SQL."""
    write(tmp_path, [{"a{0}": 1, "a{}": [1, 2], "b`c": 3}])
    query = "FROM logs-* | WHERE `a{0}` == 1 | KEEP `a{}`, `b``c` | LIMIT 1"
    assert ask(tmp_path, query).rows == [[[1, 2], 3]]


@pytest.mark.parametrize(
    ("document", "names", "fault"),
    [
        ({".".join(ALPHABET[:20]): 1}, [".".join(ALPHABET[:20])], None),
        ({".".join(ALPHABET[:21]): 1}, [], "more than 20 parts"),
        ({".".join(ALPHABET): 1, "x": 2}, ["x"], "[a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w"),
        ('{"a":' * 26 + "1" + "}" * 26, [], "index.mapping.depth.limit"),
        ('{"a":' * 5000 + "1" + "}" * 5000, [], "1 document of [logs-test-default] left out"),
        ('{"x": 1, "a":' + "[" * 5000 + "]" * 5000 + "}", [], "nest too deep"),
        (
            {"": 1, "a..b": 2, " ": 3, ".c": 4, "d": 5},
            ["d"],
            "4 fields of [logs-test-default] left",
        ),
    ],
)
def test_what_elasticsearch_has_no_field_for_is_left_out_and_said(
    tmp_path: Path, document, names, fault
):
    """Neither a deep nor an empty name ends the question, and neither passes silently."""
    result = ask(write(tmp_path, [document]), "FROM logs-* | LIMIT 9")
    assert result.names == names
    assert [fault in warning for warning in result.warnings] == [True] * (fault is not None)


def test_a_deep_name_can_be_asked_for_in_every_spelling(tmp_path: Path):
    """Of a name with many parts, those spellings are read that occur."""
    name = ".".join(ALPHABET[:12])
    nested: object = 2
    for part in reversed(ALPHABET[:12]):
        nested = {part: nested}
    write(tmp_path, [{name: 1}, nested, {"a.b.c": {".".join(ALPHABET[3:12]): 3}}])
    rows = ask(tmp_path, f"FROM logs-* | SORT {name} | KEEP {name} | LIMIT 9").rows
    assert rows == [[1], [2], [3]]


def test_a_document_that_spells_a_field_twice_has_both_values(tmp_path: Path):
    """As in Elasticsearch, where a.b and an object a are the same field."""
    assert all_fields(tmp_path, [{"a.b": 1, "a": {"b": 2, "c": 3}}]) == {
        "a.b": [[1, 2]],
        "a.c": [3],
    }


@pytest.mark.parametrize("document", [{"A": {"b": 1}, "a": {"c": 2}}, {"o": {"A.b": 1, "a.c": 2}}])
def test_objects_that_differ_in_case_only_are_refused(tmp_path: Path, document):
    """DuckDB takes them for the same; one of them alone can be asked for."""
    write(tmp_path, [document])
    _, reason = refusal(tmp_path, "FROM logs-* | LIMIT 9")
    assert "differ only in case" in reason
    one = "A.b" if "A" in document else "o.A.b"
    assert ask(tmp_path, f"FROM logs-* | KEEP {one} | LIMIT 9").rows == [[1]]


def test_data_streams_that_differ_in_case_only_keep_their_own_documents(tmp_path: Path):
    """Also in one question."""
    write(tmp_path, [{"n": 1}], stream="logs-a")
    write(tmp_path, [{"n": 2}], stream="logs-A")
    assert sorted(ask(tmp_path, "FROM logs-a, logs-A | KEEP n | LIMIT 9").rows) == [[1], [2]]


@pytest.mark.parametrize("name", ["x[1]", "a{0}", "it's", 'the "x"', "x=1", "json=1", "#", "%41"])
def test_a_data_stream_is_found_by_its_name(tmp_path: Path, name):
    """Of FROM's characters, only the star is a pattern; a folder `json=1` is no column."""
    write(tmp_path, [{"n": 1}], stream=name, name="json=1/a.ndjson")
    quoted = name.replace('"', '\\"')
    result = ask(tmp_path, f'FROM "{quoted}" METADATA _index | LIMIT 9')
    assert (result.names, result.rows) == (["n", "_index"], [[1, name]])


@pytest.mark.parametrize(
    ("count", "value", "refused"), [(1_000, 1, False), (1_001, 1, True), (301, [1, 2], True)]
)
def test_too_many_fields_for_one_question_are_refused(tmp_path: Path, count, value, refused):
    """The refusal says how to ask for some of them; fields with lists cost DuckDB more."""
    write(tmp_path, [{f"f{i}": value for i in range(count)}])
    if refused:
        _, reason = refusal(tmp_path, "FROM logs-* | LIMIT 1")
        assert "for example with KEEP" in reason
    assert ask(tmp_path, "FROM logs-* | KEEP f7 | LIMIT 1").rows == [[value]]


@pytest.mark.parametrize(
    ("value", "read"),
    [("1e400", None), (str(10**40), 1e40), ("1" * 5000, None), ("-0.0", -0.0), ("NaN", None)],
)
def test_numbers_beyond_all_types_are_null_and_said(tmp_path: Path, value, read):
    """As every value of a wrong type."""
    result = ask(write(tmp_path, [f'{{"a": {value}}}']), "FROM logs-* | LIMIT 1")
    assert result.rows == [[read]]
    assert bool(result.warnings) == (read is None)


def test_half_a_surrogate_and_a_huge_document_are_bad_lines(tmp_path: Path):
    """The first is no text, the second more than DuckDB takes."""
    write(tmp_path, [{"a": 1}, '{"a": "\\ud800"}'])
    _, reason = refusal(tmp_path, "FROM logs-* | LIMIT 9")
    assert "events.ndjson:2] failed to parse" in reason
    write(tmp_path, [{"a": "x" * 40_000_000}])
    _, reason = refusal(tmp_path, "FROM logs-* | LIMIT 9")
    assert "a document is larger than 16 MB" in reason


@pytest.mark.parametrize("name", ['a "b.ndjson', "a\nb.ndjson", "in line 7: .ndjson"])
def test_a_bad_line_is_found_whatever_its_file_is_called(tmp_path: Path, name):
    """DuckDB's error is text: a file's name in it must not be taken for something else."""
    write(tmp_path, [{"a": 1}, "no"], name=name)
    _, reason = refusal(tmp_path, "FROM logs-* | KEEP a | LIMIT 9")
    assert f"{name}:2] failed to parse" in reason


# --- The folder's border ---


@pytest.mark.parametrize("link", ["x/b.ndjson", "x/more", "y", "x/mapping.json"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, link):
    """A file, a folder, a data stream or a mapping: nothing outside of the folder is read."""
    outside = tmp_path / "outside"
    write(outside, [{"token": "secret"}], stream="", name="b.ndjson")
    folder = write(tmp_path / "data", [{"n": 1}], stream="x")
    target = outside / "b.ndjson" if "." in link else outside
    (folder / link).symlink_to(target)
    with pytest.raises(SettingsError, match="a link that leads out of the folder"):
        ask(folder, "FROM x | LIMIT 1")


def test_links_within_the_folder_and_to_it_are_followed(tmp_path: Path):
    """Exports are often kept under dates, with a link to the newest one."""
    folder = write(tmp_path / "data", [{"n": 1}], stream="x")
    (folder / "y").symlink_to(folder / "x")
    (tmp_path / "newest").symlink_to(folder)
    assert ask(tmp_path / "newest", "FROM y | LIMIT 9").rows == [[1]]


@pytest.mark.parametrize("name", [b"a\\b.ndjson", b"a\xff.ndjson"])
def test_a_file_that_cannot_be_named_to_duckdb_is_refused(tmp_path: Path, name):
    """Left out silently, its events would be missing."""
    write(tmp_path, [{"n": 1}])
    Path(tmp_path / "logs-test-default" / name.decode(errors="surrogateescape")).write_text("{}")
    with pytest.raises(SettingsError, match="Rename it"):
        ask(tmp_path, "FROM logs-* | LIMIT 1")


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_ndjson_objects('{folder}/../outside.ndjson')",
        "SELECT * FROM read_ndjson_objects('{folder}/x/link.ndjson')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{outside}'",
        "ATTACH '{outside}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET lock_configuration = false",
    ],
)
def test_sql_itself_reaches_nothing_outside_of_the_folder(tmp_path: Path, attempt):
    """The second wall: whatever got into SQL, DuckDB opens no other file and no extension."""
    outside = tmp_path / "outside.ndjson"
    outside.write_text('{"token": "secret"}\n')
    folder = write(tmp_path / "data", [{"n": 1}], stream="x")
    engine = Engine(folder)
    try:
        (folder / "x/link.ndjson").symlink_to(outside)
        inside = engine._connection.execute(
            "SELECT json FROM read_ndjson_objects(?)", [f"{folder}/x/events.ndjson"]
        )
        assert inside.fetchall() == [('{"n": 1}',)]
        with pytest.raises((duckdb.PermissionException, duckdb.InvalidInputException)):
            engine._connection.execute(attempt.format(folder=folder, outside=outside)).fetchall()
    finally:
        engine.close()
    assert outside.read_text() == '{"token": "secret"}\n'


# --- Whatever it is ---

keys = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.sampled_from(["a", "A", "b", "a.b", "a.b.c", "a{0}", "{}", '"', "'", "", ".", "é", "json"]),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8"))
)
shapes = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(documents=st.lists(st.dictionaries(keys, shapes, max_size=4), min_size=1, max_size=3))
def test_any_documents_are_answered_or_refused_in_words(documents):
    """Whatever the names and shapes: an answer, or a 400 without a word of SQL."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), [json.dumps(document) for document in documents])
        try:
            assert len(ask(Path(folder), "FROM logs-* | LIMIT 9").rows) in {0, len(documents)}
        except BadRequestError as error:
            reason = error.body["error"]["reason"]
            assert "differ only in case" in reason or "failed to parse" in reason
            assert "SELECT" not in reason


@settings(max_examples=8)
@given(
    values=st.dictionaries(
        st.lists(
            keys.filter(lambda key: key.strip() and "." not in key), min_size=1, max_size=3
        ).map(tuple),
        st.integers(-(2**62), 2**62),
        min_size=1,
        max_size=4,
    )
)
def test_the_value_of_a_field_is_the_one_that_was_written(values):
    """Under any name, nested or dotted, wherever the names can stand beside one another."""
    names = {".".join(name): value for name, value in values.items()}
    above = {".".join(name[:end]) for name in values for end in range(1, len(name))}
    lowered = {name.encode().lower() for name in (*names, *above)}
    if above & names.keys() or len(lowered) < len(above | names.keys()):
        return  # A field below another field, or twins: refused, as other tests show.
    nested: dict = {}
    for (*objects, last), value in values.items():
        place = nested
        for key in objects:
            place = place.setdefault(key, {})
        place[last] = value
    with tempfile.TemporaryDirectory() as folder:
        read = all_fields(Path(folder), [nested])
        # A name that ends in `ip` is an address, and @timestamp a date.
        expected = {n: [v] for n, v in names.items() if n.rpartition(".")[2] != "ip"}
        assert {name: value for name, value in read.items() if name in expected} == expected
