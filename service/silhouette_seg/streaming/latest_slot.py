"""A one-item queue in which a newer item replaces the older, so that latency cannot build up."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class SlotClosed(Exception):
    """An item was put into a closed slot, or awaited from a slot that is closed and empty."""


class LatestSlot(Generic[T]):
    """Queue of one item: a newer item replaces the one that waits, so that latency cannot build up.

    It belongs to one event loop and has one reader. `put`, `get_nowait` and `close` never block.
    """

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False
        self._changed = asyncio.Event()
        self.dropped = 0
        """Number of items so far that were replaced by a newer one before they were read."""

    @property
    def has_item(self) -> bool:
        """True while an item waits to be read."""
        return self._item is not None

    def put(self, item: T) -> T | None:
        """Stores `item`, and returns the unread item that it replaces, or None.

        Raises SlotClosed after `close`.
        """
        if self._closed:
            raise SlotClosed
        replaced, self._item = self._item, item
        self.dropped += replaced is not None
        self._changed.set()
        return replaced

    def get_nowait(self) -> T | None:
        """Removes and returns the waiting item, or returns None if the slot is empty."""
        item, self._item = self._item, None
        if not self._closed:
            self._changed.clear()
        return item

    async def get(self) -> T:
        """Waits for an item, removes it and returns it.

        Raises SlotClosed once the slot is closed and empty.
        """
        while True:
            await self._changed.wait()
            if (item := self.get_nowait()) is not None:
                return item
            if self._closed:
                raise SlotClosed

    def close(self) -> None:
        """Closes the slot: `put` then raises, but a waiting item can still be read."""
        self._closed = True
        self._changed.set()
