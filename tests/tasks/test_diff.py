from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clusters import Answer
from tasks.diff import compared, identified, identity_columns
from tasks.history import Known, Memory
from tasks.model.findings import Finding, Status, short_id
from tasks.model.hunts import Hunt, Pipeline
from tasks.model.runs import Outcome, Plan
from tests.builders import SLOT, day, finding

HUNT = Hunt(
    slug="hunt",
    name="A hunt",
    uuid="u",
    query="FROM logs-* | STATS COUNT(*) BY process.entity_id, destination.address",
    pipeline=Pipeline(
        identity=("host.id", ("process.executable", "process.name"), "destination.address")
    ),
)

KEYWORDS = (
    *("process.entity_id", "process.name", "destination.address", "host.id", "host.name"),
    *("process.executable", "user.name"),
)


def plan(hunt: Hunt = HUNT) -> Plan:
    return Plan("abc", hunt, "prod", SLOT, stale_after_hours=6, started_at=SLOT)


def row(**changes) -> dict:
    """A candidate of hunt 1; keywords of a change use `__` for dots."""
    plain = {
        "process.entity_id": "e",
        "process.name": "agent",
        "destination.address": "45.1.1.1",
        "host.id": "mac-a",
        "host.name": "MAC-A",
        "process.executable": "/tmp/agent",
        "user.name": "kim",
        "count_connections": 1_000,
        "destination.port": 443,
    }
    return plain | {name.replace("__", "."): value for name, value in changes.items()}


def answer(*rows: dict) -> Answer:
    columns = [*KEYWORDS, "count_connections", "destination.port"]
    types = dict.fromkeys(KEYWORDS, "keyword") | {
        "count_connections": "long",
        "destination.port": "long",
    }
    return Answer(pd.DataFrame(rows, columns=columns, dtype=object), types)


def fingerprints(*rows: dict, hunt: Hunt = HUNT, cluster: str = "prod") -> list[str]:
    return list(identified(answer(*rows), hunt, cluster)["fingerprint"])


def known(*before: str, comparable: frozenset[str] | None = None, **changes) -> Known:
    """What the history says: fingerprints ever seen, and those of the comparable run."""
    memory = Memory("BH-1", first_seen=day(-9), last_seen=day(-1), hash_sha256=None)
    plain = Known(
        comparable=day(-1),
        in_comparable=frozenset(before) if comparable is None else comparable,
        memories=dict.fromkeys(before, memory),
        absent=(),
        ids=_Ids(),
    )
    return replace(plain, **changes)


class _Ids(dict):
    def __missing__(self, fingerprint: str) -> str:
        return short_id(fingerprint)


def statuses(known: Known, *rows: dict, outcome: Outcome = Outcome.COMPLETE) -> list[Status]:
    candidates = identified(answer(*rows), HUNT, "prod")
    return [finding.status for finding in compared(candidates, known, plan(), outcome)]


def test_a_restarted_process_is_not_new():
    """A new entity id is a new start of the same program, not a new finding."""
    assert fingerprints(row()) == fingerprints(row(process__entity_id="another"))
    assert statuses(known(*fingerprints(row())), row(process__entity_id="another")) == [
        Status.CONTINUING
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"host__id": "mac-b"},
        {"process__executable": "/tmp/other"},
        {"destination__address": "45.1.1.2"},
    ],
)
def test_another_mac_program_or_destination_is_new(change):
    """Each of the three makes it another finding."""
    assert statuses(known(*fingerprints(row())), row(**change)) == [Status.NEW]


def test_the_name_stands_in_where_no_event_has_the_path():
    """Identity does not depend on a field that may be missing."""
    nameless = row(process__executable=None)
    assert identified(answer(nameless), HUNT, "prod")["identity"].iloc[0] == {
        "host.id": "mac-a",
        "process.name": "agent",
        "destination.address": "45.1.1.1",
    }


def test_a_finding_of_one_cluster_says_nothing_about_another():
    """The same program on the same Mac in another cluster is another finding."""
    assert fingerprints(row(), cluster="a") != fingerprints(row(), cluster="b")


def test_changed_figures_change_no_identity():
    """Counts, times, names and users are attributes."""
    changed = row(count_connections=9, user__name="root", host__name="RENAMED")
    assert fingerprints(row()) == fingerprints(changed)


@given(st.permutations([row(host__id=host) for host in "abcdef"]))
def test_order_of_rows_changes_nothing(rows):
    """Shuffled answers give the same findings."""
    in_order = {f.id: f for f in found(known(), *sorted(rows, key=lambda r: r["host.id"]))}
    assert {f.id: f for f in found(known(), *rows)} == in_order


def found(known: Known, *rows: dict, outcome: Outcome = Outcome.COMPLETE) -> tuple[Finding, ...]:
    return compared(identified(answer(*rows), HUNT, "prod"), known, plan(), outcome)


def test_the_first_run_of_a_cluster_is_a_baseline():
    """Without a run to compare with, nothing is called new."""
    assert statuses(known(comparable=frozenset()), row())[0] is Status.NEW
    assert statuses(replace(known(), comparable=None), row()) == [Status.BASELINE]


def test_seen_before_but_not_in_the_comparable_run_is_returned():
    """Flapping around the threshold is not news."""
    before = known(*fingerprints(row()), comparable=frozenset())
    assert statuses(before, row()) == [Status.RETURNED]


