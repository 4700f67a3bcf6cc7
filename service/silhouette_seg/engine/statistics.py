"""Counts and times of the inferences of a model, since the start of the process."""

import time
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Inference, Tensors
from silhouette_seg.engine.wrapper import EngineWrapper


@dataclass(slots=True)
class TotalTime:
    """Number of events of one kind, and the nanoseconds that they took together."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Adds one event that took `seconds`."""
        self.count += 1
        self.ns += round(seconds * 1e9)


@dataclass(slots=True)
class ModelStatistics:
    """Inferences of one model. An instance is not thread-safe: it belongs to one event loop."""

    success: TotalTime = field(default_factory=TotalTime)
    """Requests with a result, from call to result."""
    fail: TotalTime = field(default_factory=TotalTime)
    """Requests that raised an error, from call to error."""
    queue: TotalTime = field(default_factory=TotalTime)
    """Waits of the successful requests for their batch."""
    compute: TotalTime = field(default_factory=TotalTime)
    """Runs of the successful requests, each with the time of its whole batch."""
    rows: int = 0
    """Rows of all successful requests."""
    last_inference_ms: int = 0
    """Time of the last result in milliseconds since 1970; 0 before the first."""
    batches: dict[int, TotalTime] = field(default_factory=dict)
    """Batches that ran, by their number of rows. It is empty if a remote server forms them."""

    def add_success(self, inference: Inference, seconds: float) -> None:
        """Adds a request with a result, which took `seconds` in all."""
        self.success.add(seconds)
        self.queue.add(inference.queue_s)
        self.compute.add(inference.infer_s)
        self.rows += len(inference.output)
        self.last_inference_ms = round(time.time() * 1000)

    def add_batch(self, rows: int, seconds: float) -> None:
        """Adds a batch of `rows` rows that the model ran in `seconds`."""
        self.batches.setdefault(rows, TotalTime()).add(seconds)


class BatchCountingEngine(EngineWrapper):
    """Engine that adds each run of the wrapped engine, which gets whole batches, to statistics."""

    def __init__(self, engine: Engine, statistics: ModelStatistics) -> None:
        super().__init__(engine)
        self._statistics = statistics

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Runs one batch and returns its output; raises the wrapped engine's errors."""
        started = perf_counter()
        output = await self._engine.infer(inputs)
        self._statistics.add_batch(len(output), perf_counter() - started)
        return output
