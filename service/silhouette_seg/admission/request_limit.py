"""The door: who may come in, and whether anybody is inside."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from silhouette_seg.errors import Draining, Overloaded


class Admission:
    """Bounds the requests that are inside, bodies still arriving included. Of one event loop."""

    def __init__(self, *, max_requests: int) -> None:
        self._max_requests = max_requests
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests = 0
        """Requests inside."""

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Raises errors.Overloaded at once when it is full, errors.Draining after `refuse`."""
        self.check()
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def check(self) -> None:
        """Raises what `admit` would."""
        if self._closed:
            raise Draining("The service is shutting down")
        if self.requests >= self._max_requests:
            raise Overloaded(
                "Too many requests are in work",
                limit=self._max_requests,
                actual=self.requests + 1,
                retry_after_s=1,
            )

    def refuse(self) -> None:
        """From now on nobody is admitted; who is inside may finish."""
        self._closed = True

    async def idle(self) -> None:
        """Returns once nobody is inside."""
        await self._idle.wait()

    def _count(self, requests: int) -> None:
        self.requests += requests
        if self.requests:
            self._idle.clear()
        else:
            self._idle.set()
