"""Checks of a preflight: what was tried on what, how it went, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tasks.errors import PipelineError


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    """Runs work, and find or say less than they could."""
    FAILED = "failed"
    """Runs fail, or find nothing."""
    SKIPPED = "skipped"
    """Not tried: something that it needs failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        subject: name of the deployment, or the storage that deployments share.
        name: what was tried.
        verdict: how it went.
        said: what was found out, in sentences.
        remedy: what the reader can do about it; empty where nothing is to be done.
    """

    subject: str
    name: str
    verdict: Verdict
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One thing that a trial found out."""

    text: str
    remedy: str = ""
    verdict: Verdict = Verdict.OK


def warning(text: str, remedy: str) -> TrialResult:
    """Give what is wrong, and does not keep runs from working."""
    return TrialResult(text, remedy, Verdict.WARNING)


def failed(text: str, remedy: str) -> TrialResult:
    """Give what keeps runs from working, where there may be more of it."""
    return TrialResult(text, remedy, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class Trial:
    """Something to try.

    Attributes:
        find_out: gives what it found out; an error of ours means that it failed, and why.
        needs: names of the trials without which it makes no sense.
    """

    find_out: Callable[[], Iterable[TrialResult]]
    needs: tuple[str, ...] = ()


def run_trials(subject: str, trials: Mapping[str, Trial]) -> Iterator[Check]:
    """Try one thing after the other, by name; what needs one that failed is skipped."""
    causes: dict[str, str] = {}
    for name, trial in trials.items():
        cause = next((causes[needed] for needed in trial.needs if needed in causes), None)
        if cause:
            causes[name] = cause
            yield Check(subject, name, Verdict.SKIPPED, f"Not tried: {cause} failed.")
            continue
        for said in _found_out(trial):
            if said.verdict is Verdict.FAILED:
                causes[name] = name
            yield Check(subject, name, said.verdict, said.text, said.remedy)


def _found_out(trial: Trial) -> Iterator[TrialResult]:
    try:
        yield from trial.find_out()
    except PipelineError as error:
        yield failed(error.problem, error.remedy)


def verdict_counts(checks: Iterable[Check]) -> str:
    """Count the verdicts, the worst first: `1 failed, 2 warnings, 9 ok`."""
    verdicts = [check.verdict for check in checks]
    words = {Verdict.FAILED: "failed", Verdict.SKIPPED: "skipped", Verdict.WARNING: "warnings"}
    counts = {**words, Verdict.OK: "ok"}
    told = [f"{verdicts.count(v)} {word}" for v, word in counts.items() if v in verdicts]
    return ", ".join(told).replace("1 warnings", "1 warning") or "nothing to check"
