from pathlib import Path

import pytest

from tasks.errors import HuntError, SettingsError
from tasks.model.hunts import Hunt, load_hunt, read_hunt, shipped_hunts
from tests.builders import HUNT

PUBLIC = '''
[hunt]
author = "A team"
description = "What it looks for."
integration = ["endpoint", "windows"]
uuid = "6f1c0d6a-0f0c-4a0a-9a51-0d0f2c6f7f10"
name = "A hunt of another team"
language = ["ES|QL"]
license = "Their licence"
notes = ["Look twice."]
mitre = ["T1053.003"]
query = ["""
sql
from logs-endpoint.events.process-* // a comment with BY and | and ?nothing
| where @timestamp > now() - 7 day and process.name : "a | b BY ?c"
| stats count(*), hosts = count_distinct(host.id)
    by process.name, bucket = date_trunc(1 day, @timestamp)
| keep process.name, hosts
""", "FROM logs-* | LIMIT 1"]
'''


def hunt_file(text: str = PUBLIC, number: str = "") -> Hunt:
    return read_hunt(text, Path("Their Hunt_2.toml"), query_number=number)


def test_a_public_hunt_file_without_our_table_loads():
    """Every hunt of a public library is ours to run."""
    hunt = hunt_file()
    assert hunt.slug == "their-hunt-2"
    assert hunt.mitre == ("T1053.003",)
    assert hunt.pipeline.window_days == 7


def test_a_stray_first_line_is_taken_out_and_said():
    """Some public files begin their query with a line `sql`."""
    hunt = hunt_file()
    assert hunt.query.startswith("from logs-endpoint")
    assert any("stray" in remark for remark in hunt.remarks)


def test_another_query_of_the_file_is_chosen_by_number():
    """A file may hold variants; which one runs is said."""
    assert hunt_file(number="2").query == "FROM logs-* | LIMIT 1"
    assert "Query 2 of 2 in the file; `#n` chooses another." in hunt_file(number="2").remarks


def test_the_queries_of_a_file_are_hunts_of_their_own():
    """The history and the archive would take one's run of a slot for the other's."""
    first, second = hunt_file(), hunt_file(number="2")
    assert (second.slug, second.uuid) == (f"{first.slug}-2", f"{first.uuid}-2")
    assert (hunt_file(number="1").slug, hunt_file(number="1").uuid) == (first.slug, first.uuid)


@pytest.mark.parametrize(
    ("query", "sources"),
    [
        ("FROM metrics-endpoint.metadata* | LIMIT 1", "metrics-endpoint.metadata*"),
        ("FROM logs-* METADATA _id | LIMIT 1", "logs-*"),
        ("FROM logs-*\nmetadata _id", "logs-*"),
        ('FROM "eu:logs-*", "logs-*" | LIMIT 1', "eu:logs-*, logs-*"),
    ],
)
def test_sources_are_the_patterns_behind_from(query: str, sources: str):
    """Whatever their names hold, and without their quotes."""
    assert Hunt(slug="h", name="h", uuid="u", query=query).sources == sources


def test_a_large_threshold_is_written_out():
    """ES|QL would read 1.04858e+07 as another number."""
    hunt = load_hunt("macos-unsigned-network").with_thresholds({"min_events_per_hour": 10_485_761})
    assert "number_of_con_per_hour >= 10485761\n" in hunt.paste_ready()


@pytest.mark.parametrize("number", ["0", "3", "x"])
def test_a_query_that_the_file_does_not_have_is_refused(number):
    """Nothing else is run in its stead."""
    with pytest.raises(HuntError, match="no query"):
        hunt_file(number=number)


def test_now_makes_a_hunt_not_reproducible():
    """A backfill of such a hunt answers for today, so the report says so."""
    assert not hunt_file().reproducible
    assert load_hunt("macos-unsigned-network").reproducible


def test_structure_is_not_read_from_comments_or_texts():
    """A `BY`, a pipe or a parameter inside quotes means nothing."""
    hunt = hunt_file()
    assert hunt.parameters == frozenset()
    assert hunt.groups == ("process.name", "bucket")
    assert hunt.sources == "logs-endpoint.events.process-*"


