"""What a deployment sets: from prefect.yaml's parameters to checked, frozen values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tasks.errors import SettingsError

HOME_VARIABLE = "BEACONHUNT_HOME"
"""Where history, archive and demo live on the machine that runs them; else `~/.beaconhunt`."""

HISTORY_URL = f"sqlite:///${HOME_VARIABLE}/history.db"
ARCHIVE_URL = f"${HOME_VARIABLE}/archive"

KEPT_DAYS_AT_LEAST = 30
"""What is younger, late runs and digests may still need."""

KeptDays = Annotated[int, Field(ge=KEPT_DAYS_AT_LEAST)]


def _without_password(url: str, about: ValidationInfo) -> str:
    """Refuse a secret where it would be shown and stored in clear.

    Not as a `ValueError`: pydantic would repeat the URL in its message.
    """
    try:
        parts = urlsplit(url)
        holds_one = parts.password is not None or "password" in parts.query.lower()
    except ValueError:
        raise SettingsError(
            f"`{about.field_name}` is not a URL.",
            "Give scheme, host and port, for example https://es.example.com:9200.",
        ) from None
    if holds_one:
        raise SettingsError(
            f"`{about.field_name}` must not hold a password.",
            "For Elasticsearch set `api_key_env`; for PostgreSQL set PGPASSWORD or use ~/.pgpass "
            "on the worker; for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY there.",
        )
    return url


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
"""Of a cluster or destination: in paths, artifact keys and commands."""

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable of the worker."""

BlockName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
"""Of a Prefect Secret block."""

Url = Annotated[str, AfterValidator(_without_password)]
"""An address without a password; `$BEACONHUNT_HOME` is filled in where it is used."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one like Europe/Berlin") from error
    return name


def _with_zone(
    given: object, check: ValidatorFunctionWrapHandler, about: ValidationInfo
) -> datetime:
    """Refuse a time that every worker would read as another moment."""
    try:
        return cast("datetime", check(given))
    except ValidationError:
        raise SettingsError(
            f"`{about.field_name}` is not a time with its zone.",
            "Write it like 2026-11-24T06:00Z, where Z is UTC.",
        ) from None


Moment = Annotated[AwareDatetime, WrapValidator(_with_zone)]
"""A time with its zone, as people type it into Prefect's UI."""

TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""Name of a time zone, as schedules have it."""


@dataclass(frozen=True, slots=True)
class SecretName:
    """Where a secret is: in a variable of the worker's environment, or in a Prefect Secret block.

    Attributes:
        name: of the variable or block.
        is_block: which of the two.
    """

    name: str
    is_block: bool = False

    def __str__(self) -> str:
        """The name, as errors say it."""
        return f"block {self.name}" if self.is_block else self.name

    @classmethod
    def of(cls, variable: str | None, block: str | None) -> SecretName | None:
        """Give the one that is set.

        Raises:
            ValueError: both are.
        """
        if variable and block:
            raise ValueError("set an environment variable or a Secret block, not both")
        return cls(block, is_block=True) if block else cls(variable) if variable else None


class Cluster(BaseModel):
    """An Elasticsearch cluster that is hunted.

    Attributes:
        name: what people call it; part of every finding's identity, so never change it.
        url: `https://...` for a remote one; `file:///folder` for an embedded one, a folder of
            events.
        api_key_env: name of the worker's environment variable that holds the API key.
        api_key_block: instead of it, name of the Prefect Secret block that holds the API key.
        kibana_url: of the Kibana where people see the cluster's events, for links.
        kibana_space: id of Kibana's space, if not the default one.
        ca_certs: PEM file of the authority that signed the server's certificate.
        ca_fingerprint: SHA-256 of that authority's or the server's certificate, instead of a file.
        deadline_minutes: how long the answer to one question may take.
        skip_bad_lines: embedded only: count unreadable NDJSON lines instead of refusing the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    url: Annotated[Url, Field(pattern=r"^(https?|file)://")]
    api_key_env: Variable | None = None
    api_key_block: BlockName | None = None
    kibana_url: Annotated[Url, Field(pattern=r"^https?://")] | None = None
    kibana_space: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+$")
    ca_certs: str | None = None
    ca_fingerprint: str | None = Field(default=None, pattern=r"^([0-9A-Fa-f]{2}:?){32}$")
    deadline_minutes: float = Field(default=15, gt=0)
    skip_bad_lines: bool = False

    @property
    def api_key(self) -> SecretName | None:
        """Where the API key is; None for a cluster that wants none."""
        return SecretName.of(self.api_key_env, self.api_key_block)

    @property
    def kibana(self) -> str | None:
        """Kibana's address, in its space."""
        if self.kibana_url is None:
            return None
        space = f"/s/{self.kibana_space}" if self.kibana_space else ""
        return f"{self.kibana_url.rstrip('/')}{space}"

    @model_validator(mode="after")
    def _has_one_api_key(self) -> Self:
        SecretName.of(self.api_key_env, self.api_key_block)
        return self


