"""Runs the work of a request until it has a result, its time is over, or its client disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from silhouette_seg.engine.base import DEADLINE
from silhouette_seg.errors import DeadlineExceeded

T = TypeVar("T")

_cancelled_tasks: set[asyncio.Task[Any]] = set()
"""Cancelled tasks that still wait for a thread.

The references keep them alive, because an event loop holds only weak ones.
"""


async def run_until_disconnect(
    request: Request, work: Coroutine[Any, Any, T], *, timeout_s: float
) -> T:
    """Runs the coroutine `work` and returns its result. The body must have been read before.

    Raises DeadlineExceeded after `timeout_s` seconds, or ClientDisconnect if the client
    disconnects. Then `work` is cancelled, but a thread that it started may still run. `work` reads
    its deadline from the context variable `DEADLINE`.
    """
    token = DEADLINE.set(asyncio.get_running_loop().time() + timeout_s)
    task = asyncio.create_task(work)
    DEADLINE.reset(token)
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait(
            {task, disconnect}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if task.done():
            return task.result()
        if disconnect.done():
            raise ClientDisconnect
        raise DeadlineExceeded(limit=timeout_s)
    finally:
        disconnect.cancel()
        if task.cancel():
            _cancelled_tasks.add(task)
            task.add_done_callback(_cancelled_tasks.discard)
        await asyncio.gather(disconnect, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
