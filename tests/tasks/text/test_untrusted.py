import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.text.untrusted import (
    defanged,
    escaped,
    has_hidden,
    is_hidden,
    markdown_code,
    markdown_text,
    shortened,
    spreadsheet_safe,
    visible,
)

ANY_TEXT = st.text(st.characters())
"""Lone surrogates and unassigned characters included."""


@pytest.mark.parametrize(
    "character",
    [
        "\u202e",  # Right-to-left override.
        "\u200b",  # Zero-width space.
        "\u00ad",  # Soft hyphen.
        "\ufeff",  # Byte order mark.
        "\u00a0",  # No-break space.
        "\u2028",  # Line separator.
        "\u3164",  # Hangul filler, a letter by category.
        "\u2800",  # Braille blank, a symbol by category.
        "\ufe0f",  # Variation selector, a mark by category.
        "\U000e0041",  # Tag letter.
        "\U000e0101",  # Variation selector supplement.
        "\ud800",  # Half of a surrogate pair.
        "\x00",
        "\x1b",
        "\n",
        "\t",
    ],
)
def test_a_character_that_shows_nothing_is_hidden(character):
    """Whatever an attacker may hide text with is written out."""
    assert is_hidden(character)
    assert visible(f"a{character}b") == f"a{escaped(character)}b"


@pytest.mark.parametrize("text", ["Zoom", "a b", "naïve", "日本語", "Ω≈ç", "😀", "שלום"])
def test_text_that_people_can_read_stays(text):
    """Names in any language are shown as they are."""
    assert visible(text) == text


@given(ANY_TEXT)
def test_no_hidden_character_remains(text):
    """After `visible` a reader sees every character for what it is."""
    shown = visible(text)
    assert not has_hidden(shown)
    assert not any(map(is_hidden, shown))
    assert all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in shown)


@given(ANY_TEXT)
def test_visible_text_can_be_written_to_any_file(text):
    """Also text with half of a surrogate pair ends in UTF-8."""
    assert visible(text).encode().decode() == visible(text)


@given(ANY_TEXT)
def test_showing_twice_changes_nothing_more(text):
    """A text that was made visible is not escaped again."""
    assert visible(visible(text)) == visible(text)


@given(ANY_TEXT, st.integers(min_value=1, max_value=50))
def test_shortened_text_fits_and_says_that_it_was_cut(text, limit):
    """A cut text ends with an ellipsis, and a short one is untouched."""
    short = shortened(text, limit)
    assert len(short) <= limit
    assert short == text if len(text) <= limit else short.endswith("…")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.47", "203.0.113[.]47"),
        ("2001:db8::1", "2001[:]db8::1"),
        ("c2.example.com", "c2[.]example[.]com"),
        ("example.com.au", "example[.]com[.]au"),
        ("https://evil.example/x", "https[:]//evil[.]example/x"),
        ("localhost", "localhost"),
    ],
)
def test_an_address_is_defanged(address, shown):
    """Nothing that shows a destination makes a link of it."""
    assert defanged(address) == shown


@given(st.from_regex(r"(https?://)?([a-z0-9-]{1,8}\.){1,4}[a-z]{2,4}(/[a-z]*)?", fullmatch=True))
def test_no_name_or_url_survives_defanging(address):
    """Whatever name or URL a destination is, no linkifier finds one in its defanged form."""
    assert not re.search(r"://|[a-z0-9]\.[a-z]", defanged(address))


@given(st.ip_addresses().map(str))
def test_no_address_survives_defanging(address):
    """A defanged address is one character sequence away from being an address."""
    shown = defanged(address)
    assert shown != address
    assert shown.replace("[", "").replace("]", "") == address


SIGNS = "=+-@;|\uff1d\uff0b\uff0d\uff20\uff1b\uff5c"
"""What a spreadsheet takes for the beginning of a formula or of another cell, in both widths."""

STRIPPED = " \t\r\n\u00a0\u3000\ufeff\u200b\"'`"
"""What an import may leave out before it."""


@given(st.one_of(ANY_TEXT, st.text(st.sampled_from(STRIPPED + SIGNS + "a1"))))
def test_no_cell_runs_in_a_spreadsheet(cell):
    """A cell that begins with a formula, whatever is before it, begins with our quote instead."""
    safe = spreadsheet_safe(cell)
    runs = cell.lstrip(STRIPPED).startswith(tuple(SIGNS)) or cell.startswith(("\t", "\r", "\n"))
    assert safe == f"'{cell}" if runs else safe.removeprefix("'") == cell.removeprefix("'")


@pytest.mark.parametrize("cell", ["Zoom", " a=b", '"quoted"', "1;2", "", "C:\\x", "'", "日本語"])
def test_a_cell_that_is_no_formula_stays(cell):
    """A table is for programs too."""
    assert spreadsheet_safe(cell) == cell


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "Cc"])))
def test_markdown_text_holds_no_markup(text):
    """Every mark that could mean anything in Markdown has a backslash before it."""
    shown = markdown_text(text)
    assert re.fullmatch(r"(\\[!-/:-@\[-`{-~]|[^!-/:-@\[-`{-~])*", shown)
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown) == visible(text)


@given(st.text(st.sampled_from("`a\\ \u202e")))
def test_no_backtick_ends_a_code_span(text):
    """The fence is longer than any run of backticks that it encloses."""
    span = markdown_code(text)
    fence = re.match(r"`+", span).group()
    inside = span.removeprefix(fence).removesuffix(fence)
    assert fence not in re.findall(r"`+", inside)
    assert inside == f" {visible(text)} "
