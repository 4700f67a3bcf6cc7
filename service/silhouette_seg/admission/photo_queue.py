"""Bounded FIFO queue for photos.

Photos wait undecoded. The queue rejects a photo at once if its predicted wait exceeds the limit.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter

from silhouette_seg.errors import Overloaded

FIXED_COST_PIXELS = 6_000_000
"""Fixed cost of a photo, as a number of pixels added to its own.

It is about the cost of the model and of the output on a CPU. Kinds of work differ in their rates.
"""
INITIAL_ESTIMATE_S = 0.1
"""Estimated service time of `FIXED_COST_PIXELS` while no photo of the same kind has finished."""
EWMA_WEIGHT = 0.2
"""Weight of the newest service time in the exponential average."""
MAX_WAIT_OVERRUN = 2.0
"""A photo admitted on a wrong estimate may wait this many times `max_wait_s`.

After so long a wait a late answer is more use than a late rejection.
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """Cost of one photo. Photos of one kind take about the same time per pixel."""

    kind: Hashable
    pixels: int


class ServiceTimeEstimator:
    """Predicts service times from those of earlier photos: an average for each kind of work."""

    def __init__(self) -> None:
        self._seconds_per_pixel: dict[Hashable, float] = {}

    def predict(self, work: Workload) -> float:
        """Returns the estimated service time, in seconds."""
        initial = INITIAL_ESTIMATE_S / FIXED_COST_PIXELS
        return self._seconds_per_pixel.get(work.kind, initial) * _cost_pixels(work)

    def update(self, work: Workload, seconds: float) -> None:
        """Moves the average of this kind towards a measured service time."""
        newest = seconds / _cost_pixels(work)
        average = self._seconds_per_pixel.get(work.kind, newest)
        self._seconds_per_pixel[work.kind] = average + EWMA_WEIGHT * (newest - average)


def _cost_pixels(work: Workload) -> int:
    return work.pixels + FIXED_COST_PIXELS


@dataclass(eq=False, slots=True)
class _Entry:
    work: Workload
    enqueued_at: float
    started: asyncio.Event = field(default_factory=asyncio.Event)
    started_at: float = 0.0


class PhotoQueue:
    """Runs at most `max_running` photos with `max_pixels` in total; the others wait in order.

    A photo with more than `max_pixels` runs alone. The queue belongs to one event loop.
    """

    def __init__(
        self, *, max_running: int, max_pixels: int, max_queued: int, max_wait_s: float
    ) -> None:
        self._max_running = max_running
        self._max_pixels = max_pixels
        self._max_queued = max_queued
        self._max_wait_s = max_wait_s
        self._service_times = ServiceTimeEstimator()
        self._queue: deque[_Entry] = deque()
        self._running: set[_Entry] = set()

    @property
    def queued(self) -> int:
        """Number of photos that wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Number of photos that hold a slot."""
        return len(self._running)

    @property
    def running_pixels(self) -> int:
        """Total pixels of the photos that hold a slot."""
        return sum(entry.work.pixels for entry in self._running)

    @property
    def estimated_wait_s(self) -> float:
        """Predicted wait of a photo that joins the queue now, in seconds."""
        if not self._queue and len(self._running) < self._max_running:
            return 0.0
        now = perf_counter()
        ahead = sum(self._service_times.predict(entry.work) for entry in self._queue)
        remaining = sum(
            max(0.0, self._service_times.predict(entry.work) - (now - entry.started_at))
            for entry in self._running
        )
        return (ahead + remaining) / self._max_running

    def check(self) -> None:
        """Raises Overloaded, with `retry_after_s`, if the queue is full or its wait too long.

        The wait depends only on the photos ahead, so that the new photo may still be unread.
        """
        wait_s = self.estimated_wait_s
        if wait_s > self._max_wait_s:
            raise Overloaded(
                "The photo would wait too long in the queue.",
                limit=self._max_wait_s,
                # Rounded up, so that the reported wait always exceeds the limit.
                actual=ceil(wait_s * 1000) / 1000,
                retry_after_s=ceil(wait_s),
            )
        if len(self._queue) >= self._max_queued:
            raise Overloaded(
                "Too many photos are waiting.",
                limit=self._max_queued,
                actual=len(self._queue) + 1,
                retry_after_s=max(1, ceil(wait_s)),
            )

    @asynccontextmanager
    async def slot(self, work: Workload, *, enforce_max_wait: bool = True) -> AsyncIterator[float]:
        """Waits for a slot, holds it, and yields the seconds of the wait.

        Raises the errors of `check`, and Overloaded after `MAX_WAIT_OVERRUN` times `max_wait_s`.
        Without `enforce_max_wait` the photo always joins the queue, and the caller bounds its wait.
        """
        if enforce_max_wait:
            self.check()
        entry = _Entry(work, enqueued_at=perf_counter())
        self._queue.append(entry)
        self._start_queued()
        try:
            await self._wait_started(
                entry, MAX_WAIT_OVERRUN * self._max_wait_s if enforce_max_wait else None
            )
            yield entry.started_at - entry.enqueued_at
            self._service_times.update(work, perf_counter() - entry.started_at)
        finally:
            self._remove(entry)
            self._start_queued()

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
                retry_after_s=max(1, ceil(self.estimated_wait_s)),
            ) from None

    def _start_queued(self) -> None:
        """Starts photos from the head of the queue while there is room."""
        while self._queue and self._has_room(self._queue[0].work):
            entry = self._queue.popleft()
            self._running.add(entry)
            entry.started_at = perf_counter()
            entry.started.set()

    def _has_room(self, work: Workload) -> bool:
        if not self._running:
            return True
        return (
            len(self._running) < self._max_running
            and self.running_pixels + work.pixels <= self._max_pixels
        )

    def _remove(self, entry: _Entry) -> None:
        if entry in self._running:
            self._running.remove(entry)
        else:
            self._queue.remove(entry)
