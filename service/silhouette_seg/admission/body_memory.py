"""Limits the memory that request bodies occupy together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from silhouette_seg.errors import Overloaded

Reserve = Callable[[int], None]
"""Reserves a number of bytes; raises errors.Overloaded when the budget has too few left."""


class BodyMemoryBudget:
    """Limits the bytes of all bodies in memory, counted as they arrive.

    A request that alone holds bytes is always admitted: its own limit bounds it. The budget
    belongs to one event loop.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.reserved = 0
        """Bytes that all requests hold together."""

    @contextmanager
    def reservation(self) -> Iterator[Reserve]:
        """Yields the function that reserves bytes for one request; releases them all on exit."""
        own = 0

        def reserve(size: int) -> None:
            nonlocal own
            if self.reserved > own and self.reserved + size > self._max_bytes:
                raise Overloaded("Too many bytes of request bodies.", limit=self._max_bytes)
            own += size
            self.reserved += size

        try:
            yield reserve
        finally:
            self.reserved -= own
