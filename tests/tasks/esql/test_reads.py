import pytest

from tasks.esql.errors import ParsingError
from tasks.esql.reads import Reads, fits, reads, usual_types
from tasks.esql.types import Type
from tasks.model.hunts import load_hunt


def test_a_query_reads_fields_but_not_the_columns_that_it_makes():
    """Only what must be mapped counts."""
    query = "FROM a-*, -a-old METADATA _id | EVAL x = b + c | STATS n = COUNT(*) BY x, d.e, _id"
    assert reads(query) == Reads(("a-*", "-a-old"), frozenset({"b", "c", "d.e"}))


def test_a_query_without_data_reads_nothing():
    """It can be asked anywhere."""
    assert reads("ROW a = 1") == Reads((), frozenset())


def test_what_is_no_query_of_this_engine_is_refused():
    """Somebody else may be able to read it."""
    with pytest.raises(ParsingError):
        reads("FROM a | CHANGE_POINT x")


def test_every_field_of_the_shipped_hunt_has_a_usual_type():
    """Its mapping ships with the package."""
    read = reads(load_hunt("macos-unsigned-network").query)
    (pattern,) = read.patterns
    usual = usual_types(pattern)
    assert read.fields <= usual.keys()
    assert usual["destination.ip"] is Type.IP
    assert usual_types(f"eu:{pattern}") == usual
    assert usual_types("logs-other-*") == {"@timestamp": Type.DATE}


@pytest.mark.parametrize(
    ("mapped", "usual", "fit"),
    [
        ("keyword", Type.KEYWORD, True),
        ("wildcard", Type.KEYWORD, True),
        ("text", Type.KEYWORD, True),
        ("integer", Type.LONG, True),
        ("date", Type.DATE, True),
        ("date_nanos", Type.DATE, False),
        ("double", Type.LONG, False),
        ("keyword", Type.IP, False),
        ("long", Type.KEYWORD, False),
        ("geo_point", Type.KEYWORD, False),
    ],
)
def test_a_mapping_fits_where_a_query_reads_the_same_from_it(mapped, usual, fit):
    """Nanoseconds would be taken for milliseconds."""
    assert fits(mapped, usual) is fit
