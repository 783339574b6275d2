"""Trials on a cluster: from a deployment's settings to the conditions for its runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from tasks.clusters import (
    NOTHING_THERE_OR_NOTHING_READABLE,
    PRIVILEGES,
    ROWS_AT_MOST,
    Catalogue,
    Client,
    Question,
    ask,
    catalogue,
    connect,
    host_of,
    missing_privileges,
)
from tasks.errors import DeadlineExceeded, Unauthorised
from tasks.esql.errors import EsqlError
from tasks.esql.reads import fits, reads, usual_types
from tasks.model.coverage import Coverage
from tasks.model.hunts import Hunt, load_hunt
from tasks.model.runs import Plan, Window
from tasks.preflight.checks import Check, Trial, TrialResult, failed, run_trials, warning
from tasks.preflight.events import judge_events
from tasks.preflight.files import judge_files
from tasks.preflight.telemetry import judge_telemetry
from tasks.questions.candidates import parameters
from tasks.questions.connections import CONNECTIONS, HOST_HOURS
from tasks.questions.coverage import TOTALS, ask_coverage, subject_of
from tasks.questions.processes import PROCESSES
from tasks.questions.scrutiny import OPTIONAL_FIELDS
from tasks.settings import Cluster, ReadBlock, no_block
from tasks.text.numbers import counted

PATIENCE_MINUTES = 2
"""Time limit for a check's query."""

NAMED_STREAMS = 3

_THE_KEY = "docs/operations.md shows the request for a key, under `The API key of a cluster`."

Patterns = tuple[str, ...]
"""Index patterns, as FROM takes them."""


@dataclass(frozen=True, slots=True)
class HuntSettings:
    """The settings of a `hunt_cluster` deployment.

    Attributes:
        deployment: its name.
        cluster: the cluster's settings.
        hunt: reference to the hunt.
        thresholds: thresholds to override in the hunt.
        stale_after_hours: a newest event older than this means "no data".
    """

    deployment: str
    cluster: Cluster
    hunt: str
    thresholds: Mapping[str, float]
    stale_after_hours: float


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields that a run reads from the same index patterns.

    Attributes:
        vital: fields without which a run cannot search.
        useful: fields without which findings have less detail.
    """

    vital: frozenset[str] = frozenset()
    useful: frozenset[str] = frozenset()


ANY_EVENT = Fields(vital=frozenset({"@timestamp"}))
"""The known fields of a query that only the cluster can parse."""


def try_cluster(
    settings: HuntSettings, now: datetime, read_block: ReadBlock = no_block
) -> tuple[Check, ...]:
    """Try a run's requests on a cluster, and count the events in its last 24 hours.

    Args:
        settings: the deployment's settings.
        now: aware UTC.
        read_block: reads the Secret block that the settings may name.

    Returns:
        At least one check for every trial, in order. A folder of events has no key, version or
        privileges.
    """
    with ExitStack() as stack:
        cluster = _Cluster(settings, now, read_block, stack)
        trials = cluster.of_a_folder if cluster.is_folder else cluster.of_a_server
        return tuple(
            replace(check, said=_without_subject(check.said, settings.cluster.name))
            for check in run_trials(settings.deployment, trials)
        )


def _without_subject(text: str, name: str) -> str:
    """Remove the cluster's name from an error's text: the check's subject has it."""
    rest = text.removeprefix(f"{name}: ")
    return text if rest == text else rest[:1].upper() + rest[1:]


def fields_by_patterns(hunt: Hunt) -> Mapping[Patterns, Fields]:
    """Give the fields that a hunt's runs read, by index patterns.

    Raises:
        HuntError: the hunt's query does not begin with FROM.
        EsqlError: only the cluster can parse the hunt's query.
    """
    pipeline = hunt.pipeline
    found: dict[Patterns, Fields] = {}
    for text in (hunt.query, TOTALS.substitute(subject_of(hunt))):
        read = reads(text)
        before = found.get(read.patterns, Fields())
        vital = before.vital | read.fields
        found[read.patterns] = Fields(vital, (before.useful | OPTIONAL_FIELDS.keys()) - vital)
    described = [PROCESSES] * pipeline.enrich + [CONNECTIONS, HOST_HOURS] * pipeline.score
    for read in map(reads, map(hunt.everywhere, described)):
        before = found.get(read.patterns, Fields())
        found[read.patterns] = replace(before, useful=before.useful | read.fields - before.vital)
    return found


