"""Text from an attacker's hands: from any string to one that is safe to show, and says so."""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Unicode categories that show nothing, or move what is shown: controls, bidi, zero-width."""

_LOOKS_EMPTY = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u180e")
"""Letters and marks by category, blank to the eye."""

_SPREADSHEET_FORMULA = re.compile(r"^[=+\-@\t\r]")

ELLIPSIS = "…"


def is_hidden(character: str) -> bool:
    """Whether a reader would not see this character for what it is."""
    if character in _LOOKS_EMPTY:
        return True
    if character != " " and unicodedata.category(character) == "Zs":
        return True
    return unicodedata.category(character) in _INVISIBLE


def escaped(character: str) -> str:
    r"""Give the written form of a hidden character, for example `\u202e`."""
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def visible(text: str) -> str:
    """Show hidden characters as their escapes; everything else stays."""
    return "".join(escaped(c) if is_hidden(c) else c for c in text)


def shortened(text: str, limit: int) -> str:
    """Cut to at most `limit` characters, on a character boundary, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def defanged(address: str) -> str:
    """Write an address so that no program makes a link of it: `203.0.113[.]47`, `2001[:]db8::1`.

    Only the last dot of an IPv4 address or domain, and the first colon of an IPv6 address, change:
    enough for every linkifier, and still easy to read.
    """
    if "." in address:
        head, _, tail = address.rpartition(".")
        return f"{head}[.]{tail}"
    return address.replace(":", "[:]", 1)


def spreadsheet_safe(cell: str) -> str:
    """Keep a spreadsheet from running a cell as a formula: such cells get a leading `'`."""
    return f"'{cell}" if _SPREADSHEET_FORMULA.match(cell) else cell
