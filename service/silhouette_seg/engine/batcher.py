"""Dynamic batching: joins requests for one model into batches and bounds their queue."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from silhouette_seg.engine.base import (
    PRIORITY,
    Engine,
    Inference,
    Priority,
    Tensors,
    check_inputs,
    check_output,
    queue_timeout_error,
)
from silhouette_seg.engine.wrapper import EngineWrapper
from silhouette_seg.errors import Draining, EngineFailed, Overloaded
from silhouette_seg.runtime.process_group import ProcessGroup

T = TypeVar("T")

MAX_OVERTAKING_BATCHES = 3
"""Number of batches of live frames that may begin in a row while a photo waits.

Photos have every fourth batch then: they are slow, but no number of streams starves them.
"""


@dataclass(eq=False, slots=True)
class QueueEntry(Generic[T]):
    """Queued request of one caller, with `rows` rows of input.

    Entries of one batch have equal keys.
    """

    item: T
    key: Hashable
    rows: int
    deadline: float
    """Latest time to start, in seconds on the clock that `BatchQueue.pop` gets."""
    priority: Priority = Priority.PHOTO


class BatchQueue(Generic[T]):
    """Queue of requests for a model, which decides the next batch. It has no clock, task or lock.

    Live frames precede photos, except that photos begin one batch after `MAX_OVERTAKING_BATCHES`.
    Entries of equal priority are served in order of arrival. Each priority has its own bound, so
    that photos never use up the places of live frames. The bounds are of the queues of all
    processes of `group` together, which have the same `name`.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_queue: int,
        group: ProcessGroup | None = None,
        name: str = "",
    ) -> None:
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._entries: deque[QueueEntry[T]] = deque()
        self._overtaking = 0
        """Number of batches in a row that live frames began while a photo waited."""
        self._group = group or ProcessGroup()
        self._counts = {
            priority: self._group.counter(f"{priority.name} images for {name}")
            for priority in Priority
        }

    @property
    def total(self) -> int:
        """Number of entries in the queues of all processes."""
        return sum(count.total for count in self._counts.values())

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: QueueEntry[T]) -> None:
        """Appends an entry to the queue.

        Raises errors.Overloaded when `max_queue` entries of the same priority are queued.
        """
        with self._group.lock():
            queued = self._counts[entry.priority].total
            if queued >= self._max_queue:
                raise Overloaded(
                    "Too many images are waiting",
                    limit=self._max_queue,
                    actual=queued + 1,
                    retry_after_s=1,
                )
            self._entries.append(entry)
            self._publish()

    def discard(self, entry: QueueEntry[T]) -> None:
        """Removes an entry if it is queued."""
        if entry in self._entries:
            self._entries.remove(entry)
            self._publish()

    def pop(self, now: float) -> list[QueueEntry[T]]:
        """Removes and returns the next batch of entries.

        It is the first entry and those with its key that fit, in order. A batch has at most
        `max_batch` rows, unless its only entry has more. Entries with a deadline up to `now`, in
        seconds, are dropped. The batch of an empty queue is empty.
        """
        batch: list[QueueEntry[T]] = []
        rest: deque[QueueEntry[T]] = deque()
        room = self._max_batch
        for entry in self._in_order():
            if entry.deadline <= now:
                continue
            if not batch or (entry.key == batch[0].key and entry.rows <= room):
                batch.append(entry)
                room -= entry.rows
            else:
                rest.append(entry)
                if entry.key == batch[0].key:
                    room = 0  # nothing overtakes within a key
        self._entries = rest
        self._publish()
        if batch and batch[0].priority is Priority.LIVE and self._count(Priority.PHOTO):
            self._overtaking += 1
        else:
            self._overtaking = 0
        return batch

    def batches_before(self, priority: Priority) -> int:
        """Returns the number of batches until a new entry of this priority has begun."""
        batches = ceil((self._count(priority) + 1) / self._max_batch)
        if priority is Priority.PHOTO and self._count(Priority.LIVE):
            batches *= 1 + MAX_OVERTAKING_BATCHES
        return batches

    def clear(self) -> list[QueueEntry[T]]:
        """Removes and returns all entries, in order of arrival."""
        entries, self._entries = list(self._entries), deque()
        self._publish()
        return entries

    def _publish(self) -> None:
        """Tells the other processes the number of entries of this queue."""
        for priority, count in self._counts.items():
            count.set(self._count(priority))

    def _count(self, priority: Priority) -> int:
        return sum(entry.priority is priority for entry in self._entries)

    def _in_order(self) -> list[QueueEntry[T]]:
        """Returns the entries in the order in which they may begin a batch."""
        photos_first = self._overtaking >= MAX_OVERTAKING_BATCHES
        return sorted(self._entries, key=lambda entry: entry.priority, reverse=photos_first)


@dataclass(eq=False, slots=True)
class _PendingRequest:
    inputs: Tensors
    arrived_at: float
    future: asyncio.Future[Inference]
    task: "_BatchTask | None" = None


@dataclass(eq=False, slots=True)
class _BatchOutput:
    rows: NDArray[Any]
    started_at: float
    finished_at: float


_Entry = QueueEntry[_PendingRequest]
_Batch = list[_Entry]
_BatchTask = asyncio.Task[_BatchOutput]


