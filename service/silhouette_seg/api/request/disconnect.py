"""Work that ends with its result, its deadline, or its client: whichever comes first."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from silhouette_seg.engine.base import DEADLINE
from silhouette_seg.errors import DeadlineExceeded

T = TypeVar("T")

_leaving: set[asyncio.Task[Any]] = set()
"""Cancelled, but a thread of theirs still runs. An event loop itself holds no task."""


async def run_until_disconnect(
    request: Request, work: Coroutine[Any, Any, T], *, timeout_s: float
) -> T:
    """The result of `work`. Call it when the body has been read.

    Raises DeadlineExceeded, or ClientDisconnect when nobody waits any more. However it ends, the
    work is done or cancelled when this returns; a thread that it has begun may still run, for which
    the answer does not wait. It sees the deadline in `DEADLINE`.
    """
    token = DEADLINE.set(asyncio.get_running_loop().time() + timeout_s)
    task = asyncio.create_task(work)
    DEADLINE.reset(token)
    gone = asyncio.create_task(_client_gone(request))
    try:
        await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise DeadlineExceeded(limit=timeout_s)
    finally:
        gone.cancel()
        if task.cancel():
            _leaving.add(task)
            task.add_done_callback(_leaving.discard)
        await asyncio.gather(gone, return_exceptions=True)


async def _client_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
