"""A process and the times at which it connects in, lines of NDJSON out."""

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.fleet.documents import (
    NETWORK,
    PROCESS,
    Destination,
    Document,
    Host,
    Phase,
    Process,
    Traffic,
    network_document,
    process_document,
)
from tests.fleet.truth import Group

DEDUPLICATE_BELOW_BYTES = 1 << 20
FIRST_PORT, LAST_PORT = 49_152, 65_535

TEXT, NUMBER = "\ue000", "\ue001"
"""Stand-ins for the fields that vary, from a range that no name uses."""


@dataclass(frozen=True, slots=True)
class Template:
    """A document's line but for the fields that vary.

    Attributes:
        text: takes timestamp, sequence, sequence, and the values of the row.
        group: the planted group that the event counts for.
        opens: whether the event is a connection's first.
    """

    stream: str
    text: str
    group: Group | None = None
    opens: bool = False

    @classmethod
    def of(cls, stream: str, document: Document, **counts: Any) -> "Template":
        """The template of a document that has stand-ins where fields vary."""
        line = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        line = line.replace("%", "%%").replace(TEXT, "%s")
        text = line.replace(f'"{NUMBER}"', "%d").replace(NUMBER, "%d")
        return cls(stream, text + "\n", **counts)


Mark = tuple[int, Literal["exec", "already_running", "end"]]
"""When a process event is written, in ms since the epoch, and which."""

Row = tuple[int, Template, tuple[Any, ...]]
"""An event to be: ms since the epoch, its template, the values of the fields that vary."""

_VARYING = Traffic(NUMBER, NUMBER, NUMBER, question=TEXT)


@dataclass(slots=True)
class Session:
    """One process and when it connects. Days must be asked for in order.

    Attributes:
        marks: its process events: ms, action.
        times: its connections or look-ups, in ms since the epoch, sorted.
        counted: whether it is planted, so that its groups are recorded.
    """

    host: Host
    process: Process
    marks: tuple[Mark, ...]
    random: Random
    times: "array[int]" = field(default_factory=lambda: array("q"))
    destinations: tuple[Destination, ...] = ()
    bytes_out: tuple[int, int] = (0, 0)
    lookups: bool = False
    counted: bool = False
    groups: dict[str | None, Group] = field(default_factory=dict)
    _templates: dict[tuple[int, Phase], Template] = field(default_factory=dict)
    _shipped: set[tuple[str | None, int]] = field(default_factory=set)
    _port: int = FIRST_PORT

    def connecting(
        self,
        times: "array[int]",
        destinations: tuple[Destination, ...],
        bytes_out: tuple[int, int],
        *,
        lookups: bool,
    ) -> "Session":
        """This session, with its connections."""
        self.times, self.destinations = times, destinations
        self.bytes_out, self.lookups = bytes_out, lookups
        return self

    def rows(self, begin: int, end: int) -> Iterator[Row]:
        """The events of what begins in this time; the last ones may lie a moment behind it."""
        for ms, action in self.marks:
            if begin <= ms < end:
                document = process_document(
                    self.host, self.process, action, at=TEXT, sequence=NUMBER
                )
                yield ms, Template.of(PROCESS, document), ()
        draw = self.random.random
        least, span = self.bytes_out[0], self.bytes_out[1] - self.bytes_out[0]
        for ms in self.times[bisect_left(self.times, begin) : bisect_left(self.times, end)]:
            self._port = self._port + 1 if self._port < LAST_PORT else FIRST_PORT
            yield from self._encode(
                ms,
                ms + 20 + int(400 * draw()),
                int(len(self.destinations) * draw()),
                least + int(span * draw()),
                200 + int(300_000 * draw() ** 4),
            )

    def _encode(
        self, begun: int, ended: int, to: int, bytes_out: int, bytes_in: int
    ) -> Iterator[Row]:
        """One connection's events, as the host's policy ships them."""
        port, encoding = self._port, self.host.encoding
        if encoding == "deduplicated":
            key = (self.destinations[to].ip, self.destinations[to].port)
            if key in self._shipped and bytes_out + bytes_in < DEDUPLICATE_BELOW_BYTES:
                return
            self._shipped.add(key)
        if self.lookups:
            question = f"site-{port % 40:02}.example"
            yield begun, self._template(to, "lookup"), (port, question)
            if encoding != "deduplicated":
                yield ended, self._template(to, "answer"), (port, question)
        elif encoding == "merged" or (encoding == "deduplicated" and self.host.minimal):
            yield ended, self._template(to, "merged"), (port, bytes_out, bytes_in)
        else:
            yield begun, self._template(to, "attempt"), (port,)
            if encoding == "paired":
                yield ended, self._template(to, "disconnect"), (port, bytes_out, bytes_in)

    def _template(self, to: int, phase: Phase) -> Template:
        found = self._templates.get((to, phase))
        if found is None:
            destination = self.destinations[to]
            found = self._templates[to, phase] = Template.of(
                NETWORK,
                network_document(
                    self.host,
                    self.process,
                    destination,
                    phase,
                    at=TEXT,
                    traffic=_VARYING,
                    sequence=NUMBER,
                ),
                group=self._group(destination) if self.counted else None,
                opens=phase in ("attempt", "merged"),
            )
        return found

    def _group(self, destination: Destination) -> Group:
        new = Group(self.process.entity_id, destination.address, destination.ip)
        return self.groups.setdefault(destination.address, new)
