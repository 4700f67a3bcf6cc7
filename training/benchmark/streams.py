"""Measures live video over WebSocket.

The figures are round trips at camera rate, round trips under overload, and memory after sessions
have ended.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from statistics import median
from time import perf_counter, perf_counter_ns, process_time

import cv2
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from silhouette_seg.streaming.protocol import (
    FRAME_CREDITS,
    SUBPROTOCOL,
    MessageHeader,
    MessageKind,
    pack,
    text_message,
    unpack,
)
from training.benchmark.measure import Figures, p95
from training.benchmark.photos import JPEG_QUALITY, SIZES, photo
from training.benchmark.server import ServerProcess
from training.benchmark.wire import HOST

SIZE_HW = SIZES["640x480"]
FPS = 30
FRAMES_PER_SESSION = 5
SETTLED_SESSIONS = 20
"""Number of sessions after which the server's memory no longer grows by caches."""
SHIFT_STEPS = 8


@cache
def frames() -> list[bytes]:
    """Returns JPEGs of one picture that moves a little to the side and back."""
    shifts = [*range(SHIFT_STEPS), *range(SHIFT_STEPS, 0, -1)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    bgr = cv2.cvtColor(photo(SIZE_HW), cv2.COLOR_RGB2BGR)
    return [
        cv2.imencode(".jpg", np.roll(bgr, 2 * shift, axis=1), quality)[1].tobytes()
        for shift in shifts
    ]


@dataclass(slots=True)
class BenchmarkStream:
    """One client with its sent frames and the latency of each response."""

    connection: ClientConnection
    pictures: Iterator[bytes] = field(default_factory=lambda: cycle(frames()))
    sent: int = 0
    answered: Counter[MessageKind] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Seconds from sending a frame to its result, one per result."""
    answer_arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unanswered(self) -> int:
        return self.sent - self.answered.total()

    async def send(self) -> None:
        header = MessageHeader(MessageKind.FRAME, self.sent, perf_counter_ns())
        self.sent += 1
        await self.connection.send(pack(header, next(self.pictures)))

    async def read(self) -> None:
        """Reads messages until the connection closes."""
        async for message in self.connection:
            assert isinstance(message, bytes), message
            header, _ = unpack(message)
            self.answered[header.kind] += 1
            if header.kind is MessageKind.RESULT:
                self.seconds.append((perf_counter_ns() - header.timestamp) / 1e9)
            self.answer_arrived.set()

    async def send_at_rate(self, fps: float, seconds: float, *, at_most: int | None) -> None:
        """Sends frames at a fixed rate; a frame without credit is skipped, as by a camera."""
        began = perf_counter()
        for number in range(round(fps * seconds)):
            await asyncio.sleep(max(0.0, began + number / fps - perf_counter()))
            if at_most is None or self.unanswered < at_most:
                await self.send()

    async def send_on_credit(self, seconds: float, *, at_most: int) -> None:
        """Sends a frame whenever there is credit."""
        give_up = perf_counter() + seconds
        while perf_counter() < give_up:
            self.answer_arrived.clear()
            if self.unanswered < at_most:
                await self.send()
            else:
                await self.answer_arrived.wait()

    async def wait_answered(self) -> None:
        """Returns once every frame has a response."""
        while self.unanswered:
            self.answer_arrived.clear()
            await self.answer_arrived.wait()


@asynccontextmanager
async def streaming(server: ServerProcess) -> AsyncIterator[BenchmarkStream]:
    url = f"ws://{HOST}:{server.port}/v1/stream"
    ours = Subprotocol(SUBPROTOCOL)
    async with connect(url, subprotocols=[ours], compression=None, max_size=None) as connection:
        await connection.send(text_message("config", {"output": "mask"}))
        await connection.recv()
        stream = BenchmarkStream(connection)
        reading = asyncio.create_task(stream.read())
        try:
            yield stream
        finally:
            await connection.close()
            await reading


async def one_stream(server: ServerProcess, *, seconds: float) -> Figures:
    """Measures one stream at camera rate, with the credits of the protocol."""
    async with streaming(server) as stream:
        await stream.send_at_rate(FPS, 2, at_most=FRAME_CREDITS)
        return {"what": f"{FPS} fps"} | await _measure(
            server, [stream], stream.send_at_rate(FPS, seconds, at_most=FRAME_CREDITS)
        )


async def overload(server: ServerProcess, *, seconds: float, times: int = 4) -> list[Figures]:
    """Measures one stream with one frame in flight, then `times` that rate, ignoring credits."""
    async with streaming(server) as stream:
        await stream.send_on_credit(2, at_most=1)
        alone = await _measure(server, [stream], stream.send_on_credit(seconds, at_most=1))
        frame_s = 1 / alone["results_per_s"]
    async with streaming(server) as stream:
        flooding = stream.send_at_rate(times / frame_s, seconds, at_most=None)
        flooded = await _measure(server, [stream], flooding)
    return [
        {"what": "one in flight"} | alone,
        {"what": f"{times} times that, open loop"}
        | flooded
        | {"frame_times_p95": flooded["p95_ms"] / 1000 / frame_s},
    ]


async def many_streams(server: ServerProcess, *, streams: int, seconds: float) -> Figures:
    """Measures several cameras at once, with the credits of the protocol."""
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(streaming(server)) for _ in range(streams)]
        figures = await _measure(
            server,
            several,
            asyncio.gather(
                *(each.send_at_rate(FPS, seconds, at_most=FRAME_CREDITS) for each in several)
            ),
        )
    frame_s = streams / figures["results_per_s"]
    share = {"frame_times_p95": figures["p95_ms"] / 1000 / frame_s}
    return {"what": f"{streams} streams of {FPS} fps"} | figures | share


async def sessions(server: ServerProcess, *, count: int) -> list[Figures]:
    """Runs short sessions one after the other and records the server's memory and threads."""
    rows = [_memory_row(server, 0)]
    for number in range(1, count + 1):
        async with streaming(server) as stream:
            for _ in range(FRAMES_PER_SESSION):
                await stream.send()
                await stream.wait_answered()
        if number == SETTLED_SESSIONS or number % (count // 4) == 0:
            rows.append(_memory_row(server, number))
    settled = next(row["rss_mb"] for row in rows if row["sessions"] >= SETTLED_SESSIONS)
    return [row | {"since_settled_mb": row["rss_mb"] - settled} for row in rows]


async def _measure(
    server: ServerProcess, streams: list[BenchmarkStream], work: Awaitable[object]
) -> Figures:
    """Measures the frames sent during `work`, including responses after it."""
    sent, answered = _sent(streams), _answered(streams)
    for stream in streams:
        stream.seconds.clear()
    cpu, own, wall = server.cpu_s(), process_time(), perf_counter()
    await work
    for stream in streams:
        await stream.wait_answered()
    wall_s = perf_counter() - wall
    answers = _answered(streams) - answered
    seconds = [each for stream in streams for each in stream.seconds]
    return {
        "sent": _sent(streams) - sent,
        "results": answers[MessageKind.RESULT],
        "skipped": answers[MessageKind.SKIPPED],
        "errors": answers[MessageKind.ERROR],
        "results_per_s": answers[MessageKind.RESULT] / wall_s,
        "p50_ms": 1000 * median(seconds),
        "p95_ms": 1000 * p95(seconds),
        "worst_ms": 1000 * max(seconds),
        "server_cpu_ms": 1000 * (server.cpu_s() - cpu) / answers[MessageKind.RESULT],
        "client_cpu_ms": 1000 * (process_time() - own) / answers[MessageKind.RESULT],
    }


def _sent(streams: list[BenchmarkStream]) -> int:
    return sum(stream.sent for stream in streams)


def _answered(streams: list[BenchmarkStream]) -> Counter[MessageKind]:
    return sum((stream.answered for stream in streams), Counter[MessageKind]())


def _memory_row(server: ServerProcess, number: int) -> Figures:
    return {"sessions": number, "rss_mb": server.rss_mb(), "threads": server.threads()}
