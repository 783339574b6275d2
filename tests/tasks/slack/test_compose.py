from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from slack_sdk.models.blocks import Block as SdkBlock
from slackblocks import Block as OtherBlock

from tasks.model.coverage import FAULTS, OF_AGENTS, AgentCoverage, Coverage, Fault
from tasks.model.digests import (
    Announcement,
    ClusterDay,
    CoverageGap,
    DayGap,
    Digest,
    Ended,
    Medium,
    day_gaps,
)
from tasks.model.findings import (
    LEFT_OUT,
    NO_EVIDENCE,
    NOT_ENRICHED,
    CodeSignature,
    Finding,
    Host,
    NetworkDestination,
    Priority,
    Process,
    Status,
)
from tasks.model.runs import Outcome, Run
from tasks.model.scrutiny import ConditionEvents, FieldEvents, HostSample, StreamEvents
from tasks.slack.compose import compose_message
from tasks.slack.message import Message, plain_text, violations
from tests.block_kit.schema import generate
from tests.builders import HUNT, SLOT, acknowledgement, coverage, day, finding, run, scrutiny
from tests.effort import examples

REPORTS = "https://reports.example.com/hunts"
KIBANA = "https://kibana.example.com/s/soc"

MORNING = SLOT + timedelta(minutes=30)

HOSTILE = (
    "<!channel>",
    "<@U012AB3CD> *bold* _it_ ~no~ `code`",
    "<script>alert(1)</script>",
    "Invoice\u202efdp.app",
    "a\x00b\r\nc\u2028d\u200be",
    "x" * 100_000,
    "& < > &amp; &lt;",
    "&" * 200,
    "http://evil.example/login|<https://evil.example|here>",
    "\N{FIRE}" * 100,
    "",
)


def announced(number: int, of: Run | None = None, **changes: Any) -> Announcement:
    """Give a new finding on a Mac of its own, by default of the day's run."""
    return Announcement(finding(f"mac-{number}", **changes), of or run())


def hostile(number: int) -> Announcement:
    """Give a new finding whose every text comes from an attacker."""
    words = [HOSTILE[(number + shift) % len(HOSTILE)] for shift in range(4)]
    return Announcement(
        replace(
            finding(f"mac-{number}", priority=[*Priority, None][number % 4]),
            host=Host(id=f"{number} {words[0]}", name=words[0] or None),
            process=Process(name=words[1], executable=words[2], code_signature=CodeSignature()),
            destination=NetworkDestination(
                address=words[3], ip="203.0.113.47", ports=tuple(range(9))
            ),
        ),
        run(),
    )


def over(*still: Announcement, **changes: Any) -> Ended:
    """Give an acknowledgement that ended this morning while this goes on."""
    return Ended(acknowledgement(still[0].finding, SLOT, **changes), still)


def searched(cluster: str = "demo-eu", hunt: str = HUNT.slug, **changes: Any) -> ClusterDay:
    """Give a cluster that was searched today, or whose run ended as said."""
    of = run(cluster=cluster, **changes)
    last_searched = of.slot if of.outcome.searched else day(-2)
    return ClusterDay(cluster, hunt, of, last_searched, tuple(day_gaps(MORNING, of)))


def late(cluster: str) -> ClusterDay:
    """Give a cluster without a run today."""
    return ClusterDay(cluster, HUNT.slug, None, day(-3), tuple(day_gaps(MORNING, None)))


def after(*lacks: CoverageGap, cluster: str = "demo-eu") -> ClusterDay:
    """Give a cluster that was searched today and, told nobody, not on each of the days before."""
    found = tuple(DayGap(day(number - len(lacks)), lack) for number, lack in enumerate(lacks))
    return replace(searched(cluster), gaps=found)


def digest(*announcements: Announcement, **changes: Any) -> Digest:
    """Give the digest of a morning on which the one cluster was searched."""
    plain = Digest(
        id="0a1b2c3d4e5f",
        number=1,
        destination="soc",
        medium=Medium.SLACK,
        slot=MORNING,
        clusters=(searched(),),
        announcements=announcements,
    )
    return replace(plain, **changes)


def composed(of: Digest, report_base_url: str | None = None) -> Message:
    """Compose a digest that has something to say."""
    message = compose_message(of, report_base_url=report_base_url)
    assert message is not None
    return message


def header(message: Message) -> str:
    """Give the words of the header."""
    return plain_text(message.blocks[0])


def findings_in(message: Message) -> list[str]:
    """Give the words of each finding or group, in their order, without those in replies."""
    return [plain_text(block) for block in message.blocks if block["type"] == "rich_text"]


