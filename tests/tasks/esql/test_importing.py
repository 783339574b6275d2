"""Exports of any shape become a folder of typed Parquet with the same answers, or nothing does."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.clusters import connect
from tasks.diff import identified
from tasks.errors import NotImported
from tasks.esql import deadline
from tasks.esql.importing import import_events
from tasks.fleet.documents import NETWORK, PROCESS
from tasks.model.hunts import load_hunt
from tasks.model.runs import Plan
from tasks.questions.candidates import ask_candidates
from tasks.questions.coverage import ask_coverage
from tasks.settings import Cluster
from tests.events import SLOT, beacon, network_event, process_event
from tests.tasks.esql.folder import STREAM, ask, write

Document = dict[str, Any]

HUNT = load_hunt("macos-unsigned-network").with_thresholds({"min_events_per_hour": 5})
HOURS = timedelta(hours=8)
EVENTS = [
    *beacon(41, HOURS),
    *beacon(39, HOURS, host_id="b", entity_id="f"),  # Too few.
    network_event(host_id="c", entity_id="g", signature="developer"),
]
PROCESSES = [process_event(), process_event("b", "f")]
STREAMS = {NETWORK: EVENTS, PROCESS: PROCESSES}
INDEX = ".ds-{}-2026.11.20-000001"


# --- The same hunt ---


def dotted(document: Document) -> Document:
    return dict(_leaves(document, ""))


def _leaves(document: Document, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def hit(document: Document, stream: str) -> Document:
    return {"_index": INDEX.format(stream), "_id": "a", "_source": document}


def in_arrays(document: Document) -> Document:
    process = {**document["process"], "code_signature": [document["process"]["code_signature"]]}
    return {**document, "process": [process]}


def lines(documents: Iterable[Document]) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in documents).encode()


def in_fields(document: Document) -> Document:
    values = {k: v if isinstance(v, list) else [v] for k, v in dotted(document).items()}
    return {"_id": "a", "fields": values}


def by_duckdb(documents: Iterable[Document], form: str) -> bytes:
    """As another tool writes it; in Parquet with objects as structs, and times as timestamps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "in").write_bytes(lines(documents))
        read = f"FROM read_json('{path}/in', sample_size=-1, format='newline_delimited')"
        duckdb.execute(f"COPY ({read}) TO '{path}/out' (FORMAT {form})")
        return (path / "out").read_bytes()


Files = Callable[[list[Document], str], list[bytes]]

SHAPES: dict[str, Files] = {
    "nested": lambda documents, _: [lines(documents)],
    "dotted": lambda documents, _: [lines(map(dotted, documents))],
    "in _source": lambda documents, stream: [lines(hit(each, stream) for each in documents)],
    "in hits": lambda documents, stream: [
        json.dumps({"hits": {"hits": [hit(each, stream) for each in documents]}}, indent=1).encode()
    ],
    "in arrays": lambda documents, _: [lines(map(in_arrays, documents))],
    "compressed": lambda documents, _: [gzip.compress(lines(documents))],
    "two files": lambda documents, _: [lines(documents[:1]), lines(map(dotted, documents[1:]))],
    "in fields": lambda documents, _: [lines(map(in_fields, documents))],
    "Parquet": lambda documents, _: [by_duckdb(documents, "parquet")],
}


