"""What channels hold after any sequence of runs, words, digests, crashes and outages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from tasks import post
from tasks.collect import collect_digest
from tasks.errors import (
    AcknowledgementError,
    ChannelUnreadable,
    ReceiptLost,
    SlackError,
    SlackRefused,
    SlackUnreachable,
    Unreachable,
)
from tasks.history import History, Ledger, Unsettled
from tasks.history import ledger as ledgers
from tasks.history.database import Database, connect_database
from tasks.history.models import Base
from tasks.history.sightings import news_key
from tasks.model.digests import Announcement, Digest, Medium
from tasks.model.findings import Disposition, Status
from tasks.model.runs import Outcome, Plan, new_run_id
from tasks.post import deliver, look_up
from tasks.record import not_searched_report
from tasks.settings import Destination
from tasks.settle import status_after
from tasks.slack.channel import Channel
from tasks.slack.compose import compose_message
from tasks.slack.message import Message
from tests.builders import HUNT, day
from tests.effort import examples
from tests.searching import row, searched

AWAY = timedelta(days=3)
"""A finding that was away for so long is announced again."""

CLUSTERS = ("eu", "us")
HOSTS = ("mac-a", "mac-b", "mac-c")
CROWD = tuple(f"mac-{number}" for number in range(11))
"""More than a message holds."""

BINARY, OTHER = "1" * 64, "2" * 64

UNKNOWN = "BH-NONE"

Place = tuple[str, str]
"""A cluster and a host: what tells this test's findings apart."""

News = tuple[Place | int, str]
"""What a channel hears once: of a place that it is news, of a word that it ended."""


class Killed(BaseException):
    """The process is gone: nothing after this is done."""


@dataclass
class Slack:
    """A channel that does to each post what its script says; then everything is well.

    Attributes:
        posts: digest and part of each message in it.
        receipts: of which of them the sender has one.
    """

    readable: bool
    script: list[str] = field(default_factory=list)
    posts: list[tuple[str, Message]] = field(default_factory=list)
    receipts: list[bool] = field(default_factory=list)

    def post(self, part: Message, thread_ts: str | None = None) -> str:  # noqa: ARG002 - of a Channel.
        fate = self.script.pop(0) if self.script else "taken"
        if fate == "killed before":
            raise Killed
        if fate == "refused":
            raise SlackRefused("No.", "Ask.")
        if fate == "unreachable":
            raise SlackUnreachable("Down.", "Wait.")
        if fate != "dropped":
            self.posts.append((part.metadata["event_payload"]["digest_id"], part))
            self.receipts.append(fate == "taken")
        if fate == "killed after":
            raise Killed
        if fate in {"dropped", "taken and dropped"}:
            raise ReceiptLost("No answer.", "Look.")
        return f"{len(self.posts)}.0"

    def find(self, digest_id: str, since: datetime, thread_ts: str | None = None):  # noqa: ARG002 - of a Channel.
        if not self.readable:
            raise ChannelUnreadable("Not for you.", "Ask.")
        return {
            part.metadata["event_payload"]["part"]: f"{place}.0"
            for place, (id, part) in enumerate(self.posts, 1)
            if id == digest_id
        }


FATES = [
    "taken",
    "killed before",
    "killed after",
    "refused",
    "unreachable",
    "dropped",
    "taken and dropped",
]


@dataclass
class Sight:
    """What one run says of one place."""

    binary: str | None
    changed: bool
    news: str | None = None


@dataclass
class Word:
    """What somebody said of a place, or of every place."""

    key: int
    place: Place
    everywhere: bool
    binary: str | None
    end: datetime

    def is_replaced_by(self, other: Word) -> bool:
        same_place = self.everywhere or self.place == other.place
        same_scope = self.everywhere == other.everywhere and same_place
        return same_scope and self.binary == other.binary

    def covers(self, place: Place, sight: Sight, binary: str | None) -> bool:
        known = {self.binary, binary}
        same = len(known) == 1 or (None in known and not sight.changed)
        return same and (self.everywhere or self.place == place)