def parts(message: Message) -> Iterator[Message]:
    """Give the message and its replies."""
    yield message
    yield from message.replies


def everything(message: Message) -> str:
    """Give all that is posted, as JSON."""
    return json.dumps([[part.text, part.blocks, part.metadata] for part in parts(message)])


# Which case says what


def test_a_day_on_which_all_was_searched_and_nothing_is_new_is_silent():
    """A channel that says nothing new every day is soon read by nobody."""
    assert compose_message(digest(), report_base_url=REPORTS) is None


BLIND = Coverage(9_000, 20, SLOT, (AgentCoverage("8.15.2", 9_000, 2_000, 1_999, 0, 0),))

SILENT_FOR_A_REASON = {
    "failed": (searched("prod-us", outcome=Outcome.FAILED, reason="unauthorised"), "unauthorised"),
    "internal": (searched("prod-us", outcome=Outcome.FAILED, reason=None), "internal"),
    "late": (late("prod-us"), "late"),
    "missed": (searched("prod-us", outcome=Outcome.MISSED), "missed"),
    "no data": (searched("prod-us", outcome=Outcome.NO_DATA), "no data"),
    "partial": (searched("prod-us", outcome=Outcome.PARTIAL), "in part only"),
    "blind": (searched("prod-us", coverage=BLIND), "blind"),
}


@pytest.mark.parametrize("case", SILENT_FOR_A_REASON)
def test_silence_of_a_cluster_is_never_taken_for_safety(case: str):
    """Where something was not seen, a message says so, also when nothing is new."""
    cluster, word = SILENT_FOR_A_REASON[case]
    message = composed(digest(clusters=(searched(), cluster)))
    (warning,) = (plain_text(block) for block in message.blocks if block["type"] == "section")
    assert warning.startswith("prod-us ")
    assert word in warning
    assert "not searched" in header(message) or header(message).startswith("Nothing new, but not")


@pytest.mark.parametrize("case", ["failed", "late", "missed"])
def test_a_digest_says_that_what_an_unsearched_cluster_hides_is_not_in_it(case: str):
    """Three new findings elsewhere do not make an unsearched cluster clean."""
    cluster, _ = SILENT_FOR_A_REASON[case]
    message = composed(digest(announced(1), clusters=(searched(), cluster)))
    assert header(message) == "1 new beaconing process on 1 Mac, 1 of 2 clusters not searched"
    assert "1 of 2 clusters searched" in message.text
    assert "New findings there are not in this message." in message.text
    assert re.search(r"prod-us has not been searched since 2[12] Nov 06:00 UTC", message.text)


def test_nothing_new_is_not_said_where_nothing_was_searched():
    """A digest does not give an all-clear that no search stands behind."""
    nothing = SILENT_FOR_A_REASON["failed"][0]
    assert header(composed(digest(clusters=(nothing,)))) == "1 of 1 cluster not searched"


def test_a_cluster_that_one_hunt_could_not_search_was_not_searched():
    """With several hunts, the warning names the one that failed."""
    failed = searched(hunt="another-hunt", outcome=Outcome.FAILED, reason="deadline")
    message = composed(digest(clusters=(searched(), failed)))
    assert header(message) == "1 of 1 cluster not searched"
    assert "demo-eu (another-hunt) has not been searched since" in message.text


def test_many_warnings_become_short_and_none_is_lost():
    """When forty clusters fail at once, the digest still fits and counts them all."""
    failed = [searched(f"c-{n}", outcome=Outcome.FAILED, reason="unreachable") for n in range(40)]
    message = composed(digest(clusters=tuple(failed)))
    assert header(message) == "40 of 40 clusters not searched"
    assert "And 35 more warnings: c-5 (unreachable), c-6 (unreachable)" in message.text
    assert violations(message) == ()


