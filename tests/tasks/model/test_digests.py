from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.errors import PipelineError
from tasks.model.coverage import Fault
from tasks.model.digests import ClusterDay, CoverageGap, Digest, Medium
from tasks.model.runs import Outcome
from tasks.model.wording import REASON_WORDS
from tests.builders import SLOT, run


def kinds(of: type[PipelineError] = PipelineError) -> Iterator[type[PipelineError]]:
    """Give all of our errors."""
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


def test_a_digest_has_a_word_for_every_reason_that_a_run_can_fail_with():
    """No failure is told as something else."""
    assert {kind.reason for kind in kinds()} <= set(CoverageGap)
    assert set(REASON_WORDS) <= set(CoverageGap)
    for reason in REASON_WORDS:
        assert CoverageGap.of(run(outcome=Outcome.FAILED, reason=reason)) == reason


@pytest.mark.parametrize(
    ("runs", "own", "message", "page"),
    [
        ("Europe/Berlin", "UTC", "UTC", "Europe/Berlin"),
        ("Europe/Berlin", "Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo"),
        ("UTC", "UTC", "UTC", "UTC"),
    ],
)
def test_the_destination_chooses_the_time_zone(runs: str, own: str, message: str, page: str):
    """A page for a destination in UTC keeps to the zone of its runs."""
    day = ClusterDay("corp", "h", run(time_zone=runs), last_searched=None)
    digest = Digest("id", 1, "soc", Medium.SLACK, SLOT, (day,), time_zone=own)
    assert (digest.clock.zone, digest.page_clock.zone) == (message, page)


def test_a_fault_in_telemetry_is_a_gap_on_a_searched_cluster():
    """The cluster was searched, but not everything there could be found."""
    gaps = [gap for gap in CoverageGap if gap.fault]
    assert [gap.fault for gap in gaps] == list(Fault)
    assert [gap for gap in CoverageGap if gap.searched] == [CoverageGap.PARTIAL, *gaps]
