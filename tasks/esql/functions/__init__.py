"""The functions and operators of ES|QL, by name: each is one entry in the table of its kind."""

from collections.abc import Mapping

from tasks.esql.functions.addresses import ADDRESS_FUNCTIONS
from tasks.esql.functions.aggregates import AGGREGATES
from tasks.esql.functions.conversions import CONVERSIONS
from tasks.esql.functions.dates import DATE_FUNCTIONS
from tasks.esql.functions.entries import Function
from tasks.esql.functions.lists import LIST_FUNCTIONS
from tasks.esql.functions.numbers import NUMBER_FUNCTIONS
from tasks.esql.functions.operators import OPERATORS
from tasks.esql.functions.texts import TEXT_FUNCTIONS

__all__ = ["FUNCTIONS", "KINDS", "OPERATORS"]

KINDS: tuple[Mapping[str, Function], ...] = (
    OPERATORS,
    NUMBER_FUNCTIONS,
    TEXT_FUNCTIONS,
    DATE_FUNCTIONS,
    ADDRESS_FUNCTIONS,
    LIST_FUNCTIONS,
    CONVERSIONS,
    AGGREGATES,
)
FUNCTIONS: Mapping[str, Function] = {name: entry for kind in KINDS for name, entry in kind.items()}
