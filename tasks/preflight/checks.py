"""Preflight checks: from trials to verdicts with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tasks.errors import PipelineError


class Verdict(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """Runs work, but find or report less than they could."""
    FAILED = "failed"
    """Runs fail, or find nothing."""
    SKIPPED = "skipped"
    """Not tried, because a check that it needs failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result.

    Attributes:
        subject: name of the deployment, or the storage that deployments share.
        name: the trial's name.
        verdict: the outcome.
        said: the result, in sentences.
        remedy: what the reader can do about it; empty if nothing need be done.
    """

    subject: str
    name: str
    verdict: Verdict
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One result of a trial."""

    text: str
    remedy: str = ""
    verdict: Verdict = Verdict.OK


def warning(text: str, remedy: str) -> TrialResult:
    """Make a result for a problem with which runs still work."""
    return TrialResult(text, remedy, Verdict.WARNING)


def failed(text: str, remedy: str) -> TrialResult:
    """Make a result for a problem that stops runs, when a trial may find several."""
    return TrialResult(text, remedy, Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial for a check.

    Attributes:
        find_out: yields its results; if it raises a `PipelineError`, the trial has failed.
        needs: names of the trials that must succeed first.
    """

    find_out: Callable[[], Iterable[TrialResult]]
    needs: tuple[str, ...] = ()


def run_trials(subject: str, trials: Mapping[str, Trial]) -> Iterator[Check]:
    """Run trials in order, and skip those that need a failed one."""
    causes: dict[str, str] = {}
    for name, trial in trials.items():
        cause = next((causes[needed] for needed in trial.needs if needed in causes), None)
        if cause:
            causes[name] = cause
            yield Check(subject, name, Verdict.SKIPPED, f"Not tried: {cause} failed.")
            continue
        for result in _results(trial):
            if result.verdict is Verdict.FAILED:
                causes[name] = name
            yield Check(subject, name, result.verdict, result.text, result.remedy)


def _results(trial: Trial) -> Iterator[TrialResult]:
    try:
        yield from trial.find_out()
    except PipelineError as error:
        yield failed(error.problem, error.remedy)


def verdict_counts(checks: Iterable[Check]) -> str:
    """Count the verdicts, worst first: `1 failed, 2 warnings, 9 ok`."""
    verdicts = [check.verdict for check in checks]
    labels = {Verdict.FAILED: "failed", Verdict.SKIPPED: "skipped", Verdict.WARNING: "warnings"}
    labels |= {Verdict.OK: "ok"}
    counts = [f"{verdicts.count(v)} {label}" for v, label in labels.items() if v in verdicts]
    return ", ".join(counts).replace("1 warnings", "1 warning") or "nothing to check"
