"""How long property tests search: briefly in `make test`, for long in `make test-deep`."""

from __future__ import annotations

import os

VARIABLE = "BEACONHUNT_TEST_EFFORT"
"""Environment variable: a factor for the number of examples."""

ON_A_SERVER = 0.2
"""The share of examples that PostgreSQL gets: SQLite searches the rules, it proves the dialect."""


def examples(number: int, history_url: str = "sqlite") -> int:
    """Give the number of examples for a property test.

    Args:
        number: with the usual effort, on SQLite.
        history_url: where the history is, for a test that runs on both databases.
    """
    share = ON_A_SERVER if history_url.startswith("postgresql") else 1
    return max(1, round(number * share * int(os.environ.get(VARIABLE, "1"))))
