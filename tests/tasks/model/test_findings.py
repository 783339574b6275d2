from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.findings import (
    RANKS,
    CodeSignature,
    Disposition,
    Parent,
    Priority,
    Process,
    Status,
    Value,
    fingerprint,
    short_id,
)
from tests.builders import acknowledgement, day, finding

TRICKY = ["", "null", "true", "1", "1.0", "x", "y", "x, y", 'x","y', "x\x00y", "\u202e", "ﬁ", "fi"]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.sampled_from(TRICKY)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3).map(tuple)
IDENTITIES = st.dictionaries(st.sampled_from(["host.id", "host.id,", "x", ""]), VALUES)


@given(IDENTITIES, IDENTITIES)
def test_distinct_identities_have_distinct_fingerprints(
    one: Mapping[str, Value], other: Mapping[str, Value]
):
    """Two findings are the same one only if every column has the same value of the same type."""
    same = {k: repr(v) for k, v in one.items()} == {k: repr(v) for k, v in other.items()}

    assert (fingerprint("hunt", "eu", one) == fingerprint("hunt", "eu", other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": None}, {"a": "null"}),
        ({"a": None}, {"a": ""}),
        ({"a": None}, {}),
        ({"a": ("x, y", "z")}, {"a": ("x", "y, z")}),
        ({"a": ("x",)}, {"a": "x"}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": "/opt/A"}, {"a": "/opt/a"}),
        ({"a": "caf\u00e9"}, {"a": "cafe\u0301"}),
        ({"a": "x", "b": "y"}, {"a": "y", "b": "x"}),
    ],
)
def test_what_looks_alike_is_not_the_same(one: Mapping[str, Value], other: Mapping[str, Value]):
    """Null, "null" and "" differ, and so do values that only read alike when put together."""
    assert fingerprint("hunt", "eu", one) != fingerprint("hunt", "eu", other)


@given(st.dictionaries(st.text(), VALUES), st.randoms())
def test_the_order_of_columns_does_not_count(identity: Mapping[str, Value], random):
    """A cluster that answers with its columns in another order finds the same findings."""
    columns = list(identity.items())
    random.shuffle(columns)

    assert fingerprint("hunt", "eu", dict(columns)) == fingerprint("hunt", "eu", identity)


def test_hunts_and_clusters_keep_their_findings_apart():
    """The same program on the same Mac is another finding for another hunt or cluster."""
    identity = {"host.id": "mac-a"}
    whose = [("hunt", "eu"), ("hunt", "us"), ("other", "eu"), ("hunte", "u")]

    assert len({fingerprint(hunt, cluster, identity) for hunt, cluster in whose}) == len(whose)


def test_a_fingerprint_is_for_ever():
    """A release that gave other fingerprints would announce every known finding as new."""
    identity = {
        "host.id": "mac-a",
        "process.executable": "/Users/ada/Library/updater",
        "destination.address": "203.0.113.47",
    }

    whole = fingerprint("5c3f5e0e-1f6b-4a0f-9d1c-6f1f5a0e7d11", "demo-eu", identity)

    assert whole == "78818969c60954b1879591d39d9b95ab84cb08e45cf2d5db61d156bbe67d4d43"
    assert (short_id(whole), short_id(whole, 12)) == ("BH-78818969", "BH-78818969C609")


def test_a_fingerprint_of_any_script_is_for_ever():
    """A name in French or Chinese keeps its identity as one in ASCII does."""
    identity = {"host.id": "mac-a", "process.executable": "/Applications/caf\u00e9/\u66f4\u65b0"}

    assert (
        fingerprint("hunt", "eu", identity)
        == "729c48224410b1d8c77375b8992f644cb36d380c2f704e339994505886ad0890"
    )


@pytest.mark.parametrize(
    ("signature", "word"),
    [
        (CodeSignature(exists=False), "no signature"),
        (CodeSignature(exists=True, trusted=False, status="errSecCSUnsigned"), "no signature"),
        (CodeSignature(exists=True, trusted=False, status="ERRSECCSUNSIGNED"), "no signature"),
        (CodeSignature(exists=True, trusted=False, status="-67062"), "no signature"),
        (CodeSignature(status="code object is not signed at all"), "no signature"),
        (CodeSignature(trusted=False, status="noSignature"), "no signature"),
        (CodeSignature(trusted=False, status="-67062, errSecCSUnsigned"), "no signature"),
        (CodeSignature(exists=True, trusted=False, status="errSecCSSignatureFailed"), "untrusted"),
        (CodeSignature(True, False, "errSecCSUnsignedNestedCode"), "untrusted"),
        (CodeSignature(exists=True, trusted=False, status="-67061"), "untrusted"),
        (CodeSignature(True, False, "No error., errSecCSUnsigned"), "untrusted"),
        (
            CodeSignature(True, False, "code object is not signed at all\nIn subcomponent: x"),
            "untrusted",
        ),
        (CodeSignature(exists=True, trusted=True, status="errSecCSUnsigned"), "trusted"),
        (CodeSignature(exists=True, trusted=False, signing_id="a.out"), "ad hoc"),
        (CodeSignature(exists=True, trusted=False, signing_id="a", subject_name="x"), "untrusted"),
        (CodeSignature(exists=True, trusted=False), "untrusted"),
        (CodeSignature(True, False, "CSSMERR_TP_CERT_EXPIRED", "x", "a", "T"), "expired"),
        (CodeSignature(True, False, "CSSMERR_TP_CERT_REVOKED", "x", "a", "T"), "revoked"),
        (CodeSignature(exists=True, trusted=True, status="No error."), "trusted"),
        (CodeSignature(exists=True), "unknown"),
        (CodeSignature(), "unknown"),
    ],
)
def test_a_signature_is_named_for_what_is_wrong_with_it(signature: CodeSignature, word: str):
    """Every page and message calls the same signature by the same word."""
    assert signature.word == word
    assert signature.is_missing == (word == "no signature")


def test_the_highest_priority_stands_first_and_what_is_unscored_last():
    """One order for report, digest, daily page and command line."""
    mixed = [None, Priority.LOW, Priority.HIGH, Priority.MEDIUM]
    assert sorted(mixed, key=RANKS.__getitem__) == [
        Priority.HIGH,
        Priority.MEDIUM,
        Priority.LOW,
        None,
    ]


@pytest.mark.parametrize(
    ("changes", "disposition"),
    [
        ({"status": Status.NEW}, Disposition.ANNOUNCED),
        ({"status": Status.BASELINE}, Disposition.BASELINE),
        ({"status": Status.CONTINUING}, Disposition.CONTINUING),
        ({"status": Status.RETURNED}, Disposition.RETURNED),
        ({"status": Status.RETURNED, "away_since": day(-30)}, Disposition.ANNOUNCED),
        ({"status": Status.CONTINUING, "changed_binary": True}, Disposition.ANNOUNCED),
        ({"status": Status.BASELINE, "changed_binary": True}, Disposition.ANNOUNCED),
        ({"status": Status.QUIET}, Disposition.QUIET),
    ],
)
def test_something_comes_of_every_finding(changes: dict[str, object], disposition: Disposition):
    """In one word; an analyst's word comes before it, but for what is not there."""
    found = finding(**changes)
    assert found.disposition is disposition
    muted = finding(**changes, acknowledgement=acknowledgement(found))
    assert muted.disposition in {Disposition.ACKNOWLEDGED, Disposition.QUIET}


def test_every_command_line_of_a_finding_is_masked_and_nothing_else_changes():
    """Its own, its parent's, and those that a hunt keeps as columns; its id stays the same."""
    line = "x --password hunter2"
    whole = finding(
        process=Process(
            name="x",
            command_line=line,
            args=("--password", "hunter2", "x"),
            parent=Parent(name="sh", command_line=f"sh -c {line}"),
        ),
        figures={
            "process.args": ("--password", "hunter2"),
            "process.command_line": line,
            "urls": ("https://ada:hunter2@x.example", 7, None),
            "connections": 20_160,
        },
    )
    whole = replace(whole, identity={**whole.identity, "process.command_line": line})
    masked = whole.masked
    assert "hunter2" not in str(masked)
    assert masked.process.command_line == "x --password [masked]"
    assert masked.process.args == ("--password", "[masked]", "x")
    assert masked.figures["urls"] == ("https://ada:[masked]@x.example", 7, None)
    assert masked.figures["connections"] == 20_160
    assert (masked.fingerprint, masked.id) == (whole.fingerprint, whole.id)
    assert finding().masked == finding()
