"""Limits the memory that the bodies of all HTTP requests occupy together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from silhouette_seg.errors import Overloaded
from silhouette_seg.runtime.process_group import ProcessGroup

Reserve = Callable[[int], None]
"""Function that reserves a number of bytes for one request body.

It raises errors.Overloaded if the bodies of all requests would then exceed their common limit.
"""


class BodyMemoryBudget:
    """Limits the bytes of all request bodies in memory to `max_bytes`, counted as they arrive.

    If no other request holds bytes, a body may exceed `max_bytes`: the limit per body bounds it.
    The limit is of all processes of `group` together. An instance is not thread-safe: it belongs to
    one event loop.
    """

    def __init__(self, max_bytes: int, group: ProcessGroup | None = None) -> None:
        self._max_bytes = max_bytes
        self._group = group or ProcessGroup()
        self._bytes = self._group.counter("body bytes")

    @property
    def reserved(self) -> int:
        """Bytes that all requests together hold in memory now, in all processes."""
        return self._bytes.total

    @contextmanager
    def reservation(self) -> Iterator[Reserve]:
        """Yields a `Reserve` function for one request. Leaving the block releases all its bytes."""
        own = 0

        def reserve(size: int) -> None:
            nonlocal own
            with self._group.lock():
                reserved = self.reserved
                if reserved > own and reserved + size > self._max_bytes:
                    raise Overloaded("Too many bytes of request bodies.", limit=self._max_bytes)
                self._bytes.add(size)
            own += size

        try:
            yield reserve
        finally:
            self._bytes.add(-own)
