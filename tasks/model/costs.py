"""Costs: the load that a run's questions put on its cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one question in a run, over all its pages, chunks and attempts.

    Attributes:
        question: its name, for example `hunt`.
        asked: number of requests.
        failed: number of requests without an answer.
        took_ms: processing time that the cluster reports, in milliseconds.
        documents_found: matching documents that the cluster reports; None before 9.1.
        values_loaded: values read from them, as the cluster reports; None before 9.1.
        bytes_received: size of the answers, decompressed; 0 for a folder.
    """

    question: str
    asked: int = 0
    failed: int = 0
    took_ms: int = 0
    documents_found: int | None = None
    values_loaded: int | None = None
    bytes_received: int = 0

    def with_failure(self) -> Cost:
        """Count a question that was not answered."""
        return replace(self, asked=self.asked + 1, failed=self.failed + 1)

    def with_answer(
        self,
        took_ms: int,
        documents_found: int | None,
        values_loaded: int | None,
        bytes_received: int,
    ) -> Cost:
        """Add the cost of one answer."""
        return replace(
            self,
            asked=self.asked + 1,
            took_ms=self.took_ms + took_ms,
            documents_found=_sum(self.documents_found, documents_found),
            values_loaded=_sum(self.values_loaded, values_loaded),
            bytes_received=self.bytes_received + bytes_received,
        )


def _sum(known: int | None, more: int | None) -> int | None:
    return more if known is None else known if more is None else known + more
