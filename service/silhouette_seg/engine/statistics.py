"""Counts and times of the inferences of a model, since the start of the server."""

import time
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import Engine, Inference, Tensors
from silhouette_seg.engine.wrapper import EngineWrapper
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.spec import ModelSpec

_TOTAL = np.dtype([("count", np.int64), ("ns", np.int64)])


class TotalTime:
    """Number of events of one kind, and the nanoseconds that they took together.

    `cells` has both for each process of `group`.
    """

    def __init__(self, cells: NDArray[Any], group: ProcessGroup) -> None:
        self._cells = cells
        self._group = group

    @property
    def count(self) -> int:
        """Number of events, in all processes."""
        return int(self._cells["count"].sum())

    @property
    def ns(self) -> int:
        """Nanoseconds of all events, in all processes."""
        return int(self._cells["ns"].sum())

    def add(self, seconds: float) -> None:
        """Adds one event that took `seconds`."""
        own = self._cells[self._group.index]
        own["count"] += 1
        own["ns"] += round(seconds * 1e9)


class ModelStatistics:
    """Inferences of one model in all processes of a group, also in those that have ended.

    An instance is not thread-safe: it belongs to one event loop.
    """

    def __init__(self, spec: ModelSpec, group: ProcessGroup) -> None:
        times = [(name, _TOTAL) for name in ("success", "fail", "queue", "compute")]
        row = [
            *times,
            ("rows", np.int64),
            ("last_inference_ms", np.int64),
            ("batches", _TOTAL, (spec.max_batch + 1,)),
        ]
        self._rows = group.table(f"statistics of {spec.name}", row, kept=True)
        self._group = group
        self.success = TotalTime(self._rows["success"], group)
        """Requests with a result, from call to result."""
        self.fail = TotalTime(self._rows["fail"], group)
        """Requests that raised an error, from call to error."""
        self.queue = TotalTime(self._rows["queue"], group)
        """Waits of the successful requests for their batch."""
        self.compute = TotalTime(self._rows["compute"], group)
        """Runs of the successful requests, each with the time of its whole batch."""

    @property
    def rows(self) -> int:
        """Rows of all successful requests."""
        return int(self._rows["rows"].sum())

    @property
    def last_inference_ms(self) -> int:
        """Time of the last result in milliseconds since 1970; 0 before the first."""
        return int(self._rows["last_inference_ms"].max())

    @property
    def batches(self) -> dict[int, TotalTime]:
        """Batches that ran, by their number of rows. It is empty if a remote server forms them."""
        cells = self._rows["batches"]
        used = np.flatnonzero(cells["count"].sum(axis=0))
        return {int(rows): TotalTime(cells[:, rows], self._group) for rows in used}

    def add_success(self, inference: Inference, seconds: float) -> None:
        """Adds a request with a result, which took `seconds` in all."""
        self.success.add(seconds)
        self.queue.add(inference.queue_s)
        self.compute.add(inference.infer_s)
        own = self._rows[self._group.index]
        own["rows"] += len(inference.output)
        own["last_inference_ms"] = round(time.time() * 1000)

    def add_batch(self, rows: int, seconds: float) -> None:
        """Adds a batch of `rows` rows that the model ran in `seconds`."""
        TotalTime(self._rows["batches"][:, rows], self._group).add(seconds)


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
