"""Hunt files: from TOML in the public schema for ES|QL hunts to a `Hunt` that can be run."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tasks.errors import HuntError, SettingsError
from tasks.settings import located

SHIPPED = Path(__file__).parents[2] / "hunts"
"""The hunts that come with beaconhunt."""

WINDOW_PARAMETERS = frozenset({"_tstart", "_tend"})
"""The names that Kibana's time picker fills, so that a hunt can be pasted into Discover."""

_PARAMETER = re.compile(r"\?(\w+)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_LITERAL_OR_COMMENT = re.compile(r'""".*?"""|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_BETWEEN_COLUMNS = re.compile(r",(?![^()]*\))")


def without_comments(query: str) -> str:
    """Blank out literals and comments; positions in the rest stay the same."""
    return _LITERAL_OR_COMMENT.sub(lambda found: " " * len(found.group()), query)


def sources_of(query: str) -> str:
    """Give the index patterns after FROM; empty if the query does not begin with it."""
    text = _COMMENT.sub(" ", query)
    found = re.match(r"\s*FROM\s+(.+?)\s*(?:\sMETADATA\b|\||$)", text, re.IGNORECASE | re.DOTALL)
    return " ".join(found.group(1).replace('"', "").split()) if found else ""


def _several(value: object) -> object:
    """Accept one value or a list, as public hunt files have both."""
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Nouns(BaseModel):
    """A hunt's nouns for findings and hosts on pages and in messages: singular and plural."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    finding: tuple[str, str] = ("finding", "findings")
    host: tuple[str, str] = ("host", "hosts")


class Pipeline(BaseModel):
    """beaconhunt's own, optional table in a hunt file.

    Attributes:
        identity: columns that identify a finding; a list holds fallbacks, of which the first with a
            value counts. Empty: see `tasks.diff`.
        thresholds: thresholds by name, with units in the names; the query uses them as `?name`.
        window_days: days that a run looks back from its slot.
        min_version: Elasticsearch version that the query needs.
        population: ES|QL condition for the events that the hunt could have seen; coverage counts
            these.
        enrich: whether to fetch process metadata for findings.
        score: whether to fetch connection times for findings.
        limits: sentences on what the hunt cannot see or over-counts; shown in every report.
        nouns: the nouns for its findings and hosts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: tuple[str | tuple[str, ...], ...] = ()
    thresholds: Mapping[str, float] = Field(default_factory=dict)
    window_days: int = Field(default=7, ge=1, le=90)
    min_version: str = Field(default="8.15", pattern=r"^\d+\.\d+$")
    population: str = "true"
    enrich: bool = True
    score: bool = True
    limits: tuple[str, ...] = ()
    nouns: Nouns = Nouns()

    @property
    def hourly_threshold(self) -> float | None:
        """The threshold of connections per hour, if the hunt has one: charts draw its line."""
        return self.thresholds.get("min_connections_per_hour")


class Hunt(BaseModel):
    """One ES|QL query, with its authors' metadata.

    Attributes:
        slug: the file's name in `[a-z0-9-]`: in paths, commands and Prefect.
        query: the ES|QL text, with `?name` parameters.
        pipeline: settings for the pipeline.
        remarks: sentences on what loading changed or noticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slug: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    name: str = Field(min_length=1)
    uuid: str = Field(min_length=1)
    query: str = Field(min_length=1)
    author: str = ""
    description: str = ""
    integration: Texts = ()
    language: Texts = ("ES|QL",)
    license: str = ""
    notes: Texts = ()
    mitre: Texts = ()
    references: Texts = ()
    pipeline: Pipeline = Pipeline()
    remarks: tuple[str, ...] = ()

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the `?name` parameters in the query."""
        return frozenset(_PARAMETER.findall(without_comments(self.query)))

    @property
    def reproducible(self) -> bool:
        """Whether a later run for the same slot gets the same answer: not with `NOW()`."""
        return not re.search(r"\bnow\s*\(", without_comments(self.query), re.IGNORECASE)

    @property
    def sources(self) -> str:
        """The index patterns after FROM."""
        return sources_of(self.query)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the columns after the last `STATS .. BY`, in order; empty without one.

        Only this part of the text is read, so that a hunt may use any command that its cluster has.
        """
        stages = [stage.strip() for stage in without_comments(self.query).split("|")]
        grouping = [
            stage for stage in stages if re.match(r"(INLINE\s*)?STATS\b", stage, re.IGNORECASE)
        ]
        if not grouping:
            return ()
        _, *behind = re.split(r"\bBY\b", grouping[-1], maxsplit=1, flags=re.IGNORECASE)
        columns = _BETWEEN_COLUMNS.split(behind[0]) if behind else []
        return tuple(column.partition("=")[0].strip().strip("`") for column in columns)

    def everywhere(self, query: str) -> str:
        """Extend a query to the remote clusters that this hunt reads.

        Args:
            query: begins with FROM and one pattern, as `FROM logs-endpoint.events.process-*`.

        Returns:
            For a hunt on `eu:logs-..., logs-...` the query with `FROM eu:logs-..., logs-...`.
        """
        aliases = (pattern.strip().rpartition(":")[0] for pattern in self.sources.split(","))
        _, pattern, rest = re.split(r"(?<=^FROM) (\S+)", query, maxsplit=1)
        patterns = (f"{alias}:{pattern}" if alias else pattern for alias in aliases)
        return f"FROM {', '.join(dict.fromkeys(patterns))}{rest}"

    def with_thresholds(self, overrides: Mapping[str, float]) -> Hunt:
        """Give the hunt with a deployment's own thresholds.

        Raises:
            SettingsError: the hunt has no threshold of an override's name.
        """
        thresholds = self.pipeline.thresholds
        for name in overrides:
            if name not in thresholds:
                raise SettingsError(
                    f"The hunt {self.slug} has no threshold {name!r}.",
                    f"Correct `thresholds` in the deployment. The hunt has: {_listed(thresholds)}.",
                )
        changed = self.pipeline.model_copy(update={"thresholds": {**thresholds, **overrides}})
        return self.model_copy(update={"pipeline": changed})

    def paste_ready(self) -> str:
        """Give the query for Kibana's Discover: with the thresholds' values, without the window."""
        text = self.query
        for name, value in self.pipeline.thresholds.items():
            text = re.sub(rf"\?{re.escape(name)}\b", str(integral(value)), text)
        return text


def integral(threshold: float) -> float:
    """Turn a threshold of 8.0 into the integer 8, as ES|QL needs it."""
    return int(threshold) if float(threshold).is_integer() else threshold


def load_hunt(reference: str) -> Hunt:
    """Load a hunt by a shipped hunt's name, or by a file's path.

    Args:
        reference: `macos-unsigned-network` or `/path/hunt.toml`; with `#2` for the second query in
            the file.

    Raises:
        HuntError: there is no such hunt, or its file cannot be used: with file, line and remedy.
    """
    path, number = _found(reference)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise HuntError(
            f"There is no hunt {reference!r}.",
            f"Choose a shipped hunt ({_listed(shipped_hunts())}), or give the path to your own "
            "file, which ends in .toml.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise HuntError(
            f"{path}: cannot be read: {error}.", "Make it a readable UTF-8 file."
        ) from error
    return read_hunt(text, path, query_number=number)


def placeholder_hunt(reference: str, uuid_of: Callable[[str], str | None]) -> Hunt:
    """Make a placeholder for a hunt with an unusable file, to record failed runs for that hunt.

    Args:
        reference: as for `load_hunt`.
        uuid_of: gives a hunt's uuid by slug from earlier runs; if it gives None, the slug is used
            as uuid.
    """
    path, number = _found(reference)
    slug = _slug(path, number) or "unnamed"
    query = "// The hunt's file could not be used."
    return Hunt(slug=slug, name=slug, uuid=uuid_of(slug) or slug, query=query)


def _found(reference: str) -> tuple[Path, str]:
    """Split a reference into the file and the number of its query."""
    source, _, number = reference.partition("#")
    path = Path(located(source)) if source.endswith(".toml") else SHIPPED / f"{source}.toml"
    return path, number


def _slug(path: Path, number: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") + _apart(number)


def _apart(number: str) -> str:
    """Give the suffix for uuid and slug that keeps a file's queries apart."""
    return "" if number in {"", "1"} else f"-{number}"


def shipped_hunts() -> tuple[str, ...]:
    """List the names of the hunts that come with beaconhunt."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def read_hunt(text: str, path: Path, query_number: str = "") -> Hunt:
    """Read one hunt file.

    Args:
        text: TOML.
        path: the file's path, for its slug and for errors.
        query_number: number of the query in the file, from 1; empty means the first.

    Raises:
        HuntError: with file, line and remedy.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HuntError(f"{path}: not TOML: {error}.", "Correct the file at that place.") from error
    for key in document:
        if key not in {"hunt", "pipeline"}:
            raise _fault(path, text, key, f"unknown table or key {key!r}", "Remove it.")
    table = document.get("hunt")
    if not isinstance(table, dict):
        raise HuntError(f"{path}: has no [hunt] table.", "See docs/hunts.md for the schema.")
    query, remarks = _chosen_query(path, text, table, query_number)
    slug = _slug(path, query_number)
    fields = {**table, "slug": slug, "query": query, "remarks": remarks}
    try:
        hunt = Hunt.model_validate({**fields, "pipeline": document.get("pipeline", {})})
    except ValidationError as error:
        raise _invalid(path, text, error) from error
    hunt = hunt.model_copy(update={"uuid": f"{hunt.uuid}{_apart(query_number)}"})
    _check_language(path, text, hunt)
    _check_parameters(path, text, hunt)
    return hunt


def _chosen_query(
    path: Path, text: str, table: Mapping[str, Any], query_number: str
) -> tuple[str, tuple[str, ...]]:
    """Choose one query in the file, and give remarks on it."""
    queries = _several(table.get("query"))
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise _fault(path, text, "query", "`query` is not a list of texts", "Write one in [hunt].")
    number = int(query_number) if query_number.isdigit() else 0 if query_number else 1
    if not 1 <= number <= len(queries):
        raise _fault(
            path,
            text,
            "query",
            f"there is no query #{query_number or 1}",
            f"It has {len(queries)}.",
        )
    remarks = []
    query = queries[number - 1].strip()
    first_line, _, rest = query.partition("\n")
    if first_line.strip().lower() == "sql":
        query = rest.strip()
        remarks.append("A stray first line `sql` was removed from the query.")
    if len(queries) > 1:
        remarks.append(f"Query {number} of {len(queries)} in the file; `#n` chooses another.")
    return query, tuple(remarks)


def _check_language(path: Path, text: str, hunt: Hunt) -> None:
    if "ES|QL" not in hunt.language:
        raise _fault(
            path, text, "language", f"written in {_listed(hunt.language)}", "Only ES|QL can be run."
        )


def _check_parameters(path: Path, text: str, hunt: Hunt) -> None:
    """Require a value for every parameter, and a use for every threshold."""
    thresholds = frozenset(hunt.pipeline.thresholds)
    for name in sorted(hunt.parameters - thresholds - WINDOW_PARAMETERS):
        raise _fault(
            path,
            text,
            f"?{name}",
            f"the query uses ?{name}, which has no value",
            f"Name it in [pipeline.thresholds] (now: {_listed(thresholds)}).",
        )
    for name in sorted(thresholds - hunt.parameters):
        raise _fault(
            path,
            text,
            name,
            f"the threshold {name!r} is not used by the query",
            f"Use it as ?{name}, or remove it.",
        )


def _invalid(path: Path, text: str, error: ValidationError) -> HuntError:
    first = error.errors()[0]
    *_, key = [part for part in first["loc"] if isinstance(part, str)] or ["hunt"]
    where = ".".join(str(part) for part in first["loc"])
    known = "See docs/hunts.md for the keys of a hunt file."
    return _fault(path, text, key, f"{where}: {first['msg'].lower()}", known)


def _fault(path: Path, text: str, mark: str, problem: str, remedy: str) -> HuntError:
    """Make an error with file and line: the first line with the mark, else no line."""
    marked = re.compile(rf"(?<![\w.-]){re.escape(mark)}(?![\w-])")
    lines = (number for number, line in enumerate(text.splitlines(), 1) if marked.search(line))
    line = next(lines, None)
    return HuntError(f"{path}{f':{line}' if line else ''}: {problem}.", remedy)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
