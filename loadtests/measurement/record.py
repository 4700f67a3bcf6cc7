"""Samples of a run, one per request, kept in memory until the report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.scenario.request_mix import RequestKind
from loadtests.scenario.responses import Outcome


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, or one frame of a stream."""

    kind: RequestKind
    name: str
    """Name of the request in the report."""
    outcome: Outcome
    due_s: float
    """Due time, in seconds from the start of the load."""
    latency_s: float
    """Time from the due time to the end of the response, even if the request was sent late."""
    send_delay_s: float = 0.0
    """Time from the due time to the send time. It is the delay of the load generator itself."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds in each stage of the server."""
    error: str = ""
    """Reason of a failure."""


@dataclass(slots=True)
class RunRecord:
    """Results of one run."""

    samples: list[Sample] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds from the start, and resident bytes of the server."""
    frames_without_credit: int = 0
    """Number of frames that were not sent because the stream had no credit."""

    def on_request(self, *, context: Mapping[str, Any], **_: object) -> None:
        """Stores the sample of a locust request event. Requests for the report have none."""
        if "sample" in context:
            self.samples.append(context["sample"])

    def count_failures(self) -> Counter[str]:
        """Counts failures by name of the request and reason."""
        return Counter(
            f"{sample.name}: {sample.error}"
            for sample in self.samples
            if sample.outcome == "failed"
        )
