"""The generator is the witness of every other test: so what it says must be what it writes."""

import gzip
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.fleet.documents import METADATA, NETWORK, PROCESS, STREAMS, Document
from tasks.fleet.generate import Fleet, events, write_fleet
from tasks.fleet.plan import FleetPlan
from tasks.fleet.plants import BEACONS, HOSTILE, plants
from tasks.fleet.truth import NOT_HUNTED, Found, Truth
from tests.effort import examples

FULL = Fleet(macs=60, others=2, days=2, connections_per_mac_day=40, hostile=True)
"""Every plant that these days can hold, and the hostile ones."""

NOISE = Fleet(macs=12, others=2, days=4, connections_per_mac_day=80, plants=plants("no address"))
"""Little but the noise, over days on which people work."""


def read(folder: Path, stream: str) -> Iterator[Document]:
    """A data stream's documents, file by file."""
    for path in sorted((folder / stream).iterdir()):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            yield json.loads(line)


def at(document: Document) -> datetime:
    """An event's time."""
    return datetime.fromisoformat(document["@timestamp"])


def content(folder: Path) -> dict[str, bytes]:
    """A folder's files and their bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """The folder of a fleet with every plant, and what is true of it."""
    folder = tmp_path_factory.mktemp("fleet")
    return folder, write_fleet(FULL, folder)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """The folder of a fleet with hardly a plant, and what is true of it."""
    folder = tmp_path_factory.mktemp("noise")
    return folder, write_fleet(NOISE, folder)


@pytest.fixture(scope="module")
def network(noise: tuple[Path, Truth]) -> list[Document]:
    """The network events of the noise."""
    return list(read(noise[0], NETWORK))


# --- Same seed, same bytes ------------------------------------------------------------------------


def test_the_same_fleet_has_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """A finding of the demo today is the finding of the demo tomorrow, on any machine."""
    for hash_seed in ("1", "2"):
        subprocess.run(
            [
                *(sys.executable, "-m", "tasks.fleet.generate", str(tmp_path / hash_seed)),
                *("--macs", "2", "--others", "2", "--days", "1", "--connections", "20"),
            ],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
    assert content(tmp_path / "1") == content(tmp_path / "2")


@given(seed=st.integers(0, 2**32), other=st.integers(0, 2**32))
@settings(max_examples=examples(10))
def test_a_seed_decides_every_event_and_another_seed_decides_otherwise(
    seed: int, other: int
) -> None:
    """Nothing but the seed is random."""
    tiny = Fleet(
        macs=2, others=0, days=1, connections_per_mac_day=30, plants=plants("bulk"), seed=seed
    )
    assert list(events(tiny)) == list(events(tiny))
    assert (list(events(tiny)) == list(events(replace(tiny, seed=other)))) == (seed == other)


def test_a_folder_that_has_events_is_left_alone(tmp_path: Path) -> None:
    """Two fleets in one folder would be no fleet's truth."""
    write_fleet(Fleet(macs=1, others=0, days=1, plants=()), tmp_path)
    before = content(tmp_path)
    with pytest.raises(FileExistsError):
        write_fleet(Fleet(macs=1, others=0, days=1, plants=()), tmp_path)
    assert content(tmp_path) == before


def test_an_end_without_a_time_zone_is_refused() -> None:
    """A slot is a moment, not a reading of a wall clock."""
    with pytest.raises(ValueError, match="time zone"):
        Fleet(end=datetime(2026, 11, 24, 6))  # noqa: DTZ001 - the mistake that is tested


# --- What every document is -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_every_document_lies_in_its_day_in_order_and_within_the_fleets_days(
    noise: tuple[Path, Truth], stream: str
) -> None:
    """A day's file holds that UTC day, sorted, and nothing is older or newer than was asked for."""
    times: list[datetime] = []
    for path in sorted((noise[0] / stream).iterdir()):
        lines = gzip.decompress(path.read_bytes()).splitlines()
        of_day = [at(json.loads(line)) for line in lines]
        assert {f"{time:%Y-%m-%d}.ndjson.gz" for time in of_day} <= {path.name}
        times += of_day
    assert times == sorted(times)
    assert times[0] >= NOISE.end - timedelta(days=NOISE.days)
    assert times[-1] < NOISE.end
    assert len(times) == noise[1].documents[stream]


