"""Live video over WebRTC: latency at the pace of a camera and under too much load, and what stays
in memory of sessions that are over.

A camera paints a counter into each frame and reads it in what comes back, so that one clock
measures the way there and back: both encoders and decoders, the network and the server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from statistics import median
from time import perf_counter, process_time

import httpx
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from numpy.typing import NDArray

from training.benchmark.measure import Figures, p95
from training.benchmark.photos import SIZES, photo
from training.benchmark.server import Running
from training.benchmark.wire import HOST

SIZE_HW = SIZES["640x480"]
FPS = 30
BITS, BLOCK = 16, 16
"""The counter: black and white blocks along the top."""
LOOK = {"output": "composite", "background": "blur:0.1"}
"""All of the work, and the counter can still be read."""
FRAMES_A_SESSION = 5
SETTLED = 20
"""Sessions after which the server has everything that it keeps."""
CONNECT_S = 120
STEPS = 8
WALL = 4 * BLOCK


@cache
def pictures() -> list[NDArray[np.uint8]]:
    """RGB of one picture that moves a little to the side and back, a grey wall above it: where
    there is nobody the counter comes back as it was.
    """
    shifts = [*range(STEPS), *range(STEPS, 0, -1)]
    height, width = SIZE_HW
    scene = np.full((height, width, 3), 127, np.uint8)
    scene[WALL:] = photo((height - WALL, width))
    return [np.roll(scene, 2 * shift, axis=1) for shift in shifts]


class Camera(VideoStreamTrack):
    """30 frames a second."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_at: dict[int, float] = {}
        self.sent = 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        number = self.sent % 2**BITS
        frame = VideoFrame.from_ndarray(_counted(number), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = pts, time_base
        self.sent_at[number] = perf_counter()
        self.sent += 1
        return frame


def _counted(number: int) -> NDArray[np.uint8]:
    rgb = pictures()[number % len(pictures())].copy()
    for bit in range(BITS):
        rgb[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return rgb


def _count_of(frame: VideoFrame) -> int:
    """Read in the brightness alone."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    blocks = rows[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK]
    return int(sum(1 << bit for bit in range(BITS) if blocks[bit] > 127))


@dataclass(slots=True)
class Call:
    """One client: when each frame came back, and how long after it was taken."""

    connection: RTCPeerConnection
    camera: Camera = field(default_factory=Camera)
    back: list[tuple[float, float]] = field(default_factory=list)
    unread: int = 0
    """Frames with a counter that was never sent."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                now, sent_at = perf_counter(), self.camera.sent_at.get(_count_of(frame))
                if sent_at is None:
                    self.unread += 1
                else:
                    self.back.append((now, now - sent_at))
                self.news.set()

    async def sees(self, count: int) -> None:
        """Returns when that many frames came back."""
        async with asyncio.timeout(CONNECT_S):
            while len(self.back) + self.unread < count:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def calling(server: Running, model: str) -> AsyncIterator[Call]:
    call = Call(RTCPeerConnection(RTCConfiguration(iceServers=[])))
    reading: list[asyncio.Task[None]] = []
    call.connection.on("track", lambda track: reading.append(asyncio.create_task(call.read(track))))
    call.connection.addTrack(call.camera)
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{server.port}", timeout=60) as client:
        try:
            await call.connection.setLocalDescription(await call.connection.createOffer())
            answer = await client.post(
                "/v1/webrtc",
                params=LOOK | {"model": model},
                content=call.connection.localDescription.sdp,
                headers={"content-type": "application/sdp"},
            )
            assert answer.status_code == 201, answer.text
            described = RTCSessionDescription(answer.text, "answer")
            await call.connection.setRemoteDescription(described)
            yield call
            await client.delete(answer.headers["location"])
        finally:
            await call.connection.close()
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)


async def one_call(server: Running, model: str, *, seconds: float) -> Figures:
    async with calling(server, model) as call:
        await call.sees(2 * FPS)
        return {"what": f"one of {FPS} fps"} | await _measured(server, [call], seconds)


async def many_calls(
    server: Running, model: str, *, calls: int, seconds: float, parts: int = 4
) -> list[Figures]:
    """More than can be done, for as long as was asked, in equal parts."""
    async with AsyncExitStack() as stack:
        several = [await stack.enter_async_context(calling(server, model)) for _ in range(calls)]
        for call in several:
            await call.sees(FPS)
        return [
            {"what": f"{calls} of {FPS} fps, part {number} of {parts}"}
            | await _measured(server, several, seconds / parts)
            for number in range(1, parts + 1)
        ]


async def sessions(server: Running, model: str, *, count: int) -> list[Figures]:
    """One after the other, a few frames each, and what the server's process holds after them."""
    rows = [_memory_row(server, 0)]
    for number in range(1, count + 1):
        async with calling(server, model) as call:
            await call.sees(FRAMES_A_SESSION)
        if number == SETTLED or number % max(1, count // 8) == 0:
            rows.append(_memory_row(server, number))
    settled = next((row["rss_mb"] for row in rows if row["sessions"] >= SETTLED), None)
    return [row | {"since_settled_mb": settled and row["rss_mb"] - settled} for row in rows]


async def _measured(server: Running, calls: list[Call], seconds: float) -> Figures:
    sent = sum(call.camera.sent for call in calls)
    for call in calls:
        call.back.clear()
    cpu, own, wall = server.cpu_s(), process_time(), perf_counter()
    await asyncio.sleep(seconds)
    wall_s = perf_counter() - wall
    back = [latency for call in calls for _, latency in call.back]
    sent = sum(call.camera.sent for call in calls) - sent
    return {
        "sent_per_s": sent / wall_s,
        "back_per_s": len(back) / wall_s,
        "p50_ms": 1000 * median(back),
        "p95_ms": 1000 * p95(back),
        "worst_ms": 1000 * max(back),
        "unread": sum(call.unread for call in calls),
        "server_cpu_ms": 1000 * (server.cpu_s() - cpu) / len(back),
        "client_cpu_ms": 1000 * (process_time() - own) / len(back),
    }


def _memory_row(server: Running, number: int) -> Figures:
    return {"sessions": number, "rss_mb": server.rss_mb(), "threads": server.threads()}
