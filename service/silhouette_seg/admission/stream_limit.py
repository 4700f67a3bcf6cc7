"""Limits the number of concurrent video streams, in total and per caller.

A stream beyond a limit is rejected at once; it never waits.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from silhouette_seg.errors import Draining, Overloaded, TooManyStreams
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
    streams together must reach `MIN_FRAME_RATE` with `LIVE_SHARE` of `workers` threads. An instance
    is not thread-safe: it belongs to one event loop.
    """

    def __init__(self, *, max_streams: int, max_per_caller: int, workers: float = inf) -> None:
        self.max_streams = max_streams
        self.max_per_caller = max_per_caller
        self.draining = asyncio.Event()
        """Event that is set when the service stops; every open stream then ends itself."""
        self._handshakes = 0
        self._callers: Counter[str] = Counter()
        self._capacity = LIVE_SHARE * workers
        self._loads: dict[StreamPlace, float] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """Number of open streams."""
        return self._callers.total()

    @contextmanager
    def handshake(self) -> Iterator[None]:
        """Counts a connection that has not sent its API key yet, until the block ends.

        Raises Overloaded if there are already as many as `MAX_PENDING_HANDSHAKES` or `max_streams`,
        whichever is larger.
        """
        limit = max(MAX_PENDING_HANDSHAKES, self.max_streams)
        if self._handshakes >= limit:
            raise Overloaded(
                "Too many connections have not started a stream yet.",
                limit=limit,
                actual=self._handshakes + 1,
                retry_after_s=1,
            )
        self._handshakes += 1
        try:
            yield
        finally:
            self._handshakes -= 1

    @contextmanager
    def acquire(self, caller: str) -> Iterator["StreamPlace"]:
        """Counts one open stream of a caller, by the caller's id, until the block ends.

        Yields the place of the stream, which must be told the cost of its model.
        Raises Draining after `start_draining`, Overloaded if `max_streams` are open, or
        TooManyStreams if `max_per_caller` of this caller are open.
        """
        if self.draining.is_set():
            raise Draining
        if self.count >= self.max_streams:
            raise Overloaded(
                "Too many streams are open.",
                limit=self.max_streams,
                actual=self.count + 1,
                retry_after_s=1,
            )
        if self._callers[caller] >= self.max_per_caller:
            raise TooManyStreams(
                "Too many streams of this caller are open.",
                limit=self.max_per_caller,
                actual=self._callers[caller] + 1,
                retry_after_s=1,
            )
        self._callers[caller] += 1
        self._idle.clear()
        place = StreamPlace(self)
        try:
            yield place
        finally:
            self._loads.pop(place, None)
            self._callers[caller] -= 1
            self._callers += Counter()  # drops callers without a stream
            if not self.count:
                self._idle.set()

    def set_load(self, place: "StreamPlace", frame_s: float) -> None:
        """Sets the cost of a stream's model, `frame_s` in seconds per frame.

        A single stream may have any cost. Raises Overloaded if the streams would need more than
        their share of the workers.
        """
        load = MIN_FRAME_RATE * frame_s
        others = sum(other for owner, other in self._loads.items() if owner is not place)
        if others and others + load > self._capacity:
            raise Overloaded(
                "The open streams leave too little processor time for this model.",
                limit=round(self._capacity, 3),
                actual=round(others + load, 3),
                retry_after_s=1,
            )
        self._loads[place] = load

    def start_draining(self) -> None:
        """Rejects new streams, and sets `draining` so that the open ones end."""
        self.draining.set()

    async def wait_idle(self) -> None:
        """Returns once no stream is open."""
        await self._idle.wait()


class StreamPlace:
    """Place of one open stream in a `StreamLimiter`."""

    def __init__(self, limiter: StreamLimiter) -> None:
        self._limiter = limiter

    def set_frame_seconds(self, frame_s: float) -> None:
        """Sets the seconds per frame of the stream's model. Raises as `StreamLimiter.set_load`."""
        self._limiter.set_load(self, frame_s)


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
