"""How many streams there may be: a place is tried for and never awaited."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from silhouette_seg.errors import Draining, Overloaded, TooManyStreams
from silhouette_seg.telemetry import Transport, log_fields

MOST_AT_THE_DOOR = 64
"""At least so many peers may have connected and not said yet who they are: each may be sending a
message of the largest size."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What one stream may be."""

    message_bytes: int = 4 * 2**20
    idle_s: float = 30
    """Without a frame."""
    max_s: float = 4 * 3600
    frame_s: float = 10
    """For one frame, after which its work is cancelled."""


class Streams:
    """The places for streams, of all transports together. Belongs to one event loop."""

    def __init__(self, *, most: int, most_per_caller: int) -> None:
        self.most = most
        self.most_per_caller = most_per_caller
        self.closing = asyncio.Event()
        """Set when the service stops: every stream then ends by itself."""
        self._at_the_door = 0
        self._callers: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        return self._callers.total()

    @contextmanager
    def knock(self) -> Iterator[None]:
        """Holds a place to say what is wanted. Raises errors.Overloaded."""
        most = max(MOST_AT_THE_DOOR, self.most)
        if self._at_the_door >= most:
            raise Overloaded(
                "Too many peers have not said what they want",
                limit=most,
                actual=self._at_the_door + 1,
                retry_after_s=1,
            )
        self._at_the_door += 1
        try:
            yield
        finally:
            self._at_the_door -= 1

    @contextmanager
    def enter(self, caller: str) -> Iterator[None]:
        """Holds a place. Raises errors.Draining, Overloaded or TooManyStreams (of this caller)."""
        if self.closing.is_set():
            raise Draining("The service is shutting down")
        if self.count >= self.most:
            raise Overloaded(
                "There are too many streams",
                limit=self.most,
                actual=self.count + 1,
                retry_after_s=1,
            )
        if self._callers[caller] >= self.most_per_caller:
            raise TooManyStreams(
                "You have too many streams",
                limit=self.most_per_caller,
                actual=self._callers[caller] + 1,
                retry_after_s=1,
            )
        self._callers[caller] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._callers[caller] -= 1
            self._callers += Counter()  # forgets who has none
            if not self.count:
                self._idle.set()

    def close(self) -> None:
        """Nobody enters any more, and who is in is told to end."""
        self.closing.set()

    async def idle(self) -> None:
        """Returns once there is no stream."""
        await self._idle.wait()


def log_end(
    log: logging.Logger,
    transport: Transport,
    model: str,
    frames: Mapping[str, int],
    spent_s: float,
    how: str,
    **end: object,
) -> None:
    """One line of a stream that is over. `how` ends it, and `end` says the same as a field;
    `frames` are counted by how they were answered.
    """
    said = " ".join(f"{name}={count}" for name, count in frames.items())
    log.info(
        "stream %s %s %s %.1f s%s",
        *(transport, model, said, spent_s, how),
        extra=log_fields(
            transport=transport,
            model=model,
            frames=dict(frames),
            duration_s=round(spent_s, 1),
            **end,
        ),
    )
