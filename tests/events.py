"""A few words in, single events out, as a test of a rule needs them: exact, and nothing else.

Every builder takes overrides by dotted path, so that a test names only what it is about:

    network_event(at=T, **{"process.code_signature": {"exists": True, "trusted": True}})

An override of None takes the field away.
"""

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

from tasks.fleet.documents import (
    NETWORK,
    Computer,
    Document,
    Encoding,
    Phase,
    RunningProcess,
    Service,
    Signature,
    Traffic,
    instant,
    network_document,
    process_document,
)

SLOT = datetime(2026, 11, 24, 6, tzinfo=UTC)
"""A slot like any other; an event without a time of its own lies an hour before it."""

_SEQUENCE = count(1)
"""Of all events: each has an `event.id` of its own."""


def network_event(
    host_id: str = "a",
    entity_id: str = "e",
    at: datetime = SLOT - timedelta(hours=1),
    destination: str | None = "45.45.45.45",
    *,
    domain: str | None = None,
    port: int = 443,
    phase: Phase = "attempt",
    signature: Signature = "none",
    executable: str = "/Users/Shared/.x/agentd",
    user: str = "kim",
    bytes_out: int = 1_200,
    bytes_in: int = 3_400,
    **overrides: Any,
) -> Document:
    """One network event of an unsigned program on a Mac, towards a public address.

    Args:
        host_id: `host.id`; the name follows from it.
        entity_id: `process.entity_id`.
        at: `@timestamp`, cut to milliseconds.
        destination: `destination.ip`, and the address unless there is a domain.
        domain: `destination.domain` and `destination.address`.
        port: `destination.port`.
        phase: which event of a connection, or of a look-up, it is.
        signature: of the program.
        executable: path of the program; its name is the last part.
        user: `user.name`.
        bytes_out: `source.bytes`, of the phases that have it.
        bytes_in: `destination.bytes`, likewise.
        overrides: dotted path and value; None takes the field away.
    """
    document = network_document(
        _host(host_id),
        _process(entity_id, executable, signature, user),
        Service(destination, port, domain, owner="Example Hosting"),
        phase,
        at=instant(at),
        traffic=Traffic(bytes_out=bytes_out, bytes_in=bytes_in),
        sequence=next(_SEQUENCE),
    )
    return _overridden(document, overrides)


def connection(
    encoding: Encoding = "paired", at: datetime = SLOT - timedelta(hours=1), **traits: Any
) -> list[Document]:
    """One connection's events in an encoding; its disconnect comes 100 ms after its attempt.

    Args:
        encoding: how the host's policy ships it; the first of its kind where it is de-duplicated.
        at: when it begins.
        traits: as of `network_event`.
    """
    if encoding == "merged":
        return [network_event(at=at, phase="merged", **traits)]
    attempt = network_event(at=at, phase="attempt", **traits)
    if encoding == "deduplicated":
        return [attempt]
    end = at + timedelta(milliseconds=100)
    return [attempt, network_event(at=end, phase="disconnect", **traits)]


def beacon(
    count: int,
    duration: timedelta,
    end: datetime = SLOT - timedelta(hours=1),
    *,
    phase: Phase = "merged",
    **traits: Any,
) -> list[Document]:
    """Exactly `count` events, evenly over exactly `duration`; the last lies exactly at `end`.

    Args:
        count: at least two.
        duration: from the first event to the last.
        end: of the last event.
        phase: of every event.
        traits: as of `network_event`.
    """
    begin = end - duration
    return [
        network_event(at=begin + duration * n / (count - 1), phase=phase, **traits)
        for n in range(count)
    ]


def process_event(
    host_id: str = "a",
    entity_id: str = "e",
    at: datetime = SLOT - timedelta(days=1),
    *,
    action: Literal["exec", "already_running", "end"] = "exec",
    signature: Signature = "none",
    executable: str = "/Users/Shared/.x/agentd",
    user: str = "kim",
    args: tuple[str, ...] = (),
    content: str = "",
    parents: tuple[str, ...] = ("/sbin/launchd",),
    **overrides: Any,
) -> Document:
    """One process event, of the same program as `network_event`.

    Args:
        host_id: `host.id`.
        entity_id: `process.entity_id`.
        at: `@timestamp`, cut to milliseconds.
        action: `exec`, `already_running` or `end`.
        signature: of the program.
        executable: path of the program.
        user: `user.name`.
        args: by default the executable alone.
        content: equal content, equal hashes; by default the path.
        parents: paths of the processes above it, the nearest last; their entity ids are `parent-0`
            and so on.
        overrides: dotted path and value; None takes the field away.
    """
    parent = None
    for depth, path in enumerate(parents):
        name = path.rpartition("/")[2]
        parent = RunningProcess(
            name, path, depth + 1, f"parent-{depth}", user, "apple", parent=parent
        )
    process = _process(entity_id, executable, signature, user, args, parent, content)
    document = process_document(
        _host(host_id), process, action, at=instant(at), sequence=next(_SEQUENCE)
    )
    return _overridden(document, overrides)


def write_events(
    folder: Path,
    documents: Iterable[Document],
    stream: str = NETWORK,
    *,
    compress: bool = True,
    name: str = "events",
) -> Path:
    """Write documents as one file of a data stream of an embedded cluster; gives the file.

    Args:
        folder: the embedded cluster's; made if missing.
        documents: in the order of the lines.
        stream: the data stream.
        compress: `.ndjson.gz`, else `.ndjson`.
        name: of the file, without its endings.
    """
    lines = "".join(f"{json.dumps(document, ensure_ascii=False)}\n" for document in documents)
    path = folder / stream / f"{name}.ndjson{'.gz' if compress else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode(), 1, mtime=0) if compress else lines.encode())
    return path


def _host(host_id: str) -> Computer:
    return Computer(id=host_id, name=f"MBP-{host_id}", agent_id=f"agent-{host_id}")


def _process(
    entity_id: str, executable: str, signature: Signature, user: str, *traits: Any
) -> RunningProcess:
    name = executable.rpartition("/")[2]
    return RunningProcess(name, executable, 4711, entity_id, user, signature, *traits)


def _overridden(document: Document, overrides: Document) -> Document:
    for path, value in overrides.items():
        *parents, last = path.split(".")
        block = document
        for parent in parents:
            block = block.setdefault(parent, {})
        if value is None:
            block.pop(last, None)
        else:
            block[last] = value
    return document
