"""Fallback: what is laid out for a finding that breaks its layout, so that it loses no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from pydantic import TypeAdapter

from tasks.model.findings import Finding

_LOG = logging.getLogger(__name__)
_FINDING: TypeAdapter[Finding] = TypeAdapter(Finding)

LaidOut = TypeVar("LaidOut")


def laid_out(lay_out: Callable[[Finding], LaidOut], finding: Finding) -> LaidOut:
    """Lay a finding out, or what every layout can show of it where this one fails.

    Args:
        lay_out: gives for example a card, a row of a table or a block of Slack.
        finding: as its run saw it. If its reduced form fails too, that is no finding's fault.
    """
    try:
        return lay_out(finding)
    except Exception as fault:  # noqa: BLE001 - one finding's fault must not lose the others.
        _LOG.exception("%s cannot be shown in full", finding.id)
        return lay_out(finding.reduced(fault))


def as_recorded(finding: Finding) -> Finding:
    """Give a finding as its document gives it back, so that its page is the same ever after."""
    return laid_out(_read_again, finding)


def _read_again(finding: Finding) -> Finding:
    # What has a wrong type is refused when it is read, with the reason.
    return _FINDING.validate_json(_FINDING.dump_json(finding, warnings=False))
