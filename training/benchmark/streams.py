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
    responses: Counter[MessageKind] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Seconds from sending a frame to its result, one per result."""
    response_arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def in_flight(self) -> int:
        """Number of frames without a response."""
        return self.sent - self.responses.total()

    async def send(self) -> None:
        """Sends the next frame with its number and the current time."""
        header = MessageHeader(MessageKind.FRAME, self.sent, perf_counter_ns())
        self.sent += 1
        await self.connection.send(pack(header, next(self.pictures)))

    async def read(self) -> None:
        """Reads messages until the connection closes."""
        async for message in self.connection:
            assert isinstance(message, bytes), message
            header, _ = unpack(message)
            self.responses[header.kind] += 1
            if header.kind is MessageKind.RESULT:
                self.seconds.append((perf_counter_ns() - header.timestamp) / 1e9)
            self.response_arrived.set()

    async def send_at_rate(self, fps: float, seconds: float, *, max_in_flight: int | None) -> None:
        """Sends frames at a fixed rate; a frame without credit is skipped, as by a camera."""
        start = perf_counter()
        for number in range(round(fps * seconds)):
            await asyncio.sleep(max(0.0, start + number / fps - perf_counter()))
            if max_in_flight is None or self.in_flight < max_in_flight:
                await self.send()

    async def send_on_credit(self, seconds: float, *, max_in_flight: int) -> None:
        """Sends a frame whenever there is credit."""
        deadline = perf_counter() + seconds
        while perf_counter() < deadline:
            self.response_arrived.clear()
            if self.in_flight < max_in_flight:
                await self.send()
            else:
                await self.response_arrived.wait()

    async def wait_for_responses(self) -> None:
        """Returns once every frame has a response."""
        while self.in_flight:
            self.response_arrived.clear()
            await self.response_arrived.wait()


@asynccontextmanager
async def open_stream(server: ServerProcess) -> AsyncIterator[BenchmarkStream]:
    """Opens a stream of masks; on exit it is closed."""
    url = f"ws://{HOST}:{server.port}/v1/stream"
    subprotocol = Subprotocol(SUBPROTOCOL)
    async with connect(
        url, subprotocols=[subprotocol], compression=None, max_size=None
    ) as connection:
        await connection.send(text_message("config", {"output": "mask"}))
        await connection.recv()
        stream = BenchmarkStream(connection)
        reader = asyncio.create_task(stream.read())
        try:
            yield stream
        finally:
            await connection.close()
            await reader


async def measure_one_stream(server: ServerProcess, *, seconds: float) -> Figures:
    """Measures one stream at camera rate, with the credits of the protocol."""
    async with open_stream(server) as stream:
        await stream.send_at_rate(FPS, 2, max_in_flight=FRAME_CREDITS)
        return {"what": f"{FPS} fps"} | await _measure(
            server, [stream], stream.send_at_rate(FPS, seconds, max_in_flight=FRAME_CREDITS)
        )


async def measure_overload(
    server: ServerProcess, *, seconds: float, times: int = 4
) -> list[Figures]:
    """Measures one stream with one frame in flight, then `times` that rate, ignoring credits."""
    async with open_stream(server) as stream:
        await stream.send_on_credit(2, max_in_flight=1)
        single = await _measure(server, [stream], stream.send_on_credit(seconds, max_in_flight=1))
        frame_s = 1 / single["results_per_s"]
    async with open_stream(server) as stream:
        flood = stream.send_at_rate(times / frame_s, seconds, max_in_flight=None)
        overloaded = await _measure(server, [stream], flood)
    return [
        {"what": "one in flight"} | single,
        {"what": f"{times} times that, open loop"}
        | overloaded
        | {"frame_times_p95": overloaded["p95_ms"] / 1000 / frame_s},
    ]


async def measure_many_streams(server: ServerProcess, *, count: int, seconds: float) -> Figures:
    """Measures several cameras at once, with the credits of the protocol."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(open_stream(server)) for _ in range(count)]
        figures = await _measure(
            server,
            streams,
            asyncio.gather(
                *(
                    stream.send_at_rate(FPS, seconds, max_in_flight=FRAME_CREDITS)
                    for stream in streams
                )
            ),
        )
    frame_s = count / figures["results_per_s"]
    share = {"frame_times_p95": figures["p95_ms"] / 1000 / frame_s}
    return {"what": f"{count} streams of {FPS} fps"} | figures | share


async def measure_sessions(server: ServerProcess, *, count: int) -> list[Figures]:
    """Runs short sessions one after the other and records the server's memory and threads."""
    rows = [_memory_row(server, 0)]
    for number in range(1, count + 1):
        async with open_stream(server) as stream:
            for _ in range(FRAMES_PER_SESSION):
                await stream.send()
                await stream.wait_for_responses()
        if number == SETTLED_SESSIONS or number % (count // 4) == 0:
            rows.append(_memory_row(server, number))
    settled_mb = next(row["rss_mb"] for row in rows if row["sessions"] >= SETTLED_SESSIONS)
    return [row | {"since_settled_mb": row["rss_mb"] - settled_mb} for row in rows]


async def _measure(
    server: ServerProcess, streams: list[BenchmarkStream], work: Awaitable[object]
) -> Figures:
    """Measures the frames sent during `work`, including responses after it."""
    sent_before, responses_before = _sent(streams), _responses(streams)
    for stream in streams:
        stream.seconds.clear()
    cpu, client_cpu, wall = server.cpu_s(), process_time(), perf_counter()
    await work
    for stream in streams:
        await stream.wait_for_responses()
    wall_s = perf_counter() - wall
    responses = _responses(streams) - responses_before
    latencies = [latency for stream in streams for latency in stream.seconds]
    return {
        "sent": _sent(streams) - sent_before,
        "results": responses[MessageKind.RESULT],
        "skipped": responses[MessageKind.SKIPPED],
        "errors": responses[MessageKind.ERROR],
        "results_per_s": responses[MessageKind.RESULT] / wall_s,
        "p50_ms": 1000 * median(latencies),
        "p95_ms": 1000 * p95(latencies),
        "worst_ms": 1000 * max(latencies),
        "server_cpu_ms": 1000 * (server.cpu_s() - cpu) / responses[MessageKind.RESULT],
        "client_cpu_ms": 1000 * (process_time() - client_cpu) / responses[MessageKind.RESULT],
    }


def _sent(streams: list[BenchmarkStream]) -> int:
    return sum(stream.sent for stream in streams)


def _responses(streams: list[BenchmarkStream]) -> Counter[MessageKind]:
    return sum((stream.responses for stream in streams), Counter[MessageKind]())


def _memory_row(server: ServerProcess, number: int) -> Figures:
    return {"sessions": number, "rss_mb": server.rss_mb(), "threads": server.threads()}
