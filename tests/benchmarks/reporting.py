"""Render a report: against writing the same document as JSON."""

from __future__ import annotations

import json

from tasks.report import render_report
from tests.benchmarks.measurement import Measurement, timed
from tests.benchmarks.recording import findings
from tests.builders import report, run


def measure(count: int) -> Measurement:
    """A page of so many new findings, from the document to the text."""
    document = report(run(), *findings(count))
    plain = json.loads(document.to_json())
    seconds, _ = timed(lambda: render_report(document), times=3)
    against_seconds, _ = timed(lambda: json.dumps(plain), times=3)
    return Measurement(
        what="render",
        size=count,
        unit="findings",
        cost=seconds,
        against="json.dumps of the report",
        against_cost=against_seconds,
    )
