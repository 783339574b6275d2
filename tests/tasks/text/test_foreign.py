from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PipelineError
from tasks.settings import SecretName, secret
from tasks.text import foreign
from tasks.text.foreign import LONGEST_TEXT, guard_logs, presentable, remember_secret, scrubbed

KEY = "canary/key+9f3e71"
ENCODED = base64.b64encode(f"canary-id:{KEY}".encode()).decode()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_resolved", set())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """A log whose records are cleaned, until the test ends."""
    make = logging.getLogRecordFactory()
    guard_logs()
    caplog.set_level(logging.DEBUG)
    yield caplog
    logging.setLogRecordFactory(make)


WRITTEN = {
    "as it is": ENCODED,
    "decoded": f"canary-id:{KEY}",
    "the key alone": KEY,
    "in a URL": quote(ENCODED, safe=""),
    "in a path": quote(KEY),
    "in small letters": quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "without padding": ENCODED.rstrip("="),
    "encoded again": base64.b64encode(ENCODED.encode()).decode(),
    "the key encoded": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "in JSON": json.dumps(KEY)[1:-1].replace("/", r"\/"),
}


@pytest.mark.parametrize("form", WRITTEN.values(), ids=WRITTEN)
def test_a_resolved_secret_is_in_no_error_however_it_is_written(
    form: str, monkeypatch: pytest.MonkeyPatch
):
    """Reading it is enough: no place that raises an error has to know it."""
    monkeypatch.setenv("ES_KEY", ENCODED)
    secret(SecretName("ES_KEY"), "API key")
    error = PipelineError(f"the page says {form} twice: {form}", f"Remove {form}.")
    assert str(error) == "the page says [secret] twice: [secret] Remove [secret]."
    assert error.args == (error.problem, error.remedy)


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("PGPASSWORD", "canary-password", "canary-password"),
        ("AWS_SECRET_ACCESS_KEY", "canary/aws/key", "canary/aws/key"),
        ("PREFECT_API_AUTH_STRING", "admin:canary-password", "canary-password"),
        ("HTTPS_PROXY", "http://scanner:canary%2Fproxy@proxy:3128", "canary/proxy"),
        ("https_proxy", "scanner:canary%2Fproxy@proxy:3128", "canary%2Fproxy"),
    ],
)
def test_the_secrets_that_libraries_read_are_known(
    variable: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch
):
    """We never read these variables ourselves, and their servers answer with errors too."""
    monkeypatch.setenv(variable, value)
    assert presentable(f"refused: {shown}!") == "refused: [secret]!"


def test_a_short_secret_takes_no_words_apart():
    """A key of a test cluster may be `key`."""
    remember_secret("key")
    remember_secret("")
    assert presentable("the API key is not accepted") == "the API key is not accepted"


@given(st.text(st.characters(), max_size=80))
def test_a_text_for_people_is_printable_utf_8(text: str):
    """Whatever a server says can be written down; lines and tabs stay."""
    shown = presentable(text)
    shown.encode()
    assert shown.replace("\n", "").replace("\t", "").isprintable()


def test_a_text_for_people_ends():
    """An error may be a whole page; half of a secret at its end is masked too."""
    remember_secret(ENCODED)
    shown = presentable("x" * (LONGEST_TEXT - 10) + ENCODED + "y" * LONGEST_TEXT)
    assert len(shown) == LONGEST_TEXT
    assert ENCODED[:6] not in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters() | st.sampled_from(KEY)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@given(JSON)
def test_a_document_keeps_all_but_secrets_and_half_surrogates(document: object):
    """Texts with other hidden characters are what the event holds."""
    remember_secret(KEY)
    clean = scrubbed(document)
    json.dumps(clean, ensure_ascii=False).encode()
    assert KEY not in json.dumps(clean)
    whole = json.dumps(document)
    if KEY not in whole and "\\ud" not in whole:
        assert clean == document


def test_a_secret_is_in_no_text_of_a_document():
    """Neither in a cell nor in a name."""
    remember_secret(KEY)
    assert scrubbed({KEY: [f"curl {KEY}", 1, None]}) == {"[secret]": ["curl [secret]", 1, None]}


def test_no_secret_and_nothing_raw_reaches_a_log(log: pytest.LogCaptureFixture):
    """Also from a library at DEBUG, in whatever part of the record, and in a traceback."""
    remember_secret(KEY)
    library = logging.getLogger("library")
    library.error("failed with %s", KEY, exc_info=ValueError(f"{KEY} \x1b[31m\ud800"))
    library.debug("> Authorization: %r", {"key": KEY})
    library.debug("\x1b[31m %s", "\x00")
    assert KEY not in log.text
    assert "\x1b" not in log.text
    assert "ValueError: [secret] \\u001b[31m\\ud800" in log.text
    assert "> Authorization: {'key': '[secret]'}" in log.text
    log.text.encode()


def test_a_clean_record_stays_as_it_was_made(log: pytest.LogCaptureFixture):
    """Some formatters read the arguments of an access log, or the exception itself."""
    fault = ValueError("plain")
    logging.getLogger("library").error("%s %d\n\tdone", "GET", 200, exc_info=fault)
    (record,) = log.records
    assert (record.msg, record.args) == ("%s %d\n\tdone", ("GET", 200))
    assert record.exc_info == (ValueError, fault, None)


def test_a_template_without_its_arguments_is_left_to_logging(log: pytest.LogCaptureFixture):
    """A library's mistake in a log line must not end a run."""
    record = logging.getLogRecordFactory()("x", 10, "x.py", 1, "%s %s", ("one",), None)
    assert record.args == ("one",)