def test_an_outage_of_a_week_is_one_line():
    """Seven failed days are named by the day that was searched last, and by today's reason."""
    reasons = [CoverageGap.UNREACHABLE] * 6 + [CoverageGap.UNAUTHORISED]
    failed = searched("prod-us", outcome=Outcome.FAILED, reason="unauthorised")
    week = tuple(DayGap(day(number - 6), lack) for number, lack in enumerate(reasons))
    message = composed(digest(clusters=(replace(failed, last_searched=day(-7), gaps=week),)))
    (warning,) = (plain_text(block) for block in message.blocks if block["type"] == "section")
    assert warning.startswith("prod-us has not been searched since 17 Nov 06:00 UTC (unauthorised")


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ((CoverageGap.UNREACHABLE,), "on Mon 23 Nov (unreachable). Since"),
        (
            (CoverageGap.LATE, CoverageGap.NO_DATA),
            "on Sun 22 Nov (late), Mon 23 Nov (no data). Since",
        ),
        ((CoverageGap.PARTIAL,), "on Mon 23 Nov (partial). Since"),
        ((CoverageGap.DEADLINE,) * 7, "on 7 days from Tue 17 Nov to Mon 23 Nov (deadline). Since"),
    ],
)
def test_what_a_weekend_lacked_is_told_though_today_all_was_searched(lacks, said: str):
    """Monday's digest names Saturday's failure: what only that day showed is missing."""
    message = composed(digest(clusters=(after(*lacks),)))
    assert header(message) == "Nothing new, but not everything was seen"
    assert f"demo-eu was not searched, or not all of it, {said} then it was." in message.text
    assert "1 of 1 cluster searched" in message.text


def test_a_warning_that_was_told_is_not_told_again_and_counts_all_the_same():
    """A second digest of the day says what is new, and that not every cluster was searched."""
    failed = replace(searched(outcome=Outcome.FAILED, reason="unreachable"), gaps=())
    assert compose_message(digest(clusters=(failed,)), report_base_url=None) is None
    message = composed(digest(announced(1), clusters=(failed,)))
    assert header(message) == "1 new beaconing process on 1 Mac, 1 of 1 cluster not searched"
    assert not [block for block in message.blocks if block["type"] == "section"]


def test_a_first_run_is_told_as_a_count():
    """What was there before we looked is recorded, not announced one by one."""
    baselines = tuple(announced(n % 31, executable=f"/opt/{n}") for n in range(42))
    message = composed(digest(baselines=baselines))
    assert header(message) == "Baseline recorded: 42 beaconing processes on 31 Macs"
    assert "demo-eu: 42. From now on only what is not in it is posted." in message.text
    assert findings_in(message) == []


def test_a_first_run_beside_new_findings_is_told_too():
    """A second cluster's first run does not hide what is new on the first."""
    message = composed(digest(announced(1), baselines=(announced(2), announced(3))))
    assert header(message) == "1 new beaconing process on 1 Mac"
    assert "Baseline recorded: 2 beaconing processes on 2 Macs (demo-eu: 2)" in message.text


def test_a_digest_that_may_repeat_one_says_so():
    """After a lost receipt the reader learns which message this one may repeat."""
    message = composed(digest(announced(1), may_repeat=day(-1)))
    assert "may repeat the one for 23 Nov 06:00 UTC" in message.text


def test_a_digest_that_tells_what_earlier_ones_could_not_says_so_first():
    """Who waited for five days reads why before reading what."""
    message = composed(digest(announced(1), undelivered=tuple(map(day, range(-5, 0)))))
    first, *_ = (plain_text(block) for block in message.blocks if block["type"] == "section")
    assert first.startswith("The digest for 5 days from Thu 19 Nov to Mon 23 Nov was not delivered")


# How many are told, and where


@pytest.mark.parametrize(
    ("new", "here", "in_thread", "in_report"),
    [
        (1, 1, [], 0),
        (10, 10, [], 0),
        (11, 10, [1], 0),
        (25, 10, [10, 5], 0),
        (50, 10, [10] * 4, 0),
        (51, 10, [10] * 4, 1),
        (200, 10, [10] * 4, 150),
    ],
)
def test_the_highest_stand_in_the_message_the_next_in_its_thread_the_rest_is_counted(
    new: int, here: int, in_thread: list[int], in_report: int
):
    """Nobody reads two hundred findings in a channel, and nobody loses one either."""
    message = composed(digest(*map(announced, range(new))), REPORTS)
    assert len(findings_in(message)) == here
    assert [len(findings_in(reply)) for reply in message.replies] == in_thread
    assert header(message).startswith(f"{new} new beaconing process")
    assert (f"{sum(in_thread)} more in the thread" in message.text) == bool(in_thread)
    assert (f"{in_report} more in the report" in message.text) == bool(in_report)
    assert violations(message, [REPORTS]) == ()


