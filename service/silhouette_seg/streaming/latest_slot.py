"""A place for one, where the newest wins: how no stage of a stream can build up latency."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class SlotClosed(Exception):
    """Nothing more will come."""


class LatestSlot(Generic[T]):
    """Holds the newest of what was put into it until somebody takes it.

    Belongs to one event loop and has one reader. `put`, `take` and `close` never wait.
    """

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False
        self._news = asyncio.Event()
        self.dropped = 0
        """How many were pushed out by a newer one."""

    def put(self, item: T) -> T | None:
        """Returns the one that it pushes out, for whoever sent that wants to know.

        Raises SlotClosed after `close`.
        """
        if self._closed:
            raise SlotClosed
        pushed_out, self._item = self._item, item
        self.dropped += pushed_out is not None
        self._news.set()
        return pushed_out

    def take(self) -> T | None:
        """The newest, which is then gone; None when there is none."""
        item, self._item = self._item, None
        if not self._closed:
            self._news.clear()
        return item

    async def get(self) -> T:
        """The newest as soon as there is one. Raises SlotClosed once closed and empty."""
        while True:
            await self._news.wait()
            if (item := self.take()) is not None:
                return item
            if self._closed:
                raise SlotClosed

    def close(self) -> None:
        """What is in it may still be taken."""
        self._closed = True
        self._news.set()
