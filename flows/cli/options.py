"""What commands take: from words on the command line to times, deployments and places."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import Format, Telling
from flows.deployments import SUBJECTS, Deployment, Storage, deployments
from tasks.errors import SettingsError


def parse_time(text: str) -> datetime:
    """Read a time that names its zone."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-11-24T06:00Z.") from error
    if given.tzinfo is None:
        raise typer.BadParameter(f"{text!r} names no time zone; end it with Z for UTC.")
    return given.astimezone(UTC)


def parse_day_or_time(text: str) -> datetime:
    """Read a day, which begins at midnight UTC, or a time that names its zone."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        return parse_time(text)


Config = Annotated[Path, typer.Option(help="The prefect.yaml that lists your deployments.")]
HistoryUrl = Annotated[
    str | None, typer.Option(help="The history, where prefect.yaml names none or several.")
]
ArchiveUrl = Annotated[
    str | None, typer.Option(help="The archive, where prefect.yaml names none or several.")
]
FormatOption = Annotated[Telling, typer.Option("--format", help="For people, or for scripts.")]
As = Annotated[Format, typer.Option("--format", help="How to write the rows.")]
TimeOption = Annotated[
    datetime | None,
    typer.Option(parser=parse_time, metavar="TIME", help="With its zone: 2026-11-24T06:00Z."),
]
CONFIG = Path("prefect.yaml")


def deployments_of(config: Path, flow_name: str, subject: str) -> list[Deployment]:
    """Give every deployment of a flow that is for a cluster or destination.

    Raises:
        SettingsError: there is none; the error lists those that there are.
    """
    listed = [each for each in deployments(config) if each.flow_name == flow_name]
    mine = [each for each in listed if each.subject == subject]
    if not mine:
        known = ", ".join(sorted({str(each.subject) for each in listed}))
        raise SettingsError(
            f"There is no {SUBJECTS[flow_name]} {subject!r} in {config}.",
            f"It has: {known or 'none'}. Correct the name, or add a deployment.",
        )
    return mine


def chosen_history(given: str | None, config: Path) -> str:
    """Choose the history: the given one, else the only one that the deployments name."""
    return _chosen(given, config, "history_url", "histories")


def chosen_archive(given: str | None, config: Path) -> str:
    """Choose the archive: the given one, else the only one that the deployments name."""
    return _chosen(given, config, "archive_url", "archives")


def _chosen(given: str | None, config: Path, parameter: str, several: str) -> str:
    """Give what is given, else what the deployments of hunts and digests name, if it is one.

    Raises:
        SettingsError: they name several, or it is none that a deployment may name.
    """
    if given:
        return str(getattr(Storage.model_validate({parameter: given}), parameter))
    listed = deployments(config) if config.exists() else []
    named = {getattr(each, parameter) for each in listed if each.flow_name in SUBJECTS}
    if len(named) > 1:
        raise SettingsError(
            f"{config} names {len(named)} {several}.",
            f"Choose one with --{parameter.replace('_', '-')}: {', '.join(sorted(named))}.",
        )
    return str(next(iter(named), getattr(Storage(), parameter)))