def test_a_flood_is_told_in_groups_whose_counts_add_up():
    """Five thousand findings of one roll-out are one line, and the nineteen others are counted."""
    flood = [announced(n, executable="/opt/agentd") for n in range(4_981)]
    others = [announced(n, executable=f"/opt/{n}", priority=Priority.HIGH) for n in range(19)]
    message = composed(digest(*flood, *others), REPORTS)
    groups = findings_in(message)
    assert header(message) == "5,000 new beaconing processes on 4,981 Macs: more than usual"
    assert groups[0].startswith("4,981 × agentd → 203.0.113[.]47 on 4,981 Macs\nno signature · ")
    assert len(groups) == 5
    told = sum(int(group.partition(" ")[0].replace(",", "")) for group in groups)
    assert f"{5_000 - told} others: {5_000 - told} high." in message.text
    assert "all 5,000 are in the report" in message.text
    assert message.replies == ()


CHANGED = {"status": Status.CONTINUING, "changed_binary": True}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([CHANGED] * 214, "214 known programs with a changed binary: more than usual"),
        (
            [{}] * 212 + [CHANGED] * 30,
            "212 new beaconing processes on 212 Macs, 30 known programs with a changed binary: "
            "more than usual",
        ),
    ],
    ids=["changed", "both"],
)
def test_a_flood_says_what_it_is_of(told: list[dict[str, Any]], words: str):
    """An update of two hundred known programs is nothing new, in no line of the message."""
    of = digest(*(announced(number, **changes) for number, changes in enumerate(told)))
    message = composed(of, REPORTS)
    assert header(message) == words
    assert f"200 findings at once are shown in groups: all {len(told)} are in" in message.text
    assert "new finding" not in message.text


@pytest.mark.parametrize("new", [0, 1, 10, 11, 50, 200, 201, 5_000])
def test_hostile_names_break_no_limit_and_lose_no_finding(new: int):
    """Whatever a process calls itself, the digest is one that Slack takes, and its counts hold."""
    failed = SILENT_FOR_A_REASON["failed"][0]
    of = digest(*map(hostile, range(new)), clusters=(searched(), failed))
    message = composed(of, REPORTS)
    assert violations(message, [REPORTS]) == ()
    if new <= 200:
        told = sum(len(findings_in(part)) for part in parts(message))
        more = re.search(r"(\d+) more in the report", message.text)
        assert told + int(more[1] if more else 0) == new


@pytest.mark.parametrize("new", [1, 50, 201])
def test_other_readers_of_slacks_blocks_read_ours_back_unchanged(new: int):
    """Slack's own library knows every block; slackblocks, by other hands, all but rich text."""
    message = composed(digest(*map(hostile, range(new))), REPORTS)
    blocks = [dict(block) for part in parts(message) for block in part.blocks]
    assert [block.to_dict() for block in SdkBlock.parse_all(blocks)] == blocks
    plain = [block for block in blocks if block["type"] != "rich_text"]
    assert [json.loads(repr(OtherBlock.from_dict(block))) for block in plain] == plain


@pytest.fixture(scope="module")
def block_kit(tmp_path_factory: pytest.TempPathFactory) -> Draft7Validator:
    """Slack's own types of blocks, as a JSON Schema."""
    if shutil.which("npm") is None:
        pytest.skip("Slack publishes its types for npm, which is not here.")
    return Draft7Validator(generate(tmp_path_factory.mktemp("block-kit")))


@pytest.mark.parametrize("new", [0, 1, 10, 11, 50, 200, 201, 5_000])
def test_slacks_own_types_have_a_place_for_every_block(block_kit: Draft7Validator, new: int):
    """Nothing is missing, nothing is too much, whatever the names are."""
    failed = SILENT_FOR_A_REASON["failed"][0]
    linked = [replace(hostile(number), run=run(kibana_url=KIBANA)) for number in range(new)]
    message = composed(digest(*linked, clusters=(searched(), failed)), REPORTS)
    blocks = [block for part in parts(message) for block in part.blocks]
    assert [error.message for block in blocks for error in block_kit.iter_errors(block)] == []


def test_slacks_own_types_refuse_what_is_no_block(block_kit: Draft7Validator):
    """Else the rule above would say nothing."""
    (header, *_), *_ = [part.blocks for part in parts(composed(digest(announced(1))))]
    assert block_kit.is_valid(header)
    for broken in ({"type": "heading"}, {"text": None}, {"txt": "x"}):
        assert not block_kit.is_valid(header | broken)


text = st.text(max_size=300) | st.sampled_from(HOSTILE)


