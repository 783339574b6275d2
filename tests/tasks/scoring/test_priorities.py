from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.model.findings import (
    CodeSignature,
    Effect,
    Finding,
    NetworkDestination,
    Priority,
    Process,
    Reason,
)
from tasks.model.runs import Window
from tasks.scoring.priorities import priority_of, reasons_for, why
from tests.builders import SLOT, evidence, finding

WINDOW = Window.before(SLOT, 7)


def plain(**changes) -> Finding:
    """A finding about which nothing stands out."""
    return replace(
        finding(),
        process=Process(
            name="agent",
            executable="/usr/local/bin/agent",
            code_signature=CodeSignature(exists=True, trusted=False),
        ),
        destination=NetworkDestination("api.example.com", "45.1.1.1", (443,), "api.example.com"),
        evidence=None,
        **changes,
    )


def running(executable: str, **changes) -> Finding:
    process = replace(plain().process, executable=executable, **changes)
    return replace(plain(), process=process)


def texts(finding: Finding, effect: Effect = Effect.RAISES) -> list[str]:
    return [reason.text for reason in reasons_for(finding, WINDOW) if reason.effect is effect]


def test_nothing_stands_out_about_a_plain_finding():
    """No reason, low priority, and a sentence that says so."""
    reasons = reasons_for(plain(), WINDOW)
    assert reasons == ()
    assert priority_of(reasons) is Priority.LOW
    assert why(reasons) == "Nothing about it stands out."


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/tmp/x", "runs from a temporary folder"),
        ("/private/var/tmp/x", "runs from a temporary folder"),
        ("/Users/Shared/x", "runs from /Users/Shared"),
        ("/Users/kim/.cache/x", "runs from a hidden folder"),
        ("/Users/kim/Downloads/x", "runs from a Downloads folder"),
    ],
)
def test_a_place_where_installers_do_not_put_programs_raises(path, reason):
    """The path is the first thing that an analyst looks at."""
    assert texts(running(path)) == [reason]


@pytest.mark.parametrize("path", ["/Users/kim/tmp/x", "/Users/shared-tools/x", "/Users/kim/x.y/z"])
def test_a_place_that_only_sounds_like_it_does_not_raise(path):
    """Near misses of the rules above."""
    assert texts(running(path)) == []


@pytest.mark.parametrize(
    "path",
    ["/Applications/A.app/a", "/opt/homebrew/bin/a", "/usr/local/Cellar/a", "/x/Xcode.app/a"],
)
def test_a_usual_place_lowers(path):
    """Installed software is more often harmless."""
    assert len(texts(running(path), Effect.LOWERS)) == 1


@pytest.mark.parametrize(
    ("signature", "raises"),
    [
        (CodeSignature(exists=False), ["no code signature"]),
        (CodeSignature(True, trusted=False, status="errSecCSUnsigned"), ["no code signature"]),
        (CodeSignature(True, trusted=False, status="errSecCSSignatureFailed"), []),
        (CodeSignature(True, trusted=False, signing_id="a.out"), []),
        (CodeSignature(), []),
    ],
)
def test_no_signature_raises_and_an_untrusted_or_ad_hoc_one_does_not(signature, raises):
    """Every finding is at least untrusted; no signature at all is rarer, however it is put."""
    process = replace(plain().process, code_signature=signature)
    assert texts(replace(plain(), process=process)) == raises


def test_an_expired_signature_lowers():
    """Somebody was known to have signed it."""
    expired = CodeSignature(exists=True, trusted=False, status="errSecCertificateExpired")
    aged = replace(plain(), process=replace(plain().process, code_signature=expired))
    assert texts(aged, Effect.LOWERS) == ["its signature was trusted once and has expired"]


def test_a_hidden_character_in_the_name_raises():
    """Nobody names a program so by accident."""
    assert texts(running("/usr/local/bin/a\u202egpj.exe")) == ["its name holds hidden characters"]


def test_a_bare_address_and_an_odd_port_raise():
    """Command and control often has neither a name nor a web port."""
    bare = replace(plain(), destination=NetworkDestination("45.1.1.1", "45.1.1.1", (443, 8443)))
    assert texts(bare) == ["calls a bare address without a name", "uses port 8443"]


def test_a_mapped_address_is_bare_and_none_at_all_is_not():
    """A hunt may give no destination; and IPv6 has many ways to write one address."""
    mapped = replace(plain(), destination=NetworkDestination("::ffff:8.8.8.8", "8.8.8.8", (443,)))
    assert texts(mapped) == ["calls a bare address without a name"]
    assert texts(replace(plain(), destination=NetworkDestination())) == []


def test_a_steady_beacon_that_never_sleeps_raises_twice():
    """Regular, and at every hour of the day."""
    assert texts(replace(plain(), evidence=evidence())) == [
        "keeps time like a clock",
        "calls day and night",
    ]


def test_irregular_office_hours_do_not_raise():
    """People's work looks like this."""
    office = (0,) * 9 + (50,) * 8 + (0,) * 7
    people = replace(evidence(), regularity=0.3, hourly=office * 7)
    assert texts(replace(plain(), evidence=people)) == []


def test_the_sentence_says_what_raises_and_then_what_lowers():
    """An analyst reads one sentence and knows both sides."""
    reasons = (
        Reason(Effect.RAISES, "no code signature"),
        Reason(Effect.RAISES, "uses port 8443"),
        Reason(Effect.LOWERS, "installed by Homebrew"),
    )
    assert why(reasons) == "No code signature, uses port 8443; but installed by Homebrew."
    assert why(reasons[2:]) == "Nothing about it stands out; but installed by Homebrew."


@given(raising=st.integers(0, 9), lowering=st.integers(0, 9))
def test_reasons_are_counted_and_nothing_else(raising, lowering):
    """Four more that raise are high, two are medium, anything less is low."""
    reasons = [Reason(Effect.RAISES, "a")] * raising + [Reason(Effect.LOWERS, "b")] * lowering
    balance = raising - lowering
    expected = Priority.HIGH if balance >= 4 else Priority.MEDIUM if balance >= 2 else Priority.LOW
    assert priority_of(reasons) is expected
