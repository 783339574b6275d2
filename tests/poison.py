"""From a report to the same report with an attacker's text in every field that holds text."""

from __future__ import annotations

import json
from collections.abc import Callable

from tasks.model.runs import Report

HOSTILE = (
    "<script>document.title='PWNED'</script>"
    "\"'><img src=x onerror=\"document.title='PWNED';alert(1)\">"
    "</style></title><!channel> `code` [link](http://evil.example) &amp; {{ 7*7 }} {% raw %}"
    "\u202egpj.exe\u200b\x00\x1b[31m\r\n\t=cmd()|' /C calc'!A0 https://evil.example/x"
)
"""Markup, script, templates, bidi, controls, formulas, mentions and links at once."""

_OURS = frozenset(
    {
        "schema_version",
        "time_zone",
        "id",
        "slug",
        "min_version",
        "outcome",
        "status",
        "priority",
        "effect",
        "slot",
        "start",
        "end",
        "started_at",
        "finished_at",
        "compared_with",
        "newest_event",
        "first_seen",
        "last_seen",
        "first_connection",
        "last_connection",
        "given_at",
        "until",
    }
)
"""Fields whose values we make: ids, times and words of our own."""


def poisoned(report: Report, text: str = HOSTILE) -> Report:
    """Put the text into every field that could come from events, answers or hunt files."""
    return _rewritten(report, lambda _: text)


def _rewritten(report: Report, change: Callable[[str], str]) -> Report:
    def walk(value: object, key: str) -> object:
        if isinstance(value, dict):
            keep = key not in {"figures", "identity"}
            return {
                (name if keep else f"{change(name)}{number}"): walk(inner, name)
                for number, (name, inner) in enumerate(value.items())
            }
        if isinstance(value, list):
            return [walk(inner, key) for inner in value]
        if isinstance(value, str) and key not in _OURS:
            return change(value)
        return value

    document = walk(json.loads(report.to_json()), "")
    return Report.from_json(json.dumps(document).encode())
