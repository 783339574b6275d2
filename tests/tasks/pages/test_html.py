import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from tasks.pages.html import page, shown
from tasks.pages.index import LatestView
from tasks.pages.parts import Badge, PageView


def test_text_is_escaped():
    """Markup in a value is text on the page."""
    view = LatestView(PageView("<b>\"'&", "", Badge("", ""), "", "", ""), "")
    assert "<title>&lt;b&gt;&#34;&#39;&amp;</title>" in page("latest.html.j2", view)


def test_hidden_characters_are_marked_in_runs():
    """A reader sees at once what was hidden, and where."""
    assert shown("a\u202e\u200bb") == r"a<span class=ctl>\u202e\u200b</span>b"


def test_markup_of_our_own_stays():
    """A chart is drawn, not shown as text."""
    assert shown(Markup("<svg></svg>")) == "<svg></svg>"


def test_a_marked_character_cannot_end_an_attribute():
    """The mark holds no quotation mark: even in an attribute it could not break out."""
    assert not {'"', "'"} & set(shown("\u202e"))


def test_a_view_that_lacks_a_value_is_an_error():
    """A page is never rendered with a hole in it."""
    with pytest.raises(UndefinedError):
        page("report.html.j2", object())
