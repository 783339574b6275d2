import pytest

from tasks.text.numbers import capitalised, counted, rounded


def test_only_one_is_singular():
    """English has one plural, also for zero, and thousands are set off."""
    assert counted(1, "day") == "1 day"
    assert counted(0, "process", "processes") == "0 processes"
    assert counted(4_992, "Mac", "Macs") == "4,992 Macs"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(8_120_442, "8,120,442"), (9_999_999, "9,999,999"), (10_000_000, "10.0 M")],
)
def test_numbers_are_exact_below_ten_million(number: int, shown: str):
    """A tile has room for so many digits."""
    assert rounded(number) == shown


def test_a_label_starts_with_a_capital_and_keeps_the_rest_of_its_noun():
    """Only the first letter changes, and an empty noun stays empty."""
    assert capitalised("host with macOS") == "Host with macOS"
    assert capitalised("") == ""
