"""A host, a process, a connection in; the document that Elastic Defend ships out, as a nested dict.

The only place that knows what such a document looks like. The generator fills one in with
stand-ins and splices the fields that vary; the builders of tests fill it in with values.

What it leaves out of the real documents: `group.*`, `process.Ext.*` but the ancestry,
`event.ingested` and, in network events, `process.command_line`.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Document = dict[str, Any]
Encoding = Literal["paired", "merged", "deduplicated"]
Phase = Literal["attempt", "disconnect", "merged", "lookup", "answer"]

NETWORK = "logs-endpoint.events.network-default"
PROCESS = "logs-endpoint.events.process-default"
METADATA = "metrics-endpoint.metadata-default"
STREAMS = (NETWORK, PROCESS, METADATA)

ACTIONS: Mapping[Phase, tuple[str | list[str], list[str]]] = {
    "attempt": ("connection_attempted", ["start"]),
    "disconnect": ("disconnect_received", ["end"]),
    "merged": (["connection_attempted", "disconnect_received"], ["start", "end"]),
    "lookup": ("lookup_requested", ["start"]),
    "answer": ("lookup_result", ["end"]),
}
"""`event.action` and `event.type` of each kind of network event. One action is a plain value, two
are an array; the type is always an array."""

Signature = Literal[
    "apple",
    "developer",
    "none",
    "unsigned",
    "ad hoc",
    "revoked",
    "expired",
    "unjudged",
    "no block",
]

_SIGNATURES: Mapping[Signature, Document | None] = {
    "apple": {
        "exists": True,
        "trusted": True,
        "status": "No error.",
        "subject_name": "Software Signing",
    },
    "developer": {
        "exists": True,
        "trusted": True,
        "status": "No error.",
        "subject_name": "Developer ID Application: Example Software (EXMPL00001)",
        "team_id": "EXMPL00001",
    },
    "none": {"exists": False},
    "unsigned": {"exists": True, "trusted": False, "status": "errSecCSUnsigned"},
    "ad hoc": {
        "exists": True,
        "trusted": False,
        "status": "errSecCSReqFailed",
        "subject_name": "",
    },
    "revoked": {
        "exists": True,
        "trusted": False,
        "status": "CSSMERR_TP_CERT_REVOKED",
        "subject_name": "Developer ID Application: Example Cleaner (EXMPL00002)",
        "team_id": "EXMPL00002",
    },
    "expired": {
        "exists": True,
        "trusted": False,
        "status": "CSSMERR_TP_CERT_EXPIRED",
        "subject_name": "Developer ID Application: Example Printers (EXMPL00003)",
        "team_id": "EXMPL00003",
    },
    "unjudged": {"exists": True, "status": "errSecCSInternalError"},
    "no block": None,
}


def code_signature(kind: Signature, program: str) -> Document | None:
    """What Defend says of a program's signature, or None where it says nothing at all."""
    block = _SIGNATURES[kind]
    if block is None or not block["exists"] or block.get("status") == "errSecCSUnsigned":
        return block
    prefix = "com.apple" if kind == "apple" else "com.example"
    return {**block, "signing_id": f"{prefix}.{program}"}


