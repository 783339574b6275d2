"""Errors with their remedies: every error that people read is a class of this tree."""

from __future__ import annotations

from tasks.text.foreign import presentable


class PipelineError(Exception):
    """A problem with its remedy.

    Both are positional, so that the error survives pickling between processes, and may repeat
    foreign text: `presentable` cleans them.

    Attributes:
        problem: what is wrong, naming the thing (a file, a cluster, a column).
        remedy: what the reader can do about it.
        reason: key of the reason in the record of a failed run: see `Outcome.FAILED`.
    """

    reason = "internal"

    def __init__(self, problem: str, remedy: str) -> None:
        """Take the problem and its remedy, both full sentences."""
        self.problem = presentable(problem)
        self.remedy = presentable(remedy)
        super().__init__(self.problem, self.remedy)

    def __str__(self) -> str:
        """Problem and remedy, as in a log line."""
        return f"{self.problem} {self.remedy}"


UNEXPECTED = "Unexpected error: "
"""Beginning of the problem in an `Unexpected` error."""


class Unexpected(PipelineError):
    """An unexpected error: a fault in beaconhunt or in a library."""

    @classmethod
    def of(cls, fault: Exception) -> Unexpected:
        """Name a fault by its type only: its message may contain a secret."""
        return cls(
            f"{UNEXPECTED}{type(fault).__name__}.",
            "Please report it, with the traceback in the log of the flow run.",
        )


class TransientError(PipelineError):
    """A problem that may pass by itself: the only kind of error that a task retries."""


class SettingsError(PipelineError):
    """A setting cannot be used, or a thing that it names."""

    reason = "settings"


class HuntError(PipelineError):
    """A hunt file cannot be used."""

    reason = "settings"


class ClusterError(PipelineError):
    """A cluster did not answer the question."""


class Unreachable(ClusterError, TransientError):
    """The cluster did not answer, or answered that it is too busy."""

    reason = "unreachable"


class NotTrusted(ClusterError):
    """The cluster's certificate does not prove its identity."""

    reason = "unreachable"


class Unauthorised(ClusterError):
    """The cluster does not accept the API key, or the key may not read."""

    reason = "unauthorised"


class QueryRefused(ClusterError):
    """The cluster understood the request and refused it."""

    reason = "query"


class DeadlineExceeded(ClusterError):
    """The answer did not come within the run's deadline."""

    reason = "deadline"


class HistoryError(PipelineError):
    """The history cannot be read or written; until it can, nothing is posted."""


class RunInProgress(HistoryError):
    """Another process is recording the same slot, or posting the same digest."""


class SlotPruned(PipelineError):
    """The history no longer has the sightings that a run for such an old slot needs."""

    reason = "settings"


class NotImported(PipelineError):
    """Files cannot be imported: the folder stays as it was."""


class AcknowledgementError(PipelineError):
    """An acknowledgement cannot be given or ended."""


class ArchiveError(PipelineError):
    """The archive cannot be written."""


class SlackError(PipelineError):
    """Slack did not accept the digest."""


class SlackRefused(SlackError):
    """Slack refused, and will refuse again until a setting is changed."""


class ContentRefused(SlackRefused):
    """Slack refused what a message says, although it keeps every limit that we know."""


class SlackNotTrusted(SlackError):
    """The certificate at Slack's address does not prove its identity. Nothing was sent."""


class SlackBusy(SlackError, TransientError):
    """Slack is rate limiting or failing. Nothing was posted."""


class SlackUnreachable(SlackError, TransientError):
    """Slack could not be reached. Nothing was posted."""


class ReceiptLost(SlackError):
    """Slack did not answer: the message may have been posted, and must be looked up first."""


class ChannelUnreadable(ReceiptLost):
    """Slack did not answer, and the message cannot be looked up."""
