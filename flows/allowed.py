"""What a run may use: from the worker's own prefect.yaml to the places and secrets in it.

Anyone who may start a run chooses its parameters. The worker's file decides which secret goes to
which server, and which histories, archives, folders and hunt files there are. Both sides are read
into the same lines, so a run that is started as the file says passes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from flows.deployments import Deployment, deployments
from tasks.errors import SettingsError
from tasks.settings import (
    ARCHIVE_URL,
    HISTORY_URL,
    Cluster,
    Destination,
    SecretName,
    Url,
    home,
    located,
    origin,
)

CONFIG_VARIABLE = "BEACONHUNT_CONFIG"
"""Environment variable for the worker's prefect.yaml."""

CONFIG_NAME = "prefect.yaml"

_SHIPPED_HUNT = re.compile(r"[a-z0-9-]+(#[0-9]+)?")
"""A hunt by its name; anything else may be a path."""


class RunSettings(BaseModel):
    """The parameters of all flows that name a place or a secret; None where a flow has none."""

    model_config = ConfigDict(frozen=True)

    cluster: Cluster | None = None
    destination: Destination | None = None
    hunt: str | None = None
    history_url: Url | None = None
    archive_url: Url | None = None

    @property
    def uses(self) -> Iterator[str]:
        """Give each use of a place or secret as a line of YAML, the same for equal uses."""
        if self.cluster:
            yield _line("cluster", _cluster_use(self.cluster))
        if self.destination:
            api, token = self.destination.api_url, self.destination.token
            yield _line("destination", {"api_url": origin(api)} | _secret_use("token", token))
        if self.hunt and not _SHIPPED_HUNT.fullmatch(self.hunt):
            yield _line("hunt", located(self.hunt.partition("#")[0]))
        if self.history_url:
            yield _line("history_url", located(self.history_url))
        if self.archive_url:
            yield _line("archive_url", located(self.archive_url))

    @property
    def channel(self) -> str | None:
        """Give where the digest for its destination goes, as a line of YAML."""
        if self.destination is None:
            return None
        named = {"name": self.destination.name, "channel": self.destination.channel}
        return _line("destination", named | {"api_url": origin(self.destination.api_url)})


class DeployedSettings(RunSettings):
    """The same of a deployment, whose places have the flows' defaults."""

    history_url: Url = HISTORY_URL
    archive_url: Url = ARCHIVE_URL


def _cluster_use(cluster: Cluster) -> dict[str, str]:
    """Give what is sent where, and which certificates are trusted there; or the folder."""
    if cluster.folder is not None:
        return {"url": f"file://{cluster.folder}"}
    trusted = {"ca_certs": cluster.ca_certs, "ca_fingerprint": cluster.ca_fingerprint}
    return {
        "url": origin(cluster.url),
        **_secret_use("api_key", cluster.api_key),
        **{name: value for name, value in trusted.items() if value},
    }


def _secret_use(setting: str, secret_name: SecretName | None) -> dict[str, str]:
    if secret_name is None:
        return {}
    return {f"{setting}_{'block' if secret_name.is_block else 'env'}": secret_name.name}


def _line(setting: str, value: str | dict[str, str]) -> str:
    """Write one line of YAML; as JSON, whose quotes keep values apart."""
    return f"{setting}: {json.dumps(value)}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the worker's runs may use.

    Attributes:
        file: the prefect.yaml that was read.
        uses: see `RunSettings.uses`.
        channels: see `RunSettings.channel`.
        unreadable: the errors of deployments that cannot be used, and so allow nothing.
    """

    file: Path
    uses: frozenset[str]
    channels: frozenset[str]
    unreadable: tuple[str, ...] = ()

    @classmethod
    def by(cls, listed: Collection[Deployment], file: Path) -> Allowed:
        """Allow what stands in deployments; settings that they leave out have their defaults."""
        read: list[RunSettings] = []
        unreadable: list[str] = []
        for deployment in listed:
            try:
                read.append(deployment.read(DeployedSettings))
            except SettingsError as error:
                unreadable.append(str(error))
        return cls(
            file,
            frozenset(use for settings in read for use in settings.uses),
            frozenset(settings.channel for settings in read if settings.channel),
            tuple(unreadable),
        )

    def check(self, wanted: RunSettings, who: str = "A run") -> None:
        """Refuse settings that use what the file does not list.

        Call it before anything else: nothing has been sent, opened or created then.

        Raises:
            SettingsError: with the line that allows it.
        """
        if refused := next((use for use in wanted.uses if use not in self.uses), None):
            raise SettingsError(
                f"{who} may use only what this worker's {self.file} lists, and it does not list "
                f"{refused}.",
                f"To allow it, add that to the `parameters` of a deployment in {self.file}; it is "
                f"read at each run. {' '.join(self.unreadable)}".rstrip(),
            )

    def lists_channel(self, destination: Destination) -> bool:
        """Whether a destination of that name has this channel and server in the file."""
        return RunSettings(destination=destination).channel in self.channels


def use_configuration(config: Path) -> None:
    """Make a prefect.yaml the list for the flows of this process and of those that it starts."""
    os.environ[CONFIG_VARIABLE] = str(config.absolute())


def worker_allows() -> Allowed:
    """Read what this process's runs may use: once a run, so that a changed file needs no restart.

    Raises:
        SettingsError: there is no such file, or it is not a prefect.yaml.
    """
    file = _worker_configuration()
    return Allowed.by(deployments(file), file)


def _worker_configuration() -> Path:
    """Find the file: the named one, else the one in the worker's folder, else in its home.

    It is never a parameter: the person who starts a run must not choose it.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    places = (
        [Path(named).expanduser()] if named else [Path.cwd() / CONFIG_NAME, home() / CONFIG_NAME]
    )
    for place in places:
        if place.is_file():
            return place
    raise SettingsError(
        f"This worker has no prefect.yaml, the list of what its runs may use: there is no "
        f"{' and no '.join(map(str, places))}.",
        f"Set {CONFIG_VARIABLE} to the path of your prefect.yaml in the worker's environment, and "
        "start the worker again.",
    )