@dataclass(frozen=True)
class _Cluster:
    """A cluster with its trials, which share what they have found out."""

    settings: HuntSettings
    now: datetime
    read_block: ReadBlock
    stack: ExitStack

    @property
    def is_folder(self) -> bool:
        return self.settings.cluster.folder is not None

    @property
    def of_a_folder(self) -> Mapping[str, Trial]:
        return {
            "hunt": Trial(self.load_hunt),
            "settings": Trial(self.open),
            "query": Trial(self.ask_hunt, ("hunt", "settings")),
            "files": Trial(self.count_files, ("query",)),
            "events": Trial(self.count_events, ("query",)),
            "telemetry": Trial(self.judge_telemetry, ("events",)),
        }

    @property
    def of_a_server(self) -> Mapping[str, Trial]:
        return {
            "hunt": Trial(self.load_hunt),
            "settings": Trial(self.open),
            "connection": Trial(self.reach, ("settings",)),
            "API key": Trial(self.use_key, ("connection",)),
            "version": Trial(self.compare_version, ("hunt", "API key")),
            "row limit": Trial(self.read_limit, ("version",)),
            "privileges": Trial(self.compare_privileges, ("hunt", "API key")),
            "data streams": Trial(self.list_streams, ("hunt", "API key")),
            "columns": Trial(self.compare_columns, ("data streams",)),
            "query": Trial(self.ask_hunt, ("data streams",)),
            "events": Trial(self.count_events, ("data streams",)),
            "telemetry": Trial(self.judge_telemetry, ("events",)),
        }

    @cached_property
    def hunt(self) -> Hunt:
        return load_hunt(self.settings.hunt).with_thresholds(self.settings.thresholds)

    @cached_property
    def client(self) -> Client:
        patient = {"deadline_minutes": PATIENCE_MINUTES}
        cluster = self.settings.cluster.model_copy(update=patient)
        return self.stack.enter_context(connect(cluster, self.read_block))

    @cached_property
    def fields(self) -> Mapping[Patterns, Fields]:
        try:
            return fields_by_patterns(self.hunt)
        except EsqlError:
            patterns = re.split(r"\s*,\s*", self.hunt.sources.replace('"', ""))
            return {tuple(patterns): ANY_EVENT}

    @cached_property
    def missing(self) -> Mapping[str, tuple[str, ...]]:
        return missing_privileges(self.client, {each for names in self.fields for each in names})

    @cached_property
    def catalogues(self) -> Mapping[Patterns, Catalogue]:
        return {
            patterns: catalogue(self.client, patterns, read.vital | read.useful)
            for patterns, read in self.fields.items()
        }

    @cached_property
    def refusal(self) -> Unauthorised | None:
        """The server's refusal of the key; None if it accepts the key."""
        try:
            missing_privileges(self.client, ())
        except Unauthorised as error:
            return error
        return None

    @property
    def coverage(self) -> Coverage | None:
        """The coverage in the last 24 hours; None if counting takes too long."""
        coverage, _ = self.surveyed
        return coverage

    @cached_property
    def plan(self) -> Plan:
        """A run now that searches one day."""
        a_day = self.hunt.pipeline.model_copy(update={"window_days": 1})
        return Plan(
            run_id="check",
            hunt=self.hunt.model_copy(update={"pipeline": a_day}),
            cluster=self.settings.cluster.name,
            slot=self.now,
            stale_after_hours=self.settings.stale_after_hours,
            started_at=self.now,
            of_folder=self.is_folder,
        )

    @cached_property
    def surveyed(self) -> tuple[Coverage | None, str]:
        """The coverage, and the reason why the agents' telemetry was not assessed."""
        try:
            return ask_coverage(self.client, self.plan, self.now, allow_partial=True)
        except DeadlineExceeded:
            return None, ""

    def load_hunt(self) -> Iterator[TrialResult]:
        subject_of(self.hunt)
        yield TrialResult(" ".join((f"{self.hunt.name} ({self.hunt.slug}).", *self.hunt.remarks)))

    def open(self) -> Iterator[TrialResult]:
        key = self.settings.cluster.api_key
        self.client  # noqa: B018 - reads the secret and the authority's certificate.
        if self.is_folder:
            yield TrialResult("The folder exists.")
        else:
            yield TrialResult(f"The API key is in {key}." if key else "No API key is set.")

    def reach(self) -> Iterator[TrialResult]:
        self.refusal  # noqa: B018 - requests an answer; another trial judges the key.
        yield TrialResult(f"{host_of(self.settings.cluster)} answers.")

    def use_key(self) -> Iterator[TrialResult]:
        if self.refusal:
            raise self.refusal
        key = self.settings.cluster.api_key
        yield TrialResult("It is accepted." if key else "No API key is set, and none is needed.")

    def compare_version(self) -> Iterator[TrialResult]:
        needed, server = self.hunt.pipeline.min_version, self.client.server
        self.client.require(needed, f"the hunt {self.hunt.slug}")
        if server.is_serverless:
            yield TrialResult("Serverless, which always has the newest version.")
        elif server.release is None:
            yield warning(
                "The API key may not read the version.",
                f"Give it the cluster privilege `monitor`, or make sure of {needed} or later. "
                f"{_THE_KEY}",
            )
        else:
            yield TrialResult(f"Elasticsearch {server.number}; the hunt needs {needed}.")

    def read_limit(self) -> Iterator[TrialResult]:
        longest = self.client.server.longest_answer
        if longest is None:
            yield warning(
                f"The server does not show how long its answers may be; {ROWS_AT_MOST:,} rows are "
                "assumed.",
                "Give the API key the cluster privilege `monitor`. Serverless shows it to no key: "
                f"there, nothing is to be done. {_THE_KEY}",
            )
        elif longest < ROWS_AT_MOST:
            yield warning(
                f"The cluster cuts every answer at {counted(longest, 'row')}: runs ask more "
                "questions, and hunts that cannot be read page by page will be partial.",
                f"Set `esql.query.result_truncation_max_size` to {ROWS_AT_MOST} again.",
            )
        else:
            yield TrialResult(f"Answers may have {longest:,} rows.")

    def compare_privileges(self) -> Iterator[TrialResult]:
        for patterns, read in self.fields.items():
            for pattern in patterns:
                for privilege in self.missing.get(pattern, ()):
                    vital = privilege == "read" and read.vital
                    judge = failed if vital else warning
                    yield judge(f"The API key lacks `{privilege}` on {pattern}.", _THE_KEY)
        if not self.missing:
            names = ", ".join(each for patterns in self.fields for each in patterns)
            yield TrialResult(f"{' and '.join(PRIVILEGES)} on {names}.")

    def list_streams(self) -> Iterator[TrialResult]:
        for patterns, found in self.catalogues.items():
            names = ", ".join(patterns)
            if found.streams:
                yield TrialResult(f"{names}: {_listed(found.streams)}.")
            elif self.fields[patterns].vital:
                yield failed(f"{names}: no data stream.", NOTHING_THERE_OR_NOTHING_READABLE)
            else:
                yield warning(
                    f"{names}: no data stream, so findings have less detail.",
                    NOTHING_THERE_OR_NOTHING_READABLE,
                )

    def compare_columns(self) -> Iterator[TrialResult]:
        faults = [
            judge(text, remedy)
            for patterns, read in self.fields.items()
            if self.catalogues[patterns].streams
            for judge, names in ((failed, read.vital), (warning, read.useful))
            for text, remedy in _faults(patterns, names, self.catalogues[patterns])
        ]
        yield from faults
        if ANY_EVENT in self.fields.values():
            yield TrialResult(
                "Only the cluster can parse this query; the next check tries it there."
            )
        elif not faults:
            count = len({name for r in self.fields.values() for name in r.vital | r.useful})
            yield TrialResult(
                f"All {count} columns that a run reads exist, with the types that it needs."
            )

    def ask_hunt(self) -> Iterator[TrialResult]:
        window = Window.before(self.now, self.hunt.pipeline.window_days)
        answer = ask(
            self.client,
            Question(
                "check",
                f"{self.hunt.query}\n| LIMIT 0",  # The cluster verifies it and searches nothing.
                window.filter,
                parameters(self.hunt, window),
            ),
        )
        for remote in answer.skipped:
            yield warning(
                f"The remote cluster {remote} does not answer: runs will be partial.",
                "Check the connection between the two clusters.",
            )
        yield TrialResult("The cluster understands the hunt's query.")

    def count_files(self) -> Iterator[TrialResult]:
        yield from judge_files(self.client, self.hunt)

    def count_events(self) -> Iterator[TrialResult]:
        if self.coverage is None:
            yield warning(
                f"Counting the events of one day takes more than {PATIENCE_MINUTES:g} minutes.",
                "Check the cluster's load; a run has `deadline_minutes` for a query about "
                f"{self.hunt.pipeline.window_days} days.",
            )
        else:
            yield from judge_events(self.client, self.plan, self.coverage)

    def judge_telemetry(self) -> Iterator[TrialResult]:
        coverage, unjudged = self.surveyed
        yield from judge_telemetry(coverage, unjudged, self.hunt.pipeline.nouns)


def _faults(
    patterns: Patterns, names: Iterable[str], found: Catalogue
) -> Iterator[tuple[str, str]]:
    """Give the problems with missing columns and with columns of another type, with remedies."""
    where = ", ".join(patterns)
    missing = sorted(name for name in names if name not in found.types)
    if missing:
        yield (
            f"{where}: no {', '.join(missing)}.",
            "Update the assets of the Elastic Defend integration, or correct the hunt.",
        )
    usual = {name: kind for each in patterns for name, kind in usual_types(each).items()}
    for name in sorted(set(names) & found.types.keys() & usual.keys()):
        for kind, streams in found.types[name].items():
            if not fits(kind, usual[name]):
                yield (
                    f"{', '.join(streams) or where}: {name} is {kind}, not {usual[name]}.",
                    "Correct the mapping in the index template, and roll over the data stream.",
                )


def _listed(streams: Collection[str]) -> str:
    """List the first few, and count the rest."""
    shown = ", ".join(sorted(streams)[:NAMED_STREAMS])
    more = len(streams) - NAMED_STREAMS
    return f"{shown} and {more} more" if more > 0 else shown
