"""The automation that ends runs whose process died without a word; installed once, by its name.

When worker and flow are killed together, Prefect goes on believing that the run is running, and a
deployment that runs one at a time waits for it.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture

NAME = "beaconhunt: crash runs without a heartbeat"

SILENCE = timedelta(minutes=3)
"""Three heartbeats missed, at one a minute."""

_SIGNS_OF_AN_END = {
    f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")
}


def automation() -> Automation:
    """Give the automation: no heartbeat and no end for `SILENCE` after a heartbeat is a crash."""
    heartbeat = "prefect.flow-run.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *_SIGNS_OF_AN_END},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    crash = ChangeFlowRunState(
        state=StateType.CRASHED, message="No heartbeat for 3 minutes: its process is gone."
    )
    return Automation(name=NAME, trigger=trigger, actions=[crash])


async def install() -> None:
    """Create the automation on the server that is set, unless it is there already."""
    try:
        await Automation.aread(name=NAME)
    except ValueError:
        await automation().acreate()


if __name__ == "__main__":
    asyncio.run(install())