@settings(max_examples=examples(60))
@given(
    texts=st.lists(st.tuples(text, text, text, text), max_size=14),
    clusters=st.lists(
        st.tuples(st.from_regex(r"[a-z0-9]{1,80}", fullmatch=True), st.sampled_from(Outcome)),
        min_size=1,
        max_size=12,
    ),
    linked=st.booleans(),
)
def test_no_text_makes_a_digest_that_slack_refuses(
    texts: list[tuple[str, str, str, str]], clusters: list[tuple[str, Outcome]], linked: bool
):
    """Not any name, host, address or cluster, alone or together."""
    new = [
        Announcement(
            replace(
                finding(f"mac-{n}", status=Status.CONTINUING, changed_binary=True),
                host=Host(name=host),
                process=Process(name=name, executable=path),
                destination=NetworkDestination(address=address, ports=(1, 22, 333, 4_444)),
                faults=("not enriched: no answer",),
            ),
            run(day(-n)),
        )
        for n, (host, name, path, address) in enumerate(texts)
    ]
    days = tuple(searched(name, outcome=outcome, coverage=BLIND) for name, outcome in clusters)
    of = digest(
        *new, clusters=days, baselines=tuple(new), may_repeat=day(-1), undelivered=(day(-2),)
    )
    base = REPORTS if linked else None
    message = composed(of, base)
    assert violations(message, [base] if base else []) == ()
    assert sum(len(findings_in(part)) for part in parts(message)) == len(new)


# How a finding is told


def test_a_finding_is_told_with_all_that_a_first_look_needs():
    """Who reads the digest knows which program on which Mac calls whom, how often, since when."""
    counted_by_the_hunt = {"duration_hours": 168, "number_of_con_per_hour": 136}
    new = announced(1, priority=Priority.HIGH, figures=counted_by_the_hunt)
    (told,) = findings_in(composed(digest(new)))
    told_id = new.finding.id
    assert told == (
        "HIGH updater on mac-1.example → 203.0.113[.]47:443\n"
        "no signature · 168 of 168 h · 136 events/h (120 connections/h) · every 30 s ± 3 % · "
        f"demo-eu · first seen 24 Nov 06:00 · {told_id}"
    )


def test_a_finding_without_evidence_is_told_by_the_figures_of_its_hunt():
    """A finding that could not be scored is announced all the same, and says that it lacks that."""
    faults = (f"{NO_EVIDENCE}: corp: no answer.", f"{NOT_ENRICHED}: {LEFT_OUT}")
    bare = announced(1, evidence=None, faults=faults, priority=None)
    (told,) = findings_in(composed(digest(bare)))
    assert told.startswith("UNRATED updater on ")
    assert "no signature · 168 h · demo-eu" in told
    assert " · no connection times · " in told
    for elsewhere in ("no answer", "not enriched"):  # In the report; and chosen by the hunt.
        assert elsewhere not in told


def test_the_highest_priority_comes_first_whatever_the_order_of_runs():
    """The first line of the morning is the one that matters most."""
    order = [Priority.LOW, None, Priority.HIGH, Priority.MEDIUM]
    new = [announced(n, priority=priority) for n, priority in enumerate(order)]
    told = findings_in(composed(digest(*new)))
    assert [line.partition(" ")[0] for line in told] == ["HIGH", "MEDIUM", "LOW", "UNRATED"]


def test_a_finding_of_an_older_run_carries_the_date_of_its_run():
    """After days without Slack nobody takes an old finding for today's."""
    old = announced(1, run(day(-3)), first_seen=day(-3))
    today, before = findings_in(composed(digest(announced(2), old)))
    assert "from the run of 21 Nov 06:00" in before
    assert "from the run" not in today


def test_a_changed_binary_is_announced_as_such():
    """A known program with a new hash is news of another kind than a new program."""
    changed = announced(1, status=Status.CONTINUING, changed_binary=True, first_seen=day(-9))
    message = composed(digest(changed, announced(2), announced(3)))
    assert header(message) == (
        "2 new beaconing processes on 2 Macs, 1 known program with a changed binary"
    )
    assert "MEDIUM changed binary updater on mac-1.example" in message.text
    assert header(composed(digest(changed))) == "1 known program with a changed binary"


def test_a_program_that_is_back_after_long_is_announced_as_such():
    """With the day since which it was away."""
    back = announced(1, status=Status.RETURNED, away_since=day(-40), first_seen=day(-90))
    message = composed(digest(back, announced(2)))
    assert header(message) == "1 new beaconing process on 1 Mac, 1 back after long"
    assert "MEDIUM returned updater on mac-1.example" in message.text
    assert "first seen 26 Aug 06:00 · away since 15 Oct 06:00" in message.text


