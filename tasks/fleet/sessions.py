"""A process and the times at which it connects in, lines of NDJSON out."""

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tasks.fleet.documents import (
    NETWORK,
    PROCESS,
    Computer,
    Document,
    Phase,
    RunningProcess,
    Service,
    Traffic,
    network_document,
    process_document,
)
from tasks.fleet.programs import Ambient, Plant
from tasks.fleet.truth import Group

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
    def of(
        cls, stream: str, document: Document, group: Group | None = None, *, opens: bool = False
    ) -> "Template":
        """The template of a document that has stand-ins where fields vary."""
        line = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        line = line.replace("%", "%%").replace(TEXT, "%s")
        text = line.replace(f'"{NUMBER}"', "%d").replace(NUMBER, "%d")
        return cls(stream, f"{text}\n", group, opens)


Mark = tuple[int, Literal["exec", "already_running", "end"]]
"""When a process event is written, in ms since the epoch, and which."""

EventRow = tuple[int, Template, tuple[Any, ...]]
"""An event to be: ms since the epoch, its template, the values of the fields that vary."""

_VARYING = Traffic(NUMBER, NUMBER, NUMBER, question=TEXT)


@dataclass(slots=True)
class Session:
    """One process and when it connects. Days must be asked for in order.

    Attributes:
        program: what the process is a life of; None if it never connects.
        marks: its process events.
        times: its connections or look-ups, in ms since the epoch, sorted.
        groups: of a plant, what has been written, by `destination.address`.
    """

    host: Computer
    process: RunningProcess
    program: Ambient | Plant | None
    marks: tuple[Mark, ...]
    random: Random
    times: "array[int]" = field(default_factory=lambda: array("q"))
    groups: dict[str | None, Group] = field(default_factory=dict)
    _templates: dict[tuple[Service, Phase], Template] = field(default_factory=dict)
    _shipped: set[Service] = field(default_factory=set)
    _port: int = FIRST_PORT

    def rows(self, begin: int, end: int) -> Iterator[EventRow]:
        """The events of what begins in this time; the last ones may lie a moment behind it."""
        for ms, action in self.marks:
            if begin <= ms < end:
                document = process_document(
                    self.host, self.process, action, at=TEXT, sequence=NUMBER
                )
                yield ms, Template.of(PROCESS, document), ()
        if self.program is not None:
            times = self.times[bisect_left(self.times, begin) : bisect_left(self.times, end)]
            yield from self._connections(self.program, times)

    def _connections(self, program: Ambient | Plant, times: "array[int]") -> Iterator[EventRow]:
        """The events of connections, one after the other."""
        draw = self.random.random
        destinations, (least, most) = program.destinations, program.bytes_out
        encode = self._lookup if program.lookups else self._connection
        for begun in times:
            self._port = self._port + 1 if self._port < LAST_PORT else FIRST_PORT
            ended = begun + 20 + int(400 * draw())
            destination = destinations[int(len(destinations) * draw())]
            bytes_out = least + int((most - least) * draw())
            bytes_in = 200 + int(300_000 * draw() ** 4)
            if self.host.encoding == "deduplicated":
                repeated = destination in self._shipped
                if repeated and bytes_out + bytes_in < DEDUPLICATE_BELOW_BYTES:
                    continue
                self._shipped.add(destination)
            yield from encode(destination, begun, ended, bytes_out, bytes_in)

    def _connection(
        self, destination: Service, begun: int, ended: int, *sizes: int
    ) -> Iterator[EventRow]:
        """A connection, as the host's policy ships it."""
        if self.host.encoding == "merged" or self.host.minimal:
            yield ended, self._template(destination, "merged"), (self._port, *sizes)
            return
        yield begun, self._template(destination, "attempt"), (self._port,)
        if self.host.encoding == "paired":
            yield ended, self._template(destination, "disconnect"), (self._port, *sizes)

    def _lookup(
        self, destination: Service, begun: int, ended: int, *_sizes: int
    ) -> Iterator[EventRow]:
        """A look-up and its answer: no policy merges them, one drops what repeats."""
        values = (self._port, f"site-{self._port % 40:02}.example")
        yield begun, self._template(destination, "lookup"), values
        if self.host.encoding != "deduplicated":
            yield ended, self._template(destination, "answer"), values

    def _template(self, destination: Service, phase: Phase) -> Template:
        found = self._templates.get((destination, phase))
        if found is None:
            document = network_document(
                self.host,
                self.process,
                destination,
                phase,
                at=TEXT,
                traffic=_VARYING,
                sequence=NUMBER,
            )
            found = self._templates[destination, phase] = Template.of(
                NETWORK,
                document,
                group=self._group(destination) if isinstance(self.program, Plant) else None,
                opens=phase in ("attempt", "merged"),
            )
        return found

    def _group(self, destination: Service) -> Group:
        new = Group(self.process.entity_id, destination.address, destination.ip)
        return self.groups.setdefault(destination.address, new)
