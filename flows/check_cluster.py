"""Check clusters, and all else that deployments need: before the first run, after a change."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, flow, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.states import Completed, Failed

from flows.daily_digest import daily_digest
from flows.hunt_cluster import hunt_cluster
from flows.opaque import opaque
from tasks.blocks import read_block
from tasks.check import Site, check
from tasks.checks import Check, Verdict, summary
from tasks.errors import SettingsError
from tasks.settings import Name
from tasks.trials import HuntSettings

Parameters = Mapping[str, Any]
"""Of a deployment, as prefect.yaml and Prefect's API have them."""

DEPLOYMENTS_A_PAGE = 200


def _run_name() -> str:
    """Name the flow run in Prefect's UI: what it checks."""
    return ", ".join(runtime.flow_run.parameters.get("clusters") or ["everything"])


@flow(name="check_cluster", flow_run_name=_run_name)
def check_cluster(clusters: list[Name] | None = None) -> State:
    """Check what the deployments of this Prefect server need, and post, record and keep nothing.

    Args:
        clusters: names of those to check, with their storage; by default all, and the destinations.

    Returns:
        The final state: failed where a check failed. Its table is the artifact `check`.
    """
    site = site_of(dict(deployed()), clusters or ())
    checks = check(opaque(site), datetime.now(UTC), opaque(read_block))
    return final_state(checks)


def deployed() -> Iterator[tuple[str, Parameters]]:
    """Give the parameters of each deployment of our flows on this Prefect server."""
    ours = {f"{flow.fn.__module__}.{flow.fn.__name__}" for flow in (hunt_cluster, daily_digest)}
    with get_client(sync_client=True) as client:
        offset = 0
        while page := client.read_deployments(limit=DEPLOYMENTS_A_PAGE, offset=offset):
            yield from ((each.name, each.parameters) for each in page if each.entrypoint in ours)
            offset += len(page)


def site_of(deployments: Mapping[str, Parameters], clusters: Collection[str]) -> Site:
    """Read what is to be checked from the deployments' parameters.

    Args:
        deployments: by name.
        clusters: names of those to check, with their storage; none means all, and destinations.

    Raises:
        SettingsError: there is none, none hunts such a cluster, or a parameter does not fit.
    """
    hunts = {
        name: _settings(hunt_cluster, name, parameters)
        for name, parameters in deployments.items()
        if isinstance(parameters.get("cluster"), dict)
    }
    digests = {
        name: _settings(daily_digest, name, parameters)
        for name, parameters in deployments.items()
        if isinstance(parameters.get("destination"), dict) and not clusters
    }
    if not (hunts or digests):
        raise SettingsError(
            "There is no deployment to check.",
            "Deploy prefect.yaml: `prefect --no-prompt deploy --all`.",
        )
    hunted = frozenset(settings["cluster"].name for settings in hunts.values())
    if unknown := sorted(set(clusters) - hunted):
        raise SettingsError(
            f"No deployment hunts {', '.join(unknown)}.",
            f"There are: {', '.join(sorted(hunted)) or 'none'}. Correct the name, or deploy it.",
        )
    chosen = {
        name: settings
        for name, settings in hunts.items()
        if not clusters or settings["cluster"].name in clusters
    }
    stored = [*chosen.values(), *digests.values()]
    return Site(
        hunts=[
            HuntSettings(
                deployment=name,
                cluster=settings["cluster"],
                hunt=settings["hunt"],
                thresholds=settings["thresholds"] or {},
                stale_after_hours=settings["stale_after_hours"],
            )
            for name, settings in chosen.items()
        ],
        destinations={name: settings["destination"] for name, settings in digests.items()},
        hunted=hunted,
        history_urls=list(dict.fromkeys(settings["history_url"] for settings in stored)),
        archive_urls=list(dict.fromkeys(settings["archive_url"] for settings in stored)),
    )


def _settings(of: Flow[..., Any], deployment: str, parameters: Parameters) -> dict[str, Any]:
    """Give a flow's parameters as it will get them, with its defaults.

    Raises:
        SettingsError: one does not fit.
    """
    try:
        bound = inspect.signature(of.fn).bind(**parameters)
        bound.apply_defaults()
        return of.validate_parameters(bound.arguments)
    except (TypeError, ParameterTypeError) as error:
        raise SettingsError(
            f"A parameter of the deployment {deployment} does not fit: {error}",
            "Correct `parameters` in prefect.yaml.",
        ) from error


def final_state(checks: Sequence[Check]) -> State:
    """Say the verdicts in words, as Prefect's UI shows them."""
    failures = [each for each in checks if each.verdict is Verdict.FAILED]
    message = summary(checks)
    if failures:
        named = "; ".join(f"{each.subject}: {each.name}" for each in failures)
        return Failed(message=f"{message} ({named})")
    return Completed(message=message)
