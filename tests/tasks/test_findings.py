from __future__ import annotations

import pytest

from tasks.findings import CodeSignature


@pytest.mark.parametrize(
    ("signature", "word"),
    [
        (CodeSignature(exists=False), "no signature"),
        (CodeSignature(exists=True, trusted=False, status="errSecCSUnsigned"), "no signature"),
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