@pytest.mark.parametrize(
    ("query", "groups"),
    [
        ("FROM a | LIMIT 1", ()),
        ("FROM a | STATS c = COUNT(*)", ()),
        ("FROM a | STATS COUNT(*) BY x | STATS COUNT(*) BY y, `z z`", ("y", "z z")),
        ("FROM a | STATS c = COUNT(*) BY b = BUCKET(t, 1 day), host.id", ("b", "host.id")),
    ],
)
def test_groups_are_those_of_the_last_stats(query, groups):
    """They identify a finding where the hunt says nothing of identity."""
    assert Hunt(slug="h", name="h", uuid="u", query=query).groups == groups


@pytest.mark.parametrize("name", shipped_hunts())
def test_shipped_hunts_load(name):
    """What comes with the product works."""
    assert load_hunt(name).pipeline.limits


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("author =", "autor ="), 3, "autor"),
        (("[hunt]", "[hunts]"), 2, "hunts"),
        (('language = ["ES|QL"]', 'language = ["EQL"]'), 8, "EQL"),
        (("now() - 7 day", "?_begin"), 15, "_begin"),
        (('uuid = "6f1c0d6a-0f0c-4a0a-9a51-0d0f2c6f7f10"', ""), None, "uuid"),
        (('mitre = ["T1053.003"]', "mitre = [1]"), 11, "mitre"),
        (('license = "Their licence"', "license ="), 9, "line 9"),
    ],
)
def test_a_typo_in_a_hunt_file_is_refused_with_file_and_line(change, line, says):
    """A hunt that cannot be loaded is refused before anything runs."""
    with pytest.raises(HuntError) as caught:
        hunt_file(PUBLIC.replace(*change))
    where = "Their Hunt_2.toml" if line is None else f"Their Hunt_2.toml:{line}"
    assert caught.value.problem.startswith(where) or f"line {line}" in caught.value.problem
    assert says in caught.value.problem
    assert caught.value.remedy


def test_a_threshold_that_the_query_does_not_use_is_refused():
    """An override of it would do nothing."""
    with pytest.raises(HuntError, match=r"min_hours.* is not used"):
        hunt_file(PUBLIC + "[pipeline.thresholds]\nmin_hours = 8\n")


def test_a_deployment_overrides_thresholds_by_name():
    """Tuning needs no copy of the hunt."""
    hunt = load_hunt("macos-unsigned-network").with_thresholds({"min_duration_hours": 4})
    assert hunt.pipeline.thresholds["min_duration_hours"] == 4
    assert hunt.pipeline.thresholds["min_events_per_hour"] == 120
    assert "duration_hours >= 4\n" in hunt.paste_ready()


def test_an_unknown_threshold_is_refused_with_those_that_there_are():
    """A typo in an override must not silently leave the default."""
    with pytest.raises(SettingsError, match="min_hours") as caught:
        load_hunt("macos-unsigned-network").with_thresholds({"min_hours": 4})
    assert "min_duration_hours" in caught.value.remedy


def test_the_pasted_query_leaves_only_the_window_to_kibana():
    """What the report shows runs in Discover as it is."""
    assert Hunt(
        slug="h", name="h", uuid="u", query=load_hunt("macos-unsigned-network").paste_ready()
    ).parameters == {"_tstart", "_tend"}


def test_an_unknown_hunt_is_refused_with_those_that_there_are():
    """The remedy lists the shipped hunts."""
    with pytest.raises(HuntError) as caught:
        load_hunt("no-such-hunt")
    assert "macos-unsigned-network" in caught.value.remedy


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path):
    """The error names the file."""
    file = tmp_path / "hunt.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HuntError, match=r"hunt\.toml"):
        load_hunt(str(file))


@pytest.mark.parametrize(
    ("sources", "asked"),
    [
        ("logs-endpoint.events.network-*", "p-*"),
        ("eu:logs-*", "eu:p-*"),
        ("eu:logs-*, us:logs-*, eu:more-*, logs-*", "eu:p-*, us:p-*, p-*"),
        ("*:logs-*,logs-*", "*:p-*, p-*"),
    ],
)
def test_what_describes_findings_is_asked_where_the_hunt_looked(sources: str, asked: str):
    """The process of a finding behind another cluster is there too."""
    hunt = HUNT.model_copy(update={"query": f"FROM {sources} METADATA _index | LIMIT 10"})
    assert hunt.everywhere("FROM p-*\n| LIMIT 5") == f"FROM {asked}\n| LIMIT 5"