@pytest.mark.parametrize("stream", STREAMS)
def test_every_document_names_its_agent_host_and_event(
    noise: tuple[Path, Truth], stream: str
) -> None:
    """The fields without which no hunt, no coverage and no enrichment works are always there."""
    ids = set()
    for document in read(noise[0], stream):
        ids.add(document["event"]["id"])
        assert document["@timestamp"].endswith("Z")
        assert document["agent"]["version"]
        assert document["host"]["id"]
        assert document["host"]["name"]
        assert document["host"]["os"]["family"] in {"macos", "windows", "linux"}
        assert isinstance(document["event"]["category"], list)
        assert isinstance(document["event"]["type"], list)
        if stream != METADATA:
            assert document["process"]["entity_id"]
            assert document["process"]["name"]
            assert document["user"]["name"]
    assert len(ids) == noise[1].documents[stream]


def test_hashes_and_arguments_are_in_process_events_and_never_in_network_events(
    noise: tuple[Path, Truth], network: list[Document]
) -> None:
    """A hunt cannot see a hash: it must be joined by entity id."""
    assert not any({"hash", "args", "command_line"} & set(event["process"]) for event in network)
    for event in read(noise[0], PROCESS):
        assert {"hash", "args", "command_line"} <= set(event["process"])


def test_every_planted_process_can_be_looked_up_with_its_hash(
    written: tuple[Path, Truth],
) -> None:
    """Enrichment finds each planted process: when it starts, or already running."""
    folder, truth = written
    hashes = {
        event["process"]["entity_id"]: event["process"]["hash"]["sha256"]
        for event in read(folder, PROCESS)
        if event["event"]["action"] in {"exec", "already_running"}
    }
    for planting in truth.plantings:
        for process in planting.processes:
            assert hashes[process.entity_id] == process.sha256


def test_the_agents_of_a_mixed_fleet_can_what_their_policies_ask(
    noise: tuple[Path, Truth], network: list[Document]
) -> None:
    """Merging came with 8.18, dropping repeats with 8.15, and a lean host with the new policies."""
    of = {host.id: host for host in noise[1].hosts}
    assert {host.encoding for host in of.values()} >= {"paired", "merged"}
    for event in network:
        host, version = of[event["host"]["id"]], event["agent"]["version"]
        if isinstance(event["event"]["action"], list):
            assert version >= "8.18"
        if host.encoding == "deduplicated":
            assert version >= "8.15"
        assert ("ip" in event["host"]) != host.minimal


# --- The three encodings --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoded() -> dict[str, list[Document]]:
    """One fleet's connections, without look-ups, in each encoding."""
    fleet = replace(NOISE, macs=4, others=0, days=2, plants=plants("steady", "bulk"))
    return {
        encoding: [
            event for event in events(replace(fleet, encoding=encoding)) if "dns" not in event
        ]
        for encoding in ("paired", "merged", "deduplicated")
    }


def test_a_paired_connection_is_an_attempt_and_a_disconnect(
    encoded: dict[str, list[Document]],
) -> None:
    """Old policies send two documents a connection; only the second knows its size."""
    for event in encoded["paired"]:
        kind = event["event"]["action"], tuple(event["event"]["type"])
        assert kind in {("connection_attempted", ("start",)), ("disconnect_received", ("end",))}
        assert ("bytes" in event["source"]) == (kind[1] == ("end",))
        assert ("bytes" in event["destination"]) == (kind[1] == ("end",))


def test_a_merged_connection_is_one_document_with_arrays(
    encoded: dict[str, list[Document]],
) -> None:
    """The same connections make half the documents under a merging policy."""
    for event in encoded["merged"]:
        assert event["event"]["action"] == ["connection_attempted", "disconnect_received"]
        assert event["event"]["type"] == ["start", "end"]
        assert event["source"]["bytes"] > 0
        assert set(event["host"]) == {"id", "name", "os"}
    attempts = [event for event in encoded["paired"] if event["event"]["type"] == ["start"]]
    # A connection that the end of the fleet's days cuts has an attempt alone.
    assert 0 <= len(attempts) - len(encoded["merged"]) <= 4
    disconnects = [event for event in encoded["paired"] if event["event"]["type"] == ["end"]]
    assert len(disconnects) == len(encoded["merged"])


def test_deduplication_leaves_the_first_of_each_process_and_destination_but_keeps_the_bulky(
    encoded: dict[str, list[Document]],
) -> None:
    """A beacon under this policy is one event, unless each connection moves a mebibyte."""
    groups = defaultdict(list)
    for event in encoded["deduplicated"]:
        destination = event["destination"]
        groups[event["process"]["entity_id"], destination.get("ip"), destination["port"]].append(
            event["process"]["name"]
        )
    names = {names[0]: len(names) for names in groups.values()}
    assert names["agentd"] == 1
    assert names.pop("mover") > 1_000
    assert all(len(group) == 1 for group in groups.values() if group[0] != "mover")


