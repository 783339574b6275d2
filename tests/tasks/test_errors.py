import pickle

import pytest

from tasks import errors
from tasks.errors import PipelineError, Unexpected

TREE = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PipelineError)
]


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_the_way_between_processes(kind):
    """A worker's error reads the same in the process that reports it."""
    error = pickle.loads(pickle.dumps(kind("Problem.", "Remedy.")))  # noqa: S301 - our own bytes.
    assert type(error) is kind
    assert (error.problem, error.remedy) == ("Problem.", "Remedy.")


@pytest.mark.parametrize("kind", TREE)
def test_an_error_shows_its_remedy(kind):
    """Whoever reads only the last line of a log still learns what to do."""
    assert str(kind("Problem.", "Remedy.")) == "Problem. Remedy."


def test_reasons_are_the_words_of_a_failed_run():
    """The history and the digest know these six reasons and no other."""
    assert {kind.reason for kind in TREE} == {
        "internal",
        "unreachable",
        "unauthorised",
        "query",
        "settings",
        "deadline",
    }


def test_what_nobody_foresaw_is_named_by_its_type():
    """A library's message may hold a URL with its password; the log of the run has it whole."""
    error = Unexpected.of(KeyError("https://ops:canary-77c3@proxy.example"))
    assert error.problem == "Unexpected error: KeyError."
