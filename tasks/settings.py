"""A deployment's settings: from the parameters in prefect.yaml to validated, frozen values."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self, cast
from urllib.parse import unquote, urlsplit
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
from tasks.text.foreign import remember_secret

HOME_VARIABLE = "BEACONHUNT_HOME"
"""Environment variable for the folder of history, archive and demo; default `~/.beaconhunt`."""

_FOLDER_SCHEME = "file://"

HISTORY_URL = f"sqlite:///${HOME_VARIABLE}/history.db"
ARCHIVE_URL = f"${HOME_VARIABLE}/archive"

KEPT_DAYS_AT_LEAST = 30
"""Late runs and digests may still need anything younger."""

KeptDays = Annotated[int, Field(ge=KEPT_DAYS_AT_LEAST)]


def _without_password(url: str, about: ValidationInfo) -> str:
    """Refuse a password in a URL, which is shown and stored in clear text.

    Not with a `ValueError`: pydantic would repeat the URL in its message.
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
            "on the worker; for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on the worker.",
        )
    return url


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
"""Name of a cluster or destination: it appears in paths, artifact keys and commands."""

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable on the worker."""

BlockName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
"""Name of a Prefect Secret block."""

Url = Annotated[str, AfterValidator(_without_password)]
"""An address without a password; `$BEACONHUNT_HOME` is filled in where it is used."""

HttpUrl = Annotated[Url, Field(pattern=r"^https?://")]

_PLAIN_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
"""A URL that every library reads alike: no user name, backslash or control character."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> str:
    """Give scheme, host and port, by which two URLs of one server are equal.

    Anything but a plain URL is equal to itself only: libraries disagree about its host.
    """
    plain = _PLAIN_URL.fullmatch(url)
    if plain is None:
        return url
    scheme, host = plain["scheme"].lower(), plain["host"].lower().removesuffix(".")
    return f"{scheme}://{host}:{int(plain['port'] or _DEFAULT_PORTS[scheme])}"


def _is_loopback(url: str) -> bool:
    plain = _PLAIN_URL.fullmatch(url)
    host = plain["host"].lower().strip("[]") if plain else ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_https(setting: str, url: str, secret_name: SecretName) -> None:
    """Refuse to send a secret in clear text.

    Not with a `ValueError`: pydantic would repeat the URL in its message.
    """
    if url.startswith("http://") and not _is_loopback(url):
        raise SettingsError(
            f"`{setting}` begins with http://, so {secret_name} would be sent in clear text.",
            "Use https://; only a server on this machine (127.0.0.1, localhost) may be without it.",
        )


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one like Europe/Berlin") from error
    return name


def _with_zone(
    given: object, check: ValidatorFunctionWrapHandler, about: ValidationInfo
) -> datetime:
    """Refuse a time without a zone, which workers would read differently."""
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
"""Name of a time zone, as in schedules."""


@dataclass(frozen=True, slots=True)
class SecretName:
    """Where a secret is: in an environment variable on the worker, or a Prefect Secret block.

    Attributes:
        name: name of the variable or block.
        is_block: whether it is a block.
    """

    name: str
    is_block: bool = False

    def __str__(self) -> str:
        """The name, as shown in errors."""
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
    """An Elasticsearch cluster to hunt on.

    Attributes:
        name: its name for people; part of every finding's identity, so never change it.
        url: `https://...` for a remote one; `file:///folder` for an embedded one, a folder of
            events.
        api_key_env: name of the worker's environment variable that holds the API key.
        api_key_block: alternatively, name of the Prefect Secret block that holds the API key.
        kibana_url: URL of the Kibana for the cluster's events, used in links.
        kibana_space: id of Kibana's space, if not the default one.
        ca_certs: PEM file of the authority that signed the server's certificate.
        ca_fingerprint: SHA-256 of that authority's or the server's certificate, instead of a file.
        deadline_minutes: time limit for the answer to one query.
        skip_bad_lines: embedded only: count unreadable NDJSON lines instead of refusing the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    url: Annotated[Url, Field(pattern=r"^(https?|file)://")]
    api_key_env: Variable | None = None
    api_key_block: BlockName | None = None
    kibana_url: HttpUrl | None = None
    kibana_space: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+$")
    ca_certs: str | None = None
    ca_fingerprint: str | None = Field(default=None, pattern=r"^([0-9A-Fa-f]{2}:?){32}$")
    deadline_minutes: float = Field(default=15, gt=0)
    skip_bad_lines: bool = False

    @property
    def api_key(self) -> SecretName | None:
        """Where the API key is; None for a cluster without one."""
        return SecretName.of(self.api_key_env, self.api_key_block)

    @property
    def folder(self) -> str | None:
        """The path of an embedded cluster's folder, as its URL names it; None for a remote one.

        People write these URLs by hand, so `#` and `?` are read as part of the path. A host other
        than localhost stays in front of it.
        """
        if not self.url.startswith(_FOLDER_SCHEME):
            return None
        path = located(unquote(self.url.removeprefix(_FOLDER_SCHEME)))
        host, slash, rest = path.partition("/")
        return slash + rest if host.lower() == "localhost" else path

    @property
    def kibana(self) -> str | None:
        """Kibana's address, in its space."""
        if self.kibana_url is None:
            return None
        space = f"/s/{self.kibana_space}" if self.kibana_space else ""
        return f"{self.kibana_url.rstrip('/')}{space}"

    @model_validator(mode="after")
    def _sends_one_api_key_by_https(self) -> Self:
        key = SecretName.of(self.api_key_env, self.api_key_block)
        if key:
            _require_https("url", self.url, key)
        return self