@pytest.mark.parametrize(("hours", "told"), [(719, False), (720, True), (721, True)])
def test_what_was_away_for_30_days_is_told_again(hours: int, told: bool):
    """Flapping is normal; what is back after so long may be somebody else."""
    last_seen = SLOT - timedelta(hours=hours)
    memory = Memory("BH-1", first_seen=day(-90), last_seen=last_seen, hash_sha256=None)
    (key,) = fingerprints(row())
    before = known(key, comparable=frozenset(), memories={key: memory})
    candidates = identified(answer(row()), HUNT, "prod")
    (found,) = compared(candidates, before, plan(), Outcome.COMPLETE)
    assert found.away_since == (last_seen if told else None)
    sooner = replace(plan(), announce_returned_after_days=1)
    assert compared(candidates, before, sooner, Outcome.COMPLETE)[0].away_since == last_seen


def test_what_no_complete_run_missed_was_not_away():
    """An outage of the hunt is not silence of the program."""
    memory = Memory("BH-1", first_seen=day(-90), last_seen=day(-60), hash_sha256=None)
    (key,) = fingerprints(row())
    before = known(key, memories={key: memory})
    candidates = identified(answer(row()), HUNT, "prod")
    assert compared(candidates, before, plan(), Outcome.COMPLETE)[0].away_since is None


def test_one_new_among_five_known_is_exactly_one_new():
    """The only row that an analyst must read."""
    rows = [row(host__id=host) for host in "abcdef"]
    before = known(*fingerprints(*rows[:5]))
    assert sorted(statuses(before, *rows)) == sorted([Status.CONTINUING] * 5 + [Status.NEW])


@pytest.mark.parametrize("outcome", [Outcome.PARTIAL, Outcome.NO_DATA, Outcome.BASELINE])
def test_only_a_complete_run_says_that_something_went_quiet(outcome):
    """What was not searched cannot be called gone."""
    before = known(absent=(finding(),))
    assert [f.status for f in found(before)] == [Status.QUIET]
    assert found(before, outcome=outcome) == ()


def test_two_starts_of_one_process_are_one_finding_with_the_stronger_figures():
    """Both entity ids stay; the figures are those of the start with more connections."""
    (one,) = found(
        known(),
        row(process__entity_id="weak", count_connections=1_000, destination__port=[443, 80]),
        row(process__entity_id="strong", count_connections=2_000, user__name=["root", "kim"]),
    )
    assert one.candidates == 2
    assert one.process.entity_ids == ("strong", "weak")
    assert one.figures == {"count_connections": 2_000}
    assert one.destination.ports == (80, 443)
    assert one.user_name == "kim, root"


def test_a_known_finding_keeps_its_first_seen():
    """First seen is of the history, not of the run."""
    (one,) = found(known(*fingerprints(row())), row())
    assert one.first_seen == day(-9)
    assert found(known(), row())[0].first_seen == SLOT


def test_identity_falls_back_to_the_groups_that_survive_then_to_what_is_no_figure():
    """A public hunt file says nothing of identity."""
    silent = HUNT.model_copy(update={"pipeline": Pipeline()})
    assert identity_columns(silent, answer()) == (("process.entity_id",), ("destination.address",))
    flat = silent.model_copy(update={"query": "FROM logs-* | LIMIT 1"})
    assert identity_columns(flat, answer()) == tuple((column,) for column in KEYWORDS)


def test_several_values_of_an_identity_have_no_order():
    """Elasticsearch gives them in any: the same Macs, ports and names are the same finding."""
    one, other = row(host__id=["b", "a", "c"]), row(host__id=["c", "b", "a"])
    assert fingerprints(one) == fingerprints(other)
    assert identified(answer(one), HUNT, "prod")["identity"].iloc[0]["host.id"] == ("a", "b", "c")


@pytest.mark.parametrize("flag", ["exists", "trusted"])
@pytest.mark.parametrize(
    ("cell", "known_flag"), [(True, True), (False, False), (None, None), ([False, True], None)]
)
def test_signature_flags_that_contradict_each_other_are_none(flag, cell, known_flag):
    """A program that was seen signed and unsigned is called neither."""
    given = answer(row())
    given.rows[f"process.code_signature.{flag}"] = pd.Series([cell], dtype=object)
    (one,) = compared(identified(given, HUNT, "prod"), known(), plan(), Outcome.COMPLETE)
    assert getattr(one.process.code_signature, flag) is known_flag


def test_a_finding_that_went_quiet_has_no_candidate_and_no_other_binary():
    """Both are of the run that saw it; this one did not."""
    before = known(absent=(replace(finding(), changed_binary=True, candidates=3),))
    (gone,) = found(before)
    assert (gone.status, gone.changed_binary, gone.candidates) == (Status.QUIET, False, 0)


def test_an_empty_answer_has_no_findings():
    """No candidate, no finding, no error."""
    assert found(known()) == ()


def test_the_slot_of_the_run_is_the_last_time_seen():
    """Also when the run comes days later."""
    assert found(known(), row())[0].last_seen == SLOT
    late = replace(plan(), started_at=SLOT + timedelta(days=3))
    candidates = identified(answer(row()), HUNT, "prod")
    assert compared(candidates, known(), late, Outcome.COMPLETE)[0].last_seen == SLOT
