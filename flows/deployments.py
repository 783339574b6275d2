"""The deployments of a prefect.yaml: from the file to validated parameters of their flow."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tasks.errors import SettingsError
from tasks.settings import ARCHIVE_URL, HISTORY_URL, Url

if TYPE_CHECKING:
    from prefect.flows import Flow


SUBJECTS = {"hunt_cluster": "cluster", "daily_digest": "destination"}
"""The parameter that names a deployment's subject, by flow."""


class Deployment(BaseModel):
    """One deployment, as written in the file.

    Attributes:
        name: unique among the deployments of a flow.
        entrypoint: import path of its flow.
        parameters: parameters of its flow, unvalidated; see `checked`.
        schedules: its schedules, unvalidated; see `flows.slots`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    entrypoint: str
    parameters: dict[str, Any] = {}
    schedules: list[dict[str, Any]] = []

    @property
    def flow_name(self) -> str:
        """Name of its flow, without the module."""
        return self.entrypoint.replace(":", ".").rpartition(".")[2]

    @property
    def subject(self) -> str | None:
        """Name of its cluster or destination; None if the parameters have no such name."""
        subject = self.parameters.get(SUBJECTS.get(self.flow_name, ""))
        return str(subject.get("name")) if isinstance(subject, Mapping) else None

    @property
    def history_url(self) -> str:
        """URL of its history.

        Raises:
            SettingsError: as `checked`.
        """
        return self._storage.history_url

    @property
    def archive_url(self) -> str:
        """URL of its archive.

        Raises:
            SettingsError: as `checked`.
        """
        return self._storage.archive_url

    @property
    def _storage(self) -> Storage:
        try:
            return Storage.model_validate(self.parameters)
        except SettingsError as error:
            raise self._refused(error.problem, error.remedy) from None
        except ValidationError as error:
            fault = error.errors()[0]
            raise self._refused(f"{fault['loc'][0]}: {fault['msg']}.") from None

    def checked(self, flow: Flow[..., Any]) -> dict[str, Any]:
        """Give the validated parameters, with the flow's defaults for those that are not set.

        Raises:
            SettingsError: a parameter is invalid; the text has its name and never its value.
        """
        from prefect.exceptions import ParameterTypeError  # noqa: PLC0415 - Prefect takes a second.

        known = inspect.signature(flow.fn).parameters
        for name in self.parameters:
            if name not in known:
                raise self._refused(f"The flow {flow.name} has no parameter {name}.")
        defaults = {
            name: each.default for name, each in known.items() if each.default is not each.empty
        }
        try:
            return flow.validate_parameters(defaults | self.parameters)
        except SettingsError as error:
            raise self._refused(error.problem, error.remedy) from None
        except ParameterTypeError as error:
            _, *faults = str(error).split("\n - ")
            raise self._refused(f"{'; '.join(faults)}.") from None

    def _refused(self, problem: str, remedy: str | None = None) -> SettingsError:
        return SettingsError(
            f"Deployment {self.name}: {problem}",
            remedy or "Correct its `parameters`; docs/operations.md lists the settings.",
        )


class Storage(BaseModel):
    """Parameters that commands need without running a flow, validated as for a flow."""

    history_url: Url = HISTORY_URL
    archive_url: Url = ARCHIVE_URL


_LISTED = TypeAdapter(list[Deployment])


def deployments(path: Path) -> list[Deployment]:
    """Read the deployments of a prefect.yaml.

    Raises:
        SettingsError: there is no such file, or it is not a prefect.yaml.
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
    shape = "Take the prefect.yaml in the repository as an example."
    if not isinstance(document, dict) or not document.get("deployments"):
        raise SettingsError(f"{path} lists no deployments.", shape)
    try:
        return _LISTED.validate_python(document["deployments"])
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, ("deployments", *fault["loc"])))
        raise SettingsError(f"{path}: {where}: {fault['msg']}.", shape) from None