@pytest.mark.parametrize(
    ("destination", "shown"),
    [
        (NetworkDestination("203.0.113.47", ports=(443,)), "203.0.113[.]47:443"),
        (NetworkDestination("2001:db8::1", ports=(443,)), "[2001[:]db8::1]:443"),
        (
            NetworkDestination("c2.evil.example", ports=(80, 443, 8443, 9001)),
            "[.]example:80,443,8443 +1",
        ),
        (NetworkDestination(ip="203.0.113.47"), "203.0.113[.]47"),
        (NetworkDestination("http://c2.evil"), "http[:]//c2[.]evil"),
        (NetworkDestination(), "unknown address"),
    ],
)
def test_no_destination_can_be_clicked(destination: NetworkDestination, shown: str):
    """Nobody visits a command-and-control server by a slip of the finger."""
    message = composed(digest(announced(1, destination=destination)), REPORTS)
    assert shown in message.text
    assert shown in findings_in(message)[0]
    if destination.address:
        assert destination.address not in everything(message)


def test_names_stay_data_and_mention_nobody():
    """A process called `<!channel>` wakes nobody up, and the reader sees its name as it is."""
    message = composed(digest(announced(1, process=Process(name="<!channel> *x*"))))
    assert "<!channel> *x*" in findings_in(message)[0]
    assert "&lt;!channel&gt; *x*" in message.text
    assert "<!channel>" not in message.text


def test_what_cannot_be_seen_is_shown_and_what_is_long_is_cut():
    """A right-to-left override does not turn a name around, nor 100 kB push the rest away."""
    names = ("Invoice\u202efdp.app", "x" * 100_000)
    overridden, long = (announced(n, process=Process(name=name)) for n, name in enumerate(names))
    first, second = findings_in(composed(digest(overridden, long)))
    assert r"Invoice\u202efdp.app on" in first
    assert f"{'x' * 59}… on" in second


@pytest.mark.parametrize("name", HOSTILE)
def test_the_header_holds_no_data_from_events(name: str):
    """What pops up on a locked phone is ours word for word."""
    told = announced(1, process=Process(name=name), host=Host(id="a", name=name))
    assert header(composed(digest(told))) == "1 new beaconing process on 1 Mac"


def test_ids_link_into_the_report_only_where_people_can_open_it():
    """A link goes to the finding's place in its run's report; without an address there is none."""
    told = announced(1)
    place = f"{REPORTS}/{told.run.folder}/report.html#{told.finding.id}"
    assert place in everything(composed(digest(told), REPORTS))
    assert place in everything(composed(digest(told), f"{REPORTS}/"))
    assert "://" not in everything(composed(digest(told)))


def test_the_text_tells_every_finding_of_its_message():
    """Who only gets the notification misses nothing that the channel shows."""
    message = composed(digest(*map(announced, range(25))), REPORTS)
    told = [line for part in parts(message) for line in part.text.splitlines()]
    for number in range(25):
        assert sum(announced(number).finding.id in line for line in told) == 1


def test_each_part_can_be_found_again_by_the_digests_id():
    """After a lost receipt the ledger looks for the id, and compares the payload's hash."""
    message = composed(digest(*map(announced, range(25)), baselines=(announced(99),)))
    payloads = [part.metadata["event_payload"] for part in parts(message)]
    assert {part.metadata["event_type"] for part in parts(message)} == {"beaconhunt_digest"}
    assert [payload["part"] for payload in payloads] == [1, 2, 3]
    assert payloads[0] == {
        "digest_id": "0a1b2c3d4e5f",
        "part": 1,
        "new": 25,
        "baseline": 1,
        "ended": 0,
        "payload_hash": message.payload_hash,
    }


def test_a_part_says_which_findings_it_tells():
    """When a thread breaks off, the ledger knows what the reader has not got."""
    new = tuple(map(announced, range(60)))
    message = composed(digest(*new))
    told = [each for part in parts(message) for each in part.announcements]
    assert [len(part.announcements) for part in parts(message)] == [10] * 5
    assert told == list(new[:50])


def test_the_same_day_gives_the_same_message():
    """What is composed again after a crash is what was composed before it."""
    new: list[Finding] = [hostile(number).finding for number in range(30)]
    of = digest(*(Announcement(each, run()) for each in new))
    assert composed(of, REPORTS) == composed(of, REPORTS)


def test_healthy_coverage_is_no_warning():
    """A cluster whose agents send everything is not called blind."""
    healthy = searched(coverage=coverage())
    assert compose_message(digest(clusters=(healthy,)), report_base_url=None) is None


def test_a_cluster_whose_events_ended_says_only_what_is_not_known():
    """What its old events still show may be new, and is told."""
    cluster, _ = SILENT_FOR_A_REASON["no data"]
    message = composed(digest(announced(1), clusters=(searched(), cluster)))
    assert "What happened there since is not known." in message.text
    assert "are not in this message" not in message.text


