"""The threads that touch pixels, so that the event loop only moves values."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

import cv2

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A pool of `count` threads. Its queue is unbounded: admission bounds what reaches it."""

    def __init__(self, count: int) -> None:
        # One call, one thread: parallelism comes from this pool alone.
        cv2.setNumThreads(1)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="pixels")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result. Cancelled before it began, the call never runs.

        A call that has begun cannot be stopped: who cancels waits for its end, since until then it
        holds its thread and its memory.
        """
        running = self._pool.submit(partial(call, *args, **kwargs))
        done = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not running.cancel():
                await _ended(done)
            raise

    def close(self) -> None:
        """Drops what has not begun and waits for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)


async def _ended(done: asyncio.Future[T]) -> None:
    """Returns when it is done, however often it is asked to give up; its result is nobody's."""
    while not done.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([done])
    done.cancelled() or done.exception()
