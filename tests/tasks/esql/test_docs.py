"""docs/esql.md says what the engine does."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.esql.errors import ParsingError
from tasks.esql.expressions import supported_functions
from tasks.esql.parsing import parse

PAGE = (Path(__file__).parents[3] / "docs" / "esql.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"\n#+ ", PAGE.split(f"# {title}\n")[1])[0]


def test_the_page_lists_every_function():
    """No more functions than the engine has, and no fewer."""
    assert set(re.findall(r"`(\w+)`", section("Functions"))) == supported_functions()


def test_the_page_lists_every_command():
    """The commands that a parser error offers are those of the page."""
    try:
        parse("FROM a | NOTHING")
    except ParsingError as error:
        offered = set(re.findall(r"'(\w+)'", error.message.partition("expecting")[2]))
    (line,) = re.findall(r"Commands: (?:.|\n)*?\n\n", PAGE)
    listed = {name.lower() for name in re.findall(r"`([A-Z_]+)", line)}
    assert listed - {"from", "row", "by", "metadata"} == offered
