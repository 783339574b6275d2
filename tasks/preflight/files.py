"""Files: from a folder of events to how many documents it holds, and what in it is not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

from tasks.clusters import Client, Question, ask
from tasks.model.hunts import Hunt
from tasks.preflight.checks import TrialResult, warning
from tasks.questions.coverage import subject_of
from tasks.text.numbers import counted

FILES = Template("""\
FROM $sources
| STATS documents = COUNT(*)
| LIMIT 1
""")


ALL_DOCUMENTS: Mapping[str, Any] = {"match_all": {}}


def judge_files(client: Client, hunt: Hunt) -> Iterator[TrialResult]:
    """Count the documents in a hunt's sources, and warn about what is not read.

    Args:
        client: of a folder.
        hunt: for its sources.
    """
    question = Question("files", FILES.substitute(subject_of(hunt)), ALL_DOCUMENTS, {})
    answer = ask(client, question)
    (row,) = answer.records()
    if not answer.warnings:
        yield TrialResult(f"All files are read: {counted(row['documents'], 'document')}.")
    for text in answer.warnings:
        yield warning(
            f"{text}.",
            "docs/esql.md says what is read. Correct or remove the file, or go on with the "
            f"{counted(row['documents'], 'document')} that are read.",
        )
