"""Bounded FIFO queue of photos that wait to be decoded and segmented.

A waiting photo is a file in memory, not pixels. The queue rejects a new photo at once if its
predicted wait exceeds the limit.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.errors import Overloaded
from silhouette_seg.runtime.process_group import ProcessGroup

FIXED_COST_PIXELS = 6_000_000
"""Number of pixels that is added to those of every photo to estimate its processing time.

It stands for the cost of the model and of the output on a CPU, which no photo avoids. The seconds
per pixel differ between kinds of work and are measured.
"""
INITIAL_ESTIMATE_S = 0.1
"""Estimated seconds for `FIXED_COST_PIXELS` pixels until a photo of the same kind has finished."""
EWMA_WEIGHT = 0.2
"""Weight of the newest measured time in the moving average of processing times, 0..1."""
MAX_WAIT_OVERRUN = 2.0
"""Multiple of the queue's `max_wait_s` after which a waiting photo is rejected.

A photo waits longer than `max_wait_s` if its predicted wait was too short. It is not rejected at
`max_wait_s`, because a late answer is then more use than a late rejection.
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """Size of one photo in pixels, and the kind of work that it needs.

    Photos of one kind, such as the same model and output, take about the same time per pixel.
    """

    kind: Hashable
    pixels: int


class ServiceTimeEstimator:
    """Predicts processing times from a moving average of earlier ones for each kind of work."""

    def __init__(self) -> None:
        self._seconds_per_pixel: dict[Hashable, float] = {}

    def predict(self, work: Workload) -> float:
        """Returns the estimated processing time of a photo, in seconds."""
        initial = INITIAL_ESTIMATE_S / FIXED_COST_PIXELS
        return self._seconds_per_pixel.get(work.kind, initial) * _cost_pixels(work)

    def update(self, work: Workload, seconds: float) -> None:
        """Adds the measured processing time of a photo, in seconds, to the average of its kind."""
        newest = seconds / _cost_pixels(work)
        average = self._seconds_per_pixel.get(work.kind, newest)
        self._seconds_per_pixel[work.kind] = average + EWMA_WEIGHT * (newest - average)


def _cost_pixels(work: Workload) -> int:
    return work.pixels + FIXED_COST_PIXELS


@dataclass(eq=False, slots=True)
class _Entry:
    work: Workload
    place: int
    """Place in the order of arrival, among the photos of all processes."""
    enqueued_at: float
    started: asyncio.Event = field(default_factory=asyncio.Event)
    started_at: float = 0.0


_ROW = [
    ("queued", np.int64),
    ("queued_s", np.float64),
    ("oldest", np.int64),
    ("oldest_pixels", np.int64),
    ("newest", np.int64),
    ("running", np.int64),
    ("running_pixels", np.int64),
]
"""Photos of one process: those that wait, their predicted seconds, and those that run.

Places are in the order of arrival: `oldest` is of the first photo that waits, `newest` of the last
photo. A further field, `ends`, has the predicted end of each running photo. Times are of
`perf_counter`, which all processes of a machine share.
"""


def _wait_s(rows: NDArray[Any], slots: int) -> float:
    """Returns the predicted wait for a slot behind the photos in `rows`, in seconds."""
    if not rows["queued"].any() and rows["running"].sum() < slots:
        return 0.0
    remaining = np.maximum(rows["ends"] - perf_counter(), 0.0).sum()
    return float(rows["queued_s"].sum() + remaining) / slots


