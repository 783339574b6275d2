"""Foreign text: from what a server, a library or an operating system wrote to what we may show.

The one door for it: every `PipelineError` and, once `guard_logs` was called, every log record
passes through `presentable`. It knows the secrets of this process, so that no caller names one.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from tasks.text.untrusted import shortened, visible_lines

LONGEST_TEXT = 4_000
"""Characters of a text for people: some servers answer an error with a whole page."""

_MASK = "[secret]"

_SHORTEST = 6
"""Characters of the shortest secret that is masked: a shorter one is a part of ordinary words."""

_READ_BY_LIBRARIES = (
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_SERVER_API_AUTH_STRING",
)
"""Environment variables with a secret that libraries read by themselves."""

_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
"""Environment variables with a URL that may hold a user and a password."""

_CREDENTIALS = re.compile(r"^(?:\w+://)?(?P<credentials>[^/@]+)@")

_PERCENT = re.compile("%[0-9A-F]{2}")

_resolved: set[str] = set()


def remember_secret(secret: str) -> None:
    """Mask this secret from now on, however it is written."""
    _resolved.add(secret)


def presentable(text: str) -> str:
    """Prepare a text for people: without secrets, nothing hidden in it, and not endless."""
    return shortened(_cleaned(text), LONGEST_TEXT)


def scrubbed(document: object) -> Any:  # noqa: ANN401 - JSON goes in, JSON comes out.
    """Take secrets and half surrogate pairs, which are no UTF-8, out of every text in a JSON value.

    Other hidden characters stay: an event's text must remain what it is, and pages show it safely.
    """
    pattern = _secrets()

    def scrub(value: object) -> object:
        if isinstance(value, str):
            text = pattern.sub(_MASK, value) if pattern else value
            return text if text.isascii() else text.encode(errors="replace").decode()
        if isinstance(value, list):
            return [scrub(item) for item in value]
        if isinstance(value, Mapping):
            return {scrub(key): scrub(item) for key, item in value.items()}
        return value

    return scrub(document)


def guard_logs() -> None:
    """Clean every log record of this process where it is made, also those of libraries."""
    if not isinstance(make := logging.getLogRecordFactory(), _CleanRecords):
        logging.setLogRecordFactory(_CleanRecords(make))


class _CleanRecords:
    """A factory of log records that hold no secret and nothing hidden."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - as logging calls it.
        """Make a record; clean parts stay what they are, since some formatters use them."""
        record = self._make(*args, **kwargs)
        if isinstance(record.args, tuple):
            record.args = tuple(map(_cleaned_argument, record.args))
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself reports a template without its arguments.
            return record
        if (clean := _cleaned(message)) != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0]:
            traceback = logging.Formatter().formatException(record.exc_info)
            if (clean := _cleaned(traceback)) != traceback:
                record.exc_text, record.exc_info = clean, None  # What formatters show instead.
        return record


def _cleaned_argument(argument: object) -> object:
    return _cleaned(argument) if isinstance(argument, str) else argument


def _cleaned(text: str) -> str:
    pattern = _secrets()
    return visible_lines(pattern.sub(_MASK, text) if pattern else text)


def _secrets() -> re.Pattern[str] | None:
    """Give the pattern for every secret that this process has; None without any."""
    read = [os.environ.get(name, "") for name in _READ_BY_LIBRARIES]
    urls = (_CREDENTIALS.match(os.environ.get(name, "")) for name in _PROXIES)
    read += [unquote(url["credentials"]) for url in urls if url]
    return _pattern(frozenset(_resolved.union(read)))


@lru_cache
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    written = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
    longest_first = sorted(written, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first))) if written else None


def _forms(secret: str) -> Iterator[str]:
    """Give the forms of a secret and of its parts: as they are, and as encodings write them."""
    for part in _parts(secret):
        binary = part.encode()
        for form in (
            part,
            base64.b64encode(binary).decode(),
            base64.urlsafe_b64encode(binary).decode(),
        ):
            yield from (form, form.rstrip("="))
            for quoted in (quote(form), quote(form, safe="")):
                yield from (quoted, _PERCENT.sub(lambda code: code[0].lower(), quoted))
        yield from (json.dumps(part)[1:-1], part.replace("/", r"\/"), html.escape(part))


def _parts(secret: str) -> Iterator[str]:
    """Give a secret and what follows a user name or id in it, as in Elasticsearch's API keys.

    The `encoded` form of such a key is `id:key` in base64.
    """
    yield secret
    for written in (secret, _decoded(secret)):
        _, colon, key = written.partition(":")
        if colon:
            yield from (written, key)


def _decoded(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except ValueError:
        return ""