@dataclass
class Listener:
    """A destination: what it may hear, and the channel in which it hears it."""

    destination: Destination
    slack: Slack
    since: datetime | None = None
    digests: dict[str, Digest] = field(default_factory=dict)

    @property
    def told(self) -> set[News]:
        """What the ledger knows to be in it: all, where it can look, else what has a receipt."""
        return {
            said
            for part, receipt in enumerate(self.slack.receipts)
            if receipt or self.slack.readable
            for said in self.of_part(part)
        }

    def of_part(self, part: int) -> list[News]:
        """Give what a post tells: a reply its own, the message all the rest, if only as a count."""
        id, message = self.slack.posts[part]
        if message.metadata["event_payload"]["part"] > 1:
            return [said_of(each) for each in message.announcements]
        elsewhere = [each for reply in message.replies for each in reply.announcements]
        digest = self.digests[id]
        here = [said_of(each) for each in digest.announcements if each not in elsewhere]
        return here + ends_of(digest)


@dataclass
class Model:
    """What must be known: every run by cluster and slot, and every word."""

    outcomes: dict[tuple[str, datetime], Outcome] = field(default_factory=dict)
    seen: dict[tuple[str, datetime], dict[str, Sight]] = field(default_factory=dict)
    described: dict[Place, tuple[datetime, str | None]] = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)

    def run(
        self, cluster: str, slot: datetime, outcome: Outcome, binaries: Mapping[str, str | None]
    ) -> dict[str, Disposition]:
        """Record a run, unless its slot has one that says more; give what comes of each host."""
        comparable = self.seen[cluster, self.comparable(cluster, slot - timedelta(seconds=1))]
        sights, dispositions = {}, {}
        for host, binary in binaries.items():
            earlier = [each for each in self.sights((cluster, host)) if each[0] < slot]
            known = next((sight.binary for _, sight in reversed(earlier) if sight.binary), None)
            sight = Sight(binary, changed=None not in {binary, known} and binary != known)
            if not earlier:
                sight.news = "found"
            elif sight.changed:
                sight.news = f"changed:{binary}"
            elif host not in comparable and slot - earlier[-1][0] >= AWAY:
                sight.news = f"returned:{earlier[-1][0].isoformat()}"
            disposition = Disposition.CONTINUING if host in comparable else Disposition.RETURNED
            if sight.news:
                disposition = Disposition.ANNOUNCED
            if self.muted((cluster, host), sight, binary, slot):
                disposition, sight.news = Disposition.ACKNOWLEDGED, None
            sights[host], dispositions[host] = sight, disposition
        last = self.outcomes.get((cluster, slot))
        if last is None or outcome.rank >= last.rank:
            self.outcomes[cluster, slot], self.seen[cluster, slot] = outcome, sights
            for host, binary in binaries.items():
                if self.described.get((cluster, host), (slot, binary))[0] <= slot:
                    self.described[cluster, host] = (slot, binary)
        return dispositions

    def sights(self, place: Place) -> list[tuple[datetime, Sight]]:
        """Give what runs say of a place, by slot."""
        return [
            (slot, sights[place[1]])
            for (cluster, slot), sights in sorted(self.seen.items())
            if cluster == place[0] and place[1] in sights
        ]

    def comparable(self, cluster: str, until: datetime) -> datetime:
        return max(
            slot
            for (whose, slot), outcome in self.outcomes.items()
            if whose == cluster and slot <= until and outcome.comparable
        )

    def last_word(self, place: Place, sight: Sight, binary: str | None) -> Word | None:
        covering = [word for word in self.words if word.covers(place, sight, binary)]
        return max(covering, key=lambda word: (word.end, word.key), default=None)

    def muted(self, place: Place, sight: Sight, binary: str | None, slot: datetime) -> bool:
        word = self.last_word(place, sight, binary)
        return word is not None and slot < word.end

    def binary(self, place: Place, sight: Sight) -> str | None:
        """Give the binary that a digest takes a run to have seen."""
        return sight.binary or self.described[place][1]

    def pending(self, listener: Listener, slot: datetime) -> set[News]:
        """Give what is news in a run that the destination hears of, not muted, and not told."""
        assert listener.since
        return {
            ((cluster, host), sight.news)
            for (cluster, at), sights in self.seen.items()
            if cluster in listener.destination.clusters and listener.since < at <= slot
            for host, sight in sights.items()
            if sight.news
            and not self.muted((cluster, host), sight, self.binary((cluster, host), sight), at)
        } - listener.told

    def ends(self, listener: Listener, slot: datetime) -> set[News]:
        """Give the words that are over while what they covered, and no other does, goes on."""
        assert listener.since
        over = set()
        for place in self.described:
            sights = [each for each in self.sights(place) if each[0] <= slot]
            if place[0] in listener.destination.clusters and sights:
                (first, _), (last, sight) = sights[0], sights[-1]
                word = self.last_word(place, sight, self.binary(place, sight))
                heard = word and max(first, listener.since) < word.end <= slot
                if word and heard and last >= self.comparable(place[0], slot):
                    over.add((word.key, "ended"))
        return over - listener.told


