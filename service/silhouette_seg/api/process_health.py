"""Health of the other processes of a server, which answer for it as this one does."""

import os
from collections.abc import Iterable, Mapping
from enum import IntEnum
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.runtime.process_group import ProcessGroup


class ModelState(IntEnum):
    """State of a model in one process, the worst last."""

    WORKING = 0
    COLD = 1
    FAILING = 2


class ProcessHealth:
    """Publishes the health of this process to the others of its group, and reads theirs.

    A process counts from the start of its server, or after a restart from its first report. It
    reports several times a second, so that its supervisor notices a blocked event loop.
    """

    def __init__(self, group: ProcessGroup, models: Iterable[str]) -> None:
        self._group = group
        self.models = {name: number for number, name in enumerate(models)}
        """Number of each model by its name."""
        states = ("states", np.uint8, (len(self.models),))
        row = [("pid", np.int64), ("ready", np.bool_), ("reported_at", np.float64), states]
        self._rows = group.table("health", row)

    def expect(self, index: int) -> None:
        """Counts the process with this number as starting, before its first report."""
        self._rows[index]["states"] = ModelState.COLD
        self._rows[index]["pid"] = -1

    def report(self, *, ready: bool, states: Mapping[str, ModelState]) -> None:
        """Publishes whether this process is ready, and the state of each of its models."""
        own = self._rows[self._group.index]
        for name, state in states.items():
            own["states"][self.models[name]] = state
        own["ready"], own["pid"], own["reported_at"] = ready, os.getpid(), perf_counter()

    def last_report(self, index: int) -> float:
        """Returns the time of a process's last report, on the clock `perf_counter`, or 0."""
        return float(self._rows[index]["reported_at"])

    def is_running(self, index: int) -> bool:
        """Returns True if the process with this number has reported and not died since."""
        return int(self._rows[index]["pid"]) > 0

    @property
    def pids(self) -> list[int]:
        """System ids of the processes that have reported."""
        return [int(pid) for pid in self._rows["pid"] if pid > 0]

    @property
    def ready_count(self) -> int:
        """Number of processes that were ready at their last report."""
        return int(np.count_nonzero(self._rows["ready"]))

    @property
    def others_ready(self) -> bool:
        """True if every other process that counts is ready."""
        return bool(self._others()["ready"].all())

    def worst_of_others(self, name: str) -> ModelState:
        """Returns the worst state of a model in the other processes that count."""
        states = self._others()["states"][:, self.models[name]]
        return ModelState(int(states.max(initial=ModelState.WORKING)))

    def _others(self) -> NDArray[Any]:
        counts = self._rows["pid"] != 0
        counts[self._group.index] = False
        others: NDArray[Any] = self._rows[counts]
        return others
