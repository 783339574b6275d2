"""Numbers: from a count to the words that people read, with its noun in the singular or plural."""

from __future__ import annotations

MILLION = 1_000_000


def counted(number: int, one: str, many: str = "") -> str:
    """Give for example `1 Mac` or `4,992 Macs`.

    Args:
        number: of things.
        one: the noun in the singular.
        many: its plural; by default the singular with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def rounded(number: int) -> str:
    """Give for example `8,120,442`, and `41.2 M` from ten million on."""
    return f"{number / MILLION:,.1f} M" if number >= 10 * MILLION else f"{number:,}"


def capitalised(noun: str) -> str:
    """Give a noun as the start of a label."""
    return noun[:1].upper() + noun[1:]
