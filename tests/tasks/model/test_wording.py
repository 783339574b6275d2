from dataclasses import replace

import pytest

from tasks.model.findings import Host, NetworkDestination, Status
from tasks.model.hunts import Nouns
from tasks.model.wording import (
    destination_words,
    host_count,
    on_hosts,
    period_words,
    priorities_words,
    rate_words,
)
from tests.builders import evidence, finding

MACS = Nouns(host=("Mac", "Macs"))


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        (NetworkDestination(), ""),
        (NetworkDestination(address="203.0.113.9", ports=(443,)), "203.0.113[.]9:443"),
        (NetworkDestination(address="2001:db8::1", ports=(443,)), "[2001[:]db8::1]:443"),
        (NetworkDestination(ip="203.0.113.9"), "203.0.113[.]9"),
        (
            NetworkDestination(address="203.0.113.9", ports=(1, 2, 3, 4, 5)),
            "203.0.113[.]9:1,2,3 +2",
        ),
        (NetworkDestination(address="a" * 99), f"{'a' * 49}…"),
    ],
)
def test_a_destination_reads_as_one_word(destination, words):
    """Address and ports, whatever is known of them."""
    assert destination_words(destination, 50) == words


def test_hosts_are_counted_once_each_and_by_cluster():
    """Two clusters may both have a Mac of one name, and they are two Macs."""
    here, there = finding("mac-a"), finding("mac-a", cluster="prod-us")
    assert host_count([here, finding("mac-a", "/opt/x"), there]) == 2
    assert on_hosts([here, there], MACS) == " on 2 Macs"


def test_hosts_that_nothing_is_known_of_are_not_counted():
    """A hunt without `host.id` says nothing of hosts, rather than "on 0 Macs"."""
    assert on_hosts([replace(finding(), host=Host())], MACS) == ""


@pytest.mark.parametrize(
    ("figures", "seen", "words"),
    [
        (
            {"number_of_con_per_hour": 136.2},
            evidence(per_hour=68),
            "136 events/h (68 connections/h)",
        ),
        ({"number_of_con_per_hour": 1360}, None, "1,360 events/h"),
        ({}, evidence(per_hour=68), "68 connections/h"),
        ({"number_of_con_per_hour": None}, None, ""),
        ({"number_of_con_per_hour": ("a", "b")}, None, ""),
    ],
)
def test_a_rate_says_what_it_counts(figures, seen, words):
    """Events are what a threshold is for, connections what a person means."""
    assert rate_words(finding(figures=figures, evidence=seen)) == words


def test_a_period_comes_with_its_jitter():
    """As far as either is known."""
    assert period_words(evidence(per_hour=60)) == "60 s ± 3 %"
    assert period_words(replace(evidence(per_hour=60), jitter_percent=None)) == "60 s"
    assert period_words(replace(evidence(), period_seconds=None)) == ""


def test_priorities_are_counted_highest_first():
    """Also those that could not be given."""
    of = [finding(priority=None), finding(), finding(status=Status.QUIET)]
    assert priorities_words(of) == "2 medium, 1 unrated"
