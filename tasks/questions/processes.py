"""Process events: from entity ids to the process events with them."""

from __future__ import annotations

import pandas as pd

from tasks.clusters import Client, Question, ask_about
from tasks.model.runs import Plan

PROCESSES = """\
FROM logs-endpoint.events.process-*
| KEEP @timestamp, process.entity_id, process.name, process.executable, process.args,
       process.command_line, process.hash.sha256, process.code_signature.exists,
       process.code_signature.trusted, process.code_signature.status,
       process.code_signature.subject_name, process.code_signature.signing_id,
       process.code_signature.team_id, process.parent.name, process.parent.executable,
       process.parent.command_line, process.Ext.ancestry, host.name, user.name
| SORT process.entity_id, @timestamp DESC
| LIMIT 10000
"""


def ask_processes(client: Client, plan: Plan, entities: list[str]) -> pd.DataFrame:
    """Fetch the process events for entity ids as of the plan's slot, newest first for every id.

    A process may have started long before the window, so only the window's end is a bound.
    """
    before_slot = {"range": {"@timestamp": {"lt": plan.slot.isoformat()}}}
    question = Question("processes", plan.hunt.everywhere(PROCESSES), before_slot, {})
    return ask_about(client, question, "process.entity_id", entities)
