"""Who may come in: permits by pixels, tried, and awaited only by who is already in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.errors import Draining, Overloaded


class Admission:
    """Bounds the requests, and the pixels of their photos, that are in work at once.

    Belongs to one event loop. Whatever the bounds, one photo is admitted when nothing is in work.
    """

    def __init__(self, *, max_pixels: int, max_requests: int) -> None:
        self._max_pixels = max_pixels
        self._max_requests = max_requests
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._left = asyncio.Event()
        self.pixels = 0
        """Pixels in work."""
        self.requests = 0
        """Requests in work."""

    @contextmanager
    def admit(self, pixels: int) -> Iterator[None]:
        """Holds a permit for a photo of that many pixels.

        Raises errors.Overloaded at once when there is no room, errors.Draining after `refuse`.
        """
        self._check(pixels)
        self._add(1, pixels)
        try:
            yield
        finally:
            self._add(-1, -pixels)

    @asynccontextmanager
    async def admit_when_free(self, pixels: int) -> AsyncIterator[None]:
        """As `admit`, but waits for room; how long is for the caller to bound."""
        while not self._has_room(pixels):
            self._left.clear()
            await self._left.wait()
        with self.admit(pixels):
            yield

    def refuse(self) -> None:
        """From now on nobody is admitted; who is in work may finish."""
        self._closed = True

    async def idle(self) -> None:
        """Returns once nothing is in work."""
        await self._idle.wait()

    def _has_room(self, pixels: int) -> bool:
        try:
            self._check(pixels)
        except Overloaded:
            return False
        return True

    def _check(self, pixels: int) -> None:
        if self._closed:
            raise Draining("The service is shutting down")
        if not self.requests:
            return
        if self.requests >= self._max_requests:
            raise Overloaded(
                "Too many requests are in work",
                limit=self._max_requests,
                actual=self.requests + 1,
                retry_after_s=1,
            )
        if self.pixels + pixels > self._max_pixels:
            raise Overloaded(
                "Too many pixels are in work",
                limit=self._max_pixels,
                actual=self.pixels + pixels,
                retry_after_s=1,
            )

    def _add(self, requests: int, pixels: int) -> None:
        self.requests += requests
        self.pixels += pixels
        if requests < 0:
            self._left.set()
        if self.requests:
            self._idle.clear()
        else:
            self._idle.set()
