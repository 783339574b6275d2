from collections.abc import Iterator

from tasks.errors import Unreachable
from tasks.preflight.checks import (
    Check,
    Trial,
    TrialResult,
    Verdict,
    failed,
    run_trials,
    verdict_counts,
    warning,
)


def fine() -> Iterator[TrialResult]:
    yield TrialResult("It is there.")


def broken() -> Iterator[TrialResult]:
    yield from ()
    raise Unreachable("It is away.", "Bring it back.")


def verdicts(**trials: Trial) -> dict[str, Verdict]:
    """How each trial went; of several sayings the last."""
    return {check.name: check.verdict for check in run_trials("prod", trials)}


def test_an_error_is_a_failed_check_with_its_remedy():
    """A preflight says what the run would have said."""
    (check,) = run_trials("prod", {"connection": Trial(broken)})
    assert check == Check("prod", "connection", Verdict.FAILED, "It is away.", "Bring it back.")


def test_what_needs_a_failed_check_is_skipped_and_names_the_cause():
    """Also through another one that was skipped; what needs nothing is tried all the same."""
    checks = run_trials(
        "prod",
        {
            "a": Trial(broken),
            "b": Trial(fine, ("a",)),
            "c": Trial(broken, ("b",)),
            "d": Trial(fine),
        },
    )
    assert [(c.name, c.verdict, c.said) for c in checks] == [
        ("a", Verdict.FAILED, "It is away."),
        ("b", Verdict.SKIPPED, "Not tried: a failed."),
        ("c", Verdict.SKIPPED, "Not tried: a failed."),
        ("d", Verdict.OK, "It is there."),
    ]


def test_one_trial_may_find_out_several_things():
    """Only what failed keeps others from being tried."""

    def several() -> Iterator[TrialResult]:
        yield warning("Old.", "Upgrade.")
        yield failed("Two are missing.", "Add them.")
        yield TrialResult("One is there.")

    checks = list(run_trials("prod", {"a": Trial(several), "b": Trial(fine, ("a",))}))
    assert [check.verdict for check in checks] == [
        Verdict.WARNING,
        Verdict.FAILED,
        Verdict.OK,
        Verdict.SKIPPED,
    ]
    doubted = Trial(lambda: iter([warning("Old.", "Upgrade.")]))
    assert verdicts(a=doubted, b=Trial(fine, ("a",)))["b"] is Verdict.OK


def test_verdicts_are_counted_the_worst_first():
    """One line for a log or a final state."""
    several = [*[Verdict.OK] * 9, Verdict.WARNING, Verdict.FAILED, *[Verdict.SKIPPED] * 2]
    checks = [Check("prod", "a", verdict, "said") for verdict in several]
    assert verdict_counts(checks) == "1 failed, 2 skipped, 1 warning, 9 ok"
    assert verdict_counts([*checks, checks[9]]) == "1 failed, 2 skipped, 2 warnings, 9 ok"
    assert verdict_counts([]) == "nothing to check"
