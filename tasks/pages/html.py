"""Pages: from a finished view to one HTML file that asks for nothing and runs nothing but its own.

Every expression of every template goes through `shown`: no template can forget to make hidden
characters visible, and autoescape does the rest. The page's policy allows the one style and the
one script, by their hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from tasks.pages.formats import FILTERS
from tasks.text.untrusted import escaped, has_hidden, is_hidden

_TEMPLATES = Path(__file__).parents[2] / "templates"

_HIDDEN = Markup("<span class=ctl>{}</span>")
"""Without quotation marks: in an attribute, where no text from events should be, it would be ugly
but could not end it."""


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """What people read of a run, rendered: the archive keeps it beside the run's document."""

    html: str
    csv: bytes


def shown(value: object) -> str | Undefined:
    """Show hidden characters of a value as marked escapes; markup of our own stays."""
    if isinstance(value, (Markup, Undefined)):
        return value
    text = str(value)
    if not has_hidden(text):
        return text
    return Markup().join(
        _HIDDEN.format("".join(map(escaped, run))) if hidden else "".join(run)
        for hidden, run in groupby(text, key=is_hidden)
    )


def page(template: str, view: object) -> str:
    """Render a template.

    Args:
        template: name of a file in `templates/`.
        view: what it calls `view`.
    """
    return _ENVIRONMENT.get_template(template).render(view=view, style=_STYLE, script=_SCRIPT)


class _Inline:
    """A style or script of ours, with the hash by which the page's policy allows it."""

    def __init__(self, file: str) -> None:
        text = (_TEMPLATES / file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        self.text = Markup(text)  # noqa: S704 - a file of the repository.
        self.policy = f"sha256-{digest}"


_STYLE = _Inline("style.css")
_SCRIPT = _Inline("script.js")

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(FILTERS)
