"""The history's tables: from values that a run leaves to typed rows, the same on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tasks.model.digests import DayGap, DigestStatus, Medium
from tasks.model.findings import Finding, Priority, Status, Value
from tasks.model.runs import Outcome, Report, Run


class UtcColumn(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which knows no zones, keeps it as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone: another machine would read another time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the time in UTC, whatever the connection's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class JsonColumn(TypeDecorator[object]):
    r"""A value as its JSON document.

    Text on both databases: PostgreSQL's `jsonb` refuses `\u0000`, and a process's arguments may
    hold it.
    """

    impl = Text
    cache_ok = True

    def __init__(self, of: TypeAdapter[Any]) -> None:
        """Take the adapter that writes and reads the value."""
        super().__init__()
        self.of = of

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy calls it so
        """Write the value; where there is none, nothing."""
        return None if value is None else self.of.dump_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> object:  # noqa: ANN401, ARG002 - SQLAlchemy calls it so
        """Read it back."""
        return None if value is None else self.of.validate_json(value)


RUN = JsonColumn(TypeAdapter(Run))
REPORT = JsonColumn(TypeAdapter(Report))
FINDING = JsonColumn(TypeAdapter(Finding))
FIGURES = JsonColumn(TypeAdapter(Mapping[str, Value]))
COUNTS = JsonColumn(TypeAdapter(Mapping[Status, int]))
NEWS = JsonColumn(TypeAdapter(tuple[tuple[str, str], ...]))
GAPS = JsonColumn(TypeAdapter(tuple[tuple[str, str, DayGap], ...]))


def _word(kind: type[StrEnum]) -> Enum:
    """Keep one of our words as its text, readable in any client."""
    return Enum(
        kind,
        native_enum=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        datetime: UtcColumn,
        Status: _word(Status),
        Outcome: _word(Outcome),
        Priority: _word(Priority),
        Medium: _word(Medium),
        DigestStatus: _word(DigestStatus),
    }


class RunRow(Base):
    """The run that stands for a slot, with its coverage; a repeated slot takes its place.

    Attributes:
        unreported: its report, until the archive has it.
        counts: of its findings, by status, without those that are acknowledged.
        acknowledged: how many these are.
        pruned: some of the sightings of its time are gone, perhaps of its own: nothing can be
            compared as of its slot any more.
    """

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("cluster", "hunt_uuid", "slot"), Index(None, "slot"))

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(12), unique=True)
    hunt_uuid: Mapped[str]
    hunt: Mapped[str]
    cluster: Mapped[str]
    slot: Mapped[datetime]
    outcome: Mapped[Outcome]
    document: Mapped[Run] = mapped_column(RUN)
    unreported: Mapped[Report | None] = mapped_column(REPORT, deferred=True)
    counts: Mapped[Mapping[Status, int]] = mapped_column(COUNTS)
    acknowledged: Mapped[int]
    pruned: Mapped[bool] = mapped_column(default=False)


class FindingRow(Base):
    """An identity, for ever, with the newest document that a run wrote of it.

    When it was first and last seen is not kept here: its sightings say so.
    """

    __tablename__ = "findings"

    key: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    id: Mapped[str] = mapped_column(String(67), unique=True)
    document_slot: Mapped[datetime]
    document: Mapped[Finding] = mapped_column(FINDING)


class SightingRow(Base):
    """A finding in the run of a slot; with status `quiet` the word that it was not there.

    Slim, because this table grows by every finding with every run. The slot repeats that of the
    run, so that "when first, when last" is one step in the primary key's index.

    Attributes:
        acknowledgement_key: of the word for which this run did not announce it.
        hash_sha256: of the binary in this run, to tell a changed one later.
        news: what a destination has not been sent yet; see `tasks.history.sightings.news_key`.
    """

    __tablename__ = "sightings"
    __table_args__ = (
        Index(None, "run_key", "status"),
        Index(
            "ix_sightings_news",
            "run_key",
            sqlite_where=text("news IS NOT NULL"),
            postgresql_where=text("news IS NOT NULL"),
        ),
    )

    finding_key: Mapped[int] = mapped_column(ForeignKey("findings.key"), primary_key=True)
    slot: Mapped[datetime] = mapped_column(primary_key=True)
    run_key: Mapped[int] = mapped_column(ForeignKey("runs.key"))
    status: Mapped[Status]
    acknowledgement_key: Mapped[int | None] = mapped_column(ForeignKey("acknowledgements.key"))
    changed_binary: Mapped[bool]
    hash_sha256: Mapped[str | None] = mapped_column(String(64))
    priority: Mapped[Priority | None]
    news: Mapped[str | None]
    figures: Mapped[Mapping[str, Value]] = mapped_column(FIGURES)


class AcknowledgementRow(Base):
    """An analyst's word on a finding: ended sooner or later, and never deleted."""

    __tablename__ = "acknowledgements"

    key: Mapped[int] = mapped_column(primary_key=True)
    finding_key: Mapped[int] = mapped_column(ForeignKey("findings.key"))
    anywhere: Mapped[str | None] = mapped_column(String(64))
    hash_sha256: Mapped[str | None] = mapped_column(String(64))
    given_by: Mapped[str]
    why: Mapped[str]
    given_at: Mapped[datetime]
    until: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class DestinationRow(Base):
    """A destination in one medium."""

    __tablename__ = "destinations"
    __table_args__ = (UniqueConstraint("name", "medium"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    medium: Mapped[Medium]


class ScopeRow(Base):
    """Since which slot a destination hears of one hunt on one cluster."""

    __tablename__ = "scopes"

    destination_key: Mapped[int] = mapped_column(ForeignKey("destinations.key"), primary_key=True)
    cluster: Mapped[str] = mapped_column(primary_key=True)
    hunt: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class DigestRow(Base):
    """A digest from before its post to after it; at most one of a destination is being sent.

    Attributes:
        number: its place among the destination's digests, from 1 on.
        sender: who sends it: whoever began it, or took it over last.
        lease_until: while it is being sent: from then on its sender counts as gone.
        gaps: cluster, hunt and gap of each warning that its first part tells.
    """

    __tablename__ = "digests"
    __table_args__ = (
        Index("uq_digests_destination_key_number", "destination_key", "number", unique=True),
        Index(
            "uq_digests_sending",
            "destination_key",
            unique=True,
            sqlite_where=text("status = 'sending'"),
            postgresql_where=text("status = 'sending'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    destination_key: Mapped[int] = mapped_column(ForeignKey("destinations.key"))
    number: Mapped[int]
    slot: Mapped[datetime]
    status: Mapped[DigestStatus]
    payload_hash: Mapped[str]
    sender: Mapped[str] = mapped_column(String(12))
    begun_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    gaps: Mapped[tuple[tuple[str, str, DayGap], ...]] = mapped_column(GAPS)


class PartRow(Base):
    """A digest's message (the first part) or a reply in its thread.

    Attributes:
        news: fingerprint and news of all that it tells: its deliveries, once it is posted.
        posted_at: when its receipt came; None while there is none.
        slack_ts: Slack's `ts` of it; None in a terminal.
    """

    __tablename__ = "parts"

    digest_id: Mapped[str] = mapped_column(ForeignKey("digests.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    news: Mapped[tuple[tuple[str, str], ...]] = mapped_column(NEWS)
    posted_at: Mapped[datetime | None]
    slack_ts: Mapped[str | None]


class DeliveryRow(Base):
    """This news of this finding went to this destination, in this digest."""

    __tablename__ = "deliveries"

    destination_key: Mapped[int] = mapped_column(ForeignKey("destinations.key"), primary_key=True)
    finding_key: Mapped[int] = mapped_column(ForeignKey("findings.key"), primary_key=True)
    news: Mapped[str] = mapped_column(primary_key=True)
    digest_id: Mapped[str] = mapped_column(ForeignKey("digests.id"))
