from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.enrich import (
    NO_ENTITY_ID,
    NO_HASH,
    NO_PROCESS_EVENT,
    described,
    entity_ids,
    not_enriched,
)
from tasks.errors import Unreachable
from tasks.model.findings import CodeSignature, Finding, Process, Status
from tests.builders import finding
from tests.effort import examples

COLUMNS = [
    *("@timestamp", "process.entity_id", "process.name", "process.executable", "process.args"),
    *("process.command_line", "process.hash.sha256", "process.code_signature.exists"),
    *("process.code_signature.trusted", "process.code_signature.status"),
    *("process.code_signature.subject_name", "process.code_signature.signing_id"),
    *("process.code_signature.team_id", "process.parent.name", "process.parent.executable"),
    *("process.parent.command_line", "process.Ext.ancestry", "host.name", "user.name"),
]


def events(*given: dict) -> pd.DataFrame:
    """Process events as the cluster answers them, newest of an entity first."""
    rows = [dict.fromkeys(COLUMNS) | event for event in given]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def event(entity: str, minute: int = 0, **said) -> dict:
    at = pd.Timestamp(f"2026-11-20T06:{minute:02}:00Z")
    return {"@timestamp": at, "process.entity_id": entity, **said}


def seen(*entities: str, **changes) -> Finding:
    process = Process(
        name="agent",
        executable="/tmp/agent",
        entity_ids=entities,
        code_signature=CodeSignature(exists=False),
    )
    return replace(finding(), process=process, **changes)


def test_what_process_events_say_is_added():
    """The hash, the command line and the parent are what an analyst asks for first."""
    said = event(
        "e",
        **{
            "process.hash.sha256": "ab",
            "process.args": ["/tmp/agent", "-q"],
            "process.command_line": "/tmp/agent -q",
            "process.parent.name": "launchd",
            "process.Ext.ancestry": ["p1", "p2"],
            "process.code_signature.status": "errSecCSUnsigned",
        },
    )
    (finding,) = described((seen("e"),), events(said))
    assert finding.process.hash_sha256 == "ab"
    assert finding.process.args == ("/tmp/agent", "-q")
    assert finding.process.parent.name == "launchd"
    assert finding.process.ancestry == ("p1", "p2")
    assert finding.process.code_signature == CodeSignature(exists=False, status="errSecCSUnsigned")
    assert finding.faults == ()


def test_fields_with_several_values_are_told_as_one_text():
    """Elasticsearch lets every field have several, and whoever writes events may use that."""
    said = event(
        "e",
        **{
            "process.entity_id": ["another", "e"],
            "process.command_line": ["b", "a"],
            "process.hash.sha256": ["2", "1"],
            "process.parent.name": ["sh"],
            "process.code_signature.trusted": [True, False],
        },
    )
    (finding,) = described((seen("e"),), events(said))
    assert finding.process.command_line == "a, b"
    assert finding.process.hash_sha256 == "1, 2"
    assert finding.process.parent.name == "sh"
    assert finding.process.code_signature == CodeSignature(exists=False)


@pytest.mark.parametrize("flag", ["exists", "trusted"])
def test_signature_flags_that_contradict_each_other_are_none(flag):
    """What the hunt saw stays, and what nothing saw is unknown."""
    said = event("e", **{f"process.code_signature.{flag}": [True, False]})
    unknown = replace(seen("e"), process=Process(entity_ids=("e",)))
    (finding,) = described((unknown,), events(said))
    assert finding.process.code_signature == CodeSignature()


def test_of_several_starts_the_newest_speaks():
    """A restarted process is described as it runs now."""
    answer = events(
        event("old", 1, **{"process.hash.sha256": "before"}),
        event("new", 2, **{"process.hash.sha256": "now"}),
    )
    (finding,) = described((seen("old", "new"),), answer)
    assert finding.process.hash_sha256 == "now"


def test_an_end_event_does_not_hide_what_the_start_said():
    """Of one process the newest known value of each field counts."""
    answer = events(event("e", 5), event("e", 1, **{"process.hash.sha256": "ab"}))
    (finding,) = described((seen("e"),), answer)
    assert finding.process.hash_sha256 == "ab"


def test_the_words_of_network_events_stay():
    """Process events complete a finding; they do not contradict what the hunt saw."""
    answer = events(event("e", **{"process.executable": "/usr/bin/other", "process.name": "other"}))
    (finding,) = described((seen("e"),), answer)
    assert (finding.process.name, finding.process.executable) == ("agent", "/tmp/agent")


def test_a_finding_without_process_events_says_so():
    """Not enriched is a fact about the finding, not a reason to drop it."""
    (finding,) = described((seen("e"),), events())
    assert finding.faults == (NO_PROCESS_EVENT,)


def test_a_finding_without_entity_id_is_not_taken_for_another():
    """An event without one belongs to any process; the finding says what is missing."""
    (finding,) = described((seen(),), events(event(None, **{"process.hash.sha256": "ab"})))
    assert (finding.process.hash_sha256, finding.faults) == (None, (NO_ENTITY_ID,))


def test_process_events_without_a_hash_are_said_to_have_none():
    """Which binary runs is what an acknowledgement is bound to."""
    (finding,) = described((seen("e"),), events(event("e", **{"process.command_line": "x"})))
    assert (finding.process.command_line, finding.faults) == ("x", (NO_HASH,))


PROCESS_EVENTS = st.builds(
    lambda entity, binary: event(entity, **{"process.hash.sha256": binary}),
    st.sampled_from([None, "e", "f"]),
    st.sampled_from([None, "ab"]),
)


@settings(max_examples=examples(40))
@given(
    entities=st.sets(st.sampled_from(["e", "f"])),
    answer=st.none() | st.lists(PROCESS_EVENTS, max_size=3),
)
def test_a_finding_without_a_hash_says_why(entities, answer):
    """Whatever the events lack and however the question ends."""
    given = (seen(*sorted(entities)),)
    (finding,) = (
        not_enriched(given, Unreachable("corp: away.", "Wait."))
        if answer is None
        else described(given, events(*answer))
    )
    assert bool(finding.process.hash_sha256) != any(finding.faults)


def test_a_failed_question_loses_no_finding():
    """Every finding stays, each with the reason."""
    error = Unreachable("corp-eu: cannot be reached.", "Check the network.")
    kept = not_enriched((seen("e"), seen("f")), error)
    assert [f.faults for f in kept] == [("not enriched: corp-eu: cannot be reached.",)] * 2


def test_an_event_that_nobody_foresaw_loses_no_other_finding_its_metadata(caplog):
    """Who writes one odd event does not keep the hashes of all other programs from the run."""
    hashed = event("e", **{"process.hash.sha256": "ab"})
    odd = event("odd 1") | {"@timestamp": 5}
    broken, whole = described(
        (seen("odd 1", "odd 2"), seen("e")), events(hashed, odd, event("odd 2"))
    )
    assert broken == seen("odd 1", "odd 2").with_fault(broken.faults[0])
    assert broken.faults[0].startswith("not enriched: Unexpected error: TypeError.")
    assert (whole.process.hash_sha256, whole.faults) == ("ab", ())
    assert [record.exc_info[0] for record in caplog.records] == [TypeError]


@pytest.mark.parametrize(
    "enriching",
    [lambda f: described(f, events()), lambda f: not_enriched(f, Unreachable("x", "y"))],
)
def test_a_quiet_finding_keeps_what_the_history_knows(enriching):
    """It has no process in this window to ask about."""
    quiet = seen("e", status=Status.QUIET)
    assert enriching((quiet,)) == (quiet,)
    assert entity_ids((quiet,)) == []
