"""What the structures of documents say of their fields."""

from __future__ import annotations

import json

from tasks.esql.survey import surveyed


def names(*structures: object) -> dict[str, frozenset[str]]:
    return dict(surveyed([(json.dumps(each), 1) for each in structures], ()).kinds)


def test_a_null_where_others_have_an_object_is_no_field():
    """A field that is always null keeps its name: it may be mapped."""
    assert names({"a": "NULL", "n": "NULL"}, {"a": {"b": "VARCHAR"}}) == {
        "a.b": {"VARCHAR"},
        "n": {"NULL"},
    }


def test_a_value_where_others_have_an_object_is_of_several_kinds():
    """Such files are looked at in full."""
    assert names({"a": "VARCHAR"}, {"a": {"b": "VARCHAR"}})["a"] == {"VARCHAR", "JSON"}


def test_documents_without_a_structure_nest_too_deep():
    """They are counted, each of them."""
    survey = surveyed([(None, 3), ('{"_source":{"a":"VARCHAR"}}', 5)], ("_source",))
    assert survey.too_deep == 3
    assert set(survey.ways) == {"a"}