def hunted(folder: Path) -> tuple[list[str], Any, Any]:
    """The identities of a hunt's candidates, their rows, and what was searched."""
    plan = Plan("abc", HUNT, "corp", SLOT, 6, SLOT)
    with connect(Cluster(name="corp", url=folder.as_uri())) as client:
        answer = ask_candidates(client, plan)
        coverage, _ = ask_coverage(client, plan, SLOT)
    rows = identified(answer, HUNT, "corp")
    return sorted(rows["fingerprint"]), sorted(map(str, answer.records())), coverage


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the hunt finds in nested NDJSON."""
    folder = tmp_path_factory.mktemp("usual")
    for stream, documents in STREAMS.items():
        write(folder, documents, stream=stream)
    found = hunted(folder)
    assert len(found[0]) == 1
    return found


@pytest.mark.parametrize("files", SHAPES.values(), ids=SHAPES)
def test_the_same_hunt_finds_the_same_in_an_import(tmp_path, usual, files):
    """Findings, figures and ids, whatever the shape of the export; also without an import."""
    for stream, documents in STREAMS.items():
        for number, content in enumerate(files(documents, stream)):
            for path in (tmp_path / "flat", tmp_path / "sorted" / stream):
                path.mkdir(parents=True, exist_ok=True)
                (path / f"{stream[-15:]}{number}.json").write_bytes(content)
    done = import_events([tmp_path / "flat"], tmp_path / "data")
    assert done.documents == {stream: len(documents) for stream, documents in STREAMS.items()}
    assert done.warnings == ()
    assert hunted(tmp_path / "data") == usual
    assert hunted(tmp_path / "sorted") == usual


def test_an_import_of_an_import_is_the_same(tmp_path):
    """Its own format is one that it reads."""
    path = put(tmp_path, "a.ndjson", [{**OF_NETWORK, "k": ["a", "b"], "source": {"port": 1}}])
    import_events([path], tmp_path / "data")
    import_events([tmp_path / "data"], tmp_path / "again")
    first, second = (tmp_path / name / NETWORK for name in ("data", "again"))
    assert (first / "mapping.json").read_bytes() == (second / "mapping.json").read_bytes()
    was, now = (duckdb.sql(f"FROM '{folder}/0001.parquet'") for folder in (first, second))
    assert (was.columns, was.types, was.fetchall()) == (now.columns, now.types, now.fetchall())


# --- Where documents go ---

OF_NETWORK = {"@timestamp": "2026-11-24T00:00:00Z", "event": {"dataset": "endpoint.events.network"}}
PLAIN = {"@timestamp": "2026-11-24T00:00:00Z", "n": 1}


def sorted_into(folder: Path) -> dict[str, int]:
    """The number of documents by data stream."""
    found = ask(folder, "FROM * METADATA _index | STATS n = COUNT(*) BY _index | LIMIT 99")
    return {stream: count for count, stream in found.rows}


def put(folder: Path, name: str, documents: Iterable[Document | str]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in documents))
    return path


def of_stream(dataset: str) -> Document:
    return {**PLAIN, "data_stream": {"type": "logs", "dataset": dataset, "namespace": "x"}}


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_of_several_data_streams_is_sorted(tmp_path, compress):
    """One export of `logs-*` holds them all, also below one another's names."""
    documents = [hit(PLAIN, "logs-a-default"), of_stream("b"), OF_NETWORK, of_stream("b")]
    path = put(tmp_path, "all.json", documents)
    path.write_bytes(compress(path.read_bytes()))
    done = import_events([path], tmp_path / "data")
    assert done.documents == {"logs-a-default": 1, "logs-b-x": 2, NETWORK: 1}
    assert sorted_into(tmp_path / "data") == done.documents


def test_a_file_compressed_with_zstd_is_sorted(tmp_path):
    """Python cannot unpack it, DuckDB can."""
    path = tmp_path / "all.zst"
    path.write_bytes(by_duckdb([of_stream("a"), of_stream("b")], "json, COMPRESSION zstd"))
    done = import_events([path], tmp_path / "data")
    assert done.documents == {"logs-a-x": 1, "logs-b-x": 1}


def test_a_parquet_file_of_several_data_streams_is_sorted(tmp_path):
    """So is one as other tools write it, whether or not a column says nothing."""
    put(tmp_path, "a.ndjson", [of_stream("a"), of_stream("b"), {**OF_NETWORK, "data_stream": None}])
    duckdb.execute(f"COPY (FROM '{tmp_path}/a.ndjson') TO '{tmp_path}/all.parquet'")
    done = import_events([tmp_path / "all.parquet"], tmp_path / "data")
    assert done.documents == {"logs-a-x": 1, "logs-b-x": 1, NETWORK: 1}


def test_the_action_of_a_bulk_request_names_the_index(tmp_path):
    """It stands before its document."""
    action = {"create": {"_index": "logs-a-default"}}
    path = put(tmp_path, "bulk.json", [action, PLAIN, {"index": {}}, of_stream("b")])
    assert import_events([path], tmp_path / "data").documents == {
        "logs-a-default": 1,
        "logs-b-x": 1,
    }


def test_a_document_that_says_nothing_needs_a_name(tmp_path):
    """That of its folder if it is like one, else the one that was given; never a guess."""
    named = put(tmp_path, "logs-a-default/x/a.ndjson", [PLAIN])
    other = put(tmp_path, "Downloads/b.ndjson", [PLAIN])
    with pytest.raises(NotImported) as caught:
        import_events([other], tmp_path / "data")
    assert f"[{other}] has documents that do not say" in caught.value.problem
    assert "--stream" in caught.value.remedy
    done = import_events([named.parents[1], other], tmp_path / "data", stream="logs-b-default")
    assert done.documents == {"logs-a-default": 1, "logs-b-default": 1}


