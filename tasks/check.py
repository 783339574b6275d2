"""Check that deployments can run: from their settings to verdicts with a remedy.

A preflight makes the same requests as runs and digests, and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import chain

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact

from tasks.archive import check_writable
from tasks.clusters import silenced
from tasks.history import History
from tasks.orchestration.steps import step
from tasks.preflight.checks import Check, Trial, TrialResult, run_trials, warning
from tasks.preflight.cluster import HuntSettings, try_cluster
from tasks.preflight.exposure import exposures
from tasks.settings import Destination, ReadBlock, no_block, secret
from tasks.slack.channel import reach
from tasks.text.untrusted import markdown_text, visible

AT_ONCE = 8
"""Concurrent checks: they spend most of the time waiting for servers."""

STORAGE = "storage"
"""The subject for checks of history and archive, which deployments share."""


@dataclass(frozen=True, slots=True)
class PreflightScope:
    """The deployments and storage to check.

    Attributes:
        hunts: the settings of deployments that hunt.
        destinations: destinations by name of the deployment.
        hunted: names of all clusters that any deployment hunts.
        history_urls: distinct URLs of the deployments' histories.
        archive_urls: distinct URLs of the deployments' archives.
    """

    hunts: Sequence[HuntSettings]
    destinations: Mapping[str, Destination]
    hunted: frozenset[str]
    history_urls: Sequence[str]
    archive_urls: Sequence[str]


def preflight(
    site: PreflightScope, now: datetime, read_block: ReadBlock = no_block
) -> tuple[Check, ...]:
    """Check everything that the deployments need: clusters first, then storage, then Slack.

    Args:
        site: the deployments and storage to check.
        now: aware UTC.
        read_block: reads the Secret blocks that settings may name.
    """
    works: list[Callable[[], Iterable[Check]]] = [
        *(partial(try_cluster, settings, now, read_block) for settings in site.hunts),
        *(partial(try_history, url) for url in site.history_urls),
        *(partial(try_archive, url) for url in site.archive_urls),
        *(
            partial(try_destination, name, destination, site.hunted, read_block)
            for name, destination in site.destinations.items()
        ),
    ]
    with silenced(), ThreadPoolExecutor(AT_ONCE) as pool:
        return tuple(chain.from_iterable(pool.map(lambda work: work(), works)))


def try_history(url: str) -> tuple[Check, ...]:
    """Open a history, as a run does."""

    def open_history() -> Iterator[TrialResult]:
        with History.open(url):
            yield TrialResult(f"{url} can be read, and has this version's schema.")
        yield from exposures(url)

    return tuple(run_trials(STORAGE, {"history": Trial(open_history)}))


def try_archive(url: str) -> tuple[Check, ...]:
    """Write and remove a file in an archive."""

    def write_archive() -> Iterator[TrialResult]:
        if refusal := check_writable(url):
            yield warning(
                f"{refusal} Runs and digests work; pruning does not.",
                "Let the worker delete objects, or leave retention to the store's own rules.",
            )
        else:
            yield TrialResult(f"{url} can be written.")
        yield from exposures(url)

    return tuple(run_trials(STORAGE, {"archive": Trial(write_archive)}))


def try_destination(
    deployment: str,
    destination: Destination,
    hunted: Collection[str],
    read_block: ReadBlock = no_block,
) -> tuple[Check, ...]:
    """Check the bot token, whether its app can post to the channel, and the scope's clusters."""

    def read_token() -> Iterator[TrialResult]:
        secret(destination.token, "Slack's bot token", read_block)
        yield TrialResult(f"The bot token is in {destination.token}.")

    def look_up() -> Iterator[TrialResult]:
        token = secret(destination.token, "Slack's bot token", read_block)
        found = reach(destination, token)
        app = f"{visible(found.app)} in the workspace {visible(found.workspace)}"
        if found.channel is None:
            yield warning(
                f"The token belongs to {app}; whether it can post to {destination.channel} is not "
                "known.",
                "Give the app the scope `channels:read` (`groups:read` for a private channel), or "
                "check whether the first digest arrives.",
            )
        else:
            yield TrialResult(
                f"The token belongs to {app}, which can post to #{visible(found.channel)}."
            )
        if not found.can_find:
            yield warning(
                "A digest whose receipt is lost cannot be looked up: it will be posted again, with "
                "a note that it may be a repetition.",
                "Give the app the scope `channels:history` (`groups:history` for a private "
                "channel).",
            )

    def compare_scope() -> Iterator[TrialResult]:
        missing = sorted(set(destination.clusters) - set(hunted))
        if missing:
            yield warning(
                f"No deployment hunts {', '.join(missing)}: every digest will call it late.",
                "Correct the destination's `clusters`, or add the deployment.",
            )
        else:
            yield TrialResult(f"All its clusters are hunted: {', '.join(destination.clusters)}.")

    trials = {
        "token": Trial(read_token),
        "Slack": Trial(look_up, ("token",)),
        "clusters": Trial(compare_scope),
    }
    return tuple(run_trials(deployment, trials))


@step  # No retries: a check shows the current state.
def check(site: PreflightScope, now: datetime, read_block: ReadBlock) -> tuple[Check, ...]:
    """Check everything, log the problems, and store the table as an artifact."""
    checks = preflight(site, now, read_block)
    rows = [
        {name: markdown_text(text.replace("\n", " ")) for name, text in asdict(each).items()}
        for each in checks
    ]
    create_table_artifact(key="check", table=rows, description="check")
    for each in checks:
        if each.remedy:
            get_run_logger().warning(
                "%s: %s %s: %s %s", each.subject, each.name, each.verdict, each.said, each.remedy
            )
    return checks