def test_a_deduplicated_fleet_looks_blind() -> None:
    """Nearly all of over a thousand groups have one event: coverage must be able to tell."""
    fleet = Fleet(macs=12, others=0, days=4, encoding="deduplicated", plants=BEACONS)
    groups: dict[object, int] = defaultdict(int)
    for event in events(fleet):
        destination = event["destination"]
        key = event["process"]["entity_id"], destination.get("ip"), destination.get("port")
        groups[key] += 1
    assert len(groups) > 1_000
    assert sum(count == 1 for count in groups.values()) / len(groups) > 0.95


# --- What is in the noise -------------------------------------------------------------------------


def test_the_noise_has_addresses_of_every_kind(network: list[Document]) -> None:
    """Hunts meet public and private, IPv4 and IPv6, link-local, multicast and none at all."""
    addresses = {event["destination"].get("ip") for event in network}
    assert None in addresses
    kinds = {
        block: any(ip_address(ip) in ip_network(block) for ip in addresses if ip)
        for block in (
            *("127.0.0.0/8", "192.168.0.0/16", "224.0.0.0/4", "56.0.0.0/8"),
            *("fe80::/10", "ff00::/8", "fd00::/8", "::1/128", "2001:db8::/32"),
        )
    }
    assert all(kinds.values()), kinds


def test_the_noise_leaves_out_what_defend_leaves_out(network: list[Document]) -> None:
    """Direction, domain and owner of the network may be absent, and are sometimes there."""
    for block, name in (("network", "direction"), ("destination", "domain"), ("destination", "as")):
        assert {name in event[block] for event in network} == {True, False}


def test_there_are_signatures_of_every_kind(network: list[Document]) -> None:
    """Trusted, absent, unsigned, ad hoc, revoked, expired, not judged, and no block at all."""
    signatures = [event["process"].get("code_signature") for event in network]
    assert None in signatures
    blocks = [block for block in signatures if block is not None]
    assert {(block["exists"], block.get("trusted")) for block in blocks} == {
        (True, True),
        (True, False),
        (False, None),
        (True, None),
    }
    assert {block.get("status") for block in blocks if block.get("trusted") is False} == {
        "errSecCSUnsigned",
        "errSecCSReqFailed",
        "CSSMERR_TP_CERT_REVOKED",
        "CSSMERR_TP_CERT_EXPIRED",
    }


def test_look_ups_come_from_the_system_and_from_an_unsigned_program(
    network: list[Document],
) -> None:
    """DNS events share the data stream and carry a public destination."""
    asking = {event["process"]["name"] for event in network if "dns" in event}
    assert "mDNSResponder" in asking
    fleet = Fleet(macs=1, others=0, days=5, connections_per_mac_day=0, plants=plants("dns client"))
    actions = {
        event["event"]["action"]
        for event in events(fleet)
        if event["process"]["name"] == "dnscrypt"
    }
    assert actions == {"lookup_requested", "lookup_result"}


def test_a_laptop_sleeps_at_night_and_most_weekends() -> None:
    """Hours without events are normal: they are no gap in the telemetry."""
    fleet = Fleet(macs=60, others=0, days=7, plants=(), connections_per_mac_day=20)
    asleep = {event["host"]["name"] for event in events(fleet) if not 8 <= at(event).hour < 20}
    assert asleep
    assert all(name.startswith("MINI") for name in asleep)


def test_a_restart_is_a_new_process_of_the_same_program(network: list[Document]) -> None:
    """Entity ids change with every start: they cannot be an identity."""
    lives = defaultdict(set)
    for event in network:
        key = event["host"]["id"], event["process"].get("executable")
        lives[key].add(event["process"]["entity_id"])
    assert max(map(len, lives.values())) > 1


# --- Labels ---------------------------------------------------------------------------------------


def test_every_label_says_what_was_written(written: tuple[Path, Truth]) -> None:
    """Counts, first and last times, processes and addresses of a plant are those of its events."""
    folder, truth = written
    seen: dict[str, list[tuple[datetime, str, str | None, bool]]] = defaultdict(list)
    planted = {process for planting in truth.plantings for process in planting.entity_ids}
    for event in read(folder, NETWORK):
        if event["process"]["entity_id"] in planted:
            opens = "dns" not in event and "start" in event["event"]["type"]
            address = event["destination"].get("address")
            seen[event["process"]["entity_id"]].append(
                (at(event), event["host"]["id"], address, opens)
            )
    assert set(seen) == planted
    for planting in truth.plantings:
        mine = sorted(event for process in planting.entity_ids for event in seen[process])
        assert len(mine) == planting.events
        assert {host for _, host, _, _ in mine} <= {planting.host.id}
        assert {address for _, _, address, _ in mine} == set(planting.addresses)
        assert sum(opens for _, _, _, opens in mine) == planting.connections
        assert (mine[0][0] if mine else None) == planting.first
        assert (mine[-1][0] if mine else None) == planting.last


