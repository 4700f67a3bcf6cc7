"""Threads for pixel work: a pool, which keeps the event loop free, or the thread of the caller."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

import cv2
from PIL import AvifImagePlugin, Image

from silhouette_seg.errors import OutOfMemory
from silhouette_seg.runtime.executor import started_executor
from silhouette_seg.runtime.memory import is_lack_of_memory

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Protocol):
    """Runs the pixel work of the pipeline."""

    async def run_in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `call` with its arguments and returns its result.

        Raises the exception of the call, and OutOfMemory for a failed allocation.
        """
        ...


class CallerThread:
    """Workers that run each call in the thread of the caller, at once.

    A coroutine that works with it alone never suspends, so that `run_without_loop` can run it.
    """

    async def run_in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return _run(call, *args, **kwargs)


def run_without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never suspends to its end and returns its result.

    It needs no event loop, and works where one is running. Raises the errors of the coroutine, and
    RuntimeError if it suspends.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine suspended that was to run without an event loop")


class ThreadPool:
    """A pool of `count` threads for work on pixels, in a process that belongs to this project.

    It sets defaults of OpenCV and Pillow that apply to the whole process. The library, which works
    in the processes of others, has no pool and leaves them alone. The queue of the pool is
    unbounded: the limit on concurrent requests bounds the work before it. With `start=False` the
    threads start with `start` or the first call: threads do not survive the fork of a process.
    """

    def __init__(self, count: int, *, start: bool = True) -> None:
        _set_process_defaults()
        self._count = count
        self._executor: ThreadPoolExecutor | None = None
        if start:
            self.start()

    def start(self) -> ThreadPoolExecutor:
        """Starts all threads, unless they run, and returns their executor."""
        if self._executor is None:
            self._executor = started_executor(self._count, "pixels")
        return self._executor

    async def run_in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `call` with its arguments in a thread of the pool and returns its result.

        Raises the exception of the call, and OutOfMemory for a failed allocation. A call that is
        cancelled before it starts never runs. A running call cannot be stopped: cancelling waits
        for its end, because until then it holds its thread and its memory.
        """
        running = self.start().submit(partial(_run, call, *args, **kwargs))
        done = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not running.cancel():
                await _wait_done(done)
            raise

    def close(self) -> None:
        """Drops the calls that have not started and waits for those that are running."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _run(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Returns the result of a call. Raises OutOfMemory for an allocation in it that failed."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        if is_lack_of_memory(error):
            raise OutOfMemory from error
        raise


def _set_process_defaults() -> None:
    # One call uses one thread: parallelism comes from the pools alone.
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    # Untrusted bytes must not fill the log with codec warnings.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    # The limits of the service are stricter, and they are checked before.
    Image.MAX_IMAGE_PIXELS = None


async def _wait_done(done: asyncio.Future[T]) -> None:
    """Waits until a future is done, even if the waiting task is cancelled meanwhile.

    The result of the future is discarded.
    """
    while not done.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([done])
    done.cancelled() or done.exception()