class Batcher(EngineWrapper):
    """Engine that queues the requests of many callers and runs them in batches on another engine.

    Up to `concurrency` batches run at once. A request starts at once while fewer run: batches form
    only from requests that arrived in the meantime. A caller gets errors.Overloaded when the queue
    is full or after `queue_timeout_s` seconds in it. A failed batch fails its own callers only; a
    batch without callers is cancelled. `on_batch` receives the number of rows of each batch. The
    bound of the queue is of all processes of `group` together.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int,
        max_queue: int,
        queue_timeout_s: float,
        concurrency: int,
        on_batch: Callable[[int], object] | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(engine)
        self._queue: BatchQueue[_PendingRequest] = BatchQueue(
            max_batch=min(max_batch, engine.spec.max_batch),
            max_queue=max_queue,
            group=group,
            name=engine.spec.name,
        )
        self._queue_timeout_s = queue_timeout_s
        self._concurrency = concurrency
        self._on_batch = on_batch
        self._running: dict[_BatchTask, _Batch] = {}
        self._closed = False
        self._batch_s = 0.0
        """Seconds of the newest batch."""
        self._image_s = inf

    @property
    def queued(self) -> int:
        """Number of callers that wait in the queue, in all processes of the group."""
        return self._queue.total

    @property
    def image_s(self) -> float:
        """Seconds per image of the fastest batch so far; 0 before the first.

        The fastest is the cost of the model itself: others waited for a processor.
        """
        return 0.0 if self._image_s == inf else self._image_s

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """Runs the inputs in a batch and returns the caller's rows of the output with their times.

        Raises errors.Overloaded when the queue is full or the queue timeout passes. Raises
        errors.Draining after `close`, ValueError for inputs that differ from the spec, and the
        errors of the wrapped engine.
        """
        entry = self._enqueue(inputs)
        timer = asyncio.get_running_loop().call_at(entry.deadline, self._expire, entry)
        self._start_batches()
        try:
            return await entry.item.future
        except asyncio.CancelledError:
            self._abandon(entry)
            raise
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Fails all callers, queued and running, with errors.Draining; closes the engine."""
        self._closed = True
        _fail(self._queue.clear(), Draining())
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await super().close()

    def _enqueue(self, inputs: Tensors) -> _Entry:
        if self._closed:
            raise Draining
        # Checked before the queue: inside a batch a bad input would fail the other callers.
        rows = check_inputs(self.spec, inputs)
        key = tuple((name, inputs[name].shape[1:]) for name in sorted(inputs))
        loop = asyncio.get_running_loop()
        request = _PendingRequest(inputs, perf_counter(), loop.create_future())
        deadline = loop.time() + self._queue_timeout_s
        entry = QueueEntry(request, key, rows, deadline, PRIORITY.get())
        try:
            self._queue.push(entry)
        except Overloaded as error:
            error.retry_after_s = self._retry_after_s(entry.priority)
            raise
        return entry

    def _retry_after_s(self, priority: Priority) -> int:
        """Returns the seconds, at least 1, until the queue has begun its present entries."""
        batches = self._queue.batches_before(priority)
        return max(1, ceil(batches * self._batch_s / self._concurrency))

    def _start_batches(self) -> None:
        """Starts batches while fewer than `concurrency` run and the queue is not empty."""
        loop = asyncio.get_running_loop()
        while len(self._running) < self._concurrency:
            batch = self._queue.pop(loop.time())
            if not batch:
                return
            task = loop.create_task(self._run_batch(batch))
            self._running[task] = batch
            for entry in batch:
                entry.item.task = task
            task.add_done_callback(partial(self._on_batch_done, batch))

    async def _run_batch(self, batch: _Batch) -> _BatchOutput:
        rows = sum(entry.rows for entry in batch)
        if self._on_batch is not None:
            self._on_batch(rows)
        # Not the loop's clock: uvloop's counts whole milliseconds.
        started_at = perf_counter()
        output = await self._engine.infer(_concatenate(batch))
        finished_at = perf_counter()
        try:
            check_output(self.spec, output, rows)
        except ValueError as error:
            raise EngineFailed("The engine's output does not match its spec") from error
        self._batch_s = finished_at - started_at
        self._image_s = min(self._image_s, self._batch_s / rows)
        return _BatchOutput(output, started_at, finished_at)

    def _on_batch_done(self, batch: _Batch, task: _BatchTask) -> None:
        # A callback of the task, because a task cancelled before its first step runs no `finally`.
        del self._running[task]
        if task.cancelled():
            _fail(batch, Draining())
        elif error := task.exception():
            _fail(batch, error)
        else:
            _deliver(batch, task.result())
        self._start_batches()

    def _expire(self, entry: _Entry) -> None:
        """Fails an entry with errors.Overloaded at its queue timeout, unless it is in a batch."""
        if entry.item.task is None:
            self._queue.discard(entry)
            _fail([entry], queue_timeout_error(self._retry_after_s(entry.priority)))

    def _abandon(self, entry: _Entry) -> None:
        """Removes the entry of a cancelled caller; cancels its batch when no caller is left."""
        task = entry.item.task
        if task is None:
            self._queue.discard(entry)
        elif all(other.item.future.cancelled() for other in self._running.get(task, ())):
            task.cancel()


def _concatenate(batch: _Batch) -> Tensors:
    if len(batch) == 1:
        return batch[0].item.inputs
    requests = [entry.item.inputs for entry in batch]
    return {name: np.concatenate([inputs[name] for inputs in requests]) for name in requests[0]}


def _deliver(batch: _Batch, output: _BatchOutput) -> None:
    """Sets the result of each caller that still waits to its rows of the batch's output."""
    row = 0
    for entry in batch:
        request = entry.item
        if not request.future.done():
            rows = output.rows[row : row + entry.rows]
            queue_s = output.started_at - request.arrived_at
            infer_s = output.finished_at - output.started_at
            request.future.set_result(Inference(rows, queue_s, infer_s))
        row += entry.rows


def _fail(batch: _Batch, error: BaseException) -> None:
    for entry in batch:
        if not entry.item.future.done():
            entry.item.future.set_exception(error)