@cache
def hunted(ip: str) -> bool:
    """Whether hunt 1 looks at a destination."""
    return not any(ip_address(ip) in ip_network(block) for block in NOT_HUNTED.split())


def hunt_1(documents: Iterable[Document], slot: datetime) -> set[Found]:
    """Hunt 1 over documents, read from its description and not from the generator."""
    groups: dict[tuple[str, str, str], list[tuple[datetime, Found]]] = defaultdict(list)
    for event in documents:
        host, process = event["host"], event["process"]
        signature = process.get("code_signature", {})
        ip = event["destination"].get("ip")
        if (
            host["os"]["family"] == "macos"
            and event["event"]["category"] == ["network"]
            and (signature.get("exists") is False or signature.get("trusted") is False)
            and ip is not None
            and hunted(ip)
            and slot - timedelta(days=7) <= at(event) < slot
        ):
            address, name = event["destination"]["address"], process["name"]
            found = Found(host["id"], process.get("executable", name), address)
            groups[process["entity_id"], address, name].append((at(event), found))
    kept = set()
    for group in groups.values():
        times = [time for time, _ in group]
        hours = int((max(times) - min(times)) / timedelta(hours=1) + 0.5)
        if hours >= 8 and len(group) / hours >= 120:
            kept.add(group[0][1])
    return kept


@pytest.mark.parametrize("hours_back", [0, 24])
def test_hunt_1_finds_the_plants_that_are_labelled_so_and_nothing_else(
    written: tuple[Path, Truth], hours_back: int
) -> None:
    """The noise, however loud, never becomes a finding, and every label is right."""
    slot = FULL.end - timedelta(hours=hours_back)
    assert hunt_1(read(written[0], NETWORK), slot) == written[1].found(slot)


def test_the_plants_are_found_or_missed_as_their_notes_say() -> None:
    """What hunt 1 is known to miss is planted as well as what it must find."""
    fleet = Fleet(macs=60, days=5, connections_per_mac_day=0)
    truth = write_nowhere(fleet)
    missed = {planting.label for planting in truth.plantings} - truth.labels(fleet.end)
    assert missed == {
        "relaunched",
        "no signature block",
        "signature not judged",
        "half by merging",
        # Outside these five days.
        *("quiet", "syncd", "alloy", "print spooler"),
        # Near misses, and other systems.
        *("too few an hour", "too short", "trusted", "apple", "private", "carrier", "loopback"),
        *("loopback ipv6", "link-local", "multicast", "multicast ipv6", "documentation"),
        *("no address", "windows beacon", "linux beacon"),
    }
    (two,) = truth.of("two destinations")
    assert len(two.found(fleet.end)) == 2
    assert len({planting.processes[0].sha256 for planting in truth.of("same binary")}) == 1
    assert len({planting.host.id for planting in truth.of("same binary")}) == 3
    (restarted,) = truth.of("restarted")
    assert len(restarted.entity_ids) == 2
    assert len(restarted.found(fleet.end)) == 1


def write_nowhere(fleet: Fleet) -> Truth:
    """The truth of a fleet, without files."""
    plan = FleetPlan(fleet)
    for day in plan.days:
        for _ in plan.lines(day):
            pass
    return plan.truth()


def test_shipping_stops_when_it_is_told_to() -> None:
    """A silent cluster's newest event is as old as asked for, whatever still runs."""
    fleet = Fleet(macs=2, others=0, days=2, plants=plants("steady"), silent_hours=22)
    times = [at(event) for event in events(fleet)]
    assert fleet.end - timedelta(hours=23) < max(times) < fleet.end - timedelta(hours=22)


# --- Hostile data ---------------------------------------------------------------------------------


def test_hostile_names_are_there_when_asked_for_and_only_then(
    written: tuple[Path, Truth], network: list[Document]
) -> None:
    """Scripts, mentions, direction marks, control characters and formulas arrive unchanged."""
    hostile = {plant.name for plant in HOSTILE}
    started = list(read(written[0], PROCESS))
    assert {event["process"]["name"] for event in started} >= hostile
    assert '"><img src=x onerror=alert(1)>' in {event["user"]["name"] for event in started}
    assert max(len(event["process"]["command_line"]) for event in started) > 100_000
    assert not {event["process"]["name"] for event in network} & hostile
