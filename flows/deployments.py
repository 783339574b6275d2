"""The deployments of a prefect.yaml: from the file to validated parameters of their flow.

As `prefect deploy` does, `{{ $NAME }}` is filled in from the environment. A variable that is not
set matters only to what uses its place: it stops no command about another deployment.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tasks.errors import SettingsError
from tasks.settings import ARCHIVE_URL, HISTORY_URL, Url

if TYPE_CHECKING:
    from prefect.flows import Flow


SUBJECTS = {"hunt_cluster": "cluster", "daily_digest": "destination"}
"""The parameter that names a deployment's subject, by flow."""

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.\-\[\]$]+)\s*\}\}")
"""Prefect's own pattern for `{{ $NAME }}`, `{{ NAME }}` and `{{ prefect.variables.name }}`."""

_Part = TypeVar("_Part")
_Model = TypeVar("_Model", bound=BaseModel)


class Deployment(BaseModel):
    """One deployment, as written in the file.

    Attributes:
        name: unique among the deployments of a flow.
        entrypoint: import path of its flow.
        parameters: parameters of its flow, unvalidated; see `checked`.
        schedules: its schedules, unvalidated; see `flows.slots`, and `filled`.
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
        return self.read(Storage)

    def read(self, model: type[_Model]) -> _Model:
        """Validate those of the parameters that a model has.

        Raises:
            SettingsError: as `checked`.
        """
        given = self.filled(
            {name: each for name, each in self.parameters.items() if name in model.model_fields}
        )
        try:
            return model.model_validate(given)
        except SettingsError as error:
            raise self._refused(error.problem, error.remedy) from None
        except ValidationError as error:
            fault = error.errors()[0]
            raise self._refused(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}.") from None

    def filled(self, value: _Part) -> _Part:
        """Give a value of this deployment that has no placeholder any more.

        Raises:
            SettingsError: it has one.
        """
        if left := next(_placeholders(value), None):
            name = left.lstrip("$")
            raise self._refused(
                f"`{{{{ {left} }}}}` is not filled in.",
                f"Set {name} in the environment of this command and of the worker."
                if left.startswith("$")
                else "Only Prefect knows it. Write the value, or `{{ $NAME }}` for an environment "
                "variable.",
            )
        return value

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
        given = self.filled(self.parameters)
        try:
            return flow.validate_parameters(defaults | given)
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


def _fill(value: Any) -> Any:  # noqa: ANN401 - any part of a YAML document.
    """Fill in the environment's variables as `prefect deploy` does, where they are set."""
    match value:
        case str():
            return _PLACEHOLDER.sub(
                lambda found: os.environ.get(found[1].lstrip("$"), found[0]), value
            )
        case dict():
            return {key: _fill(each) for key, each in value.items()}
        case list():
            return [_fill(each) for each in value]
        case _:
            return value


def _placeholders(value: object) -> Iterator[str]:
    """Give the names of the placeholders that are left in a part of a document."""
    match value:
        case str():
            yield from _PLACEHOLDER.findall(value)
        case dict():
            for each in value.values():
                yield from _placeholders(each)
        case list():
            for each in value:
                yield from _placeholders(each)


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
        return _LISTED.validate_python(_fill(document["deployments"]))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, ("deployments", *fault["loc"])))
        raise SettingsError(f"{path}: {where}: {fault['msg']}.", shape) from None