class Destination(BaseModel):
    """A Slack channel, with what it wants to hear of.

    Attributes:
        name: what people call it; its ledger of deliveries stands under this name.
        channel: Slack's channel id, for example `C0123456789`.
        clusters: names of the clusters in its scope.
        hunts: slugs of the hunts in its scope.
        token_env: name of the worker's environment variable that holds the bot token; without
            `token_block` it is `SLACK_BOT_TOKEN`.
        token_block: instead of it, name of the Prefect Secret block that holds the bot token.
        api_url: Slack's API; GovSlack has another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    channel: str = Field(min_length=1)
    clusters: tuple[Name, ...] = Field(min_length=1)
    hunts: tuple[Name, ...] = ("macos-unsigned-network",)
    token_env: Variable | None = None
    token_block: BlockName | None = None
    api_url: Url = "https://slack.com/api/"

    @property
    def token(self) -> SecretName:
        """Where the bot token is."""
        return SecretName.of(self.token_env, self.token_block) or SecretName("SLACK_BOT_TOKEN")

    @model_validator(mode="after")
    def _has_one_token(self) -> Self:
        SecretName.of(self.token_env, self.token_block)
        return self


def home() -> Path:
    """Give the folder that `$BEACONHUNT_HOME` stands for on this machine."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.beaconhunt").expanduser().absolute()


@contextmanager
def writing_home() -> Iterator[None]:
    """Say what to do when a file or folder below `home` cannot be written.

    Raises:
        SettingsError: with the place.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{error.filename or home()} cannot be written: {error.strerror}.",
            f"Make room and let this user write there, or set {HOME_VARIABLE} to another folder.",
        ) from error


def located(url: str) -> str:
    """Fill `$BEACONHUNT_HOME` and a leading `~` into a URL or path."""
    filled = url.replace(f"${HOME_VARIABLE}", str(home()))
    return str(Path(filled).expanduser()) if filled.startswith("~") else filled


ReadBlock = Callable[[str], str | None]
"""Gives what a Prefect Secret block holds; None when there is no such block."""


def no_block(_: str) -> None:
    """Where there is no Prefect, there is no block."""


def secret(name: SecretName, purpose: str, read_block: ReadBlock = no_block) -> SecretStr:
    """Read a secret from this process's environment or a Prefect Secret block.

    Raises:
        SettingsError: it is not there, or cannot be one; the text has its name, never its value.
    """
    value = secret_if_any(name, purpose, read_block)
    if value is None:
        raise SettingsError(
            f"The secret {name} ({purpose}) is not set.",
            f"Create the Secret {name} on the Prefect server that PREFECT_API_URL names."
            if name.is_block
            else f"Set the environment variable {name} for the worker, for example in its systemd "
            "EnvironmentFile.",
        )
    return value


def secret_if_any(
    name: SecretName, purpose: str, read_block: ReadBlock = no_block
) -> SecretStr | None:
    """Read a secret that may be missing; an empty one is as good as none.

    Raises:
        SettingsError: it cannot be a secret.
    """
    value = (read_block(name.name) if name.is_block else os.environ.get(name.name)) or ""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        # No header can hold it, and the error of whoever tries would repeat it.
        raise SettingsError(
            f"The secret {name} ({purpose}) holds characters that no such secret has.",
            "Put the secret alone there, on one line: of Elasticsearch's answer the `encoded`.",
        )
    return SecretStr(value) if value else None
