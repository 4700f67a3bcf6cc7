"""Joins images that wait for the same model into batches, and bounds how many may wait."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
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
)
from silhouette_seg.errors import Draining, EngineFailed, Overloaded
from silhouette_seg.spec import ModelSpec

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class QueueEntry(Generic[T]):
    """One caller's rows. Only entries of equal `key` may share a batch."""

    item: T
    key: Hashable
    rows: int
    deadline: float
    """When it is too late to start, on the clock that `pop` is given."""
    priority: Priority = Priority.PHOTO


class BatchQueue(Generic[T]):
    """The policy, without clock, task or lock: live frames before photos, among equals first come,
    first served, and a bound for each of the two: photos cannot take the place of live frames.
    """

    def __init__(self, *, max_batch: int, max_queue: int) -> None:
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._entries: deque[QueueEntry[T]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, entry: QueueEntry[T]) -> None:
        """Raises errors.Overloaded when `max_queue` entries of its priority wait already."""
        waiting = sum(other.priority is entry.priority for other in self._entries)
        if waiting >= self._max_queue:
            raise Overloaded(
                "Too many images are waiting",
                limit=self._max_queue,
                actual=waiting + 1,
                retry_after_s=1,
            )
        self._entries.append(entry)

    def discard(self, entry: QueueEntry[T]) -> None:
        """Forgets an entry whose caller is gone, so that it takes no place; any other is fine."""
        if entry in self._entries:
            self._entries.remove(entry)

    def pop(self, now: float) -> list[QueueEntry[T]]:
        """The next batch: the first entry, and those of its key that fit in with it, in order.

        At most `max_batch` rows, unless the first has more alone. Entries whose deadline has
        passed are dropped. Empty when nobody waits.
        """
        batch: list[QueueEntry[T]] = []
        kept: deque[QueueEntry[T]] = deque()
        room = self._max_batch
        for entry in sorted(self._entries, key=lambda waiting: waiting.priority):
            if entry.deadline <= now:
                continue
            if not batch or (entry.key == batch[0].key and entry.rows <= room):
                batch.append(entry)
                room -= entry.rows
            else:
                kept.append(entry)
                if entry.key == batch[0].key:
                    room = 0  # nothing overtakes within a key
        self._entries = kept
        return batch

    def clear(self) -> list[QueueEntry[T]]:
        """Everything that waits, in order."""
        entries, self._entries = list(self._entries), deque()
        return entries


@dataclass(eq=False, slots=True)
class _PendingRequest:
    inputs: Tensors
    arrived: float
    answer: asyncio.Future[Inference]
    run: "_BatchTask | None" = None


@dataclass(eq=False, slots=True)
class _BatchOutput:
    rows: NDArray[Any]
    began: float
    ended: float


_Batch = list[QueueEntry[_PendingRequest]]
_BatchTask = asyncio.Task[_BatchOutput]


