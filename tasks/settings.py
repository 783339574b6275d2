"""What a deployment sets: from prefect.yaml's parameters to checked, frozen values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from tasks.errors import SettingsError

HOME_VARIABLE = "BEACONHUNT_HOME"
"""Where history, archive and demo live on the machine that runs them; else `~/.beaconhunt`."""

HISTORY_URL = f"sqlite:///${HOME_VARIABLE}/history.db"
ARCHIVE_URL = f"${HOME_VARIABLE}/archive"


def _without_password(url: str) -> str:
    """Parameters are shown and stored in clear, so a secret must not be one."""
    if urlsplit(url).password is not None:
        raise ValueError(
            "a URL must not hold a password: for PostgreSQL use PGPASSWORD or ~/.pgpass on the "
            "worker, for Elasticsearch `api_key_env`"
        )
    return url


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""Of a cluster or destination: in paths, artifact keys and commands."""

Url = Annotated[str, AfterValidator(_without_password)]
"""An address without a password; `$BEACONHUNT_HOME` is filled in where it is used."""


class Cluster(BaseModel):
    """An Elasticsearch cluster that is hunted.

    Attributes:
        name: what people call it; part of every finding's identity, so never change it.
        url: `https://...` for a remote one; `file:///folder` for an embedded one, a folder of
            events.
        api_key_env: name of the worker's environment variable that holds the API key.
        ca_certs: PEM file of the authority that signed the server's certificate.
        skip_bad_lines: embedded only: count unreadable NDJSON lines instead of refusing the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    url: Annotated[Url, Field(pattern=r"^(https?|file)://")]
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    ca_certs: str | None = None
    skip_bad_lines: bool = False


class Destination(BaseModel):
    """A Slack channel, with what it wants to hear of.

    Attributes:
        name: what people call it; its ledger of deliveries stands under this name.
        channel: Slack's channel id, for example `C0123456789`.
        clusters: names of the clusters in its scope.
        hunts: slugs of the hunts in its scope.
        token_env: name of the worker's environment variable that holds the bot token.
        api_url: Slack's API; GovSlack has another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    channel: str = Field(min_length=1)
    clusters: tuple[Name, ...] = Field(min_length=1)
    hunts: tuple[Name, ...] = ("macos-unsigned-network",)
    token_env: str = Field(default="SLACK_BOT_TOKEN", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api_url: Url = "https://slack.com/api/"


def home() -> Path:
    """Give the folder that `$BEACONHUNT_HOME` stands for on this machine."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.beaconhunt").expanduser().absolute()


def located(url: str) -> str:
    """Fill `$BEACONHUNT_HOME` and a leading `~` into a URL or path."""
    filled = url.replace(f"${HOME_VARIABLE}", str(home()))
    return str(Path(filled).expanduser()) if filled.startswith("~") else filled


def secret(variable: str, purpose: str) -> SecretStr:
    """Read a secret from this process's environment.

    Raises:
        SettingsError: it is not set; the text names the variable, never a value.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        raise SettingsError(
            f"The environment variable {variable} ({purpose}) is not set.",
            f"Set {variable} for the worker, for example in its systemd EnvironmentFile.",
        )
    return SecretStr(value)


def deployments(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read the deployments of a prefect.yaml: flow parameters by deployment name.

    Raises:
        SettingsError: no such file, or not a prefect.yaml.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"There is no {path}.",
            "Run the command where your prefect.yaml is, or name the file with --config.",
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.", "Correct the file.") from error
    listed = document.get("deployments") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise SettingsError(
            f"{path} lists no deployments.", "See prefect.yaml in the repository for the shape."
        )
    return {str(entry.get("name")): entry.get("parameters") or {} for entry in listed}