def said_of(told: Announcement) -> News:
    finding = told.finding
    return (finding.cluster, str(finding.host.id)), str(news_key(finding))


def ends_of(digest: Digest) -> list[News]:
    return [(each.acknowledgement.key, "ended") for each in digest.ended]


def fault_of(step, *arguments: object) -> SlackError | None:
    try:
        step(*arguments)
    except SlackError as fault:
        return fault
    return None


def settle(ledger: Ledger, digest: Unsettled, fault: SlackError | None) -> None:
    status = status_after(fault, in_channel=ledger.unsettled(digest).in_channel)
    if status:
        ledger.settle(digest, status)
    else:
        ledger.release(digest)


class Days:
    """Two clusters whose first runs found nothing, and the channels of two destinations.

    One hears of both clusters from the first day on, and can be looked into. The other hears of
    the second cluster, since its first digest.
    """

    def __init__(self, database: Database) -> None:
        with database.writing() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))
        self.history = History(database)
        self.model = Model()
        self.listeners = (
            Listener(Destination(name="soc", channel="C1", clusters=CLUSTERS), Slack(True)),
            Listener(Destination(name="us", channel="C2", clusters=CLUSTERS[1:]), Slack(False)),
        )
        self.ids: dict[Place, str] = {}
        self.today, self.now = 0, day(0)
        self.digest(0)
        for cluster in CLUSTERS:
            self.history.record(searched(self.history, self.plan(cluster, day(0)), ()))
            self.model.outcomes[cluster, day(0)] = Outcome.BASELINE
            self.model.seen[cluster, day(0)] = {}

    def plan(self, cluster: str, slot: datetime) -> Plan:
        return Plan(
            new_run_id(),
            HUNT,
            cluster,
            slot,
            stale_after_hours=6,
            started_at=datetime.now(UTC),
            announce_returned_after_days=AWAY.days,
        )

    def pass_days(self, number: int) -> None:
        self.today += number
        self.now = day(self.today)

    def run(
        self, cluster: str, outcome: Outcome, binaries: Mapping[str, str | None], back: int = 0
    ) -> None:
        """Run today's slot or an older one: late, or again after a crash or a fault.

        The run says of every candidate what comes of it, and records that.
        """
        plan = self.plan(cluster, day(max(self.today - back, 1)))
        if outcome is Outcome.FAILED:
            report, binaries = not_searched_report(plan, Unreachable("It is away.", "Wait.")), {}
        else:
            rows = [row(host, binary=binary) for host, binary in binaries.items()]
            report = searched(self.history, plan, rows, outcome)
        there = [each for each in report.findings if each.status is not Status.QUIET]
        expected = self.model.run(cluster, plan.slot, outcome, binaries)
        assert {str(each.host.id): each.disposition for each in there} == expected
        if self.history.record(report):
            self.ids |= {(cluster, str(each.host.id)): each.id for each in there}
            recorded = {each.run.id: each for each in self.history.runs(cluster)}[plan.run_id]
            assert sum(recorded.counts.values()) + recorded.acknowledged == len(report.findings)

    def acknowledge(self, place: Place, days: int, *, everywhere: bool) -> None:
        """Until the very slot of a later day's run."""
        until = day(self.today + days)
        try:
            word, _ = self.history.acknowledgements.give(
                self.ids.get(place, UNKNOWN),
                by="ada",
                why="Ours.",
                until=until,
                everywhere=everywhere,
                now=self.now,
            )
        except AcknowledgementError:
            assert place not in self.ids
            return
        seen = [sight.binary for _, sight in self.model.sights(place) if sight.binary]
        given = Word(word.key, place, everywhere, seen[-1] if seen else None, until)
        for earlier in self.model.words:
            if earlier.is_replaced_by(given):
                earlier.end = min(earlier.end, self.now)
        self.model.words.append(given)

    def take_back(self, place: Place) -> None:
        mine = [word for word in self.model.words if word.place == place and self.now < word.end]
        id = self.ids.get(place, UNKNOWN)
        try:
            withdrawn = self.history.acknowledgements.end(id, by="kim", now=self.now)
        except AcknowledgementError:
            assert not mine
            return
        assert {word.key for word in withdrawn.words} == {word.key for word in mine}
        for word in mine:
            word.end = self.now

    def digest(self, whose: int, script: Sequence[str] = (), *, killed: bool = False) -> None:
        """Tell what is pending, as far as it comes, and see that it is what must be.

        Args:
            whose: of which listener.
            script: what becomes of its posts.
            killed: before it could be settled.
        """
        listener = self.listeners[whose]
        listener.slack.script = list(script)
        listener.since = listener.since or self.now - timedelta(days=1)
        channel, destination = cast("Channel", listener.slack), listener.destination
        ledger = self.history.ledger(destination, Medium.SLACK)
        ledger.start_scope(self.now)
        with suppress(Killed):
            if lost := ledger.take_over():
                settle(ledger, lost, fault_of(look_up, channel, ledger, lost))
            digest = collect_digest(ledger, destination, Medium.SLACK, self.now)
            assert set(map(said_of, digest.announcements)) == self.model.pending(listener, self.now)
            assert set(ends_of(digest)) == self.model.ends(listener, self.now)
            if message := compose_message(digest, report_base_url=None):
                listener.digests[digest.id] = digest
                begun = ledger.begin(digest, message.outline)
                fault = fault_of(deliver, channel, ledger, begun, message)
                if not killed:
                    settle(ledger, begun, fault)

    def end(self) -> None:
        """See that days later, when everything works, nothing is left to tell or told twice."""
        self.pass_days(5)
        for whose, listener in enumerate(self.listeners):
            self.digest(whose)
            left = self.history.ledger(listener.destination, Medium.SLACK).pending(self.now)
            assert (left.announcements, left.ended) == ((), ())
            heads: dict[str, str] = {}
            times: dict[News, list[bool]] = defaultdict(list)
            for number, (id, part) in enumerate(listener.slack.posts):
                head = heads.setdefault(id, part.text)
                for said in listener.of_part(number):
                    times[said].append("may repeat" in head)
            for _, *again in times.values():
                assert all(again)
                assert not again or not listener.slack.readable


