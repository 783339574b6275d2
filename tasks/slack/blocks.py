"""Block Kit: the shapes of blocks and elements, and the texts that may stand in them."""

from __future__ import annotations

import html
from collections.abc import Sequence

from tasks.model.runs import Run
from tasks.slack.message import Block
from tasks.text.untrusted import shortened, visible

MAX_SLACK_NAME = 40
"""Characters of a short name: of a cluster, a hunt or a number of hosts."""

MAX_SLACK_CODE = 80
"""Characters of a name or value from events in a sentence."""


def data_text(text: str, limit: int) -> str:
    """Make text that an attacker may have written harmless: visible, short and without links."""
    return shortened(visible(text[: limit + 1]).replace("://", "[:]//"), limit)


def escaped_name(text: str) -> str:
    """Escape the name of a cluster or hunt for mrkdwn, although an operator chose it."""
    return html.escape(data_text(text, MAX_SLACK_NAME), quote=False)


def code_text(text: str) -> str:
    """Write text from events as code in mrkdwn: no part of it is markup, a mention or a link."""
    return f"`{html.escape(data_text(text, MAX_SLACK_CODE), quote=False).replace('`', chr(39))}`"


def report_url(run: Run, report_base_url: str) -> str:
    """Give the address where people open a run's report."""
    return f"{report_base_url.rstrip('/')}/{run.folder}/report.html"


def plain_text_object(text: str) -> Block:
    """Give a text object without markup."""
    return {"type": "plain_text", "text": text}


def section_block(mrkdwn: str) -> Block:
    """Give a paragraph in Slack's markup."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": mrkdwn}}


def context_block(*texts: str) -> Block:
    """Give a line in small print without markup."""
    return {"type": "context", "elements": [plain_text_object(text) for text in texts]}


def link_block(name: str, url: str) -> Block:
    """Give a link in a line of its own."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{url}|{name}>"}]}


def rich_text_block(elements: Sequence[Block]) -> Block:
    """Give a paragraph of elements, whose texts are data: no markup in them has an effect."""
    section = {"type": "rich_text_section", "elements": list(elements)}
    return {"type": "rich_text", "elements": [section]}


def text_element(text: str, *, bold: bool = False, code: bool = False) -> Block:
    """Give an element for a rich text block."""
    style = {"style": {"bold": True} if bold else {"code": True}} if bold or code else {}
    return {"type": "text", "text": text, **style}