class Batcher:
    """An engine around an engine, with room for `concurrency` batches inside it at once.

    An image never waits while a place is free: batches form only from what came while all were
    taken. When the queue is full, or an image waited for `queue_timeout_s`, its caller gets
    errors.Overloaded. A failed batch fails its own callers only; a batch that every caller has
    left is cancelled. `on_batch` is told the rows of each batch.
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
    ) -> None:
        self._engine = engine
        self._queue: BatchQueue[_PendingRequest] = BatchQueue(
            max_batch=min(max_batch, engine.spec.max_batch), max_queue=max_queue
        )
        self._queue_timeout_s = queue_timeout_s
        self._concurrency = concurrency
        self._on_batch = on_batch
        self._running: dict[_BatchTask, _Batch] = {}
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        return self._engine.spec

    @property
    def provider(self) -> str:
        return self._engine.provider

    @property
    def queued(self) -> int:
        """Callers that wait for a place."""
        return len(self._queue)

    async def infer(self, inputs: Tensors) -> NDArray[Any]:
        """Raises errors.Overloaded, errors.Draining, and what the engine raises."""
        return (await self.infer_timed(inputs)).output

    async def infer_timed(self, inputs: Tensors) -> Inference:
        """The same, with the wait apart from the run."""
        entry = self._enqueue(inputs)
        timer = asyncio.get_running_loop().call_at(entry.deadline, self._expire, entry)
        self._start_batches()
        try:
            return await entry.item.answer
        except asyncio.CancelledError:
            self._abandon(entry)
            raise
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Whoever still waits gets errors.Draining; then the engine is closed."""
        self._closed = True
        _reject(self._queue.clear(), Draining())
        for run in self._running:
            run.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.close()

    def _enqueue(self, inputs: Tensors) -> QueueEntry[_PendingRequest]:
        if self._closed:
            raise Draining
        # Checked before the queue: inside a batch a bad input would spoil its neighbours.
        rows = check_inputs(self.spec, inputs)
        key = tuple((name, inputs[name].shape[1:]) for name in sorted(inputs))
        loop = asyncio.get_running_loop()
        request = _PendingRequest(inputs, perf_counter(), loop.create_future())
        deadline = loop.time() + self._queue_timeout_s
        entry = QueueEntry(request, key, rows, deadline, PRIORITY.get())
        self._queue.push(entry)
        return entry

    def _start_batches(self) -> None:
        """Starts batches while there is a free place and somebody waits."""
        loop = asyncio.get_running_loop()
        while len(self._running) < self._concurrency:
            batch = self._queue.pop(loop.time())
            if not batch:
                return
            run = loop.create_task(self._run_batch(batch))
            self._running[run] = batch
            for entry in batch:
                entry.item.run = run
            run.add_done_callback(partial(self._on_batch_done, batch))

    async def _run_batch(self, batch: _Batch) -> _BatchOutput:
        rows = sum(entry.rows for entry in batch)
        if self._on_batch is not None:
            self._on_batch(rows)
        # Not the loop's clock: uvloop's counts whole milliseconds.
        began = perf_counter()
        output = await self._engine.infer(_concatenate(batch))
        ended = perf_counter()
        try:
            check_output(self.spec, output, rows)
        except ValueError as error:
            raise EngineFailed("The engine's answer is not what was asked") from error
        return _BatchOutput(output, began, ended)

    def _on_batch_done(self, batch: _Batch, run: _BatchTask) -> None:
        # A callback of the task, because a task cancelled before its first step runs no `finally`.
        del self._running[run]
        if run.cancelled():
            _reject(batch, Draining())
        elif error := run.exception():
            _reject(batch, error)
        else:
            _resolve(batch, run.result())
        self._start_batches()

    def _expire(self, entry: QueueEntry[_PendingRequest]) -> None:
        if entry.item.run is None:
            self._queue.discard(entry)
            _reject([entry], Overloaded("The image waited too long for the model", retry_after_s=1))

    def _abandon(self, entry: QueueEntry[_PendingRequest]) -> None:
        run = entry.item.run
        if run is None:
            self._queue.discard(entry)
        elif all(other.item.answer.cancelled() for other in self._running.get(run, ())):
            run.cancel()


def _concatenate(batch: _Batch) -> Tensors:
    if len(batch) == 1:
        return batch[0].item.inputs
    parts = [entry.item.inputs for entry in batch]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _resolve(batch: _Batch, output: _BatchOutput) -> None:
    row = 0
    for entry in batch:
        request = entry.item
        if not request.answer.done():
            own = output.rows[row : row + entry.rows]
            queue_s = output.began - request.arrived
            request.answer.set_result(Inference(own, queue_s, output.ended - output.began))
        row += entry.rows


def _reject(batch: _Batch, error: BaseException) -> None:
    for entry in batch:
        if not entry.item.answer.done():
            entry.item.answer.set_exception(error)
