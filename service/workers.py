"""The threads that touch pixels, so that the event loop only moves values."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        """The call's result. Cancelled before it began, the call never runs."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(call, *args, **kwargs))

    def close(self) -> None:
        """Drops what has not begun and waits for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)
