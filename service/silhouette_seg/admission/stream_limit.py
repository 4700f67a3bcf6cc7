"""Limits the number of concurrent video streams, in total and per caller.

A stream beyond a limit is rejected at once; it never waits.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import numpy as np

from silhouette_seg.errors import Draining, Overloaded, TooManyStreams
from silhouette_seg.runtime.process_group import ProcessGroup
from silhouette_seg.telemetry import Transport, log_fields

MAX_PENDING_HANDSHAKES = 64
"""Smallest limit of the WebSocket connections that have not sent their API key yet.

The limit is larger if more streams are allowed. It bounds memory, because each such connection may
be sending a message of the largest size.
"""


MIN_FRAME_RATE = 5.0
"""Frames a second that each admitted stream must be able to get."""
LIVE_SHARE = 0.75
"""Share of the workers' time that frames of streams may take; photos have the rest."""
ROUNDING = 1e-9
"""Sum of loads that is the rounding error of a difference, and not a load."""
_PLACE = np.dtype([("caller", np.uint64), ("load", np.float64)])
"""Place of one stream: the number of its caller, 0 for a free place, and the load of its model."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of one video stream over a WebSocket: message size, pauses and duration."""

    max_message_bytes: int = 4 * 2**20
    """Largest message, in bytes."""
    idle_timeout_s: float = 30
    """Time without a frame after which the stream ends, in seconds."""
    max_duration_s: float = 4 * 3600
    """Maximum duration of the stream, in seconds."""
    frame_timeout_s: float = 10
    """Time after which the work on one frame is cancelled, in seconds."""


class StreamLimiter:
    """Bounds the open video streams, WebSocket and WebRTC together.

    At most `max_streams` are open in total, and `max_per_caller` of one caller. The models of all
    streams together must reach `MIN_FRAME_RATE` with `LIVE_SHARE` of `workers` threads. Limits and
    `workers` are of all processes of `group` together. An instance is not thread-safe: it belongs
    to one event loop.
    """

    def __init__(
        self,
        *,
        max_streams: int,
        max_per_caller: int,
        workers: float = inf,
        group: ProcessGroup | None = None,
    ) -> None:
        self.max_streams = max_streams
        self.max_per_caller = max_per_caller
        self.draining = asyncio.Event()
        """Event that is set when the service stops; every open stream then ends itself."""
        self._group = group or ProcessGroup()
        self._handshakes = self._group.counter("handshakes")
        places = np.dtype((_PLACE, (max_streams,)))
        self._places = self._group.table("stream places", [("places", places)])["places"]
        self._capacity = LIVE_SHARE * workers
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """Number of open streams, in all processes."""
        return int(np.count_nonzero(self._places["caller"]))

    @property
    def own_count(self) -> int:
        """Number of open streams of this process."""
        return int(np.count_nonzero(self._places[self._group.index]["caller"]))

    @contextmanager
    def handshake(self) -> Iterator[None]:
        """Counts a connection that has not sent its API key yet, until the block ends.

        Raises Overloaded if there are already as many as `MAX_PENDING_HANDSHAKES` or `max_streams`,
        whichever is larger.
        """
        limit = max(MAX_PENDING_HANDSHAKES, self.max_streams)
        with self._group.lock():
            pending = self._handshakes.total
            if pending >= limit:
                raise Overloaded(
                    "Too many connections have not started a stream yet.",
                    limit=limit,
                    actual=pending + 1,
                    retry_after_s=1,
                )
            self._handshakes.add(1)
        try:
            yield
        finally:
            self._handshakes.add(-1)

    @contextmanager
    def acquire(self, caller: str) -> Iterator["StreamPlace"]:
        """Counts one open stream of a caller, by the caller's id, until the block ends.

        Yields the place of the stream, which must be told the cost of its model.
        Raises Draining after `start_draining`, Overloaded if `max_streams` are open, or
        TooManyStreams if `max_per_caller` of this caller are open.
        """
        if self.draining.is_set():
            raise Draining
        own = self._places[self._group.index]
        with self._group.lock():
            number = _caller_number(caller)
            self._check(number)
            (free,) = np.nonzero(own["caller"] == 0)
            slot = int(free[0])
            own[slot] = number, 0.0
        self._idle.clear()
        try:
            yield StreamPlace(self, slot)
        finally:
            own[slot] = 0, 0.0
            if not self.own_count:
                self._idle.set()

    def _check(self, caller: int) -> None:
        """Raises Overloaded or TooManyStreams if the caller may open no further stream."""
        total, of_caller = self.count, int((self._places["caller"] == caller).sum())
        if total >= self.max_streams:
            raise Overloaded(
                "Too many streams are open.",
                limit=self.max_streams,
                actual=total + 1,
                retry_after_s=1,
            )
        if of_caller >= self.max_per_caller:
            raise TooManyStreams(
                "Too many streams of this caller are open.",
                limit=self.max_per_caller,
                actual=of_caller + 1,
                retry_after_s=1,
            )

    def set_load(self, slot: int, frame_s: float) -> None:
        """Sets the cost of a stream's model, `frame_s` in seconds per frame.

        `slot` is the number of the stream in this process. A single stream may have any cost.
        Raises Overloaded if the streams would need more than their share of the workers.
        """
        load = MIN_FRAME_RATE * frame_s
        own = self._places[self._group.index]
        with self._group.lock():
            others = float(self._places["load"].sum() - own[slot]["load"])
            if others > ROUNDING and others + load > self._capacity:
                raise Overloaded(
                    "The open streams leave too little processor time for this model.",
                    limit=round(self._capacity, 3),
                    actual=round(others + load, 3),
                    retry_after_s=1,
                )
            own[slot] = own[slot]["caller"], load

    def start_draining(self) -> None:
        """Rejects new streams, and sets `draining` so that the open ones end."""
        self.draining.set()

    async def wait_idle(self) -> None:
        """Returns once no stream of this process is open."""
        await self._idle.wait()


class StreamPlace:
    """Place of one open stream in a `StreamLimiter`."""

    def __init__(self, limiter: StreamLimiter, slot: int) -> None:
        self._limiter = limiter
        self._slot = slot

    def set_frame_seconds(self, frame_s: float) -> None:
        """Sets the seconds per frame of the stream's model. Raises as `StreamLimiter.set_load`."""
        self._limiter.set_load(self._slot, frame_s)


def _caller_number(caller: str) -> int:
    """Returns a hash of a caller's id with 64 bits, which is never 0: the mark of a free place."""
    digest = hashlib.blake2b(caller.encode(), digest_size=8).digest()
    return int.from_bytes(digest) or 1


def log_stream_end(
    log: logging.Logger,
    transport: Transport,
    model: str,
    frames: Mapping[str, int],
    duration_s: float,
    ending: str,
    **extra: object,
) -> None:
    """Logs one line for a video stream that has ended.

    `frames` has the number of frames by outcome: result, skipped or error. `ending` is the last
    part of the line, and `extra` holds further fields of a JSON log.
    """
    counts = " ".join(f"{name}={count}" for name, count in frames.items())
    log.info(
        "stream %s %s %s %.1f s%s",
        *(transport, model, counts, duration_s, ending),
        extra=log_fields(
            transport=transport,
            model=model,
            frames=dict(frames),
            duration_s=round(duration_s, 1),
            **extra,
        ),
    )