@pytest.mark.parametrize("name", ["../../etc", "/etc", ".hidden", "a/b", "A", "a\0b", "x" * 201])
def test_a_name_that_is_no_folders_is_refused(tmp_path, name):
    """It comes from a document: it leads to no other place, and the folder is as before."""
    path = put(tmp_path, "a.ndjson", [{**PLAIN, "_index": name}])
    with pytest.raises(NotImported, match="cannot be a folder's"):
        import_events([path], tmp_path / "data")
    assert [each.name for each in tmp_path.iterdir()] == ["a.ndjson"]


# --- All or nothing ---


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder that something was imported into."""
    path = put(tmp_path, "first.ndjson", [{**PLAIN, "k": "a"}, {**PLAIN, "k": "b"}])
    import_events([path], tmp_path / "data", stream=STREAM)
    return tmp_path / "data"


def test_a_further_import_adds_a_file(tmp_path, data):
    """What is there stays; a field may be new, or have several values for the first time."""
    before = tree(data)
    path = put(tmp_path, "second.ndjson", [{**PLAIN, "k": ["c", "d"], "m": 1.5}])
    import_events([path], data, stream=STREAM)
    after = tree(data)
    assert set(after) - set(before) == {f"{STREAM}/0002.parquet"}
    assert after[f"{STREAM}/0001.parquet"] == before[f"{STREAM}/0001.parquet"]
    rows = ask(data, "FROM logs-* | SORT m, k | KEEP k, m, n | LIMIT 9").rows
    assert sorted(map(str, rows)) == ["['a', None, 1]", "['b', None, 1]", "[['c', 'd'], 1.5, 1]"]


@pytest.mark.parametrize(
    ("documents", "named"),
    [
        ([PLAIN, '{"broken'], "second.ndjson:2] failed to parse"),
        ([{**PLAIN, "n": "many"}], "[n] of [logs-test-default] is [long]"),
        ([{**PLAIN, "n": 1.5}], "[n] of [logs-test-default] is [long]"),
        ([{**PLAIN, "a": 1, "A": 2}], "differ only in case"),
    ],
    ids=["broken", "another type", "a fraction", "twins"],
)
def test_what_cannot_be_imported_leaves_the_folder_as_it_was(tmp_path, data, documents, named):
    """Also what comes before it: another data stream, and the first lines."""
    before = tree(data)
    good = put(tmp_path, "good.ndjson", [of_stream("b")])
    bad = put(tmp_path, "second.ndjson", documents)
    with pytest.raises(NotImported) as caught:
        import_events([good, bad], data, stream=STREAM)
    assert named in caught.value.problem
    assert caught.value.remedy
    assert tree(data) == before


def test_what_fails_at_the_end_is_undone(tmp_path, data):
    """A data stream that cannot get its place takes those before it back."""
    (data / "logs-z-x").write_text("in the way")
    before = tree(data)
    path = put(tmp_path, "second.ndjson", [of_stream("a"), PLAIN, of_stream("z")])
    with pytest.raises(NotImported, match="cannot be written"):
        import_events([path], data, stream=STREAM)
    assert tree(data) == before


def test_an_interrupted_import_leaves_the_folder_as_it_was(tmp_path, data, monkeypatch):
    """Ctrl-C ends what DuckDB does, and removes what was written."""
    monkeypatch.setattr(deadline, "_WATCH_SECONDS", 0)

    def interrupted(*_: int) -> None:
        raise KeyboardInterrupt

    before = tree(data)
    path = put(tmp_path, "second.ndjson", [PLAIN] * 5_000)
    with pytest.raises(KeyboardInterrupt):
        import_events([path], data, stream=STREAM, progress=interrupted)
    assert tree(data) == before


FULL = """\
import pathlib, resource, sys
from tasks.errors import NotImported
from tasks.esql.importing import import_events
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    import_events([pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]), stream="logs-a-default")
except NotImported as error:
    print(error)
