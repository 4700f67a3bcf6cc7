"""Threads for pixel work, which keeps the event loop free."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

import cv2

from silhouette_seg.errors import OutOfMemory
from silhouette_seg.runtime.executor import started_executor
from silhouette_seg.runtime.memory import is_lack_of_memory

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool:
    """A pool of `count` threads for work on pixels.

    Its queue is unbounded: the limit on concurrent requests bounds the work before it.
    """

    def __init__(self, count: int) -> None:
        # One call uses one thread: parallelism comes from this pool alone.
        cv2.setNumThreads(1)
        self._executor = started_executor(count, "pixels")

    async def run_in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `call` with its arguments in a thread of the pool and returns its result.

        Raises the exception of the call, and OutOfMemory for a failed allocation. A call that is
        cancelled before it starts never runs. A running call cannot be stopped: cancelling waits
        for its end, because until then it holds its thread and its memory.
        """
        running = self._executor.submit(partial(call, *args, **kwargs))
        done = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not running.cancel():
                await _wait_done(done)
            raise
        except Exception as error:
            if is_lack_of_memory(error):
                raise OutOfMemory from error
            raise

    def close(self) -> None:
        """Drops the calls that have not started and waits for those that are running."""
        self._executor.shutdown(wait=True, cancel_futures=True)


async def _wait_done(done: asyncio.Future[T]) -> None:
    """Waits until a future is done, even if the waiting task is cancelled meanwhile.

    The result of the future is discarded.
    """
    while not done.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([done])
    done.cancelled() or done.exception()
