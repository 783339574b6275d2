"""Fallback: the reduced form of a finding that breaks its layout, so that no other is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails

from tasks.model.findings import Finding

_LOG = logging.getLogger(__name__)
_FINDING: TypeAdapter[Finding] = TypeAdapter(Finding)

LaidOut = TypeVar("LaidOut")


def laid_out(lay_out: Callable[[Finding], LaidOut], finding: Finding) -> LaidOut:
    """Lay a finding out; if that fails, log the error and lay its reduced form out.

    Args:
        lay_out: gives for example a card, a row of a table or a block of Slack.
        finding: as its run saw it.

    Raises:
        Exception: the layout itself is broken, since it fails for the reduced form too.
    """
    try:
        return lay_out(finding)
    except Exception as fault:  # noqa: BLE001 - one finding's fault must not lose the others.
        _LOG.exception("%s cannot be shown in full", finding.id)
        return lay_out(finding.reduced(fault))


def as_recorded(finding: Finding) -> Finding:
    """Give a finding as findings.json will give it back, so that its page never changes."""
    return laid_out(_read_again, finding)


def _read_again(finding: Finding) -> Finding:
    # A value of a wrong type is written all the same; reading refuses it, with the reason.
    try:
        return _FINDING.validate_json(_FINDING.dump_json(finding, warnings=False))
    except ValidationError as error:
        # Its text goes to the log, and the value may be a command line with a password.
        faults = [
            InitErrorDetails(type=fault["type"], loc=fault["loc"], input=None)
            for fault in error.errors()
        ]
        raise ValidationError.from_exception_data(error.title, faults, hide_input=True) from None