clusters = st.sampled_from(CLUSTERS)
places = st.tuples(clusters, st.sampled_from(HOSTS))
outcomes = st.sampled_from([*[Outcome.COMPLETE] * 3, Outcome.PARTIAL, Outcome.FAILED])
ABSENT = "absent"
programs = st.fixed_dictionaries(
    dict.fromkeys(HOSTS, st.sampled_from([BINARY, BINARY, OTHER, None, ABSENT]))
).map(lambda each: {host: binary for host, binary in each.items() if binary != ABSENT})
crowds = st.sampled_from([{}, {}, {}, dict.fromkeys(CROWD, BINARY)])
binaries = st.tuples(programs, crowds).map(lambda two: two[0] | two[1])


def does(act: Callable[..., None], **arguments: st.SearchStrategy) -> st.SearchStrategy[partial]:
    return st.builds(partial, st.just(act), **arguments)


def runs(whose: st.SearchStrategy[str], back: st.SearchStrategy[int]) -> st.SearchStrategy[partial]:
    return does(Days.run, cluster=whose, outcome=outcomes, binaries=binaries, back=back)


digests = does(
    Days.digest,
    whose=st.sampled_from([0, 1]),
    script=st.lists(st.sampled_from(FATES), min_size=1, max_size=5),
    killed=st.booleans(),
)
acts = st.one_of(
    digests,
    digests,
    does(Days.acknowledge, place=places, days=st.integers(1, 4), everywhere=st.booleans()),
    does(Days.take_back, place=places),
    runs(clusters, st.sampled_from([0, 1, 2, 4])),
)
mornings = st.tuples(*(runs(st.just(each), st.just(0)) for each in CLUSTERS))
days = st.tuples(mornings | st.just(()), st.lists(acts, max_size=6), st.sampled_from([1, 1, 1, 2]))


def test_every_finding_is_told_once_unless_it_is_acknowledged(history_url: str):
    """Whatever happens on the way; without the scope to look a repetition says that it is one."""
    with (
        patch.object(post, "SECONDS_BETWEEN_ATTEMPTS", 0),
        patch.object(ledgers, "LEASE", timedelta(0)),
        connect_database(history_url) as database,
    ):

        @settings(max_examples=examples(40, history_url))
        @given(st.lists(days, min_size=3, max_size=5))
        def check(sequence) -> None:
            those = Days(database)
            for morning, then, later in sequence:
                those.pass_days(later)
                for act in (*morning, *then):
                    those.now += timedelta(minutes=1)
                    act(those)
            those.end()

        check()
