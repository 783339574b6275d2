"""Check everything that deployments need: before the first run, and after a change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.allowed import DeployedSettings, worker_allows
from flows.daily_digest import daily_digest
from flows.deployments import Deployment
from flows.hunt_cluster import hunt_cluster
from tasks.check import PreflightScope, check
from tasks.errors import SettingsError
from tasks.preflight.checks import Check, Verdict, verdict_counts
from tasks.preflight.cluster import HuntSettings
from tasks.secrets import read_block
from tasks.settings import Name

DEPLOYMENTS_A_PAGE = 200


def _run_name() -> str:
    """Name the flow run in Prefect's UI by the clusters that it checks."""
    return ", ".join(runtime.flow_run.parameters.get("clusters") or ["everything"])


@flow(name="check_cluster", flow_run_name=_run_name)
def check_cluster(clusters: list[Name] | None = None) -> State:
    """Check everything that the deployments on this Prefect server need.

    It posts, records and keeps nothing.

    Args:
        clusters: Names of the clusters to check, with their storage; by default all clusters, and
            the destinations.

    Returns:
        The final state: failed if a check failed. The artifact `check` has the table.
    """
    found, allowed = list(deployments_on_server()), worker_allows()
    for each in found:
        if not clusters or each.subject in clusters:
            allowed.check(each.read(DeployedSettings), f"Deployment {each.name}")
    site = scope_of(found, clusters or ())
    checks = check(site, datetime.now(UTC), read_block)
    return check_state(checks)


def deployments_on_server() -> Iterator[Deployment]:
    """Give each deployment of our flows on this Prefect server."""
    ours = {f"{flow.fn.__module__}.{flow.fn.__name__}" for flow in (hunt_cluster, daily_digest)}
    with get_client(sync_client=True) as client:
        offset = 0
        while page := client.read_deployments(limit=DEPLOYMENTS_A_PAGE, offset=offset):
            for each in page:
                if each.entrypoint in ours:
                    yield Deployment(
                        name=each.name, entrypoint=each.entrypoint, parameters=each.parameters
                    )
            offset += len(page)


def scope_of(deployments: Collection[Deployment], clusters: Collection[str]) -> PreflightScope:
    """Read what is to be checked from the deployments' parameters.

    Args:
        deployments: of any flows; those of ours are looked at.
        clusters: names of those to check, with their storage; none means all, and destinations.

    Raises:
        SettingsError: there is none, none hunts such a cluster, or a parameter does not fit.
    """
    hunts = [each for each in deployments if each.flow_name == hunt_cluster.name]
    digests = [each for each in deployments if each.flow_name == daily_digest.name]
    if not (hunts or digests):
        raise SettingsError(
            "There is no deployment to check.",
            "Deploy prefect.yaml: `prefect --no-prompt deploy --all`.",
        )
    hunted = frozenset(each.subject for each in hunts if each.subject)
    if unknown := sorted(set(clusters) - hunted):
        raise SettingsError(
            f"No deployment hunts {', '.join(unknown)}.",
            f"There are: {', '.join(sorted(hunted)) or 'none'}. Correct the name, or deploy it.",
        )
    chosen = {
        each.name: each.checked(hunt_cluster)
        for each in hunts
        if not clusters or each.subject in clusters
    }
    told = {} if clusters else {each.name: each.checked(daily_digest) for each in digests}
    stored = [*chosen.values(), *told.values()]
    return PreflightScope(
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
        destinations={name: settings["destination"] for name, settings in told.items()},
        hunted=hunted,
        history_urls=list(dict.fromkeys(settings["history_url"] for settings in stored)),
        archive_urls=list(dict.fromkeys(settings["archive_url"] for settings in stored)),
    )


def check_state(checks: Sequence[Check]) -> State:
    """Say the verdicts in words, as Prefect's UI shows them."""
    failures = [each for each in checks if each.verdict is Verdict.FAILED]
    message = verdict_counts(checks)
    if failures:
        named = "; ".join(f"{each.subject}: {each.name}" for each in failures)
        return Failed(message=f"{message} ({named})")
    return Completed(message=message)
