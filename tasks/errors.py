"""What can go wrong, each with its remedy: every error a person reads comes from this tree."""

from __future__ import annotations


class PipelineError(Exception):
    """A problem with its remedy.

    Both are positional, so that the error survives pickling between processes.

    Attributes:
        problem: what is wrong, naming the thing (a file, a cluster, a column).
        remedy: what the reader can do about it.
        reason: one word for the run record, when this ends a run: see `Outcome.FAILED`.
    """

    reason = "internal"

    def __init__(self, problem: str, remedy: str) -> None:
        """Take the problem and its remedy, both full sentences without secrets."""
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """Problem and remedy, as a log line shows them."""
        return f"{self.problem} {self.remedy}"


UNEXPECTED = "Unexpected error: "
"""How the problem begins of what nobody foresaw."""


class Unexpected(PipelineError):
    """What nobody foresaw: a fault of ours, or of what we build on."""

    @classmethod
    def of(cls, fault: Exception) -> Unexpected:
        """Name what nobody foresaw by its type; its message may hold a secret of a library's."""
        return cls(
            f"{UNEXPECTED}{type(fault).__name__}.",
            "Please report it, with the traceback in the log of the flow run.",
        )


class TransientError(PipelineError):
    """A problem that may pass by itself: the only kind that a task retries."""


class SettingsError(PipelineError):
    """A setting, or something that a setting names, cannot be used."""

    reason = "settings"


class HuntError(PipelineError):
    """A hunt file cannot be used."""

    reason = "settings"


class ClusterError(PipelineError):
    """A cluster did not answer the question."""


class Unreachable(ClusterError, TransientError):
    """No answer came, or one that says: later."""

    reason = "unreachable"


class NotTrusted(ClusterError):
    """The cluster's certificate does not show that it is the cluster."""

    reason = "unreachable"


class Unauthorised(ClusterError):
    """The cluster does not accept the key, or the key may not read."""

    reason = "unauthorised"


class QueryRefused(ClusterError):
    """The cluster understood the request and will not answer it."""

    reason = "query"


class DeadlineExceeded(ClusterError):
    """The answer did not come within the run's deadline."""

    reason = "deadline"


class HistoryError(PipelineError):
    """The history cannot be read or written; nothing is sent while that is so."""


class RunInProgress(HistoryError):
    """Another process records the same slot, or sends the same digest, right now."""


class SlotPruned(PipelineError):
    """The history has forgotten too much for a run of so old a slot."""

    reason = "settings"


class AcknowledgementError(PipelineError):
    """An acknowledgement cannot be given or ended."""


class ArchiveError(PipelineError):
    """The archive cannot be written."""


class SlackError(PipelineError):
    """Slack did not take the digest."""


class SlackRefused(SlackError):
    """Slack answered no, and will until somebody changes something."""


class SlackBusy(SlackError, TransientError):
    """Slack answered: later. Nothing was posted."""


class SlackUnreachable(SlackError, TransientError):
    """Slack could not be reached. Nothing was posted."""


class ReceiptLost(SlackError):
    """No answer came: the message may or may not have been posted, and must be looked up first."""


class ChannelUnreadable(ReceiptLost):
    """No answer came, and whether the message was posted cannot be looked up."""
