"""What commands take: from the command line's text to times, deployments and storage."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import Format, OutputFormat
from flows.deployments import SUBJECTS, Deployment, Storage, deployments
from tasks.errors import SettingsError


def parse_time(text: str) -> datetime:
    """Read a time with its zone."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-11-24T06:00Z.") from error
    if given.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; end it with Z for UTC.")
    return given.astimezone(UTC)


def parse_day_or_time(text: str) -> datetime:
    """Read a day, which means its midnight UTC, or a time with its zone."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return parse_time(text)


Config = Annotated[Path, typer.Option(help="The prefect.yaml with your deployments.")]
HistoryUrl = Annotated[
    str | None, typer.Option(help="URL of the history. Default: the only one in prefect.yaml.")
]
ArchiveUrl = Annotated[
    str | None,
    typer.Option(help="Folder or URL of the archive. Default: the only one in prefect.yaml."),
]
FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help="Output format: text for people, json for scripts.")
]
As = Annotated[Format, typer.Option("--format", help="Output format of the rows.")]
TimeOption = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_time,
        metavar="TIME",
        help="Time of the slot with its zone, like 2026-11-24T06:00Z. Default: now.",
    ),
]
SlotOption = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_time,
        metavar="TIME",
        help="Time of the slot with its zone, like 2026-11-24T06:00Z. Default: now; for a folder "
        "of events, its newest event.",
    ),
]
CONFIG = Path("prefect.yaml")


def deployments_of(config: Path, flow_name: str, subject: str) -> list[Deployment]:
    """Give the deployments of a flow for one cluster or destination.

    Raises:
        SettingsError: there is no such deployment; the error lists the existing names.
    """
    listed = [each for each in deployments(config) if each.flow_name == flow_name]
    mine = [each for each in listed if each.subject == subject]
    if not mine:
        known = ", ".join(sorted({str(each.subject) for each in listed}))
        raise SettingsError(
            f"There is no {SUBJECTS[flow_name]} {subject!r} in {config}.",
            f"Correct the name, or add a deployment. The file has: {known or 'none'}.",
        )
    return mine


def chosen_history(given: str | None, config: Path) -> str:
    """Choose the history: the given one, else the only one in the deployments."""
    return _chosen(given, config, "history_url", "histories")


def chosen_archive(given: str | None, config: Path) -> str:
    """Choose the archive: the given one, else the only one in the deployments."""
    return _chosen(given, config, "archive_url", "archives")


def _chosen(given: str | None, config: Path, parameter: str, several: str) -> str:
    """Choose the given URL, else the only one in the deployments of hunts and digests.

    Raises:
        SettingsError: the deployments have several, or the given URL is not allowed in one.
    """
    if given:
        return str(getattr(Storage.model_validate({parameter: given}), parameter))
    listed = deployments(config) if config.exists() else []
    named = {getattr(each, parameter) for each in listed if each.flow_name in SUBJECTS}
    if len(named) > 1:
        raise SettingsError(
            f"{config} has {len(named)} {several}.",
            f"Choose one with --{parameter.replace('_', '-')}: {', '.join(sorted(named))}.",
        )
    return str(next(iter(named), getattr(Storage(), parameter)))
