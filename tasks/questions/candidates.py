"""The hunt's own question: from a plan to its candidates, page by page."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from tasks.clusters import ROWS_AT_MOST, Answer, Client, Question, ask
from tasks.clusters.paging import paged_query
from tasks.errors import Unreachable
from tasks.model.hunts import Hunt, integral
from tasks.model.runs import Plan, Window

CANDIDATES_AT_MOST = 100_000
"""Beyond this number no further page is requested, and the run's warnings say so."""


def parameters(hunt: Hunt, window: Window) -> dict[str, str | float]:
    """Give the values of the `?name` parameters in the hunt's query."""
    thresholds = {name: integral(value) for name, value in hunt.pipeline.thresholds.items()}
    values: dict[str, str | float] = {**window.parameters, **thresholds}
    return {name: value for name, value in values.items() if name in hunt.parameters}


def ask_candidates(client: Client, plan: Plan, *, allow_partial: bool = False) -> Answer:
    """Ask the hunt's question as of the plan's slot, page by page.

    Args:
        client: client of the cluster.
        plan: the run's plan.
        allow_partial: accept an answer without the shards that failed.

    Returns:
        The candidates: one row for one candidate, with the columns that the hunt keeps.

    Raises:
        Unreachable: some shards did not answer, and the others found nothing.
    """
    hunt = plan.hunt
    values = parameters(hunt, plan.window)
    question = Question("hunt", hunt.query, plan.window.filter, values)
    answers = [ask(client, question, allow_partial=allow_partial)]
    further = paged_query(hunt, ROWS_AT_MOST)
    while further and answers[-1].may_go_on and _rows(answers) < CANDIDATES_AT_MOST:
        text, behind = further.after(answers[-1].rows.iloc[-1].to_dict())
        page = replace(question, query=text, parameters=values | behind)
        answers.append(ask(client, page, allow_partial=allow_partial))
    answer = merged_answers(
        answers, is_cut=answers[-1].may_go_on if further else answers[-1].is_cut
    )
    if answer.is_partial and answer.rows.empty:
        raise Unreachable(
            f"{client.cluster.name}: some shards did not answer, and the others found nothing.",
            "Check the cluster's failed shards.",
        )
    return answer


def _rows(answers: list[Answer]) -> int:
    return sum(len(answer.rows) for answer in answers)


def merged_answers(answers: list[Answer], *, is_cut: bool) -> Answer:
    """Merge the pages of one answer."""
    return Answer(
        rows=pd.concat([answer.rows for answer in answers], ignore_index=True),
        types=answers[0].types,
        is_partial=any(answer.is_partial for answer in answers),
        is_cut=is_cut,
        skipped=tuple(dict.fromkeys(name for answer in answers for name in answer.skipped)),
        warnings=tuple(dict.fromkeys(text for answer in answers for text in answer.warnings)),
    )