def test_a_finding_links_to_its_events_in_kibana_if_people_have_one():
    """And nowhere else than to the reports and that Kibana."""
    told = announced(1, run(kibana_url=KIBANA))
    message = composed(digest(told), REPORTS)
    assert f'"url": "{KIBANA}/app/discover#/?_g=' in everything(message)
    assert violations(message, (REPORTS, KIBANA)) == ()
    assert violations(message, (REPORTS,)) != ()
    assert "Kibana" not in everything(composed(digest(announced(1)), REPORTS))


def test_hostile_findings_with_links_stay_within_every_limit():
    """Ten findings with long links may need more than one message, and none is lost."""
    linked = [replace(hostile(number), run=run(kibana_url=KIBANA)) for number in range(50)]
    message = composed(digest(*linked), REPORTS)
    assert violations(message, (REPORTS, KIBANA)) == ()
    assert sum(len(findings_in(part)) for part in parts(message)) == 50


STREAM = StreamEvents("logs-endpoint.events.network-default", 400, 400, 400, 200)
NAMED = HostSample(2, ("mac-<!channel>*a*", "mac-`b`.example"))

FAULTY = {
    Fault.BLIND: (
        "demo-eu is blind on some Macs: some agents drop repeated network events (1 of 2 ",
        {"version": "9.1.2", "single_event_groups": 77_500},
    ),
    Fault.SEVERAL: (
        "demo-eu is blind to some events: 50 of 200 events (25%; event.category: 50) have several ",
        {"candidates": 200, "unjudged": 50, "several": (FieldEvents("event.category", 50),)},
    ),
    Fault.OUTSIDE: (
        'demo-eu: 100 of 200 events (50%; host.os.family == "macos": 100) miss the hunt',
        {
            "candidates": 100,
            "strays": 100,
            "conditions": (ConditionEvents('host.os.family == "macos"', 100, 100),),
        },
    ),
    Fault.STOPPED: (
        "demo-eu: 30 of 60 Macs, silent for at least 24 hours (mac-1 and 29 more), sent events ",
        {"stopped": HostSample(30, ("mac-1",))},
    ),
    Fault.AHEAD: (
        "demo-eu: 9 events of 2 Macs (mac-<!channel>a, mac-'b'.example) came with a time",
        {"ahead": NAMED, "ahead_events": 9},
    ),
    Fault.CLONED: (
        "demo-eu: 2 values of host.id (mac-<!channel>a, mac-'b'.example) had several agents",
        {"cloned": NAMED},
    ),
    Fault.TWICE: (
        "demo-eu: 200 of 400 events (50%; logs-endpoint.events.network-default: 50%, rates 2.0 "
        "times as high) came again ",
        {"streams": (STREAM,)},
    ),
    Fault.MERGED: (
        "demo-eu: some agents now send an attempt and its disconnect as one event (1 of 2 ",
        {"merged_events": 310_000},
    ),
    Fault.NO_SIGNATURE: (
        "demo-eu: some agents now send events without any code signature (1 of 2 versions), ",
        {"unsigned_unknown_events": 310_000},
    ),
}


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_in_telemetry_is_one_warning_with_its_effect_and_remedy(fault: Fault):
    """The reader learns what a hunt may miss there, and which setting helps."""
    start, changes = FAULTY[fault]
    (agent,) = coverage().agents
    faulty = (
        replace(coverage(), agents=(agent, replace(agent, **changes)))
        if fault in OF_AGENTS
        else replace(coverage(), scrutiny=scrutiny(**changes))
    )
    message = composed(digest(clusters=(searched(coverage=faulty),)))
    (warning,) = (plain_text(block) for block in message.blocks if block["type"] == "section")
    description = FAULTS[fault]
    assert warning.startswith(start)
    assert warning.endswith(f"so {description.effect}. {description.remedy.replace('`', '')}")
    assert violations(message) == ()


def test_events_outside_the_hunt_s_population_are_not_called_no_data():
    """The agents do send: whoever looks at them looks in the wrong place."""
    came = scrutiny(
        conditions=(ConditionEvents('host.os.family == "macos"', 0, 0, (("macOS", 620_000),)),)
    )
    seen = Coverage(0, 0, None, scrutiny=came)
    unmatched = searched("prod-us", outcome=Outcome.NO_DATA, coverage=seen)
    message = composed(digest(clusters=(unmatched,)))
    (warning,) = (plain_text(block) for block in message.blocks if block["type"] == "section")
    assert warning.startswith(
        "prod-us has no event for its hunt: 620,000 events came, none with "
        'host.os.family == "macos" (macOS: 620,000) ('
    )
    assert "correct population and the query in the hunt" in warning


