"""The history's tables: from a run's values to typed rows, the same on both databases."""

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
    """An aware UTC time; SQLite has no time zones and stores it as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone, which another machine would read differently."""
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

    Text on both databases: a process's arguments may contain `\u0000`, which PostgreSQL's `jsonb`
    refuses.
    """

    impl = Text
    cache_ok = True

    def __init__(self, of: TypeAdapter[Any]) -> None:
        """Take the adapter that writes and reads the value."""
        super().__init__()
        self.of = of

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy calls it so
        """Write the value; None stays None."""
        return None if value is None else self.of.dump_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> object:  # noqa: ANN401, ARG002 - SQLAlchemy calls it so
        """Read the value; None stays None."""
        return None if value is None else self.of.validate_json(value)


RUN = JsonColumn(TypeAdapter(Run))
REPORT = JsonColumn(TypeAdapter(Report))
FINDING = JsonColumn(TypeAdapter(Finding))
FIGURES = JsonColumn(TypeAdapter(Mapping[str, Value]))
COUNTS = JsonColumn(TypeAdapter(Mapping[Status, int]))
NEWS = JsonColumn(TypeAdapter(tuple[tuple[str, str], ...]))
GAPS = JsonColumn(TypeAdapter(tuple[tuple[str, str, DayGap], ...]))


def _text_enum(kind: type[StrEnum]) -> Enum:
    """Store an enum's member as its text, readable in any client."""
    return Enum(
        kind,
        native_enum=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Settings that all tables share."""

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
        Status: _text_enum(Status),
        Outcome: _text_enum(Outcome),
        Priority: _text_enum(Priority),
        Medium: _text_enum(Medium),
        DigestStatus: _text_enum(DigestStatus),
    }


class RunRow(Base):
    """The run that stands for a slot, with its coverage; another run of the slot may replace it.

    Attributes:
        unreported: its report, until it is in the archive.
        counts: number of its findings by status, without acknowledged ones.
        acknowledged: number of its acknowledged findings.
        pruned: sightings from its time have been deleted, perhaps its own: runs can no longer be
            compared as of its slot.
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
    """A permanent identity, with the newest document that a run wrote for it.

    Its first and last slot come from its sightings and are not stored here.
    """

    __tablename__ = "findings"

    key: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    id: Mapped[str] = mapped_column(String(67), unique=True)
    document_slot: Mapped[datetime]
    document: Mapped[Finding] = mapped_column(FINDING)


class SightingRow(Base):
    """A finding in the run for a slot; with status `quiet`, the run did not see it.

    Rows are small, because every run adds one for every finding. The run's slot is repeated here,
    so that the first and the last slot are one step in the primary key's index.

    Attributes:
        acknowledgement_key: key of the acknowledgement that covered it in this run.
        hash_sha256: the binary's hash in this run, to recognise a changed one later.
        news: key of the news to deliver; see `tasks.history.sightings.news_key`.
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
    """An acknowledgement: it ends sooner or later, and its row is never deleted."""

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
    """The slot from which on one hunt on one cluster is delivered to a destination."""

    __tablename__ = "scopes"

    destination_key: Mapped[int] = mapped_column(ForeignKey("destinations.key"), primary_key=True)
    cluster: Mapped[str] = mapped_column(primary_key=True)
    hunt: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class DigestRow(Base):
    """A digest, recorded before and after its post; a destination has at most one being sent.

    Attributes:
        number: its place among the destination's digests, from 1 on.
        sender: id of the process that began it, or last took it over.
        lease_until: end of the lease: from then on its sender counts as gone.
        gaps: cluster, hunt and gap of the warnings in its first part.
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
        news: fingerprints and news keys: they become its deliveries when it is posted.
        posted_at: time of its receipt; None before that.
        slack_ts: its Slack `ts`; None in a terminal.
    """

    __tablename__ = "parts"

    digest_id: Mapped[str] = mapped_column(ForeignKey("digests.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    news: Mapped[tuple[tuple[str, str], ...]] = mapped_column(NEWS)
    posted_at: Mapped[datetime | None]
    slack_ts: Mapped[str | None]


class DeliveryRow(Base):
    """The delivery of a finding's news to a destination, in a digest."""

    __tablename__ = "deliveries"

    destination_key: Mapped[int] = mapped_column(ForeignKey("destinations.key"), primary_key=True)
    finding_key: Mapped[int] = mapped_column(ForeignKey("findings.key"), primary_key=True)
    news: Mapped[str] = mapped_column(primary_key=True)
    digest_id: Mapped[str] = mapped_column(ForeignKey("digests.id"))
