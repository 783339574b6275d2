"""Text from an attacker's hands: from any string to one that is safe to show, and says so."""

from __future__ import annotations

import re

_LOOKS_EMPTY = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
"""Letters and marks by category, blank to the eye: Unicode's default-ignorables, Braille blank."""

_FORMULA_SIGNS = "=+-@;|" + "".join(chr(ord(sign) + 0xFEE0) for sign in "=+-@;|")
"""The first characters of a formula, also in full width; `;` and `|` may begin a new cell."""

_SPREADSHEET_FORMULA = re.compile(rf"[\t\r\n]|[\s\ufeff\u200b\"'`]*[{re.escape(_FORMULA_SIGNS)}]")
"""An import may strip the spaces, marks and quotes before a formula."""

_MARKDOWN_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
"""All of ASCII's: CommonMark lets each be escaped, so that none can mean anything."""

ELLIPSIS = "…"

_BASIC_PLANE = 0xFFFF


def is_hidden(character: str) -> bool:
    """Whether a reader would not see this character for what it is.

    These are the ones that show nothing or move what is shown: controls, bidi, zero-width,
    unassigned, line ends, and every space but the plain one.
    """
    return not character.isprintable() or character in _LOOKS_EMPTY


def has_hidden(text: str) -> bool:
    """Whether `visible` would change the text."""
    return not text.isprintable() or not (text.isascii() or _LOOKS_EMPTY.isdisjoint(text))


def escaped(character: str) -> str:
    r"""Give the written form of a hidden character, for example `\u202e`."""
    code = ord(character)
    return f"\\u{code:04x}" if code <= _BASIC_PLANE else f"\\U{code:08x}"


def visible(text: str) -> str:
    """Show hidden characters as their escapes; everything else stays."""
    if not has_hidden(text):
        return text
    return "".join(escaped(c) if is_hidden(c) else c for c in text)


def visible_lines(text: str) -> str:
    """Show hidden characters as their escapes; line ends and tabs stay."""
    if not has_hidden(text):
        return text
    return "\n".join("\t".join(map(visible, line.split("\t"))) for line in text.split("\n"))


def shortened(text: str, limit: int) -> str:
    """Cut to at most `limit` characters, on a character boundary, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def defanged(address: str) -> str:
    """Write an address so that no program makes a link of it.

    Of an IPv4 address only the last dot changes, of an IPv6 address the first colon: enough for
    every linkifier, and still easy to read. Of a name every dot changes, since `example.com` is a
    name also inside `example.com.au`.

    Returns:
        For example `203.0.113[.]47`, `2001[:]db8::1`, `c2[.]example[.]com`.
    """
    if re.fullmatch(r"[0-9.]+", address):
        head, dot, tail = address.rpartition(".")
        return f"{head}[.]{tail}" if dot else address
    if "." in address:
        return address.replace("://", "[:]//").replace(".", "[.]")
    return address.replace(":", "[:]", 1)


def spreadsheet_safe(cell: str) -> str:
    """Keep a spreadsheet from running a cell as a formula: such cells get a leading `'`."""
    return f"'{cell}" if _SPREADSHEET_FORMULA.match(cell) else cell


def markdown_text(text: str) -> str:
    """Write text so that no part of it is markup, HTML or a link in Markdown."""
    return _MARKDOWN_PUNCTUATION.sub(r"\\\1", visible(text))


def markdown_code(text: str) -> str:
    """Write text as one inline code span, whatever backticks it holds."""
    shown = visible(text)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}"