def test_an_acknowledgement_that_ended_is_one_line():
    """A day on which nothing else is new has a message for it, which says who, why and what."""
    message = compose_message(digest(ended=(over(announced(1)),)), report_base_url=REPORTS)
    header, _, line, *links = map(plain_text, message.blocks)
    assert header == "1 acknowledgement ended, still active"
    assert line == (
        "Acknowledgement ended, still active: updater on mac-1.example → 203.0.113[.]47:443 · "
        f"by ada until 24 Nov 2026 06:00 UTC: Our own agent, not signed yet. · "
        f"{finding('mac-1').id}"
    )
    assert len(links) == 1
    assert f"{REPORTS}/{run().folder}/report.html#{finding('mac-1').id}" in str(message.blocks)


def test_one_for_every_host_counts_them():
    """Not a line a host."""
    still = [announced(number) for number in range(40)]
    message = compose_message(digest(ended=(over(*still, everywhere=True),)), report_base_url=None)
    assert "still active: updater on 40 Macs → " in message.text
    assert message.text.count("Acknowledgement ended") == 1


def test_who_ended_it_before_its_time_is_said():
    """The team asks that person."""
    taken_back = over(announced(1), ended_at=day(-1), ended_by="kim")
    message = compose_message(digest(ended=(taken_back,)), report_base_url=None)
    assert "by ada, ended by kim on 23 Nov 2026 06:00 UTC" in message.text


def test_ends_stand_before_new_findings_and_are_not_counted_with_them():
    """The headline counts what is new; what is muted is a count beside what was searched."""
    day_of_all = digest(announced(1), ended=(over(announced(2)),), acknowledged=7)
    message = compose_message(day_of_all, report_base_url=None)
    assert [plain_text(block).splitlines()[0] for block in message.blocks] == [
        "1 new beaconing process on 1 Mac",
        "Tue 24 Nov 2026 · events of 17 Nov 06:00 to 24 Nov 06:00 UTC · 1 of 1 cluster searched · "
        "7 acknowledged",
        plain_text(message.blocks[2]),
        "MEDIUM updater on mac-1.example → 203.0.113[.]47:443",
    ]
    assert plain_text(message.blocks[2]).startswith("Acknowledgement ended, still active: updater")


def test_findings_that_are_acknowledged_make_no_message():
    """That is what the word is for."""
    assert compose_message(digest(acknowledged=7), report_base_url=None) is None


@pytest.mark.parametrize("count", [1, 3, 4, 50])
def test_many_ends_with_hostile_words_break_no_limit_and_are_counted(count: int):
    """Whatever an analyst wrote, and however many warnings stand above it."""
    words = "".join(HOSTILE)
    ends = tuple(over(hostile(number), by=words, why=words) for number in range(count))
    clusters = tuple(late(f"cluster-{number}-{'x' * 60}") for number in range(20))
    of_all = digest(*map(hostile, range(50)), ended=ends, clusters=clusters)
    message = compose_message(of_all, report_base_url=REPORTS)
    assert violations(message, [REPORTS]) == ()
    singly = message.text.count("Acknowledgement ended, still active: ")
    counted = re.search(r"(\d+) acknowledgements? ended, still active: named", message.text)
    assert singly + (int(counted.group(1)) if counted else 0) == count


def test_every_time_is_in_the_destinations_zone():
    """Readers in Tokyo see their own clock and day."""
    of = digest(
        Announcement(finding(first_seen=SLOT - timedelta(days=3)), run()),
        slot=SLOT.replace(hour=20),
        time_zone="Asia/Tokyo",
        may_repeat=SLOT.replace(hour=20) - timedelta(days=1),
        undelivered=(SLOT.replace(hour=20) - timedelta(days=2),),
        clusters=(
            replace(
                searched(),
                run=None,
                last_searched=SLOT,
                gaps=(DayGap(SLOT.replace(hour=20), CoverageGap.LATE),),
            ),
        ),
    )
    text = composed(of, REPORTS).text
    assert "Wed 25 Nov 2026" in text
    assert "may repeat the one for 24 Nov 05:00 JST" in text
    assert "The digest for Mon 23 Nov was not delivered" in text
    assert "has not been searched since 24 Nov 15:00 JST" in text
    assert "first seen 21 Nov 15:00" in text
    assert "report of demo-eu, 24 Nov 15:00" in text
    assert "UTC" not in text
