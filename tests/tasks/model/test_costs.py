from __future__ import annotations

from tasks.model.costs import Cost


def test_what_a_question_cost_adds_up_over_its_pages_and_attempts():
    """A reader of the report sees what the whole question took."""
    cost = Cost("hunt").with_failure().with_answer(10, 5, 50, 1_000).with_answer(20, 6, 60, 2_000)
    assert cost == Cost("hunt", 3, 1, 30, 11, 110, 3_000)


def test_a_server_that_does_not_count_documents_leaves_them_unknown():
    """Not zero: that would be a claim."""
    cost = Cost("hunt").with_answer(10, None, None, 1_000)
    assert (cost.documents_found, cost.values_loaded) == (None, None)
    assert cost.with_answer(10, 5, None, 0).documents_found == 5
