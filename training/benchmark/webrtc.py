"""Measures live video over WebRTC.

The figures are latency at camera rate, latency under overload, and memory after sessions have
ended.

A camera paints a counter into each frame and reads it from the returned frame. One clock therefore
measures both directions: encoders, decoders, the network and the server.
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
from training.benchmark.server import ServerProcess
from training.benchmark.wire import HOST

SIZE_HW = SIZES["640x480"]
FPS = 30
BITS, BLOCK = 16, 16
"""Bits of the frame counter, and the side of its black and white blocks along the top, in pixels.
"""
CALL_QUERY = {"output": "composite", "background": "blur:0.1"}
"""Query parameters of a call. They need the whole pipeline, and the counter stays readable."""
FRAMES_PER_SESSION = 5
SETTLED_SESSIONS = 20
"""Number of sessions after which the server's memory no longer grows by caches."""
CONNECT_S = 120
SHIFT_STEPS = 8
WALL_HEIGHT_PX = 4 * BLOCK


@cache
def pictures() -> list[NDArray[np.uint8]]:
    """Returns RGB frames of one picture that moves a little to the side and back.

    A grey wall above it holds the counter: without a person there, the counter returns unchanged.
    """
    shifts = [*range(SHIFT_STEPS), *range(SHIFT_STEPS, 0, -1)]
    height, width = SIZE_HW
    scene = np.full((height, width, 3), 127, np.uint8)
    scene[WALL_HEIGHT_PX:] = photo((height - WALL_HEIGHT_PX, width))
    return [np.roll(scene, 2 * shift, axis=1) for shift in shifts]


class CounterCamera(VideoStreamTrack):
    """Video track of numbered frames, 30 per second."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_at: dict[int, float] = {}
        self.sent = 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        number = self.sent % 2**BITS
        frame = VideoFrame.from_ndarray(_numbered_frame(number), format="rgb24").reformat(
            format="yuv420p"
        )
        frame.pts, frame.time_base = pts, time_base
        self.sent_at[number] = perf_counter()
        self.sent += 1
        return frame


def _numbered_frame(number: int) -> NDArray[np.uint8]:
    rgb = pictures()[number % len(pictures())].copy()
    for bit in range(BITS):
        rgb[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return rgb


def _read_counter(frame: VideoFrame) -> int:
    """Returns the counter of a frame, read from its brightness."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    blocks = rows[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK]
    return int(sum(1 << bit for bit in range(BITS) if blocks[bit] > 127))


@dataclass(slots=True)
class VideoCall:
    """One client with the arrival time and the latency of each returned frame."""

    connection: RTCPeerConnection
    camera: CounterCamera = field(default_factory=CounterCamera)
    round_trips: list[tuple[float, float]] = field(default_factory=list)
    unread: int = 0
    """Number of frames with a counter that was never sent."""
    frame_arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, track: MediaStreamTrack) -> None:
        """Reads frames until the track ends, and records the latency of each."""
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                now, sent_at = perf_counter(), self.camera.sent_at.get(_read_counter(frame))
                if sent_at is None:
                    self.unread += 1
                else:
                    self.round_trips.append((now, now - sent_at))
                self.frame_arrived.set()

    async def wait_for_frames(self, count: int) -> None:
        """Returns once `count` frames have come back; raises TimeoutError after CONNECT_S."""
        async with asyncio.timeout(CONNECT_S):
            while len(self.round_trips) + self.unread < count:
                self.frame_arrived.clear()
                await self.frame_arrived.wait()


@asynccontextmanager
async def open_call(server: ServerProcess, model: str) -> AsyncIterator[VideoCall]:
    """Opens a call with a counter camera; on exit it is closed."""
    call = VideoCall(RTCPeerConnection(RTCConfiguration(iceServers=[])))
    readers: list[asyncio.Task[None]] = []
    call.connection.on("track", lambda track: readers.append(asyncio.create_task(call.read(track))))
    call.connection.addTrack(call.camera)
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{server.port}", timeout=60) as client:
        try:
            await call.connection.setLocalDescription(await call.connection.createOffer())
            response = await client.post(
                "/v1/webrtc",
                params=CALL_QUERY | {"model": model},
                content=call.connection.localDescription.sdp,
                headers={"content-type": "application/sdp"},
            )
            assert response.status_code == 201, response.text
            answer = RTCSessionDescription(response.text, "answer")
            await call.connection.setRemoteDescription(answer)
            yield call
            await client.delete(response.headers["location"])
        finally:
            await call.connection.close()
            for task in readers:
                task.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


async def measure_one_call(server: ServerProcess, model: str, *, seconds: float) -> Figures:
    """Measures one call at camera rate."""
    async with open_call(server, model) as call:
        await call.wait_for_frames(2 * FPS)
        return {"what": f"one of {FPS} fps"} | await _measure(server, [call], seconds)


async def measure_many_calls(
    server: ServerProcess, model: str, *, count: int, seconds: float, parts: int = 4
) -> list[Figures]:
    """Measures an overload in equal parts of the given duration."""
    async with AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(open_call(server, model)) for _ in range(count)]
        for call in calls:
            await call.wait_for_frames(FPS)
        return [
            {"what": f"{count} of {FPS} fps, part {number} of {parts}"}
            | await _measure(server, calls, seconds / parts)
            for number in range(1, parts + 1)
        ]


async def measure_sessions(server: ServerProcess, model: str, *, count: int) -> list[Figures]:
    """Runs short sessions one after the other and records the server's memory and threads."""
    rows = [_memory_row(server, 0)]
    for number in range(1, count + 1):
        async with open_call(server, model) as call:
            await call.wait_for_frames(FRAMES_PER_SESSION)
        if number == SETTLED_SESSIONS or number % max(1, count // 8) == 0:
            rows.append(_memory_row(server, number))
    settled_mb = next((row["rss_mb"] for row in rows if row["sessions"] >= SETTLED_SESSIONS), None)
    return [row | {"since_settled_mb": settled_mb and row["rss_mb"] - settled_mb} for row in rows]


async def _measure(server: ServerProcess, calls: list[VideoCall], seconds: float) -> Figures:
    sent_before = sum(call.camera.sent for call in calls)
    for call in calls:
        call.round_trips.clear()
    cpu, client_cpu, wall = server.cpu_s(), process_time(), perf_counter()
    await asyncio.sleep(seconds)
    wall_s = perf_counter() - wall
    round_trips = [latency for call in calls for _, latency in call.round_trips]
    sent = sum(call.camera.sent for call in calls) - sent_before
    return {
        "sent_per_s": sent / wall_s,
        "back_per_s": len(round_trips) / wall_s,
        "p50_ms": 1000 * median(round_trips),
        "p95_ms": 1000 * p95(round_trips),
        "worst_ms": 1000 * max(round_trips),
        "unread": sum(call.unread for call in calls),
        "server_cpu_ms": 1000 * (server.cpu_s() - cpu) / len(round_trips),
        "client_cpu_ms": 1000 * (process_time() - client_cpu) / len(round_trips),
    }


def _memory_row(server: ServerProcess, number: int) -> Figures:
    return {"sessions": number, "rss_mb": server.rss_mb(), "threads": server.threads()}