"""


def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path, data):
    """The error says that the disk may be full. Here it is a limit for the size of files."""
    before = tree(data)
    path = put(tmp_path, "second.ndjson", [PLAIN])
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, data], capture_output=True, text=True, check=True
    )
    assert "cannot be written into" in done.stdout
    assert "disk has room" in done.stdout
    assert tree(data) == before


@pytest.mark.parametrize("into", ["in/data", "in", "."])
def test_a_folder_is_not_imported_into_itself(tmp_path, into):
    """The next import would read what the first one wrote."""
    put(tmp_path, "in/a.ndjson", [OF_NETWORK])
    before = tree(tmp_path)
    with pytest.raises(NotImported, match="lie in each other"):
        import_events([tmp_path / "in"], tmp_path / into)
    assert tree(tmp_path) == before


# --- What is written ---


def test_columns_have_types(tmp_path):
    """Other tools read them: times are timestamps, and addresses are texts."""
    document = {**PLAIN, "d": 1.5, "b": True, "k": "x", "host": {"ip": ["10.0.0.1", "::1"]}}
    import_events([put(tmp_path, "a.ndjson", [document])], tmp_path / "data", stream=STREAM)
    described = duckdb.execute(f"DESCRIBE FROM '{tmp_path}/data/{STREAM}/0001.parquet'").fetchall()
    assert {name: of_type for name, of_type, *_ in described} == {
        "@timestamp": "TIMESTAMP",
        "b": "BOOLEAN",
        "d": "DOUBLE",
        "host.ip": "VARCHAR[]",
        "k": "VARCHAR",
        "n": "BIGINT",
    }
    query = "FROM logs-* | KEEP b, d, host.ip, k, n | LIMIT 1"
    assert ask(tmp_path / "data", query).types == ["boolean", "double", "ip", "keyword", "long"]


def test_the_mapping_is_kept_whole(tmp_path):
    """A hunt may ask for a field that no document has; a mapping may come with the files."""
    put(tmp_path, "in/logs-a-default/a.ndjson", [{**PLAIN, "deep": {"er": "1"}, "geo": "1,2"}])
    mapping = {"n": "long", "deep.er": "long", "geo": "geo_point", "absent": "ip"}
    properties = {name: {"type": of_type} for name, of_type in mapping.items()}
    (tmp_path / "in/logs-a-default/mapping.json").write_text(json.dumps({"properties": properties}))
    put(tmp_path, "in/b.ndjson", [OF_NETWORK])
    done = import_events([tmp_path / "in"], tmp_path / "data")
    assert done.warnings == (
        "1 field of [logs-a-default] left out, for example [geo]: with unsupported type "
        "[geo_point]",
    )
    answer = ask(tmp_path / "data", "FROM logs-a-* | DROP @timestamp | LIMIT 1")
    assert dict(zip(answer.names, answer.types, strict=True)) == mapping | {"geo": "unsupported"}
    assert dict(zip(answer.names, *answer.rows, strict=True)) == {
        **{"absent": None, "deep.er": 1, "geo": None, "n": 1},
    }
    of_defend = f"FROM {NETWORK} | KEEP destination.ip | LIMIT 1"
    assert ask(tmp_path / "data", of_defend).rows == [[None]]


def test_what_is_not_imported_is_named(tmp_path):
    """Files, lines and values are counted with an example; hidden files are none."""
    put(tmp_path, "in/a.pdf", ["%PDF"])
    put(tmp_path, "in/._a.ndjson", ["\0\5"])
    put(tmp_path, "in/b.ndjson", [OF_NETWORK, "broken", {**OF_NETWORK, "source": {"port": "x"}}])
    put(tmp_path, "in/c.ndjson", [{"event": {"dataset": "endpoint.events.network"}}])
    done = import_events([tmp_path / "in"], tmp_path / "data", skip_bad_lines=True)
    assert done.documents == {NETWORK: 3}
    unread, lines_skipped, wrong, untimed = done.warnings
    assert unread.startswith("1 file not read, for example")
    assert lines_skipped.startswith("1 unreadable line skipped")
    assert "[source.port]" in wrong
    assert "1 document with a value that is no [long]" in wrong
    assert "1 document of [logs-endpoint.events.network-default] without @timestamp" in untimed


def test_files_without_documents_are_no_import(tmp_path):
    """Nothing is made, and what was left out is named."""
    path = put(tmp_path, "a.pdf", ["%PDF"])
    with pytest.raises(NotImported, match=r"no document.*1 file not read"):
        import_events([path], tmp_path / "data")
    assert not (tmp_path / "data").exists()