class PhotoQueue:
    """FIFO queue that lets at most `max_running` photos with `max_pixels` in total run at once.

    At most `max_queued` photos wait, each for at most about `max_wait_s` seconds. A photo with more
    than `max_pixels` runs alone. An instance is not thread-safe: it belongs to one event loop.

    All processes of `group` have one queue together: limits, order and predicted wait are of them
    all. A photo stays in the process that received it, and each runs its share of `max_running`. A
    process at its share is passed over until one of its photos has finished.
    """

    def __init__(
        self,
        *,
        max_running: int,
        max_pixels: int,
        max_queued: int,
        max_wait_s: float,
        group: ProcessGroup | None = None,
    ) -> None:
        self._max_running = max_running
        self._max_pixels = max_pixels
        self._max_queued = max_queued
        self._max_wait_s = max_wait_s
        self._service_times = ServiceTimeEstimator()
        self._queue: deque[_Entry] = deque()
        self._running: set[_Entry] = set()
        self._group = group or ProcessGroup()
        self._share = ceil(max_running / self._group.count)
        """Largest number of photos that run in this process at once."""
        row = [*_ROW, ("ends", np.float64, (self._share,))]
        self._rows = self._group.table("photo queue", row)
        self._group.on_wake(self._start_queued)

    @property
    def queued(self) -> int:
        """Number of photos that wait for a slot, in all processes."""
        return int(self._rows["queued"].sum())

    @property
    def running(self) -> int:
        """Number of photos that are being processed, in all processes."""
        return int(self._rows["running"].sum())

    @property
    def running_pixels(self) -> int:
        """Total number of pixels of the photos that are being processed, in all processes."""
        return int(self._rows["running_pixels"].sum())

    @property
    def estimated_wait_s(self) -> float:
        """Predicted seconds that a photo waits for its start if it joins the queue now."""
        self._publish()
        return _wait_s(self._rows, self._max_running)

    @property
    def _own_wait_s(self) -> float:
        """Predicted wait in this process, which may have more photos than its share."""
        own = self._rows[self._group.index : self._group.index + 1]
        return max(self.estimated_wait_s, _wait_s(own, self._share))

    def check(self) -> None:
        """Checks whether a new photo could join the queue now.

        Raises Overloaded, with `retry_after_s`, if the queue is full or the predicted wait exceeds
        `max_wait_s`. The wait depends only on the photos ahead, so the new one may still be unread.
        """
        wait_s = self._own_wait_s
        if wait_s > self._max_wait_s:
            raise Overloaded(
                "The photo would wait too long in the queue.",
                limit=self._max_wait_s,
                # Rounded up, so that the reported wait always exceeds the limit.
                actual=ceil(wait_s * 1000) / 1000,
                retry_after_s=ceil(wait_s),
            )
        queued = self.queued
        if queued >= self._max_queued:
            raise Overloaded(
                "Too many photos are waiting.",
                limit=self._max_queued,
                actual=queued + 1,
                retry_after_s=max(1, ceil(wait_s)),
            )

    @asynccontextmanager
    async def slot(self, work: Workload, *, enforce_max_wait: bool = True) -> AsyncIterator[float]:
        """Waits until the photo may run, and yields the seconds that it waited.

        The photo counts as running until the block ends. Raises the errors of `check`, and
        Overloaded after a wait of `MAX_WAIT_OVERRUN` times `max_wait_s`. With
        `enforce_max_wait=False` the photo always joins the queue, and the caller bounds its wait.
        """
        with self._group.lock():
            if enforce_max_wait:
                self.check()
            entry = _Entry(work, place=self._next_place(), enqueued_at=perf_counter())
            self._queue.append(entry)
            self._start_queued()
        try:
            await self._wait_started(
                entry, MAX_WAIT_OVERRUN * self._max_wait_s if enforce_max_wait else None
            )
            yield entry.started_at - entry.enqueued_at
            self._service_times.update(work, perf_counter() - entry.started_at)
        except Overloaded:
            self._note_overload(entry)
            raise
        finally:
            self._remove(entry)
            self._start_queued()

    def _note_overload(self, entry: _Entry) -> None:
        """Raises the estimate for a photo that had to give up its slot, such as in a model's queue.

        It would have taken longer than it did.
        """
        if entry in self._running:
            spent_s = perf_counter() - entry.started_at
            if spent_s > self._service_times.predict(entry.work):
                self._service_times.update(entry.work, spent_s)

    async def _wait_started(self, entry: _Entry, timeout_s: float | None) -> None:
        if entry.started.is_set():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await entry.started.wait()
        except TimeoutError:
            raise Overloaded(
                "The photo waited too long in the queue.",
                limit=timeout_s,
                retry_after_s=max(1, ceil(self._own_wait_s)),
            ) from None

    def _start_queued(self) -> None:
        """Starts waiting photos, oldest first, while `max_running` and `max_pixels` allow it.

        If the next photo is one of another process, it wakes that process.
        """
        with self._group.lock():
            self._publish()
            while (owner := self._next_owner()) == self._group.index:
                entry = self._queue.popleft()
                self._running.add(entry)
                entry.started_at = perf_counter()
                entry.started.set()
                self._publish()
        if owner is not None:
            self._group.wake(owner)

    def _next_owner(self) -> int | None:
        """Returns the number of the process with the photo that starts now; None if none may."""
        waiting = (self._rows["queued"] > 0) & (self._rows["running"] < self._share)
        if not waiting.any():
            return None
        last = np.iinfo(np.int64).max
        owner = int(np.where(waiting, self._rows["oldest"], last).argmin())
        return owner if self._has_room(int(self._rows["oldest_pixels"][owner])) else None

    def _next_place(self) -> int:
        place = int(self._rows["newest"].max()) + 1
        self._rows[self._group.index]["newest"] = place
        return place

    def _has_room(self, pixels: int) -> bool:
        running = self.running
        if not running:
            return True
        return running < self._max_running and self.running_pixels + pixels <= self._max_pixels

    def _publish(self) -> None:
        """Writes the row of this process from its own photos."""
        row = self._rows[self._group.index]
        row["queued"] = len(self._queue)
        row["queued_s"] = sum(self._service_times.predict(entry.work) for entry in self._queue)
        if self._queue:
            row["oldest"] = self._queue[0].place
            row["oldest_pixels"] = self._queue[0].work.pixels
        row["running"] = len(self._running)
        row["running_pixels"] = sum(entry.work.pixels for entry in self._running)
        ends = [
            entry.started_at + self._service_times.predict(entry.work) for entry in self._running
        ]
        row["ends"] = ends + [0.0] * (self._share - len(ends))

    def _remove(self, entry: _Entry) -> None:
        if entry in self._running:
            self._running.remove(entry)
        else:
            self._queue.remove(entry)