@dataclass(frozen=True, slots=True)
class Computer:
    """A computer with an Elastic Agent.

    Attributes:
        encoding: how its policy has Defend ship connections.
        minimal: its policy ships only `host.id`, `host.name` and `host.os` (agents >= 8.18).
        always_on: a server, or a Mac that never sleeps.
    """

    id: str
    name: str
    agent_id: str
    agent_version: str = "8.17.4"
    family: Literal["macos", "windows", "linux"] = "macos"
    os_version: str = "15.1"
    ip: str = "10.20.0.10"
    mac: str = "02-00-00-00-00-10"
    user: str = "kim"
    encoding: Encoding = "paired"
    minimal: bool = False
    always_on: bool = False


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """One life of a program: a restart is another one, with another entity id."""

    name: str | None
    executable: str | None
    pid: int
    entity_id: str
    user: str
    signature: Signature = "developer"
    args: tuple[str, ...] = ()
    parent: "RunningProcess | None" = None
    content: str = ""

    @property
    def ancestry(self) -> list[str]:
        """The entity ids of parent, grandparent and so on."""
        return [] if self.parent is None else [self.parent.entity_id, *self.parent.ancestry]

    @property
    def sha256(self) -> str:
        """The hash of the binary, made from `content`: equal content, equal hash."""
        return hashlib.sha256((self.content or f"{self.executable}").encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Service:
    """Where a connection goes. `address` is what Defend writes there: the domain, if it knows it.

    Attributes:
        owner: name of the autonomous system; empty where the ingest pipeline knows none.
        direction: `network.direction`, or None where Defend does not say.
    """

    ip: str | None
    port: int = 443
    domain: str | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    owner: str = ""
    country: str = "US"
    direction: str | None = "egress"

    @property
    def address(self) -> str | None:
        """`destination.address`: the domain, else the ip, else nothing."""
        return self.domain or self.ip


@dataclass(frozen=True, slots=True)
class Traffic:
    """The fields of a connection that vary from one to the next; sizes only matter at its end."""

    source_port: Any = 50000
    bytes_out: Any = 1200
    bytes_in: Any = 3400
    question: Any = field(default="www.example.com", kw_only=True)


def entity_id(agent_id: str, pid: int, started: datetime) -> str:
    """A process's entity id, made like the real one of agent, pid and start."""
    return base64.b64encode(f"{agent_id}-{pid}-{int(started.timestamp())}".encode()).decode()


def instant(at: datetime) -> str:
    """`@timestamp` as Defend writes it: UTC, milliseconds, Z.

    Cut to the millisecond below, as Elasticsearch's `date` type does.
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_millis(ms: int) -> datetime:
    """The UTC time that lies `ms` milliseconds after the epoch, exactly."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def milliseconds(at: datetime) -> int:
    """The milliseconds from the epoch to `at`, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def network_document(
    host: Computer,
    process: RunningProcess,
    destination: Service,
    phase: Phase,
    *,
    at: str,
    traffic: Traffic,
    sequence: object = 1,
) -> Document:
    """One network event.

    What varies stands in this order: at, sequence (twice), source port, bytes out, bytes in,
    question.
    """
    action, types = ACTIONS[phase]
    document = _envelope(host, "endpoint.events.network", at, sequence)
    document["event"] |= {"action": action, "category": ["network"], "type": types}
    document["message"] = "Endpoint network event"
    source: Document = {"address": host.ip, "ip": host.ip, "port": traffic.source_port}
    target = _present(
        {"address": destination.address, "ip": destination.ip, "port": destination.port}
    )
    if destination.domain is not None:
        target["domain"] = destination.domain
    if destination.owner:
        target["as"] = {"number": 64500, "organization": {"name": destination.owner}}
        target["geo"] = {"country_iso_code": destination.country}
    if phase in ("disconnect", "merged"):
        source["bytes"] = traffic.bytes_out
        target["bytes"] = traffic.bytes_in
    document["source"] = source
    document["destination"] = target
    document["network"] = _present(
        {
            "transport": destination.transport,
            "type": "ipv6" if ":" in (destination.ip or "") else "ipv4",
            "direction": destination.direction,
        }
    )
    if phase in ("lookup", "answer"):
        document["network"]["protocol"] = "dns"
        document["dns"] = {"question": {"name": traffic.question, "type": "A"}}
    document["process"] = _process(process)
    document["user"] = _user(process)
    return document


def process_document(
    host: Computer,
    process: RunningProcess,
    action: Literal["exec", "already_running", "end"],
    *,
    at: str,
    sequence: object = 1,
) -> Document:
    """One process event; here, and only here, are the hashes, the arguments and the parent."""
    types = {"exec": ["start"], "already_running": ["info"], "end": ["end"]}[action]
    document = _envelope(host, "endpoint.events.process", at, sequence)
    document["event"] |= {"action": action, "category": ["process"], "type": types}
    document["message"] = "Endpoint process event"
    block = _process(process)
    args = list(process.args) or [process.executable or process.name or "?"]
    digest = process.sha256
    block |= {
        "args": args,
        "args_count": len(args),
        "command_line": " ".join(args),
        # Synthetic all three: only that equal binaries have equal hashes matters.
        "hash": {"md5": digest[:32], "sha1": digest[:40], "sha256": digest},
    }
    if process.parent is not None:
        block["parent"] = _process(process.parent)
        del block["parent"]["Ext"]
    if action == "end":
        block["exit_code"] = 0
    document["process"] = block
    document["user"] = _user(process)
    return document


def metadata_document(host: Computer, *, at: str, sequence: object = 1) -> Document:
    """The agent's daily word about its host: the only place with addresses of a minimal host."""
    document = _envelope(host, "endpoint.metadata", at, sequence)
    document["event"] |= {"action": "endpoint_metadata", "category": ["host"], "type": ["info"]}
    document["host"] = _host(host, minimal=False)
    document["Endpoint"] = {"status": "enrolled", "policy": {"applied": {"status": "success"}}}
    return document


def _envelope(host: Computer, dataset: str, at: str, sequence: object) -> Document:
    return {
        "@timestamp": at,
        "event": {
            "sequence": sequence,
            "id": f"{host.agent_id[:8]}+{sequence}",
            "dataset": dataset,
            "kind": "metric" if dataset.endswith("metadata") else "event",
            "module": "endpoint",
            "outcome": "unknown",
        },
        "agent": {"id": host.agent_id, "type": "endpoint", "version": host.agent_version},
        "data_stream": {
            "dataset": dataset,
            "namespace": "default",
            "type": "metrics" if dataset.endswith("metadata") else "logs",
        },
        "ecs": {"version": "8.10.0"},
        "elastic": {"agent": {"id": host.agent_id}},
        "host": _host(host, minimal=host.minimal),
    }


def _host(host: Computer, *, minimal: bool) -> Document:
    name = {"macos": "macOS", "windows": "Windows", "linux": "Linux"}[host.family]
    system = {
        "family": host.family,
        "full": f"{name} {host.os_version}",
        "name": name,
        "platform": host.family,
        "type": host.family,
        "version": host.os_version,
    }
    document: Document = {"id": host.id, "name": host.name, "os": system}
    if not minimal:
        document |= {
            "hostname": host.name,
            "architecture": "arm64" if host.family == "macos" else "x86_64",
            "ip": [host.ip, "127.0.0.1", "::1"],
            "mac": [host.mac],
        }
    return document


def _process(process: RunningProcess) -> Document:
    return _present(
        {
            "Ext": {"ancestry": process.ancestry},
            "code_signature": code_signature(process.signature, process.name or "program"),
            "entity_id": process.entity_id,
            "executable": process.executable,
            "name": process.name,
            "pid": process.pid,
        }
    )


def _user(process: RunningProcess) -> Document:
    return {"id": "0" if process.user == "root" else "501", "name": process.user}


def _present(fields: Document) -> Document:
    return {name: value for name, value in fields.items() if value is not None}
