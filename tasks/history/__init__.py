"""The history: every run's findings, and every delivery. The only package with SQL."""

from tasks.history.acknowledgements import AcknowledgedFinding, Acknowledgements
from tasks.history.known import Known, Memory
from tasks.history.ledger import Ledger, Unsettled
from tasks.history.pending import Pending
from tasks.history.recorded import RecordedRun
from tasks.history.retention import prune_history
from tasks.history.schema import upgrade_history
from tasks.history.store import History

__all__ = [
    "AcknowledgedFinding",
    "Acknowledgements",
    "History",
    "Known",
    "Ledger",
    "Memory",
    "Pending",
    "RecordedRun",
    "Unsettled",
    "prune_history",
    "upgrade_history",
]
