"""The automation that crashes runs without a heartbeat; it is installed once, by name.

When worker and flow process are killed together, Prefect keeps the run as running, and a
deployment that allows one run at a time waits for it.
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
"""Three missed heartbeats, at one per minute."""

_SIGNS_OF_AN_END = {
    f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")
}


def automation() -> Automation:
    """Crash a run if neither a heartbeat nor an end follows a heartbeat within `SILENCE`."""
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
        state=StateType.CRASHED, message="No heartbeat for 3 minutes: the run's process is gone."
    )
    return Automation(name=NAME, trigger=trigger, actions=[crash])


async def install() -> None:
    """Create the automation on the current server, unless it exists already."""
    try:
        await Automation.aread(name=NAME)
    except ValueError:
        await automation().acreate()


if __name__ == "__main__":
    asyncio.run(install())
