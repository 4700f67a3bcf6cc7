"""What happened, one line for each request, in memory until the report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loadtests.answers import Outcome

Kind = Literal["photo", "batch", "stream", "health"]


@dataclass(frozen=True, slots=True)
class Sample:
    kind: Kind
    name: str
    """What exactly was asked for."""
    outcome: Outcome
    due_s: float
    """The moment that it was due, from the start of the load."""
    seconds: float
    """From that moment to the end of the answer, however late the request was sent."""
    late_s: float = 0.0
    """From that moment to when it was sent: what the load generator itself added."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds in the server by stage."""
    why: str = ""
    """Of a failure."""


@dataclass(slots=True)
class Record:
    samples: list[Sample] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds from the start, and bytes resident in the server."""
    left_out: int = 0
    """Frames that were due when a stream had no credit."""

    def on_request(self, *, context: Mapping[str, Any], **_: object) -> None:
        """A listener of locust's; what was read for the report itself has no sample."""
        if "sample" in context:
            self.samples.append(context["sample"])

    def failures(self) -> Counter[str]:
        return Counter(
            f"{sample.name}: {sample.why}" for sample in self.samples if sample.outcome == "failed"
        )