class Destination(BaseModel):
    """A Slack channel, with the clusters and hunts in its scope.

    Attributes:
        name: its name for people; the history keeps its deliveries under this name.
        channel: Slack's channel id, for example `C0123456789`.
        clusters: names of the clusters in its scope.
        hunts: slugs of the hunts in its scope.
        token_env: name of the worker's environment variable that holds the bot token; without
            `token_block` it is `SLACK_BOT_TOKEN`.
        token_block: alternatively, name of the Prefect Secret block that holds the bot token.
        api_url: URL of Slack's API; GovSlack has its own.
        time_zone: its readers' time zone, for the times in the message and on the page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    channel: str = Field(min_length=1)
    clusters: tuple[Name, ...] = Field(min_length=1)
    hunts: tuple[Name, ...] = ("macos-unsigned-network",)
    token_env: Variable | None = None
    token_block: BlockName | None = None
    api_url: HttpUrl = "https://slack.com/api/"
    time_zone: TimeZone = "UTC"

    @property
    def token(self) -> SecretName:
        """Where the bot token is."""
        return SecretName.of(self.token_env, self.token_block) or SecretName("SLACK_BOT_TOKEN")

    @model_validator(mode="after")
    def _sends_one_token_by_https(self) -> Self:
        _require_https("api_url", self.api_url, self.token)
        return self


def home() -> Path:
    """Give the folder for `$BEACONHUNT_HOME` on this machine."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.beaconhunt").expanduser().absolute()


@contextmanager
def writing_home() -> Iterator[None]:
    """Translate errors from writing below `home`, and add the remedy.

    Raises:
        SettingsError: the named file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{error.filename or home()} cannot be written: {error.strerror}.",
            f"Make room, let this user write there, or set {HOME_VARIABLE} to another folder.",
        ) from error


def located(url: str) -> str:
    """Expand `$BEACONHUNT_HOME` and a leading `~` in a URL or path."""
    filled = url.replace(f"${HOME_VARIABLE}", str(home()))
    return str(Path(filled).expanduser()) if filled.startswith("~") else filled


ReadBlock = Callable[[str], str | None]
"""Gives the content of a Prefect Secret block; None if there is no such block."""


def no_block(_: str) -> None:
    """Find no block: for callers without a Prefect server."""


def secret(name: SecretName, purpose: str, read_block: ReadBlock = no_block) -> SecretStr:
    """Read a secret from this process's environment or a Prefect Secret block.

    Raises:
        SettingsError: it is missing or malformed; the text has its name, never its value.
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
    """Read a secret that may be missing; an empty one counts as missing.

    Raises:
        SettingsError: it is malformed.
    """
    value = (read_block(name.name) if name.is_block else os.environ.get(name.name)) or ""
    value = value.strip()
    remember_secret(value)
    if not (value.isascii() and value.isprintable()):
        # It does not fit into a header, and the HTTP client's error would repeat it.
        raise SettingsError(
            f"The secret {name} ({purpose}) contains characters that are not allowed in one.",
            "Store only the secret, on one line; for Elasticsearch that is the key's `encoded` "
            "value.",
        )
    return SecretStr(value) if value else None
