"""Limits the number of concurrent HTTP requests, and lets a shutdown wait for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from silhouette_seg.errors import Draining, Overloaded
from silhouette_seg.runtime.process_group import REQUESTS, ProcessGroup


class RequestLimiter:
    """Bounds the HTTP requests in progress, including those with a body that is still arriving.

    The limit is of all processes of `group` together. An instance is not thread-safe: it belongs to
    one event loop.
    """

    def __init__(self, *, max_requests: int, group: ProcessGroup | None = None) -> None:
        self._max_requests = max_requests
        self._group = group or ProcessGroup()
        self._requests = self._group.counter(REQUESTS)
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """Number of requests in progress now, in all processes."""
        return self._requests.total

    @property
    def own_count(self) -> int:
        """Number of requests in progress now, in this process."""
        return self._requests.own

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Counts one request as in progress until the block ends. Raises the errors of `check`."""
        with self._group.lock():
            self.check()
            self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def check(self) -> None:
        """Raises Draining after `start_draining`, and Overloaded if `max_requests` are running."""
        if self._draining:
            raise Draining
        if self.count >= self._max_requests:
            raise Overloaded(
                "Too many requests are in progress.",
                limit=self._max_requests,
                actual=self.count + 1,
                retry_after_s=1,
            )

    def start_draining(self) -> None:
        """Makes `check` and `admit` reject new requests; those in progress may finish."""
        self._draining = True

    async def wait_idle(self) -> None:
        """Returns once no request is in progress in this process."""
        await self._idle.wait()

    def _add(self, requests: int) -> None:
        self._requests.add(requests)
        if self._requests.own:
            self._idle.clear()
        else:
            self._idle.set()
